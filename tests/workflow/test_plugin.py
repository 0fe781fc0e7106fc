"""The plugin on real servers: what is stored, what the CLI can do, how errors arrive, what the sandbox forbids."""

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio import activity
from temporalio.api.enums.v1 import EventType, IndexedValueType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowHistory, WorkflowUpdateFailedError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, Worker

from sealring.errors import Actor, ErrorClass, SealringError, passing, refuse
from sealring.models.problem import Problem
from sealring.temporal.attributes import SEARCH_ATTRIBUTES, TLS_CLUSTER, register_search_attributes
from sealring.temporal.codec import ENCODING, KEY_ID, EncryptionCodec
from sealring.temporal.codec_server import serve_codec
from sealring.temporal.failures import problem_of
from sealring.temporal.keyring import Keyring, create_keyring, load_keyring, rotate_keyring
from sealring.temporal.plugin import sealring_plugin
from tests.workflow.probe import QUEUE, Impure, Probe, ProbeRequest, ProbeResult, Release

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


ACTIVITIES = [echo, second_time_lucky, never_lucky, wrong_key, leaky, slow]


def worker_of(client: Client, queue: str = QUEUE) -> Worker:
    """As production makes one: everything but workflows and activities comes from the client's plugin."""
    return Worker(client, task_queue=queue, workflows=[Probe, Impure], activities=ACTIVITIES, max_cached_workflows=50)


@pytest.fixture(scope="module")
async def dev(temporal_dev: WorkflowEnvironment) -> AsyncIterator[Client]:
    """A client of the real server, with a worker behind it."""
    async with worker_of(temporal_dev.client):
        yield temporal_dev.client


@pytest.fixture(scope="module")
async def skipping(temporal_skipping: WorkflowEnvironment) -> AsyncIterator[Client]:
    """A client of the time-skipping server, with a worker behind it."""
    async with worker_of(temporal_skipping.client):
        yield temporal_skipping.client


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


async def test_the_server_holds_ciphertext_only(dev: Client, keyring: Keyring) -> None:
    handle = await dev.start_workflow(
        Probe.run, ProbeRequest(cluster=CLUSTER, wait=True, activity="echo"), id=fresh_id(), task_queue=QUEUE
    )
    await handle.signal(Probe.release, Release(comment="CHG-4711"))
    assert (await handle.result()).answer == CLUSTER
    history = await handle.fetch_history()
    started = history.events[0].workflow_execution_started_event_attributes
    assert started.input.payloads[0].metadata["encoding"] == ENCODING
    assert started.input.payloads[0].metadata[KEY_ID] == keyring.active.encode()
    stored = b"".join(event.SerializeToString() for event in history.events if not _upserts(event.event_type))
    assert CLUSTER.encode() not in stored
    assert b"CHG-4711" not in stored
    assert stored.count(b"json/plain") == 0


def _upserts(event_type: EventType.ValueType) -> bool:
    """Search attributes are stored in clear, by Temporal's design."""
    return event_type == EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES


async def test_the_stock_cli_starts_signals_and_updates_with_plain_json(
    dev: Client, keyring: Keyring, temporal_cli: str
) -> None:
    workflow_id = fresh_id()
    address = dev.service_client.config.target_host
    base = (temporal_cli, "workflow")
    to = ("--address", address, "--workflow-id", workflow_id)
    document = json.dumps({"cluster": CLUSTER, "wait": True})
    code, _, err = await run(*base, "start", *to, "--type", "Probe", "--task-queue", QUEUE, "--input", document)
    assert code == 0, err
    code, _, err = await run(*base, "signal", *to, "--name", "release", "--input", '{"comment": "by signal"}')
    assert code == 0, err
    assert (await dev.get_workflow_handle(workflow_id, result_type=ProbeResult).result()).comments == ("by signal",)

    async with serve_codec(keyring, port=0, ui_origin="http://127.0.0.1:8233") as url:
        readable = ("--codec-endpoint", url)
        code, out, err = await run(*base, "result", *to, *readable, "--output", "json")
        assert code == 0, err
        assert json.loads(out)["result"]["comments"] == ["by signal"]

        code, _, err = await run(*base, "start", *to, "--type", "Probe", "--task-queue", QUEUE, "--input", document)
        assert code == 0, err
        update = (temporal_cli, "workflow", "update", "execute", *to, *readable, "--name", "release_and_count")
        code, out, err = await run(*update, "--input", '{"comment": "by update"}', "--output", "json")
        assert code == 0, err
        assert json.loads(out)["result"] == 1


