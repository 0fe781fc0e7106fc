"""The keys change while a rollout waits: it goes on, its history stays readable, and a missing key is named."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, Worker
from typer.testing import CliRunner

from sealring.models.rollout import Phase, RolloutReport
from sealring.models.steering import Resolution
from sealring.temporal.codec import EncryptionCodec
from sealring.temporal.keyring import create_keyring, load_keyring, retire_keyring
from sealring.temporal.plugin import sealring_plugin
from sealring.temporal.policies import CONTROL_QUEUE, DEPLOY_QUEUE
from starters.cli import app
from tests.workflow.fakes import FakeRing, distrusted
from tests.workflow.probing import other_client
from tests.workflow.probing import until as until_event
from tests.workflow.story import N2, deploy, until
from workflows.activation import NodeActivation
from workflows.preparation import NodePreparation
from workflows.rollout import CertificateRollout

WORKFLOWS = [CertificateRollout, NodePreparation, NodeActivation]


@asynccontextmanager
async def workers(client: Client, ring: FakeRing) -> AsyncIterator[None]:
    async with (
        Worker(client, task_queue=CONTROL_QUEUE, workflows=WORKFLOWS, activities=ring.activities),
        Worker(client, task_queue=DEPLOY_QUEUE, activities=ring.activities),
    ):
        yield


@pytest.mark.criterion("Q6")
async def test_a_rollout_goes_on_under_a_new_key_and_waits_for_a_missing_one(
    temporal_dev: WorkflowEnvironment, tmp_path: Path
) -> None:
    path, ring, name = tmp_path / "keyring.json", FakeRing(), "rotated"
    first = create_keyring(path)
    old = await other_client(temporal_dev.client, load_keyring(path))
    ring.fail("verify_node", N2, distrusted(N2))
    async with workers(old, ring):
        handle = await old.start_workflow(
            "CertificateRollout",
            deploy(name, on_failure="ask"),
            id=f"tls-rollout/{name}",
            task_queue=CONTROL_QUEUE,
            result_type=RolloutReport,
        )
        await until(handle, lambda status: status.decision is not None)

    said = CliRunner().invoke(app, ["keyring", "rotate"], env={"SEALRING_KEYRING": str(path)})
    assert said.exit_code == 0, said.output
    both = load_keyring(path)
    second = both.active
    assert second in said.output
    assert both.ids == (first, second)

    new = await other_client(temporal_dev.client, both)
    handle = new.get_workflow_handle(handle.id, result_type=RolloutReport)
    partial = tmp_path / "partial.json"
    partial.write_bytes(path.read_bytes())
    partial.chmod(0o600)
    retire_keyring(partial, first)  # as a machine would have it that was given the new key only
    without = load_keyring(partial)
    async with workers(await other_client(temporal_dev.client, without), ring):
        answered = asyncio.create_task(handle.execute_update("resolve", Resolution(node=N2, action="retry")))
        failed = await until_event(handle, EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)
    failure = failed.workflow_task_failed_event_attributes.failure
    await EncryptionCodec(both).decode_failure(failure)
    assert failure.application_failure_info.type == "codec.unknown-key"
    assert f"encrypted with key {first}" in failure.encoded_attributes.data.decode()
    assert f"add key {first} to the keyring" in str(failure.application_failure_info.details)

    async with workers(new, ring):
        await answered
        report = await handle.result()
    assert report.outcome is Phase.DONE

    replayer = Replayer(workflows=WORKFLOWS, plugins=[sealring_plugin(both)])
    history = await handle.fetch_history()
    assert (await replayer.replay_workflow(history)).replay_failure is None
    raw = b"".join(event.SerializeToString() for event in history.events)
    assert first.encode() in raw
    assert second.encode() in raw
