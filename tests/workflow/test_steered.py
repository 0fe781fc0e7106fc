"""What people say to a running rollout, and what it does about it."""

import asyncio
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.testing import WorkflowEnvironment

from sealring.models.rollout import NodeState, Phase
from sealring.models.steering import Command, NodeStep, Resolution, RolloutStatus
from sealring.planning.steering import Steering
from tests.workflow.fakes import FakeRing, distrusted, generation
from tests.workflow.story import (
    N1,
    N2,
    N3,
    PATIENCE,
    deploy,
    ended,
    recorded,
    report_of,
    serving,
    start,
    until,
)
from workflows.steered import Steered


async def test_a_decision_is_asked_for_and_retry_prepares_the_node_anew(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = FakeRing()
    ring.fail("verify_node", N2, distrusted(N2))
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, deploy("ask", on_failure="ask"))
        status = await until(handle, lambda s: s.decision is not None)
        assert status.phase is Phase.NEEDS_DECISION
        assert "sealring rollout resolve ask 127.0.0.2 retry" in status.commands
        with pytest.raises(WorkflowUpdateFailedError, match="update failed") as caught:
            await handle.execute_update("resolve", Resolution(node=N1, action="retry"))
        assert isinstance(caught.value.cause, ApplicationError)
        assert caught.value.cause.type == "steer.other-node"
        await handle.execute_update("resolve", Resolution(node=N2, action="retry"))
        report = await handle.result()
    assert [n.state for n in report.nodes] == [NodeState.SERVING] * 3
    assert ring.steps(N2).count("validate_node") == 2


async def test_without_an_answer_the_safe_default_is_taken(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing()
    ring.fail("verify_node", N2, distrusted(N2))
    error = await ended(temporal_skipping, ring, deploy("silence", on_failure="ask"))
    assert error.type == "RolloutFailed"
    assert "activate_generation" not in ring.steps(N3)


@pytest.mark.criterion("N10")
async def test_pause_holds_a_node_between_two_steps_and_resume_lets_it_go(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = FakeRing()
    reached, go = ring.hold_at("activate_generation", N1)
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, deploy("pause"))
        await asyncio.wait_for(reached.wait(), PATIENCE)
        await handle.signal("pause", {"reason": "look first"})
        await until(handle, lambda s: s.phase is Phase.PAUSED)
        node = temporal_skipping.client.get_workflow_handle(f"tls-node/pause/{N1}")
        await until(node, lambda step: step.paused, NodeStep)  # the word has come to the node
        go.set()
        await until(node, lambda step: step.step == "held before reload", NodeStep)
        assert ring.steps(N1)[-1] == "activate_generation"
        await handle.execute_update("resume", Command())
        report = await handle.result()
    assert report.outcome is Phase.DONE


@pytest.mark.parametrize("way", ["update", "signal", "cancel"])
async def test_abort_finishes_the_node_in_hand_and_starts_no_other(
    temporal_skipping: WorkflowEnvironment, way: str
) -> None:
    ring = FakeRing()
    reached, go = ring.hold_at("reload_tls", N1)
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, deploy(f"abort-{way}"))
        await asyncio.wait_for(reached.wait(), PATIENCE)
        match way:
            case "update":
                await handle.execute_update("abort", Command(reason="enough"))
            case "signal":
                await handle.signal("abort", {"reason": "enough"})
            case _:
                await handle.cancel()
        go.set()
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        status = await handle.query("status", result_type=RolloutStatus)
    if way == "cancel":
        assert isinstance(caught.value.cause, CancelledError)
    else:
        assert isinstance(caught.value.cause, ApplicationError)
        assert caught.value.cause.type == "RolloutAborted"
    assert status.phase is Phase.ABORTED
    assert ring.serving[N1] == ring.on_disk[N1] == generation("b", 0).id
    assert ring.steps(N1)[-1] == "settle_node"
    assert "activate_generation" not in ring.steps(N2) + ring.steps(N3)