async def test_a_mistyped_start_fails_with_the_fields_name_instead_of_hanging(dev: Client, temporal_cli: str) -> None:
    workflow_id = fresh_id()
    code, _, err = await run(
        *(temporal_cli, "workflow", "start", "--address", dev.service_client.config.target_host),
        *("--workflow-id", workflow_id, "--type", "Probe", "--task-queue", QUEUE),
        *("--input", '{"clutser": "hunter22"}'),
    )
    assert code == 0, err
    problem = await problem_of_workflow(dev.get_workflow_handle(workflow_id))
    assert problem.code == "input.invalid"
    assert "clutser" in problem.message
    assert "hunter22" not in problem.message


async def problem_of_workflow(handle: WorkflowHandle[Any, Any]) -> Problem:
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    return problem_of(caught.value)


async def test_a_mistyped_update_is_refused_with_the_fields_name(dev: Client) -> None:
    handle = await dev.start_workflow(
        Probe.run, ProbeRequest(cluster=CLUSTER, wait=True), id=fresh_id(), task_queue=QUEUE
    )
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await handle.execute_update("release_and_count", {"commend": "hunter22"})
    problem = problem_of(caught.value)
    assert problem.code == "input.invalid"
    assert "commend" in problem.message
    assert "hunter22" not in problem.message
    assert await handle.execute_update(Probe.release_and_count, Release(comment="ok")) == 1
    assert (await handle.result()).comments == ("ok",)


@pytest.mark.criterion("A15")
async def test_an_error_keeps_code_class_actor_and_remedy_across_the_activity_boundary(dev: Client) -> None:
    handle = await dev.start_workflow(
        Probe.run, ProbeRequest(cluster=CLUSTER, activity="wrong_key"), id=fresh_id(), task_queue=QUEUE
    )
    assert (await handle.result()).problem == Problem(
        code="pki.key-mismatch",
        message="the key does not fit the leaf",
        error_class=ErrorClass.STOP,
        actor=Actor.PKI_ADMIN,
        remedy="deliver both",
        node="127.0.0.12",
    )
    [failed] = [
        event.activity_task_failed_event_attributes.failure
        for event in (await handle.fetch_history()).events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED
    ]
    assert failed.application_failure_info.type == "pki.key-mismatch"  # readable in the UI without the key
    assert failed.application_failure_info.non_retryable
    assert failed.message == "Encoded failure"
    assert not failed.HasField("cause")


@pytest.mark.criterion("A15")
async def test_a_passing_fault_is_repeated(skipping: Client) -> None:
    result = await probe(skipping, ProbeRequest(cluster=CLUSTER, activity="second_time_lucky"))
    assert result.answer == "attempt 2"


async def test_a_fault_that_does_not_pass_is_reported_when_the_budget_is_spent(skipping: Client) -> None:
    result = await probe(skipping, ProbeRequest(cluster=CLUSTER, activity="never_lucky"))
    assert result.problem is not None
    assert result.problem.code == "ssh.unreachable"
    assert result.problem.actor is Actor.NETWORK_ADMIN
    assert result.problem.remedy == "mend it"


async def test_an_activity_that_hangs_is_a_timeout(dev: Client) -> None:
    result = await probe(dev, ProbeRequest(cluster=CLUSTER, activity="slow"))
    assert result.problem is not None
    assert result.problem.code == "activity.timeout"
    assert "activity slow" in result.problem.message


