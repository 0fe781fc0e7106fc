"""What the server puts before a run, as the SDK's core would."""

from collections.abc import Sequence
from dataclasses import dataclass

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import RetryState
from temporalio.api.failure.v1 import Failure
from temporalio.bridge.proto.workflow_activation import WorkflowActivationJob

from tests.twin.run import CONVERTER, Run


@dataclass
class Update:
    """A word of a person to a run, and what became of it."""

    name: str
    outcome: str = ""  # accepted, rejected, completed


def cancel(reason: str) -> WorkflowActivationJob:
    """End, please."""
    job = WorkflowActivationJob()
    job.cancel_workflow.reason = reason
    return job


def signal(name: str, payloads: Sequence[Payload]) -> WorkflowActivationJob:
    """A signal."""
    job = WorkflowActivationJob()
    job.signal_workflow.signal_name = name
    job.signal_workflow.input.extend(payloads)
    return job


def update(identity: str, name: str, payloads: Sequence[Payload]) -> WorkflowActivationJob:
    """An update, to be validated first."""
    job = WorkflowActivationJob()
    job.do_update.id = job.do_update.protocol_instance_id = identity
    job.do_update.name, job.do_update.run_validator = name, True
    job.do_update.input.extend(payloads)
    return job


def child_ended(run: Run, seq: int, result: Payload | None, failure: Failure | None) -> WorkflowActivationJob:
    """To the parent of a run that is over."""
    job = WorkflowActivationJob()
    answer = job.resolve_child_workflow_execution
    answer.seq = seq
    if failure is None:
        answer.result.completed.result.CopyFrom(result or CONVERTER.to_payloads([None])[0])
        return job
    wrapped = (answer.result.cancelled if run.cancelled else answer.result.failed).failure
    wrapped.message = "Child Workflow execution failed"
    wrapped.cause.CopyFrom(failure)
    info = wrapped.child_workflow_execution_failure_info
    info.workflow_execution.workflow_id, info.workflow_execution.run_id = run.workflow_id, run.run_id
    info.workflow_type.name = run.definition.name
    info.retry_state = RetryState.RETRY_STATE_RETRY_POLICY_NOT_SET
    return job
