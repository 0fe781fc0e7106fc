"""What Temporal knows of a workflow's steps in hand: attempts, what the last one ended with, when the next one comes.

That is where an open breaker shows (`ssh.circuit-open`), and how far a transfer has come.
"""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import WorkflowExecutionDescription
from temporalio.converter import DataConverter

from sealring.models.steering import PendingStep
from sealring.temporal.failures import problem_of


async def pending_of(description: WorkflowExecutionDescription, node: str = "") -> tuple[PendingStep, ...]:
    """The steps that a workflow waits for.

    Args:
        description: of the workflow, running.
        node: the address of the node that it is about.
    """
    found = description.raw_description.pending_activities
    return tuple([await _step(info, node, description.data_converter) for info in found])


async def _step(info: PendingActivityInfo, node: str, converter: DataConverter) -> PendingStep:
    problem = None
    if info.HasField("last_failure"):
        problem = problem_of(await converter.decode_failure(info.last_failure))
    waits = info.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED and problem is not None
    told = await converter.decode(info.heartbeat_details.payloads) if info.HasField("heartbeat_details") else []
    return PendingStep(
        step=info.activity_type.name,
        node=node or (problem.node if problem else ""),
        attempt=info.attempt,
        problem=problem,
        next_at=_moment(info) if waits else None,
        progress=str(told[0]) if told else "",
    )


def _moment(info: PendingActivityInfo) -> datetime:
    named = info.HasField("next_attempt_schedule_time")
    moment: Timestamp = info.next_attempt_schedule_time if named else info.scheduled_time
    return moment.ToDatetime(UTC)
