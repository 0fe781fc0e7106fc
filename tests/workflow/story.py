"""How the tests of the workflows start a rollout against the ring in memory, and read how it ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from sealring.models.rollout import RolloutReport
from sealring.models.steering import RolloutStatus
from sealring.temporal.policies import CONTROL_QUEUE, DEPLOY_QUEUE
from tests.workflow.fakes import FakeRing
from workflows.activation import NodeActivation
from workflows.preparation import NodePreparation
from workflows.rollout import CertificateRollout

N1, N2, N3 = "127.0.0.1", "127.0.0.2", "127.0.0.3"
PATIENCE = 150  # seconds: a lost activity comes back after policies.HEARTBEAT; pytest's own limit is longer
PREPARATION = ["validate_node", "backup_node", "transfer_material", "preflight_node"]
BY_RELOAD = [*PREPARATION, "activate_generation", "reload_tls", "verify_node", "settle_node"]


@asynccontextmanager
async def serving(environment: WorkflowEnvironment, ring: FakeRing) -> AsyncIterator[None]:
    client = environment.client
    workflows = [CertificateRollout, NodePreparation, NodeActivation]
    async with (
        Worker(client, task_queue=CONTROL_QUEUE, workflows=workflows, activities=ring.activities),
        Worker(client, task_queue=DEPLOY_QUEUE, activities=ring.activities),
    ):
        yield


async def start(environment: WorkflowEnvironment, request: dict[str, Any]) -> WorkflowHandle[Any, RolloutReport]:
    """As the stock CLI would: plain JSON."""
    return await environment.client.start_workflow(
        "CertificateRollout",
        request,
        id=f"tls-rollout/{request['cluster']}",
        task_queue=CONTROL_QUEUE,
        result_type=RolloutReport,
    )


async def run(environment: WorkflowEnvironment, ring: FakeRing, request: dict[str, Any]) -> RolloutReport:
    async with serving(environment, ring):
        handle = await start(environment, request)
        return await handle.result()


async def ended(environment: WorkflowEnvironment, ring: FakeRing, request: dict[str, Any]) -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as caught:
        await run(environment, ring, request)
    assert isinstance(caught.value.cause, ApplicationError)
    return caught.value.cause


def report_of(error: ApplicationError) -> RolloutReport:
    return RolloutReport.model_validate(error.details[0])


def deploy(cluster: str, **more: Any) -> dict[str, Any]:
    return {"cluster": cluster, "material": {"path": "b"}, **more}


async def recorded(handle: WorkflowHandle[Any, Any], event_type: EventType.ValueType) -> None:
    """Look at the history until such an event is in it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if any(event.event_type == event_type for event in (await handle.fetch_history()).events):
                return
            await asyncio.sleep(0.05)


async def until(handle: WorkflowHandle[Any, Any], true: Any, answer: type[Any] = RolloutStatus) -> Any:
    """Ask for the status until something holds."""
    async with asyncio.timeout(PATIENCE):
        while True:
            status = await handle.query("status", result_type=answer)
            if true(status):
                return status
            await asyncio.sleep(0.05)