async def test_a_model_that_does_not_fit_ends_the_activity_at_once(dev: Client) -> None:
    result = await probe(dev, ProbeRequest(cluster=CLUSTER, activity="misled"))
    assert result.problem is not None
    assert result.problem.code == "input.invalid"
    assert "clutser" in result.problem.message


async def test_a_running_child_makes_the_node_busy(dev: Client) -> None:
    child = fresh_id()
    await dev.start_workflow(Probe.run, ProbeRequest(cluster=CLUSTER, wait=True), id=child, task_queue=QUEUE)
    result = await probe(dev, ProbeRequest(cluster=CLUSTER, child=child))
    assert result.problem is not None
    assert (result.problem.code, result.problem.error_class) == ("node.busy", ErrorClass.SKIP)
    assert child in result.problem.message
    await dev.get_workflow_handle_for(Probe.run, child).signal(Probe.release, Release(comment="done"))


async def test_the_error_of_a_childs_activity_is_unwrapped_by_client_and_parent(dev: Client) -> None:
    result = await probe(dev, ProbeRequest(cluster=CLUSTER, child=fresh_id(), activity="strict"))
    assert result.problem is not None
    assert result.problem.code == "plan.no-slack"
    handle = await dev.start_workflow(
        Probe.run, ProbeRequest(cluster=CLUSTER, activity="strict"), id=fresh_id(), task_queue=QUEUE
    )
    assert await problem_of_workflow(handle) == result.problem


