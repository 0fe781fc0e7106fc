"""What status shows of steps that fail and wait: read from the real Temporal server."""
# ruff: noqa: ASYNC110 - a test may poll

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.drafts import tell_sent
from sealring.errors import ErrorClass, SealringError
from sealring.temporal.policies import CONTROL_QUEUE, DEPLOY_QUEUE
from starters import rollouts
from starters.show import show_status
from starters.watch import _lines
from tests.workflow.fakes import FakeRing
from tests.workflow.story import N1, N2, PATIENCE, deploy, serving, start
from workers.heartbeats import Heartbeats
from workflows.activation import NodeActivation
from workflows.preparation import NodePreparation
from workflows.rollout import CertificateRollout


def circuit_open(node: str, seconds: float) -> SealringError:
    return SealringError(
        "ssh.circuit-open",
        "no connection is tried: 3 failed in a row",
        error_class=ErrorClass.RETRY,
        node=node,
        retry_after=timedelta(seconds=seconds),
    )


def from_deep_within(error: SealringError, calls: int = 60) -> SealringError:
    """The error as real code raises it: the way to it is longer than what Temporal keeps of a step's last failure."""

    def deeper(left: int) -> None:
        if left == 0:
            raise error
        and_deeper(left - 1)

    def and_deeper(left: int) -> None:  # of one function's frames only the first three are told
        deeper(left)

    with pytest.raises(SealringError):
        deeper(calls)
    return error


@pytest.mark.criterion("A14", "V8")
async def test_an_open_breaker_shows_in_status_with_the_next_attempt(temporal_dev: WorkflowEnvironment) -> None:
    ring = FakeRing()
    ring.fail("validate_node", N2, from_deep_within(circuit_open(N2, 1100)))
    async with serving(temporal_dev, ring):
        handle = await start(temporal_dev, deploy("breaker"))
        async with asyncio.timeout(PATIENCE):
            while not (
                (step := await rollouts.node_step(temporal_dev.client, "breaker", N2, "tls-prepare"))
                and step.pending
                and step.pending[0].problem
            ):
                await asyncio.sleep(0.05)
        (waits,) = step.pending
        assert waits.problem
        assert (waits.step, waits.node, waits.problem.code) == ("validate_node", N2, "ssh.circuit-open")
        assert waits.next_at
        left = waits.next_at - datetime.now(UTC)
        assert timedelta(minutes=12) < left <= timedelta(seconds=1100), "when the breaker lets the next one through"
        status = await rollouts.status(handle)
        screen = Console(width=400, record=True)
        screen.print(show_status(status, {N2: step}))
        told = "no connection is tried: 3 failed in a row"
        words = f"waiting: ssh.circuit-open: {told} (attempt 2 at {waits.next_at:%H:%M:%SZ})"
        assert words in screen.export_text()
        assert f"  {N2} {words}" in _lines(status, {N2: step})
        assert "activate_generation" not in ring.steps(N1)
        await handle.terminate()


@pytest.mark.criterion("V8")
async def test_a_verification_that_meets_an_open_breaker_is_repeated_and_never_passed(
    temporal_dev: WorkflowEnvironment,
) -> None:
    ring = FakeRing()
    ring.fail("verify_node", N1, circuit_open(N1, 0.5), circuit_open(N1, 0.5))
    begin = asyncio.get_running_loop().time()
    async with serving(temporal_dev, ring):
        handle = await start(temporal_dev, deploy("breaker-verify"))
        report = await handle.result()
    assert ring.steps(N1).count("verify_node") == 3
    assert report.outcome.value == "Done"
    assert asyncio.get_running_loop().time() - begin >= 1.0


async def test_a_step_of_the_rollout_itself_shows_too(temporal_dev: WorkflowEnvironment) -> None:
    ring = FakeRing()
    ring.fail("observe_cluster", "", circuit_open("10.0.0.1", 300))
    async with serving(temporal_dev, ring):
        handle = await start(temporal_dev, deploy("breaker-observe"))
        async with asyncio.timeout(PATIENCE):
            while not [p for p in (await rollouts.status(handle)).pending if p.problem]:
                await asyncio.sleep(0.05)
        (waits,) = (await rollouts.status(handle)).pending
        assert (waits.step, waits.node) == ("observe_cluster", "10.0.0.1")
        assert str(waits).startswith("waiting: ssh.circuit-open")
        await handle.terminate()


class Sending(FakeRing):
    """Says how far its transfers have come."""

    async def _enter(self, step: str, address: str) -> object:
        if (step, address) == ("transfer_material", N1):
            tell_sent(65536, 131072)
        return await super()._enter(step, address)


@pytest.mark.criterion("H16")
async def test_the_progress_of_a_transfer_shows_in_status(temporal_dev: WorkflowEnvironment) -> None:
    ring, client = Sending(), temporal_dev.client
    reached, go = ring.hold_at("transfer_material", N1)
    workflows = [CertificateRollout, NodePreparation, NodeActivation]
    async with (
        Worker(client, task_queue=CONTROL_QUEUE, workflows=workflows, activities=ring.activities),
        Worker(client, task_queue=DEPLOY_QUEUE, activities=ring.activities, interceptors=[Heartbeats()]),
    ):
        handle = await start(temporal_dev, deploy("progress"))
        await asyncio.wait_for(reached.wait(), PATIENCE)
        async with asyncio.timeout(PATIENCE):
            while not (
                (step := await rollouts.node_step(client, "progress", N1, "tls-prepare"))
                and step.pending
                and step.pending[0].progress
            ):
                await asyncio.sleep(0.05)
        assert (step.pending[0].step, str(step.pending[0])) == ("transfer_material", "65536 of 131072 bytes sent")
        go.set()
        await handle.result()
