"""Start the issuing of certificates for keys on the nodes, and wait for its end."""

from temporalio.client import WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from sealring.errors import Actor, ErrorClass, SealringError
from sealring.models.issuing import IssueReport, IssueRequest
from sealring.settings import Settings
from sealring.temporal.connect import client_for
from sealring.temporal.failures import error_of
from sealring.temporal.policies import CONTROL_QUEUE


async def issue(settings: Settings, request: IssueRequest) -> IssueReport:
    """Have a delivery issued; a node that failed is told in the report.

    Raises:
        SealringError: `material.issuing`, when the ring has one in progress; why it could not begin.
    """
    client = await client_for(settings)
    identity = f"tls-issue/{request.cluster}"
    try:
        report: IssueReport = await client.execute_workflow(
            "MaterialIssue",
            request,
            id=identity,
            task_queue=CONTROL_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            result_type=IssueReport,
            static_summary=f"issue {request.path} for {request.cluster}"[:200],
        )
        return report
    except WorkflowAlreadyStartedError:
        raise SealringError(
            "material.issuing",
            f"cluster: {request.cluster} has certificates being issued ({identity})",
            error_class=ErrorClass.SKIP,
            actor=Actor.OPERATOR,
            remedy="wait for its end; the same command then finds what was issued",
        ) from None
    except WorkflowFailureError as failure:
        raise error_of(failure) from None
