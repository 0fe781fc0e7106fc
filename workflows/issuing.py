"""One ring: every node makes a key and gets a certificate for it. Nothing in force is touched."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from sealring.errors import refuse
    from sealring.models.cluster import NodeRef
    from sealring.models.issuing import IssueOrder, IssueOutcome, IssueReport, IssueRequest
    from sealring.models.rollout import ClusterQuestion
    from sealring.temporal.failures import problem_of
    from workflows import calls
    from workflows.doors import one_argument

LOCK = "tls-issue"  # the workflow's id is `tls-issue/<cluster>`
AT_ONCE = 10


@workflow.defn(name="MaterialIssue")
class MaterialIssue:
    """Makes a delivery whose keys lie on the nodes. Asked again with the same path, it goes on where it stopped."""

    @workflow.init
    def __init__(self, request: IssueRequest | None = None) -> None:
        """Temporal hands the same argument to `run`."""
        self.request = one_argument(request, IssueRequest, '{"cluster": NAME, "path": DELIVERY}')
        self.room = asyncio.Semaphore(AT_ONCE)

    @workflow.run
    async def run(self, request: IssueRequest | None = None) -> IssueReport:
        """Node by node; one that fails does not keep the others."""
        named, lock = workflow.info().workflow_id, f"{LOCK}/{self.request.cluster}"
        if named != lock:
            raise refuse("input.workflow-id", f"workflow id: {named}, expected {lock}", f"use {lock}")
        view = await calls.observe_cluster(ClusterQuestion(cluster=self.request.cluster))
        ring = {node.node.address: node.node for node in view.nodes}
        unknown = sorted(set(self.request.nodes) - set(ring))
        if unknown:
            raise refuse(
                "plan.unknown-node",
                f"nodes: {', '.join(unknown)} not in cluster {self.request.cluster}",
                "name nodes by the address that `sealring cluster inspect` shows",
            )
        chosen = [node for address, node in ring.items() if not self.request.nodes or address in self.request.nodes]
        outcomes = await asyncio.gather(*(self.issue(node) for node in chosen))
        return IssueReport(cluster=self.request.cluster, path=self.request.path, nodes=tuple(outcomes))

    async def issue(self, node: NodeRef) -> IssueOutcome:
        """One node."""
        order = IssueOrder(cluster=self.request.cluster, path=self.request.path, node=node)
        async with self.room:
            try:
                return IssueOutcome(address=node.address, issued=await calls.issue_node(order))
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                return IssueOutcome(address=node.address, problem=problem_of(error))
