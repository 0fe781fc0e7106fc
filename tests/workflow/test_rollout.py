"""The story of a rollout, against a ring in memory and the time-skipping Temporal server."""

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from sealring.errors import Actor, refuse
from sealring.models.cluster import RolloutSettings
from sealring.models.rollout import NodeState, Phase
from sealring.temporal.policies import CONTROL_QUEUE
from tests.workflow.fakes import FakeRing, blocking, dead, distrusted, generation
from tests.workflow.story import (
    BY_RELOAD,
    N1,
    N2,
    N3,
    PATIENCE,
    deploy,
    ended,
    report_of,
    run,
    serving,
    start,
)


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
    assert [step for step, _ in ring.calls] == ["observe_cluster", "resolve_material", "make_plan"]


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


async def test_a_step_of_preparation_that_fails_is_told_with_its_remedy(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing()
    full = refuse("node.disk-full", "no space left", "make room", actor=Actor.NODE_ADMIN, node=N2)
    ring.fail("transfer_material", N2, full)
    problem = report_of(await ended(temporal_skipping, ring, deploy("no-room"))).problem
    assert problem is not None
    assert (problem.code, problem.actor, problem.remedy) == ("node.disk-full", Actor.NODE_ADMIN, "make room")


async def test_a_waived_check_does_not_block(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing()
    ring.fail("preflight_node", N2, blocking("material.lifetime", N2))
    report = await run(temporal_skipping, ring, deploy("waived", waive=["material.lifetime"]))
    assert report.outcome is Phase.DONE
    assert [waiver.code for waiver in report.waived] == ["material.lifetime"]
    assert [f.check for n in report.nodes for f in n.findings] == ["waiver.used", "material.lifetime"]


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


async def test_a_start_without_input_ends_and_says_what_is_missing(temporal_skipping: WorkflowEnvironment) -> None:
    async with serving(temporal_skipping, FakeRing()):
        handle = await temporal_skipping.client.start_workflow(
            "CertificateRollout", id="tls-rollout/none", task_queue=CONTROL_QUEUE
        )
        with pytest.raises(WorkflowFailureError) as caught:
            await asyncio.wait_for(handle.result(), PATIENCE)
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == "input.invalid"


async def test_a_node_whose_workflow_was_terminated_is_broken_until_somebody_looks(
    temporal_dev: WorkflowEnvironment,
) -> None:
    ring = FakeRing()
    reached, go = ring.hold_at("reload_tls", N1)
    async with serving(temporal_dev, ring):
        handle = await start(temporal_dev, deploy("terminated"))
        await asyncio.wait_for(reached.wait(), PATIENCE)
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
