"""What a rollout says about why it goes no further."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from sealring.errors import Actor, ErrorClass
    from sealring.models.evidence import BLOCKING, Finding
    from sealring.models.problem import Problem
    from sealring.models.rollout import NodeOutcome, Phase


class Ended(Exception):
    """The rollout goes no further."""

    def __init__(self, phase: Phase, problem: Problem | None = None, note: str = "") -> None:
        """How, and why."""
        super().__init__(phase)
        self.note = note
        self.phase = phase
        self.problem = problem


def stop(code: str, message: str, remedy: str) -> Problem:
    """The operator does something, then starts again."""
    return Problem(code=code, message=message, error_class=ErrorClass.STOP, actor=Actor.OPERATOR, remedy=remedy)


def complaint(outcome: NodeOutcome) -> Problem:
    """Why a node ended where it should not, when only its findings say so: prepared again, it was refused."""
    finding = next((f for f in reversed(outcome.findings) if f.verdict in BLOCKING), None)
    if finding is None:
        return stop("node.failed", f"{outcome.address} ended {outcome.state.value}", "look at its findings")
    problem = stop(finding.check, finding.message, finding.remedy)
    return problem.model_copy(update={"actor": finding.actor, "node": outcome.address})


def blocking(finding: Finding) -> Problem:
    """A finding that keeps a rollout from going on."""
    return Problem(
        code=finding.check, message=finding.message, actor=finding.actor, remedy=finding.remedy, node=finding.node
    )


def objection(standing: tuple[Finding, ...], stage: str = "") -> Problem:
    """Findings about the ring as a whole that forbid to begin: all in one text, the first one's code and remedy."""
    first, more = standing[0], f"; and {len(standing) - 5} more" if len(standing) > 5 else ""
    told = "; ".join(f"{f.node}: {f.message}" if f.node else f.message for f in standing[:5])
    problem = stop(first.check, f"{_so_far(stage)}: {told}{more}", first.remedy)
    return problem.model_copy(update={"actor": first.actor, "node": first.node})


def refusal(refused: list[NodeOutcome], stage: str = "") -> Problem:
    """All refusals in one text, the first one's code and remedy; `stage`: when the stages before have been done."""
    texts = []
    for outcome in refused[:5]:
        found = [f for f in outcome.findings if f.verdict in BLOCKING]
        texts += [str(outcome.problem)] if outcome.problem else [f"{outcome.address}: {f.message}" for f in found]
    first = refused[0]
    finding = next((f for f in first.findings if f.verdict in BLOCKING), None)
    more = f"; and {len(refused) - 5} more nodes" if len(refused) > 5 else ""
    cause = first.problem or Problem(
        code=finding.check if finding else "preflight.refused",
        message="",
        actor=finding.actor if finding else Actor.OPERATOR,
        remedy=finding.remedy if finding else "",
    )
    message = f"preparation refused, {_so_far(stage)}: {'; '.join(texts)}{more}"
    return cause.model_copy(update={"message": message, "error_class": ErrorClass.STOP, "node": first.address})


def _so_far(stage: str) -> str:
    return f'"{stage}" was not begun, the stages before stand' if stage else "nothing was touched"
