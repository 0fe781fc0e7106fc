"""The story of a rollout, against a ring in memory and the time-skipping Temporal server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from sealring.models.cluster import RolloutSettings
from sealring.models.rollout import NodeState, Phase, RolloutReport
from sealring.models.steering import Command, NodeStep, Resolution, RolloutStatus
from sealring.temporal.policies import CONTROL_QUEUE, DEPLOY_QUEUE
from tests.workflow.fakes import FakeRing, blocking, dead, distrusted, generation
from workflows.activation import NodeActivation
from workflows.preparation import NodePreparation
from workflows.rollout import CertificateRollout

N1, N2, N3 = "127.0.0.1", "127.0.0.2", "127.0.0.3"
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


@pytest.mark.criterion("V3", "I1")
async def test_every_node_is_prepared_before_any_is_activated(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing()
    report = await run(temporal_skipping, ring, deploy("all"))
    assert report.outcome is Phase.DONE
    assert {n.state for n in report.nodes} == {NodeState.SERVING}
    assert all(row.consistent for row in report.matrix)
    assert [ring.steps(a) for a in (N1, N2, N3)] == [BY_RELOAD] * 3
    order = [step for step, _ in ring.calls]
    assert order.index("activate_generation") > max(i for i, step in enumerate(order) if step == "preflight_node")
    assert {n.before.id for n in report.nodes if n.before} == {generation("a", i).id for i in range(3)}


async def test_a_dry_run_ends_with_the_plan(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing()
    report = await run(temporal_skipping, ring, deploy("dry", dry_run=True))
    assert report.plan is not None
    assert len(report.plan.waves) == 3
    assert report.plan_digest == report.plan.digest
    assert [step for step, _ in ring.calls] == ["observe_cluster", "resolve_material"]


async def test_a_served_generation_is_left_alone(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing()
    ring.on_disk[N2] = ring.serving[N2] = generation("b", 1).id
    report = await run(temporal_skipping, ring, deploy("again"))
    assert ring.steps(N2) == []
    assert {n.address: n.state for n in report.nodes}[N2] is NodeState.UNCHANGED


async def test_a_node_that_is_not_ready_stops_everything_before_activation(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = FakeRing()
    ring.fail("preflight_node", N2, blocking("material.key-matches-leaf", N2))
    error = await ended(temporal_skipping, ring, deploy("unready"))
    assert error.type == "RolloutRefused"
    assert "material.key-matches-leaf" in str(report_of(error).problem)
    assert "activate_generation" not in [step for step, _ in ring.calls]
    assert report_of(error).problem is not None
    assert "mend it" in str(report_of(error).problem)


async def test_a_waived_check_does_not_block(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing()
    ring.fail("preflight_node", N2, blocking("material.lifetime", N2))
    report = await run(temporal_skipping, ring, deploy("waived", waive=["material.lifetime"]))
    assert report.outcome is Phase.DONE
    assert report.waived == ("material.lifetime",)
    assert [f.check for n in report.nodes for f in n.findings] == ["material.lifetime"]


async def test_bad_material_is_refused_before_a_node_is_asked(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing()
    ring.fail("resolve_material", "", blocking("material.chain", N1))
    error = await ended(temporal_skipping, ring, deploy("bad"))
    assert error.type == "RolloutRefused"
    assert ring.steps(N1) == []


async def test_a_reload_that_does_nothing_is_followed_by_a_restart(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing(nodes=1)
    ring.reload_works = False
    report = await run(temporal_skipping, ring, deploy("idle"))
    assert report.nodes[0].method == "reload+restart"
    assert ring.steps(N1)[-5:] == ["verify_node", "drain_node", "restart_node", "verify_node", "settle_node"]


@pytest.mark.parametrize("rules", [{"allow_restart": False}, {"apply": "reload"}])
async def test_without_leave_no_node_is_restarted(temporal_skipping: WorkflowEnvironment, rules: Any) -> None:
    ring = FakeRing(nodes=1, rules=RolloutSettings(**rules))
    ring.reload_works = False
    ring.fail("verify_node", N1, distrusted(N1))
    await ended(temporal_skipping, ring, deploy(f"no-restart-{next(iter(rules))}"))
    assert "restart_node" not in ring.steps(N1)


async def test_a_refused_reload_is_not_followed_by_a_restart_that_could_not_come_up(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = FakeRing(nodes=1)
    ring.fail("reload_tls", N1, blocking("apply.reload", N1))
    error = await ended(temporal_skipping, ring, deploy("refused-reload"))
    assert "restart_node" not in ring.steps(N1)
    assert report_of(error).nodes[0].state is NodeState.ROLLED_BACK


async def test_a_generation_that_peers_refuse_is_taken_back_and_the_rest_stays(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = FakeRing()
    ring.fail("verify_node", N2, distrusted(N2))
    error = await ended(temporal_skipping, ring, deploy("refused-by-peers"))
    report = report_of(error)
    assert error.type == "RolloutFailed"
    assert {n.address: n.state for n in report.nodes} == {
        N1: NodeState.SERVING,
        N2: NodeState.ROLLED_BACK,
        N3: NodeState.PREPARED,
    }
    assert ring.steps(N2)[-5:] == ["verify_node", "rollback_node", "reload_tls", "verify_node", "settle_node"]
    assert "restart_node" not in ring.steps(N2)
    assert ring.serving[N2] == ring.on_disk[N2] == generation("a", 1).id
    assert "activate_generation" not in ring.steps(N3)


async def test_a_node_that_does_not_start_is_taken_back_by_restart(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing(nodes=1)
    ring.fail("restart_node", N1, dead(N1))
    error = await ended(temporal_skipping, ring, deploy("dead", apply="restart"))
    assert ring.steps(N1)[-6:] == [
        "restart_node",
        "rollback_node",
        "drain_node",
        "restart_node",
        "verify_node",
        "settle_node",
    ]
    assert report_of(error).nodes[0].state is NodeState.ROLLED_BACK
    assert report_of(error).problem is not None
    assert "start.failed" in str(report_of(error).problem)


async def test_the_budget_lets_the_rest_go_on(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing()
    ring.fail("verify_node", N1, distrusted(N1))
    report = await run(temporal_skipping, ring, deploy("budget", failure_budget=1))
    assert [n.state for n in report.nodes] == [NodeState.ROLLED_BACK, NodeState.SERVING, NodeState.SERVING]


async def test_a_node_without_a_way_back_stops_everything(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing()
    ring.fail("verify_node", N1, distrusted(N1), distrusted(N1))
    error = await ended(temporal_skipping, ring, deploy("broken", failure_budget=2))
    report = report_of(error)
    assert [n.state for n in report.nodes] == [NodeState.BROKEN, NodeState.PREPARED, NodeState.PREPARED]
    assert "way back failed" in str(report.problem)


async def test_rollback_on_request_takes_the_same_way_to_the_previous_generation(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = FakeRing()
    await run(temporal_skipping, ring, deploy("back"))
    report = await run(temporal_skipping, ring, {"cluster": "back", "goal": "rollback", "nodes": [N1, N3]})
    assert report.outcome is Phase.DONE
    assert ring.serving == {N1: generation("a", 0).id, N2: generation("b", 1).id, N3: generation("a", 2).id}
    assert ring.steps(N1).count("transfer_material") == 1


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
        await asyncio.wait_for(reached.wait(), 30)
        await handle.signal("pause", {"reason": "look first"})
        await until(handle, lambda s: s.phase is Phase.PAUSED)
        go.set()
        node = temporal_skipping.client.get_workflow_handle(f"tls-node/pause/{N1}")
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
        await asyncio.wait_for(reached.wait(), 30)
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
        await asyncio.wait_for(reached.wait(), 30)
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
        await asyncio.wait_for(reached.wait(), 30)
        await handle.execute_update("abort", Command())
        go.set()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    assert "restart_node" not in ring.steps(N1)
    assert ring.on_disk[N1] == ring.serving[N1] == generation("a", 0).id


async def test_the_ring_must_be_whole_before_each_wave(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing()
    for _ in range(100):
        ring.fail("check_ring", "", blocking("ring.node-down", N3))
    error = await ended(temporal_skipping, ring, deploy("gate"))
    assert error.type == "RolloutFailed"
    assert report_of(error).problem is not None
    assert "ring.node-down" in str(report_of(error).problem)
    assert "activate_generation" not in [step for step, _ in ring.calls]


async def test_the_workflow_id_is_the_lock(temporal_skipping: WorkflowEnvironment) -> None:
    async with serving(temporal_skipping, FakeRing()):
        handle = await temporal_skipping.client.start_workflow(
            "CertificateRollout", deploy("lock"), id="something-else", task_queue=CONTROL_QUEUE
        )
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    assert "tls-rollout/lock" in caught.value.cause.message


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ({"cluster": "x", "material": {"path": "b"}, "nods": []}, "nods"),
        ({"cluster": "x"}, "material"),
        ({"cluster": "../x", "material": {"path": "b"}}, "cluster"),
        ({"cluster": "x", "material": {"path": "b"}, "failure_budget": -1}, "failure_budget"),
    ],
)
async def test_a_mistake_in_the_request_is_refused_by_the_field_s_name(
    temporal_skipping: WorkflowEnvironment, request_: dict[str, Any], named: str
) -> None:
    async with serving(temporal_skipping, FakeRing()):
        handle = await start(temporal_skipping, request_)
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    assert named in str(caught.value.cause)


async def test_words_without_an_argument_suspend_nothing(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing()
    reached, go = ring.hold_at("reload_tls", N1)
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, deploy("wordless"))
        await asyncio.wait_for(reached.wait(), 30)
        for word in ("resume", "resolve", "pause", "resume"):
            await handle.signal(word)
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update("resolve")
        go.set()
        assert (await handle.result()).outcome is Phase.DONE


async def test_a_start_without_input_ends_and_says_what_is_missing(temporal_skipping: WorkflowEnvironment) -> None:
    async with serving(temporal_skipping, FakeRing()):
        handle = await temporal_skipping.client.start_workflow(
            "CertificateRollout", id="tls-rollout/none", task_queue=CONTROL_QUEUE
        )
        with pytest.raises(WorkflowFailureError) as caught:
            await asyncio.wait_for(handle.result(), 30)
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == "input.invalid"


async def test_a_node_whose_workflow_was_terminated_is_broken_until_somebody_looks(
    temporal_dev: WorkflowEnvironment,
) -> None:
    ring = FakeRing()
    reached, go = ring.hold_at("reload_tls", N1)
    async with serving(temporal_dev, ring):
        handle = await start(temporal_dev, deploy("terminated"))
        await asyncio.wait_for(reached.wait(), 30)
        await temporal_dev.client.get_workflow_handle(f"tls-node/terminated/{N1}").terminate("a test")
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        go.set()
    assert isinstance(caught.value.cause, ApplicationError)
    report = report_of(caught.value.cause)
    assert report.nodes[0].state is NodeState.BROKEN
    assert report.problem is not None
    assert report.problem.code == "workflow.terminated"


async def test_a_node_that_does_not_stay_well_is_taken_back(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing(nodes=1)
    ring.fail("settle_node", N1, blocking("ring.node-down", N1))
    error = await ended(temporal_skipping, ring, deploy("unwell"))
    assert report_of(error).nodes[0].state is NodeState.ROLLED_BACK
    assert ring.serving[N1] == generation("a", 0).id


async def until(handle: WorkflowHandle[Any, Any], true: Any, answer: type[Any] = RolloutStatus) -> Any:
    """Ask for the status until something holds."""
    async with asyncio.timeout(30):
        while True:
            status = await handle.query("status", result_type=answer)
            if true(status):
                return status
            await asyncio.sleep(0.05)