async def test_no_secret_reaches_history_or_log(
    skipping: Client, keyring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        handle = await skipping.start_workflow(
            Probe.run, ProbeRequest(cluster="hunter22", activity="leaky"), id=fresh_id(), task_queue=QUEUE
        )
        result = await handle.result()
    assert result.problem is not None
    assert "[redacted PEM]" in result.problem.message
    codec = EncryptionCodec(keyring)
    [failure] = [
        event.activity_task_failed_event_attributes.failure
        for event in (await handle.fetch_history()).events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED
    ]
    await codec.decode_failure(failure)
    told = failure.encoded_attributes.data.decode()
    assert "KeystoreToolError" in failure.application_failure_info.type
    for text in (told, *(record.exc_text or "" for record in caplog.records), caplog.text):
        assert "MIGHAgEAMBMG" not in text
        assert "keystore_password=hunter22" not in text
    assert "KeystoreToolError" in caplog.text or "Completing activity as failed" in caplog.text


async def test_a_rotated_key_opens_what_is_in_flight(temporal_dev: WorkflowEnvironment, tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    first = create_keyring(path)
    before = await other_client(temporal_dev.client, load_keyring(path))
    queue = fresh_id()
    handle = await before.start_workflow(
        Probe.run, ProbeRequest(cluster=CLUSTER, wait=True, activity="echo"), id=fresh_id(), task_queue=queue
    )
    async with worker_of(before, queue):
        assert await until(handle, EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
    second = rotate_keyring(path)
    after = await other_client(temporal_dev.client, load_keyring(path))
    async with worker_of(after, queue):
        handle = after.get_workflow_handle_for(Probe.run, handle.id)
        await handle.signal(Probe.release, Release(comment="after"))
        assert (await handle.result()).answer == CLUSTER
    history = await handle.fetch_history()
    used = {
        payload.metadata[KEY_ID].decode()
        for event in history.events
        for payload in (
            *event.workflow_execution_started_event_attributes.input.payloads,
            *event.workflow_execution_completed_event_attributes.result.payloads,
        )
    }
    assert used == {first, second}
    # The whole history, of two keys, replays offline.
    replayed = await Replayer(workflows=[Probe], plugins=[sealring_plugin(load_keyring(path))]).replay_workflow(history)
    assert replayed.replay_failure is None


async def until(handle: WorkflowHandle[Any, Any], event_type: EventType.ValueType) -> HistoryEvent:
    """The first event of that type, as soon as it is there."""
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.event_type == event_type:
            return event
    pytest.fail(f"the workflow ended without {EventType.Name(event_type)}")


@pytest.mark.parametrize("keyless", [False, True], ids=["another keyring", "no keyring"])
async def test_a_missing_key_suspends_the_workflow_and_names_the_key(
    temporal_dev: WorkflowEnvironment, keyring: Keyring, caplog: pytest.LogCaptureFixture, keyless: bool
) -> None:
    foreign = None if keyless else Keyring("k9", {"k9": bytes(32)}, origin="/etc/sealring/keyring.json")
    wrong = await other_client(temporal_dev.client, foreign)
    queue = fresh_id()
    handle = await temporal_dev.client.start_workflow(
        Probe.run,
        ProbeRequest(cluster=CLUSTER, activity="echo"),
        id=fresh_id(),
        task_queue=queue,
        task_timeout=timedelta(seconds=1),  # how long a task is kept back that the wrong worker took and gave up on
    )
    async with worker_of(wrong, queue):
        failed = await until(handle, EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)
    failure = failed.workflow_task_failed_event_attributes.failure
    await EncryptionCodec(foreign).decode_failure(failure)
    assert failure.application_failure_info.type == "codec.unknown-key"
    assert keyring.active in failure.encoded_attributes.data.decode()
    assert "keyring_path" in caplog.text  # the worker's own log says which setting
    async with worker_of(temporal_dev.client, queue):
        assert (await handle.result()).answer == CLUSTER


async def test_replay_uses_the_same_definition_and_notices_a_changed_story(dev: Client, keyring: Keyring) -> None:
    handle = await dev.start_workflow(
        Probe.run, ProbeRequest(cluster=CLUSTER, activity="wrong_key"), id=fresh_id(), task_queue=QUEUE
    )
    await handle.result()
    history = await handle.fetch_history()
    replayer = Replayer(workflows=[Probe], plugins=[sealring_plugin(keyring)])
    assert (await replayer.replay_workflow(history)).replay_failure is None
    changed = WorkflowHistory.from_json(handle.id, history.to_json().replace("wrong_key", "other_key"))
    result = await replayer.replay_workflow(changed, raise_on_replay_failure=False)
    assert "TMPRL1100" in str(result.replay_failure)


async def test_the_sandbox_is_on(dev: Client) -> None:
    handle = await dev.start_workflow(Impure.run, id=fresh_id(), task_queue=QUEUE)
    failed = await until(handle, EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)
    assert failed.workflow_task_failed_event_attributes.failure.application_failure_info.type == (
        "RestrictedWorkflowAccessError"
    )
    await handle.terminate()


@pytest.mark.parametrize("server", ["temporal_dev", "temporal_skipping"])
async def test_search_attributes_are_registered_once_and_for_all(
    request: pytest.FixtureRequest, server: str, keyring: Keyring
) -> None:
    environment: WorkflowEnvironment = request.getfixturevalue(server)
    await register_search_attributes(environment.client)  # the fixture did it before: repeating is safe
    async with worker_of(environment.client, "attributes"):
        handle = await environment.client.start_workflow(
            Probe.run, ProbeRequest(cluster=CLUSTER), id=fresh_id(), task_queue="attributes"
        )
        await handle.result()
    found = (await handle.describe()).typed_search_attributes
    assert set(SEARCH_ATTRIBUTES) <= {pair.key.name for pair in found}
    assert found[TLS_CLUSTER] == CLUSTER


async def test_a_name_that_is_taken_for_another_type_is_refused(temporal_dev: WorkflowEnvironment) -> None:
    client = temporal_dev.client
    namespace = f"taken-{uuid.uuid4()}"
    retention = Duration(seconds=86400)
    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=namespace, workflow_execution_retention_period=retention)
    )
    other = await Client.connect(client.service_client.config.target_host, namespace=namespace)
    await other.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace=namespace, search_attributes={"TlsCluster": IndexedValueType.INDEXED_VALUE_TYPE_INT}
        )
    )
    with pytest.raises(SealringError) as caught:
        await register_search_attributes(other)
    assert caught.value.code == "temporal.search-attribute-type"
    assert "TlsCluster" in caught.value.message
