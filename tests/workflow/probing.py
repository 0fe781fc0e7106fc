"""What the probes of the plugin need: activities that fail in many ways, a worker, and ways to look at the outcome."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.worker import Worker

from sealring.errors import Actor, passing, refuse
from sealring.models.problem import Problem
from sealring.temporal.failures import problem_of
from sealring.temporal.keyring import Keyring
from sealring.temporal.plugin import sealring_plugin
from tests.workflow.probe import QUEUE, Impure, Probe, ProbeRequest, ProbeResult

PEM = "-----BEGIN PRIVATE KEY-----\n" + "MIGHAgEAMBMGByqGSM49AgEG" * 6 + "\n-----END PRIVATE KEY-----\n"
CLUSTER = "prod-eu-7"


@activity.defn
async def echo(request: ProbeRequest) -> str:
    return request.cluster


@activity.defn
async def second_time_lucky(request: ProbeRequest) -> str:
    if activity.info().attempt == 1:
        raise passing("ssh.unreachable", "the link is down", node="127.0.0.11")
    return f"attempt {activity.info().attempt}"


@activity.defn
async def never_lucky(request: ProbeRequest) -> str:
    raise passing("ssh.unreachable", "the link is down", "mend it", actor=Actor.NETWORK_ADMIN, node="127.0.0.11")


@activity.defn
async def wrong_key(request: ProbeRequest) -> str:
    # Repeating cannot help, so a second attempt would be a defect.
    assert activity.info().attempt == 1
    raise refuse(
        "pki.key-mismatch", "the key does not fit the leaf", "deliver both", actor=Actor.PKI_ADMIN, node="127.0.0.12"
    )


@activity.defn
async def leaky(request: ProbeRequest) -> str:
    try:
        raise ValueError(f"cannot parse {PEM}")
    except ValueError as cause:
        noise = f"in line keystore_password={request.cluster}"
        raise KeystoreToolError(f"{PEM} {noise}") from cause


class KeystoreToolError(Exception):
    """Anybody's exception."""


@activity.defn
async def slow() -> str:
    await asyncio.sleep(30)
    return "late"


ACTIVITIES: list[Callable[..., Any]] = [echo, second_time_lucky, never_lucky, wrong_key, leaky, slow]


def worker_of(client: Client, queue: str = QUEUE) -> Worker:
    """As production makes one: everything but workflows and activities comes from the client's plugin."""
    return Worker(client, task_queue=queue, workflows=[Probe, Impure], activities=ACTIVITIES, max_cached_workflows=50)


def fresh_id() -> str:
    return f"probe/{uuid.uuid4()}"


async def probe(client: Client, request: ProbeRequest, queue: str = QUEUE) -> ProbeResult:
    return await client.execute_workflow(Probe.run, request, id=fresh_id(), task_queue=queue)


async def other_client(client: Client, keyring: Keyring | None) -> Client:
    return await Client.connect(client.service_client.config.target_host, plugins=[sealring_plugin(keyring)])


async def run(*command: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def problem_of_workflow(handle: WorkflowHandle[Any, Any]) -> Problem:
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    return problem_of(caught.value)


async def until(handle: WorkflowHandle[Any, Any], event_type: EventType.ValueType) -> HistoryEvent:
    """The first event of that type, as soon as it is there."""
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.event_type == event_type:
            return event
    pytest.fail(f"the workflow ended without {EventType.Name(event_type)}")
