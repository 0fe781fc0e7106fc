"""One seed, played: a ring, a rollout, what goes wrong meanwhile; then, when it did not come through, once more."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sealring.models.rollout import Phase, RolloutReport
from tests.twin.activities import Activities
from tests.twin.faults import Mess, People
from tests.twin.invariants import LONGEST, Watch
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

    def _ended(self, rollout: str, node_workflow: str) -> bool:
        return not self.server.running(f"tls-rollout/{CLUSTER}", rollout) and not self.server.running(node_workflow)

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
            node.ssh_until = node.skew = 0.0
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
    stage.people.plan(scenario.people, guess)
    reports = [stage.rollout(scenario.request)]
    again = _another(stage, reports[0], sound=sound)
    if again is not None and not world.violations:
        reports.append(stage.rollout(again))
        ending = reports[-1]
        if stage.mess.over and (ending is None or ending.outcome is not Phase.DONE):
            world.violate(f"again: all is healed, and it still ends {ending.outcome if ending else '?'}")
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


def _another(stage: Stage, report: RolloutReport | None, *, sound: bool) -> dict[str, Any] | None:
    """What is asked for next: the way back while things go wrong, or the same again when everything is healed."""
    world, scenario = stage.world, stage.scenario
    if report is None:
        return None
    if world.chance(0.15):
        stage.mess.plan(scenario.faults, 120.0)
        return {"cluster": CLUSTER, "goal": "rollback"}
    if report.outcome is Phase.DONE or not sound:
        return None
    stage.heal()
    return scenario.request
