"""The plugin on real servers: what is stored, what the CLI can do, which key opens what, what the sandbox forbids."""

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import EventType, IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client, WorkflowHistory
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer

from sealring.errors import SealringError
from sealring.temporal.attributes import SEARCH_ATTRIBUTES, TLS_CLUSTER, register_search_attributes
from sealring.temporal.codec import ENCODING, KEY_ID, EncryptionCodec
from sealring.temporal.codec_server import serve_codec
from sealring.temporal.keyring import Keyring, create_keyring, load_keyring, rotate_keyring
from sealring.temporal.plugin import sealring_plugin
from tests.workflow.probe import QUEUE, Impure, Probe, ProbeRequest, ProbeResult, Release
from tests.workflow.probing import CLUSTER, fresh_id, other_client, run, until, worker_of


@pytest.fixture(scope="module")
async def dev(temporal_dev: WorkflowEnvironment) -> AsyncIterator[Client]:
    """A client of the real server, with a worker behind it."""
    async with worker_of(temporal_dev.client):
        yield temporal_dev.client


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
        task_queue=queue,  # no short task_timeout: only a first failure is reported, and one that comes too late is not
    )
    async with worker_of(wrong, queue):
        failed = await until(handle, EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)
    failure = failed.workflow_task_failed_event_attributes.failure
    await EncryptionCodec(foreign).decode_failure(failure)
    assert failure.application_failure_info.type == "codec.unknown-key"
    assert keyring.active in failure.encoded_attributes.data.decode()
    assert "the setting keyring names" in caplog.text  # the worker's own log says which setting
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


@pytest.mark.parametrize("skips_time", [False, True], ids=["dev server", "time-skipping server"])
async def test_search_attributes_are_registered_once_and_for_all(
    temporal_dev: WorkflowEnvironment, temporal_skipping: WorkflowEnvironment, skips_time: bool
) -> None:
    environment = temporal_skipping if skips_time else temporal_dev
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
