"""The nodes' workflows, as a rollout starts them: one child a node, whose id is the node's lock."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ChildWorkflowError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from sealring.models.base import short
    from sealring.models.plan import Plan, Stage, Target
    from sealring.models.rollout import NodeOrder, NodeOutcome, NodeState, RolloutRun
    from sealring.temporal.failures import problem_of
    from workflows.activation import NodeActivation
    from workflows.preparation import NodePreparation
    from workflows.steered import Steered

PREPARE, ACTIVATE = "tls-prepare", "tls-node"  # ids of the nodes' workflows begin so


class NodeChildren(Steered):
    """The children of a rollout; what is said to the rollout is told to them. The workflow provides `request`."""

    request: RolloutRun
    looked_at: datetime | None = None  # when the ring was last looked at before a wave

    async def prepare(self, target: Target) -> NodeOutcome:
        """One node's preparation, as a child workflow."""
        self.progress.mark(target.node.address, NodeState.PREPARING)
        return await self.child(NodePreparation.run, PREPARE, self.order(target), NodeState.REFUSED)

    async def activate(self, target: Target, wave: Collection[Target] = (), *, looked: bool = True) -> NodeOutcome:
        """One node's activation, as a child; `wave`: those that are activated with it; `looked`: behind a gate.

        What the ring was last seen to spare it may take: who is activated long after that look has to look again, and
        then counts on none of the others, for they look at the same time.
        """
        self.progress.mark(target.node.address, NodeState.ACTIVATING)
        others = tuple(t.node.address for t in wave if t != target and (t.apply == "restart" or t.may_restart))
        looked_at = self.looked_at if looked else None
        order = self.order(target).model_copy(update={"looked_at": looked_at, "beside": others})
        # Terminated, say: nobody knows how far it came.
        return await self.child(NodeActivation.run, ACTIVATE, order, NodeState.BROKEN)

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
        return NodeOrder(
            cluster=self.request.cluster,
            rollout=_change(plan, stage),
            target=target,
            material=stage.material or plan.material,
            waive=self.request.waivers,
            rules=plan.rules,
            topology=plan.topology,
            alone=plan.goal == "renew-expired",
            before=self.progress.outcomes[target.node.address].before,
        )


def _change(plan: Plan, stage: Stage) -> str:
    """Each stage is a change of its own: a rollback takes the last one back.

    What follows the run says which change of the ring it is: a rollout that was started again goes on with it.
    """
    run, digest = workflow.info().first_execution_run_id, plan.material and plan.material.digest
    if digest:
        return f"{run}/{stage.kind}/{short(digest)}"
    return run if stage.kind == "deploy" else f"{run}/{stage.kind}"


def _summary(prefix: str, target: Target) -> str:
    what = f"{target.node} for {short(target.generation)}"
    return f"prepare {what}" if prefix == PREPARE else f"activate {what} by {target.apply}"
