"""The door of Temporal: the real server and its stock CLI, told things that make no sense.

A bad start ends as failed and frees the ring's lock; a bad signal is noted and changes nothing; a bad update is
rejected.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from sealring.models.steering import RolloutStatus
from sealring.temporal.codec_server import serve_codec
from sealring.temporal.failures import problem_of
from sealring.temporal.keyring import Keyring
from sealring.temporal.policies import CONTROL_QUEUE, DEPLOY_QUEUE
from tests.badinput.catalogue import Case, cases
from tests.workflow.fakes import FakeRing
from tests.workflow.probing import run
from tests.workflow.story import N1, deploy, start
from workers.control import WORKFLOWS

pytestmark = pytest.mark.criterion("G4", "I1")

ENDS = 150  # seconds


@pytest.fixture
async def ring(temporal_dev: WorkflowEnvironment) -> AsyncIterator[FakeRing]:
    """Workers as in production, in front of a ring in memory that counts every call."""
    ring, client = FakeRing(), temporal_dev.client
    async with (
        Worker(client, task_queue=CONTROL_QUEUE, workflows=WORKFLOWS, activities=ring.activities),
        Worker(client, task_queue=DEPLOY_QUEUE, activities=ring.activities),
    ):
        yield ring


@pytest.fixture
async def codec(keyring: Keyring) -> AsyncIterator[str]:
    """The codec server, so that the CLI can show what a refusal says."""
    async with serve_codec(keyring, port=0, ui_origin="http://127.0.0.1:1") as address:
        yield address


@pytest.mark.parametrize("case", cases("start"))
async def test_a_bad_start_ends_with_a_code(
    case: Case, temporal_dev: WorkflowEnvironment, ring: FakeRing, temporal_cli: str
) -> None:
    calls, address = len(ring.calls), temporal_dev.client.service_client.config.target_host
    kind = [] if "--type" in case.input else ["--type", "CertificateRollout"]
    words = ("workflow", "start", "--address", address, "--task-queue", CONTROL_QUEUE, "-w", "tls-rollout/bad")
    status, _, told = await run(temporal_cli, *words, *kind, *case.input)
    assert status == 0, told
    handle = temporal_dev.client.get_workflow_handle("tls-rollout/bad")
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one it is stands in the problem
        await asyncio.wait_for(handle.result(), ENDS)
    assert (await handle.describe()).status is WorkflowExecutionStatus.FAILED
    found = str(problem_of(caught.value))
    case.expects(found if f"[{case.code}]" in found else f"[{case.code}] {found}" if case.code in found else found)
    assert len(ring.calls) == calls, "the ring was asked"


async def steerable(environment: WorkflowEnvironment, ring: FakeRing, name: str) -> tuple[Any, Any]:
    """A rollout that stands still before it has touched anything."""
    reached, go = ring.hold_at("validate_node", N1)
    handle = await start(environment, deploy(name, nodes=[N1]))
    await asyncio.wait_for(reached.wait(), ENDS)
    return handle, go


async def test_bad_signals_are_noted_and_change_nothing(
    temporal_dev: WorkflowEnvironment, ring: FakeRing, temporal_cli: str, subtests: pytest.Subtests
) -> None:
    handle, go = await steerable(temporal_dev, ring, "signals")
    address = temporal_dev.client.service_client.config.target_host
    before = await handle.query("status", result_type=RolloutStatus)
    for parameter in cases("signal"):
        (case,) = parameter.values
        with subtests.test(case.name):
            words = ("workflow", "signal", "--address", address, "-w", handle.id)
            status, _, told = await run(temporal_cli, *words, *case.input)
            assert status == 0, told
            await handle.query("status")  # behind the signal
            page = await handle.query("__temporal_workflow_metadata")
            remark = page["currentDetails"] if isinstance(page, dict) else page.current_details
            case.expects(remark)
            after = await handle.query("status", result_type=RolloutStatus)
            assert replace_times(after) == replace_times(before)
    go.set()
    assert (await handle.result()).outcome == "Done"


async def test_bad_updates_are_rejected_with_words(
    temporal_dev: WorkflowEnvironment, ring: FakeRing, temporal_cli: str, codec: str, subtests: pytest.Subtests
) -> None:
    handle, go = await steerable(temporal_dev, ring, "updates")
    address = temporal_dev.client.service_client.config.target_host
    before = await handle.query("status", result_type=RolloutStatus)
    for parameter in cases("update"):
        (case,) = parameter.values
        with subtests.test(case.name):
            words = ("workflow", "update", "execute", "--address", address, "-w", handle.id)
            status, out, told = await run(temporal_cli, *words, *case.input, "--codec-endpoint", codec)
            assert status != 0, out
            case.expects(told.replace(f"type: {case.code}", f"[{case.code}]"))
            after = await handle.query("status", result_type=RolloutStatus)
            assert replace_times(after) == replace_times(before)
    go.set()
    assert (await handle.result()).outcome == "Done"


def replace_times(status: RolloutStatus) -> dict[str, Any]:
    """What of a status does not change with the clock."""
    shown: dict[str, Any] = json.loads(status.model_dump_json())
    return {name: value for name, value in shown.items() if name not in ("seconds_left", "waiting_for")}
