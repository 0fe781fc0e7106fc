"""Start, steer and ask a rollout: the few calls to Temporal that every starter needs."""

from typing import TypeVar

from pydantic import BaseModel
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from sealring.errors import Actor, ErrorClass, SealringError, refuse
from sealring.models.rollout import RolloutReport, RolloutRequest
from sealring.models.steering import Command, NodeStep, Resolution, RolloutStatus
from sealring.temporal.failures import error_of
from sealring.temporal.policies import CONTROL_QUEUE
from starters.pending import pending_of

Answer = TypeVar("Answer", bound=BaseModel)
Rollout = WorkflowHandle[object, RolloutReport]


def rollout_of(client: Client, cluster: str) -> Rollout:
    """The latest rollout of a ring."""
    return client.get_workflow_handle(f"tls-rollout/{cluster}", result_type=RolloutReport)


async def start(client: Client, request: RolloutRequest) -> Rollout:
    """Start a rollout.

    Raises:
        SealringError: `rollout.running`, when the ring has one in progress: its workflow id is the ring's lock.
    """
    identity = f"tls-rollout/{request.cluster}"
    try:
        return await client.start_workflow(
            "CertificateRollout",
            request,
            id=identity,
            task_queue=CONTROL_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            result_type=RolloutReport,
            static_summary=_summary(request),
        )
    except WorkflowAlreadyStartedError:
        raise SealringError(
            "rollout.running",
            f"cluster: {request.cluster} has a rollout in progress ({identity})",
            error_class=ErrorClass.SKIP,
            actor=Actor.OPERATOR,
            remedy=f"follow it with `sealring rollout watch {request.cluster}`, or abort it first",
        ) from None


def _summary(request: RolloutRequest) -> str:
    what = f"deploy {request.material.path}" if request.material else request.goal
    return f"{what}{' (dry run)' if request.dry_run else ''} on {request.cluster}"[:200]


async def result(rollout: Rollout) -> RolloutReport:
    """Wait for the end; the report of a rollout that did not reach its goal is returned too, not raised.

    Raises:
        SealringError: when there is no report: terminated, or refused before a workflow could begin.
    """
    try:
        return await rollout.result()
    except WorkflowFailureError as failure:
        cause = failure.cause
        if isinstance(cause, ApplicationError) and (cause.type or "").startswith("Rollout") and cause.details:
            return RolloutReport.model_validate(cause.details[0])
        description = await rollout.describe()
        if description.status is WorkflowExecutionStatus.CANCELED:
            return await ask(rollout, "report", RolloutReport)
        raise error_of(failure) from None


async def ask(workflow: WorkflowHandle[object, object] | Rollout, query: str, answer: type[Answer]) -> Answer:
    """Query a rollout, running or ended.

    Raises:
        SealringError: `rollout.unknown`, `rollout.no-worker`.
    """
    try:
        found: Answer = await workflow.query(query, result_type=answer)
        return found
    except WorkflowQueryFailedError as error:
        raise refuse("rollout.no-answer", f"{workflow.id}: {error}", "look at it in the Temporal UI") from None
    except (RPCError, WorkflowQueryRejectedError) as error:
        raise _unanswered(workflow.id, error) from None


async def status(rollout: Rollout) -> RolloutStatus:
    """What it does now, and which of its own steps it waits for."""
    answer = await ask(rollout, "status", RolloutStatus)
    return answer.model_copy(update={"pending": await pending_of(await rollout.describe())})


async def node_step(client: Client, cluster: str, address: str, kind: str) -> NodeStep | None:
    """The step that a node's workflow has in hand; None when it does not run (any more)."""
    handle: WorkflowHandle[object, object] = client.get_workflow_handle(f"{kind}/{cluster}/{address}")
    try:
        step = await ask(handle, "status", NodeStep)
        return step.model_copy(update={"pending": await pending_of(await handle.describe(), address)})
    except (SealringError, RPCError):
        return None


async def steer(rollout: Rollout, name: str, word: Command | Resolution) -> RolloutStatus:
    """Say something to a running rollout and hear what it makes of it.

    Raises:
        SealringError: `steer.*`, when it makes no sense now; `rollout.unknown`, when nothing runs.
    """
    try:
        after: RolloutStatus = await rollout.execute_update(name, word, result_type=RolloutStatus)
        return after
    except WorkflowUpdateFailedError as error:
        cause = error.cause
        code = cause.type if isinstance(cause, ApplicationError) and cause.type else "steer.refused"
        said = cause.message if isinstance(cause, ApplicationError) else str(cause)
        raise refuse(code, said, f"look at it: sealring rollout status {rollout.id.partition('/')[2]}") from None
    except RPCError as error:
        raise _unanswered(rollout.id, error) from None


def _unanswered(identity: str, error: Exception) -> SealringError:
    if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
        cluster = identity.partition("/")[2]
        return refuse(
            "rollout.unknown", f"nothing runs as {identity}", f"start one: sealring rollout start {cluster} -m DELIVERY"
        )
    return SealringError(
        "rollout.no-worker",
        f"{identity}: no answer ({error})",
        error_class=ErrorClass.RETRY,
        actor=Actor.OPERATOR,
        remedy=f"see that a worker polls the task queue {CONTROL_QUEUE}: sealring worker control",
    )
