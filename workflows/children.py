"""The nodes' workflows, as a rollout starts them: one child a node, whose id is the node's lock."""

from typing import Any

from temporalio import workflow
from temporalio.exceptions import ChildWorkflowError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from sealring.models.base import short
    from sealring.models.plan import Target
    from sealring.models.rollout import NodeOrder, NodeOutcome, NodeState, RolloutRun
    from sealring.temporal.failures import problem_of
    from workflows.activation import NodeActivation
    from workflows.preparation import NodePreparation
    from workflows.steered import Steered

PREPARE, ACTIVATE = "tls-prepare", "tls-node"  # ids of the nodes' workflows begin so


class NodeChildren(Steered):
    """The children of a rollout; what is said to the rollout is told to them. The workflow provides `request`."""

    request: RolloutRun

    async def prepare(self, target: Target) -> NodeOutcome:
        """One node's preparation, as a child workflow."""
        self.progress.mark(target.node.address, NodeState.PREPARING)
        return await self.child(NodePreparation.run, PREPARE, self.order(target), NodeState.REFUSED)

    async def activate(self, target: Target) -> NodeOutcome:
        """One node's activation, as a child workflow."""
        self.progress.mark(target.node.address, NodeState.ACTIVATING)
        # Terminated, say: nobody knows how far it came.
        return await self.child(NodeActivation.run, ACTIVATE, self.order(target), NodeState.BROKEN)

    async def child(self, run: Any, prefix: str, order: NodeOrder, otherwise: NodeState) -> NodeOutcome:
        """Run a node's workflow; its id is the node's lock, across all rollouts."""
        address = order.node.address
        try:
            handle = await workflow.start_child_workflow(
                run,
                order,
                id=f"{prefix}/{order.cluster}/{address}",
                parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
                cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
                static_summary=_summary(prefix, order.target),
            )
            self.children[address] = handle
            # What was said while it was being started has not come to it.
            if self.progress.steering.aborted:
                handle.cancel()
            elif self.progress.steering.paused:
                await self.tell(handle)
            outcome: NodeOutcome = await handle
        except WorkflowAlreadyStartedError as error:
            outcome = NodeOutcome(address=address, state=NodeState.UNTOUCHED, problem=problem_of(error))
        except ChildWorkflowError as error:
            problem = problem_of(error)
            state = NodeState.UNTOUCHED if problem.code == "cancelled" and prefix == PREPARE else otherwise
            outcome = NodeOutcome(address=address, state=state, problem=problem)
        finally:
            self.children.pop(address, None)
        self.progress.note(outcome)
        return outcome

    def order(self, target: Target) -> NodeOrder:
        """What a node's workflow must know."""
        plan = self.progress.plan
        assert plan is not None
        stage = plan.stage_of(self.progress.waves_done)
        run = workflow.info().first_execution_run_id
        return NodeOrder(
            cluster=self.request.cluster,
            # Each stage is a change of its own: a rollback takes the last one back.
            rollout=run if stage.kind == "deploy" else f"{run}/{stage.kind}",
            target=target,
            material=stage.material or plan.material,
            waive=self.request.waivers,
            rules=plan.rules,
            topology=plan.topology,
            alone=plan.goal == "renew-expired",
            before=self.progress.outcomes[target.node.address].before,
        )


def _summary(prefix: str, target: Target) -> str:
    what = f"{target.node} for {short(target.generation)}"
    return f"prepare {what}" if prefix == PREPARE else f"activate {what} by {target.apply}"
