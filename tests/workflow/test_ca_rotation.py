"""A CA rotation against the ring in memory: stages, barriers, the point of no return, and the way on from any stop."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from sealring.models.cluster import RolloutSettings
from sealring.models.rollout import NodeState, Phase, RolloutReport
from sealring.models.steering import RING, Command, Resolution
from tests.workflow.authorities import RotatingRing
from tests.workflow.fakes import blocking, distrusted
from tests.workflow.story import N1, N2, N3, PATIENCE, ended, report_of, run, serving, start, until


def rotate(cluster: str, **more: Any) -> dict[str, Any]:
    wish = {"old_authority": "drop", **more}
    return {"cluster": cluster, "goal": "rotate-ca", "material": {"path": "b"}, **wish}


def stages(report: RolloutReport) -> list[str]:
    assert report.plan is not None
    return [stage.kind for stage in report.plan.stages]


def flips(ring: RotatingRing) -> int:
    return [step for step, _ in ring.calls].count("activate_generation")


def test_the_ring_in_memory_notices_who_would_be_refused() -> None:
    ring = RotatingRing(nodes=2)
    ring.on_disk[N1] = ring.make("b", {"a", "b"}, 0)
    ring._check("now")
    assert ring.violations == [f"now: {N2} would refuse {N1}"]


async def test_a_whole_rotation_takes_three_stages_and_nobody_is_ever_refused(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = RotatingRing()
    report = await run(temporal_skipping, ring, rotate("whole"))
    assert report.outcome is Phase.DONE
    assert stages(report) == ["trust", "identity", "drop"]
    assert ring.holds() == {("b", "b")}
    assert ring.violations == []
    assert {node.state for node in report.nodes} == {NodeState.SERVING}
    barriers = [where for step, where in ring.calls if step == "observe_barrier"]
    assert barriers == ["identity", "drop", "end"]
    assert all(row.consistent for row in report.matrix)
    assert flips(ring) == 9
    assert [c.rollout.split("/")[1] for c in ring.last.values()] == ["drop"] * 3
    again = await run(temporal_skipping, ring, rotate("whole"))
    assert (again.outcome, flips(ring)) == (Phase.DONE, 9)


@pytest.mark.parametrize("waves", range(9))
async def test_stopped_after_any_wave_the_same_command_goes_on(
    temporal_skipping: WorkflowEnvironment, waves: int
) -> None:
    ring, name = RotatingRing(), f"stopped-{waves}"
    address = (N1, N2, N3)[waves % 3]
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, rotate(name))
        for stage in range(waves // 3 + 1):  # one activation of this node in each stage
            reached, go = ring.hold_at("settle_node", address)
            await asyncio.wait_for(reached.wait(), PATIENCE)
            if stage < waves // 3:
                ring.hold.pop(("settle_node", address))
                go.set()
        await handle.execute_update("abort", Command())
        go.set()
        ring.hold.clear()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        left = ring.holds()
        report = await (await start(temporal_skipping, rotate(name))).result()
    assert left <= {("a", "a"), ("a", "ab"), ("b", "ab"), ("b", "b")}
    assert report.outcome is Phase.DONE
    assert ring.holds() == {("b", "b")}
    assert flips(ring) == 9, "no node is given anything twice"
    assert ring.violations == []


async def test_a_node_that_is_down_holds_the_barrier_until_it_is_back(temporal_skipping: WorkflowEnvironment) -> None:
    ring = RotatingRing()
    ring.down = {N3}
    error = await ended(temporal_skipping, ring, rotate("down"))
    report = report_of(error)
    assert error.type == "RolloutFailed"
    assert report.problem is not None
    assert (report.problem.code, report.problem.node) == ("ring.node-down", N3)
    assert ring.holds() == {("a", "ab")}
    ring.down = set()
    assert (await run(temporal_skipping, ring, rotate("down"))).outcome is Phase.DONE
    assert (ring.holds(), flips(ring)) == ({("b", "b")}, 9)


async def test_a_barrier_that_does_not_hold_is_waited_for_and_then_asked_about(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring, name = RotatingRing(rules=RolloutSettings(ring_patience=timedelta(0))), "asked"
    ring.down = {N3}
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, rotate(name, on_failure="ask"))
        status = await until(handle, lambda s: s.decision is not None)
        assert (status.decision.node, status.decision.problem.code) == (RING, "ring.node-down")
        assert (status.stage, status.percent) == ("trust both authorities", 33)
        ring.down = set()
        await handle.execute_update("resolve", Resolution(node=RING, action="retry"))
        assert (await handle.result()).outcome is Phase.DONE


async def test_the_point_of_no_return_is_asked_about_by_name(temporal_skipping: WorkflowEnvironment) -> None:
    ring, name = RotatingRing(), "asks"
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, rotate(name, old_authority="ask"))
        status = await until(handle, lambda s: s.decision is not None)
        assert status.decision.problem.code == "rotation.point-of-no-return"
        assert "team-app" in status.decision.problem.message
        assert status.decision.options == ("drop", "stop")
        assert ring.holds() == {("b", "ab")}
        with pytest.raises(WorkflowUpdateFailedError):  # somebody's late answer to another question
            await handle.execute_update("resolve", Resolution(node=RING, action="go-on"))
        await handle.execute_update("resolve", Resolution(node=RING, action="drop"))
        report = await handle.result()
    assert (report.outcome, ring.holds()) == (Phase.DONE, {("b", "b")})
    assert [w for s, w in ring.calls if s == "observe_barrier"] == ["identity", "drop", "drop", "end"]


@pytest.mark.parametrize("answer", ["stop", ""])
async def test_without_a_yes_both_authorities_stay_trusted(temporal_skipping: WorkflowEnvironment, answer: str) -> None:
    ring, name = RotatingRing(), f"no-{answer or 'answer'}"
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, rotate(name, old_authority="ask"))
        if answer:
            await until(handle, lambda s: s.decision is not None)
            await handle.execute_update("resolve", Resolution(node=RING, action="stop"))
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    report = report_of(caught.value.cause)
    assert report.outcome is Phase.ABORTED
    assert report.problem is not None
    assert "trusts both" in report.problem.message
    assert f"sealring ca rotate {name} -m b --old-authority drop" in report.problem.remedy
    assert ring.holds() == {("b", "ab")}


async def test_kept_the_rotation_is_done_after_two_stages_and_can_be_finished_later(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = RotatingRing()
    ring.clients_need = {"a"}  # which is why it is kept
    report = await run(temporal_skipping, ring, rotate("kept", old_authority="keep"))
    assert (report.outcome, ring.holds()) == (Phase.DONE, {("b", "ab")})
    assert [where for step, where in ring.calls if step == "observe_barrier"] == ["identity", "end"]
    ring.clients_need = set()
    again = await run(temporal_skipping, ring, rotate("kept"))
    assert (stages(again), ring.holds(), flips(ring)) == (["drop"], {("b", "b")}, 9)


async def test_nothing_is_dropped_while_a_known_client_needs_it(temporal_skipping: WorkflowEnvironment) -> None:
    ring = RotatingRing()
    ring.clients_need = {"a"}
    error = await ended(temporal_skipping, ring, rotate("needed"))
    problem = report_of(error).problem
    assert problem is not None
    assert problem.code == "barrier.client-needs-old"
    assert ring.holds() == {("b", "ab")}


async def test_a_node_that_fails_in_the_second_stage_is_taken_back_and_nothing_is_dropped(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = RotatingRing()
    refusing = [distrusted(N2)]
    planned = ring.faults.setdefault(("verify_node", N2), [])
    planned += [None, *refusing]
    error = await ended(temporal_skipping, ring, rotate("second"))
    report = report_of(error)
    assert {n.address: n.state for n in report.nodes}[N2] is NodeState.ROLLED_BACK
    assert ring.holds() == {("b", "ab"), ("a", "ab")}
    assert ring.violations == []


async def test_a_refusal_in_a_later_stage_names_it_and_says_that_the_ring_was_touched(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = RotatingRing()
    ring.faults["preflight_node", N2] = [None, blocking("node.staged", N2)]
    error = await ended(temporal_skipping, ring, rotate("later"))
    assert error.type == "RolloutFailed"
    assert '"present the new leaf" was not begun' in str(report_of(error).problem)
    assert ring.holds() == {("a", "ab")}


async def test_rolled_back_from_the_second_stage_and_then_completed(temporal_skipping: WorkflowEnvironment) -> None:
    ring, name = RotatingRing(), "back"
    await run(temporal_skipping, ring, rotate(name, old_authority="keep"))
    back = await run(temporal_skipping, ring, {"cluster": name, "goal": "rollback"})
    assert (back.outcome, ring.holds()) == (Phase.DONE, {("a", "ab")})
    report = await run(temporal_skipping, ring, rotate(name))
    assert (stages(report), ring.holds()) == (["identity", "drop"], {("b", "b")})
    assert ring.violations == []


async def test_a_rollback_takes_back_the_last_stage_alone_where_it_was_cut(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring, name = RotatingRing(), "cut"
    ring.faults["verify_node", N2] = [None, distrusted(N2)]
    await ended(temporal_skipping, ring, rotate(name))  # N1 presents the new leaf, the others trust both
    await run(temporal_skipping, ring, {"cluster": name, "goal": "rollback"})
    assert ring.holds() == {("a", "ab")}
    assert ring.violations == []


async def test_a_leaf_that_nobody_trusts_any_more_is_not_put_back(temporal_skipping: WorkflowEnvironment) -> None:
    ring, name = RotatingRing(), "too-late"
    await run(temporal_skipping, ring, rotate(name))
    ring.previous[N1] = ring.make("a", {"a", "b"}, 0)
    error = await ended(temporal_skipping, ring, {"cluster": name, "goal": "rollback", "nodes": [N1]})
    assert error.type == "RolloutRefused"
    assert "material.trusted-by-peers" in str(report_of(error).problem)
    assert ring.holds() == {("b", "b")}
    assert ring.violations == []


async def test_a_delivery_that_trusts_both_drops_nothing(temporal_skipping: WorkflowEnvironment) -> None:
    ring = RotatingRing()
    report = await run(temporal_skipping, ring, rotate("both", material={"path": "b+a"}))
    assert (stages(report), ring.holds()) == (["trust", "identity"], {("b", "ab")})


@pytest.mark.parametrize("changes", [{1}, {2, 6}, {4}, {8, 9}])
async def test_a_topology_that_changes_anywhere_is_planned_again_and_no_stage_is_skipped(
    temporal_skipping: WorkflowEnvironment, changes: set[int]
) -> None:
    ring = RotatingRing()
    ring.changes = frozenset(changes)
    report = await run(temporal_skipping, ring, rotate(f"changes-{min(changes)}"))
    assert (report.outcome, ring.holds(), flips(ring)) == (Phase.DONE, {("b", "b")}, 9)
    assert stages(report) == ["trust", "identity", "drop"]
    assert [step for step, _ in ring.calls].count("make_plan") == 1 + len(changes)
    assert [where for step, where in ring.calls if step == "observe_barrier"] == ["identity", "drop", "end"]
    assert [step for step, _ in ring.calls].count("transfer_material") == 9
    assert ring.violations == []


async def test_some_nodes_of_a_ring_are_no_rotation(temporal_skipping: WorkflowEnvironment) -> None:
    error = await ended(temporal_skipping, RotatingRing(), rotate("some", nodes=[N1]))
    assert error.type == "RolloutRefused"
    assert "nodes" in str(report_of(error).problem)


async def test_both_are_trusted_for_as_long_as_the_cluster_s_rules_say(temporal_skipping: WorkflowEnvironment) -> None:
    ring = RotatingRing(rules=RolloutSettings(authority_hold=timedelta(days=2)))
    report = await run(temporal_skipping, ring, rotate("hold"))
    assert report.finished_at is not None
    assert report.finished_at - report.started_at > timedelta(days=2)
    assert ring.holds() == {("b", "b")}
