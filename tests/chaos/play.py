"""One cell: a rollout, held at a step, struck by a fault, let go, healed; and what is wrong afterwards."""

import time
import traceback
from dataclasses import asdict, dataclass, field

from lab.authority import Fault as BadMaterial
from lab.load import LoadProcess
from sealring.models.material import MaterialRef
from sealring.models.rollout import NodeState, Phase, RolloutReport, RolloutRequest
from tests.chaos import judge
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.gates import Hold
from tests.chaos.scene import Scene, anew
from tests.chaos.steps import STEPS, Step, Story

FELT_SECONDS = 30.0
END_SECONDS = 60.0
WELL = {NodeState.SERVING, NodeState.UNCHANGED}


@dataclass(frozen=True)
class Cell:
    """A fault at a step, on a kind of ring."""

    ring: str
    fault: str
    step: str

    def __str__(self) -> str:
        return f"{self.ring}: {self.fault} × {self.step}"


@dataclass
class Result:
    """How a cell ended; `wrong` empty: survived."""

    ring: str
    fault: str
    step: str
    outcome: str = ""
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def cell(self) -> Cell:
        """Which one."""
        return Cell(self.ring, self.fault, self.step)


def play(scene: Scene, cell: Cell) -> Result:
    """Play one cell on a ring that is well; leaves it well, or raises when that cannot be had."""
    begun = time.monotonic()
    result = Result(**asdict(cell))
    fault, step = FAULTS[cell.fault], STEPS[cell.step]
    load = LoadProcess(scene.spec) if scene.kind == "real" else None
    if not scene.well:
        scene.heal()
    scene.well = False
    scene.engine.cut_histories(step.story == "long")
    if load:
        load.start()
    try:
        result.wrong += _played(scene, fault, step, result)
    except Exception as error:
        result.wrong.append(f"{type(error).__name__}: {error}".strip()[:2000])
        result.outcome = result.outcome or traceback.format_exc()[-1500:]
    finally:
        fault.heal(scene, scene.victim) if result.wrong else None
        fault.mend(scene, scene.victim)
        if load:
            summary = load.stop()
            if summary.failed or summary.wrong:
                result.wrong.append(f"the client load: {summary.failed} queries failed, {summary.wrong} wrong answers")
    scene.well = not result.wrong
    result.seconds = round(time.monotonic() - begun, 1)
    return result


def _played(scene: Scene, fault: Fault, step: Step, result: Result) -> list[str]:
    victim = scene.victim
    if step.anew:
        anew(victim)
    request = _request(scene, step.story)
    before, starts = judge.in_force(scene.spec), judge.starts(scene.spec)
    hold = Hold(scene.spec, victim, step.early if fault.early and step.early else step.gate)
    try:
        scene.begin(request)
        if not hold.reached(scene.over):
            why = scene.report().problem if scene.over() else "the rollout stands still"
            return [f"the step was not reached: {why}"]
        fault.strike(scene, victim)
        hold.release()
        _wait(scene, fault)
        fault.heal(scene, victim)
        report = scene.report()
    finally:
        hold.release()
        hold.clear()
    result.outcome = _told(report)
    found = [*judge.wrong_with(report)]
    if step.story == "long" and not scene.was_cut():
        found.append("the history was not cut")
    rounds = 1
    scene.heal()
    fault.mend(scene, victim)
    found += judge.wrong_on_nodes(scene.spec, before)
    if report.outcome is not Phase.DONE:
        again = _go_on(scene, step.story, request)
        rounds += 1
        if again.outcome is not Phase.DONE or not {n.state for n in again.nodes} <= WELL:
            found.append(f"the command to go on ended {_told(again)}: {again.problem}")
    restarts = rounds if step.story == "restart" else 0
    allowed = {victim.name: restarts + fault.starts}
    found += judge.wrong_with_starts(starts, judge.starts(scene.spec), allowed)
    if judge.left_behind(scene.spec, scene.engine.scratch):
        scene.run(_request(scene, "ring"))
    found += [f"left behind: {path}" for path in judge.left_behind(scene.spec, scene.engine.scratch)]
    found += judge.wrong_on_nodes(scene.spec, before)
    return list(dict.fromkeys(found))


def _request(scene: Scene, story: Story) -> RolloutRequest:
    """What the operator asks for in a story, with a delivery of its own."""
    victim = scene.victim
    bad: dict[str, BadMaterial] = {victim.name: "foreign-ca"} if story == "rollback" else {}
    return RolloutRequest(
        cluster="lab",
        material=MaterialRef(path=str(scene.engine.deliver(bad))),
        apply="restart" if story == "restart" else "reload",
        nodes=(victim.address,) if story in ("reload", "restart", "rollback") else (),
        waive=("material.chain", "material.trusted-by-peers", "trust.states") if bad else (),
    )


def _go_on(scene: Scene, story: Story, request: RolloutRequest) -> RolloutReport:
    """The same again; after material that had to be refused, good material."""
    return scene.run(_request(scene, "reload") if story == "rollback" else request)


def _wait(scene: Scene, fault: Fault) -> None:
    """Until whoever is on call heals the fault."""
    if isinstance(fault.lasts, float):
        time.sleep(fault.lasts)
        return
    over = scene.over if fault.lasts == "end" else scene.has_failed_once
    end = time.monotonic() + (END_SECONDS if fault.lasts == "end" else FELT_SECONDS)
    while not over() and time.monotonic() < end:
        time.sleep(0.2)


def _told(report: RolloutReport) -> str:
    return report.outcome.value if report.problem is None else f"{report.outcome.value} {report.problem.code}"
