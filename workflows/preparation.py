"""One node, prepared: validated, backed up, the new generation on its disk and checked. Nothing in force changes."""

from collections.abc import Awaitable, Callable

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from sealring.models.evidence import Finding, Verdict
    from sealring.models.node import Generation
    from sealring.models.rollout import NodeOrder, NodeOutcome, NodeState, Readiness
    from sealring.models.steering import Command, NodeStep
    from sealring.planning.waivers import weigh
    from sealring.temporal.failures import problem_of
    from workflows import calls
    from workflows.doors import NO_PAYLOAD, one_argument, signalled
    from workflows.steps import Steps


@workflow.defn(name="NodePreparation")
class NodePreparation:
    """validate · backup · transfer · preflight, on one node.

    The outcome is `prepared`, or `refused` with the findings or the problem that say why. Cancelling it at any point
    is harmless: what is on the disk by then is found and used by the next attempt.
    """

    @workflow.init
    def __init__(self, order: NodeOrder | None = None) -> None:
        """Temporal hands the same order to `run`."""
        self.order = one_argument(order, NodeOrder, "what a CertificateRollout gives it: start that one")
        self.steps = Steps()
        self.findings: tuple[Finding, ...] = ()
        self.before: Generation | None = None

    @workflow.run
    async def run(self, order: NodeOrder | None = None) -> NodeOutcome:
        """Prepare the node."""
        try:
            ready = (
                await self.passes("validate", calls.validate_node)
                and await self.passes("backup", calls.backup_node)
                and await self.transferred()
                and await self.passes("preflight", calls.preflight_node)
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return self.outcome(NodeState.REFUSED).model_copy(update={"problem": problem_of(error)})
        return self.outcome(NodeState.PREPARED if ready else NodeState.REFUSED)

    async def passes(self, name: str, check: Callable[[NodeOrder], Awaitable[Readiness]]) -> bool:
        """Do one step; false when a finding blocks that was not waived."""
        async with self.steps.step(name):
            answer = await check(self.order)
        self.before = answer.current or self.before
        weighed = weigh(answer.findings, self.order.waive, workflow.now())
        self.findings += (*weighed.notes, *(f for f in answer.findings if f.verdict is not Verdict.PASS))
        return not weighed.standing

    async def transferred(self) -> bool:
        """Bring the generation to the disk; in a rollback it is there."""
        if self.order.material is not None:
            async with self.steps.step("transfer"):
                await calls.transfer_material(self.order)
        return True

    def outcome(self, state: NodeState) -> NodeOutcome:
        """What is told to the rollout."""
        return NodeOutcome(
            address=self.order.node.address,
            state=state,
            before=self.before,
            findings=self.findings,
            timings=self.steps.timings,
        )

    @workflow.query(description="The step in hand and how long the others took.")
    def status(self) -> NodeStep:
        """See description."""
        return self.steps.status()

    @workflow.signal(description="Hold before the next step.")
    def pause(self, given: RawValue = NO_PAYLOAD) -> None:
        """See description."""
        self.steps.hold(True, signalled(given, Command))

    @workflow.signal(description="Go on.")
    def resume(self, given: RawValue = NO_PAYLOAD) -> None:
        """See description."""
        self.steps.hold(False, signalled(given, Command))