async def test_abort_in_preparation_is_an_abort_and_touches_nothing(temporal_dev: WorkflowEnvironment) -> None:
    ring = FakeRing()
    reached, go = ring.hold_at("backup_node", N1)
    async with serving(temporal_dev, ring):
        handle = await start(temporal_dev, deploy("abort-early"))
        await asyncio.wait_for(reached.wait(), PATIENCE)
        await handle.execute_update("abort", Command(reason="enough"))
        go.set()
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == "RolloutAborted"
    assert report_of(caught.value.cause).nodes[0].state in (NodeState.UNTOUCHED, NodeState.PREPARED)
    assert "activate_generation" not in [step for step, _ in ring.calls]


async def test_abort_takes_an_unproven_node_back(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing(nodes=1)
    ring.reload_works = False
    reached, go = ring.hold_at("reload_tls", N1)
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, deploy("abort-unproven"))
        await asyncio.wait_for(reached.wait(), PATIENCE)
        await handle.execute_update("abort", Command())
        node = temporal_skipping.client.get_workflow_handle(f"tls-node/abort-unproven/{N1}")
        await recorded(node, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
        go.set()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    assert "restart_node" not in ring.steps(N1)
    assert ring.on_disk[N1] == ring.serving[N1] == generation("a", 0).id


async def test_words_without_an_argument_suspend_nothing(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing()
    reached, go = ring.hold_at("reload_tls", N1)
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, deploy("wordless"))
        await asyncio.wait_for(reached.wait(), PATIENCE)
        # JSON's null is how the stock CLI says nothing. The node first: later the rollout tells it things too.
        node = temporal_skipping.client.get_workflow_handle(f"tls-node/wordless/{N1}")
        await node.signal("pause", None)
        await until(node, lambda step: step.paused, NodeStep)
        await node.signal("resume", None)
        for word in ("resume", "resolve", "pause", "resume"):
            await handle.signal(word)
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update("resolve")
        await handle.signal("pause", None)
        await until(handle, lambda status: status.phase is Phase.PAUSED)
        await handle.signal("resume", None)
        go.set()
        assert (await handle.result()).outcome is Phase.DONE


async def test_a_later_word_does_not_overtake_an_earlier_one() -> None:
    begun, heard, go = [], [], asyncio.Event()

    class Node:
        async def signal(self, word: str) -> None:
            begun.append(word)
            await go.wait()
            heard.append(word)

    class Told:
        steering = Steering(paused=True)

        def publish(self) -> None: ...

    story: Any = Steered()
    story.progress, story.children, story.relaying = Told(), {N1: Node()}, asyncio.Lock()
    pause = asyncio.create_task(story._relay("pause"))
    await asyncio.sleep(0)
    story.progress.steering = Steering()
    resume = asyncio.create_task(story._relay("resume"))
    await asyncio.sleep(0)
    assert begun == ["pause"]
    go.set()
    await asyncio.gather(pause, resume)
    assert heard == ["pause", "resume"]


@pytest.mark.parametrize("word", ["abort", "pause"])
async def test_what_is_said_during_a_look_at_the_ring_counts_before_the_wave(
    temporal_skipping: WorkflowEnvironment, word: str
) -> None:
    ring = FakeRing()
    reached, go = ring.hold_at("check_ring", "")
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, deploy(f"look-{word}"))
        await asyncio.wait_for(reached.wait(), PATIENCE)
        await handle.execute_update(word, Command())
        go.set()
        if word == "abort":
            with pytest.raises(WorkflowFailureError):
                await handle.result()
            assert "activate_generation" not in [step for step, _ in ring.calls]
            return
        await until(handle, lambda s: s.phase is Phase.PAUSED)
        assert "activate_generation" not in [step for step, _ in ring.calls]
        looks = [step for step, _ in ring.calls].count("check_ring")
        await handle.execute_update("resume", Command())
        assert (await handle.result()).outcome is Phase.DONE
    assert [step for step, _ in ring.calls].count("check_ring") == looks + 3  # one more of each wave
