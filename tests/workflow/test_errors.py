"""How errors arrive: from an activity, a child, a mistyped start or update, on real servers."""

import logging
from collections.abc import AsyncIterator

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.testing import WorkflowEnvironment

from sealring.errors import Actor, ErrorClass
from sealring.models.problem import Problem
from sealring.temporal.codec import EncryptionCodec
from sealring.temporal.failures import problem_of
from sealring.temporal.keyring import Keyring
from tests.workflow.probe import QUEUE, Probe, ProbeRequest, Release
from tests.workflow.probing import CLUSTER, fresh_id, probe, problem_of_workflow, run, worker_of


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
    await dev.get_workflow_handle(child).signal(Probe.release, Release(comment="done"))


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
