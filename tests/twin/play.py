"""One seed, played: a ring, a rollout, what goes wrong meanwhile; then, when it did not come through, once more."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sealring.models.rollout import Phase, RolloutReport
from tests.twin.activities import Activities
from tests.twin.faults import ROTATING, Mess
from tests.twin.invariants import LONGEST, Watch
from tests.twin.people import People
from tests.twin.ring import Ring
from tests.twin.run import CONVERTER, FAILURES, Run
from tests.twin.scenario import Scenario, draw
from tests.twin.server import Server
from tests.twin.world import World

CLUSTER = "twin"
MOST_EVENTS = 300_000


@dataclass(frozen=True)
class Result:
    """How a seed went."""

    seed: int
    outcomes: tuple[str, ...]  # of the rollout, and of the second one when there was one
    violations: tuple[str, ...]
    digest: str
    hours: float  # virtual
    nodes: int
    faults: tuple[str, ...]
    late: int
    last: tuple[str, ...]  # of the trace


Twist = Callable[["Stage"], None]


class Stage:
    """Everything of one play, put together; a test may twist it before it begins."""

    def __init__(self, seed: int, *, loud: bool = False) -> None:
        self.world = World(seed, loud=loud)
        self.scenario: Scenario = draw(self.world)
        self.ring: Ring = self.scenario.ring
        self.activities = Activities(self.ring, self.scenario.settings, self.scenario.deliveries, self._ended)
        self.server = Server(self.world, self.activities.by_name(), suggest_at=self.scenario.suggest_at)
        self.watch = Watch(self.ring, self.server)
        self.activities.on_look = self.watch.look
        self.mess = Mess(self.world, self.ring, self.server, self.watch)
        self.people = People(self.world, self.server, f"tls-rollout/{CLUSTER}")
        self.mess.witness = self.people.hear
        self.mess.steps = ROTATING if self.scenario.rotates else self.mess.steps
        self.watch.waived = self.scenario.waived

    def _ended(self, rollout: str, node_workflow: str) -> bool:
        going = rollout and self.server.running(f"tls-rollout/{CLUSTER}", rollout)
        return not going and not self.server.running(node_workflow)

    def rollout(self, request: dict[str, Any]) -> RolloutReport | None:
        """Start one and let time pass until it is over and nothing of it is left."""
        begun = self.world.now
        self.watch.begin()
        workflow_id = f"tls-rollout/{CLUSTER}"
        self.server.start("CertificateRollout", workflow_id, CONVERTER.to_payloads([request]))
        steps = 0
        while self.server.open and self.world.step():
            steps += 1
            if self.world.now - begun > LONGEST * 1.1 or steps > MOST_EVENTS:
                break
        run = self.server.runs[self.server.latest[workflow_id]]
        report, gone = self._report(run)
        self.world.tell(f"rollout ended: {report.outcome if report else gone} {report.problem if report else ''}")
        self.watch.rest(report, begun, gone)
        if report is not None and report.outcome is Phase.DONE and request.get("goal") == "rotate-ca":
            delivered = self.scenario.deliveries[request["material"]["path"]]
            self.watch.rotated(begun, delivered, keeps=request["old_authority"] == "keep")
        return report

    def _report(self, run: Run) -> tuple[RolloutReport | None, str]:
        """The report of a run that is over, or what there is instead."""
        if run.result is not None:
            return CONVERTER.from_payloads([run.result], [RolloutReport])[0], ""
        if run.failure is None:
            return None, "it did not end"
        if run.cancelled:
            return CONVERTER.from_payloads([run.ask("report", self.world.time())], [RolloutReport])[0], ""
        error = FAILURES.from_failure(run.failure, CONVERTER)
        details = getattr(error, "details", ())
        if details and isinstance(details[0], dict) and "outcome" in details[0]:
            return RolloutReport.model_validate(details[0]), ""
        return None, repr(error)

    def heal(self) -> None:
        """Whatever was broken is mended, by whoever must act."""
        self.mess.over = self.people.quiet = True
        for node in self.ring.nodes.values():
            node.ssh_until = node.deaf_until = node.skew = 0.0
            node.slow, node.crash, node.disk_full, node.normal = 1.0, False, False, True
            if node.address in self.watch.hand_made or not node.disk_key.loads:
                good = node.kept.get(node.current) or node.serving
                self.world.tell(f"a person repairs {node.address}")
                if good is not None and good.key.loads:
                    node.disk_key, node.disk_trust = good.key, good.trust
            if node.state in ("down", "drained"):
                self.ring.launch(node)
        self.watch.hand_made.clear()
        self.ring.schemas = 1
        self.ring.cut.clear()
        self.ring.clients.clear()
        for _ in range(MOST_EVENTS):
            if all(node.up for node in self.ring.nodes.values()) or not self.world.step():
                break
        for node in self.ring.nodes.values():
            self.ring.read(node)
        self.ring.meet()


def play(seed: int, *, loud: bool = False, twist: Twist = lambda stage: None) -> Result:
    """Play a seed to its end."""
    stage = Stage(seed, loud=loud)
    twist(stage)
    scenario, world = stage.scenario, stage.world
    sound = scenario.sound
    guess = world.dice.choice((30.0, 120.0, 60.0 * len(stage.ring.nodes)))
    stage.mess.plan(scenario.faults, guess)
    stage.people.plan(scenario.people, guess, between_stages=scenario.rotates)
    reports = [stage.rollout(scenario.request)]
    if reports[0] is not None and not world.violations and world.chance(0.4 if scenario.rotates else 0.15):
        stage.mess.plan(scenario.faults, 120.0)
        reports.append(stage.rollout(way_back(scenario)))
    if _goes_on(scenario, reports, sound=sound) and not world.violations:
        stage.heal()
        reports.append(stage.rollout(scenario.request | ({"old_authority": "drop"} if scenario.rotates else {})))
        _judge(stage, reports[-1])
    return Result(
        seed=seed,
        outcomes=tuple(str(r.outcome) if r else "?" for r in reports),
        violations=tuple(world.violations),
        digest=world.digest,
        hours=world.now / 3600,
        nodes=len(stage.ring.nodes),
        faults=tuple(stage.mess.done),
        late=stage.watch.late,
        last=tuple(world.last),
    )


def way_back(scenario: Scenario) -> dict[str, Any]:
    """The rollback of what was asked for."""
    return {"cluster": CLUSTER, "goal": "rollback"} | {k: v for k, v in scenario.request.items() if k == "waive"}


def _goes_on(scenario: Scenario, reports: list[RolloutReport | None], *, sound: bool) -> bool:
    """Whether the same is asked for once more, when everything is healed: a rotation also after it was taken back."""
    first, *back = reports
    if first is None or not sound or (back and not scenario.rotates):
        return False
    return bool(back) or first.outcome is not Phase.DONE or scenario.request.get("old_authority") == "keep"


def _judge(stage: Stage, ending: RolloutReport | None) -> None:
    """Everything was healed: it must come through now, or say why it never can."""
    code = ending.problem.code if ending is not None and ending.problem else ""
    if stage.scenario.infeasible:
        if ending is None or ending.outcome is not Phase.REFUSED or code != "plan.quorum":
            stage.world.violate(f"again: no replica can be spared, and it ends {ending.outcome if ending else '?'}")
    elif ending is None or ending.outcome is not Phase.DONE:
        stage.world.violate(f"again: all is healed, and it still ends {ending.outcome if ending else '?'} {code}")
