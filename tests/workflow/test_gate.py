"""Before each wave: the ring is whole, the proof still holds, a changed ring gets a new plan, a hold is kept."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from sealring.models.cluster import RolloutSettings
from sealring.models.plan import Plan
from sealring.models.rollout import NodeState, Phase, PlanQuestion
from sealring.models.steering import NodeStep, Resolution
from sealring.models.topology import Topology
from sealring.planning.plan import make_plan
from tests.workflow.fakes import FakeRing, blocking, distrusted, generation
from tests.workflow.story import N1, N2, N3, deploy, ended, report_of, run, serving, start, until

N4 = "127.0.0.4"


def topology(ring: FakeRing, *, tokens: int = 0, down: tuple[str, ...] = ()) -> Topology:
    """The ring in memory with one token a node; another `tokens` is another ring."""
    nodes = [
        {
            "address": address,
            "rack": f"rack{number % 3 + 1}",
            "tokens": [100 * number + tokens],
            "host_id": f"host-{number}",
            "state": "down" if address in down else "up",
        }
        for address, number in ring.nodes.items()
    ]
    replication = {"class": "NetworkTopologyStrategy", "dc1": 3}
    return Topology.model_validate(
        {"name": "c", "nodes": nodes, "keyspaces": [{"name": "app", "replication": replication}]}
    )


def known(nodes: int = 3, **rules: Any) -> FakeRing:
    ring = FakeRing(nodes=nodes, rules=RolloutSettings.model_validate(rules))
    ring.topology = topology(ring)
    return ring


async def ended_of(handle: WorkflowHandle[Any, Any]) -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    return caught.value.cause


def flips(ring: FakeRing) -> list[str]:
    return [where for step, where in ring.calls if step == "activate_generation"]


@pytest.mark.criterion("D6")
async def test_replicas_that_are_missing_hold_the_wave_and_healthy_nodes_stay(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = known(ring_patience=60)
    reached, go = ring.hold_at("settle_node", N1)

    async def fall_and_rise() -> None:
        await reached.wait()
        ring.topology = topology(ring, down=(N3,))
        go.set()

    async with serving(temporal_skipping, ring):
        falling = asyncio.create_task(fall_and_rise())
        error = await ended_of(await start(temporal_skipping, deploy("missing", apply="restart")))
        await falling
    report = report_of(error)
    assert report.problem is not None
    assert report.problem.code == "ring.quorum"
    assert "app: LOCAL_QUORUM needs 2 of" in report.problem.message
    assert {n.address: n.state for n in report.nodes}[N1] is NodeState.SERVING
    assert flips(ring) == [N1]


@pytest.mark.criterion("E8")
async def test_a_ring_that_moved_is_planned_again_and_what_is_as_careful_goes_on(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = known()
    reached, go = ring.hold_at("settle_node", N1)
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, deploy("moved", apply="restart"))
        await reached.wait()
        ring.topology = topology(ring, tokens=7)
        go.set()
        report = await handle.result()
    assert report.outcome is Phase.DONE
    assert flips(ring) == [N1, N2, N3]
    assert [step for step, _ in ring.calls].count("make_plan") == 2
    assert report.plan is not None
    assert report.plan.topology == ring.topology.fingerprint
    assert [wave.name for wave in report.plan.waves] == ["wave 1", "wave 2", "wave 3"]


@pytest.mark.criterion("E8")
async def test_nodes_that_leave_and_join_are_told_and_left_alone(temporal_skipping: WorkflowEnvironment) -> None:
    ring = known()
    reached, go = ring.hold_at("settle_node", N1)
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, deploy("others", apply="restart"))
        await reached.wait()
        del ring.nodes[N2]
        ring.join(N4)
        ring.topology = topology(ring)
        go.set()
        report = await handle.result()
    assert report.outcome is Phase.DONE
    assert flips(ring) == [N1, N3]
    assert {(f.check, f.node) for f in report.findings} == {("ring.node-left", N2), ("ring.node-joined", N4)}
    assert {n.address for n in report.nodes} == {N1, N3}


@pytest.mark.criterion("E8")
@pytest.mark.parametrize(("answer", "outcome"), [("go-on", Phase.DONE), ("stop", Phase.FAILED)])
async def test_a_plan_that_is_less_careful_is_a_persons_decision(
    temporal_skipping: WorkflowEnvironment, answer: str, outcome: Phase
) -> None:
    ring = known(nodes=4, on_failure="ask", strategy="fastest", batch="1")
    reached, go = ring.hold_at("settle_node", N1)
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, deploy(f"less-{answer}", apply="restart"))
        await reached.wait()
        ring.rules = ring.rules.model_copy(update={"batch": None})
        ring.topology = topology(ring, tokens=9)
        go.set()
        status = await until(handle, lambda s: s.phase is Phase.NEEDS_DECISION)
        assert status.decision is not None
        assert (status.decision.node, status.decision.problem.code) == ("ring", "plan.changed")
        assert "sealring rollout resolve less-" in status.commands[0]
        said = Resolution.model_validate({"node": "ring", "action": answer})
        await handle.execute_update("resolve", said)
        if outcome is Phase.DONE:
            assert (await handle.result()).outcome is outcome
        else:
            assert report_of(await ended_of(handle)).outcome is outcome


@pytest.mark.criterion("D1")
async def test_behind_the_green_part_a_person_looks(temporal_skipping: WorkflowEnvironment) -> None:
    ring = known(strategy="blue-green", green=["dc1/rack2"])
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, deploy("green"))
        status = await until(handle, lambda s: s.phase is Phase.PAUSED)
        assert flips(ring) == [N2]
        assert "look at it, then resume" in status.waiting_for
        await handle.execute_update("resume", {})
        report = await handle.result()
    assert report.outcome is Phase.DONE
    assert flips(ring)[0] == N2
    assert sorted(flips(ring)) == [N1, N2, N3]


@pytest.mark.criterion("F8")
async def test_nothing_is_touched_when_some_state_of_the_plan_would_split_the_ring(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = FakeRing()
    ring.fail("simulate_trust", "", blocking("trust.states", N2))
    error = await ended(temporal_skipping, ring, deploy("split"))
    assert error.type == "RolloutRefused"
    assert "trust.states" in error.message
    assert flips(ring) == []
    waived = await run(temporal_skipping, FakeRing(), deploy("split", waive=["trust.states"]))
    assert waived.outcome is Phase.DONE


@pytest.mark.criterion("D5")
async def test_where_load_decides_what_remains_is_ordered_anew_before_each_wave(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = known(strategy="load-aware")
    assert ring.topology is not None
    reached, go = ring.hold_at("settle_node", N1)
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, deploy("load", apply="restart"))
        await reached.wait()
        busy = [n.model_copy(update={"load": {N2: 90, N3: 5}.get(n.address, 0)}) for n in ring.topology.nodes]
        ring.topology = ring.topology.model_copy(update={"nodes": tuple(busy)})
        go.set()
        report = await handle.result()
    assert report.outcome is Phase.DONE
    assert flips(ring) == [N1, N3, N2]


@pytest.mark.criterion("D6")
@pytest.mark.parametrize("back", [True, False])
async def test_a_node_that_was_held_is_drained_on_a_new_look_only(
    temporal_skipping: WorkflowEnvironment, back: bool
) -> None:
    ring = known(ring_patience=600)
    reached, go = ring.hold_at("activate_generation", N1)
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, deploy(f"held-{back}", apply="restart", nodes=[N1]))
        await reached.wait()
        await handle.execute_update("pause", {})
        go.set()
        child = temporal_skipping.client.get_workflow_handle(f"tls-node/held-{back}/{N1}")
        await until(child, lambda step: step.step == "held before drain", NodeStep)
        ring.topology = topology(ring, down=(N2,))
        await temporal_skipping.sleep(3600)
        await handle.execute_update("resume", {})
        if back:
            await until(child, lambda step: step.step == "drain", NodeStep)
            ring.topology = topology(ring)
            report = await handle.result()
        else:
            report = report_of(await ended_of(handle))
    (node,) = report.nodes
    if back:
        assert node.state is NodeState.SERVING
        assert ring.steps(N1).count("restart_node") == 1
        return
    assert node.state is NodeState.ROLLED_BACK
    assert node.problem is not None
    assert node.problem.code == "ring.quorum"
    assert not {"drain_node", "restart_node"} & set(ring.steps(N1)), "its replicas never went away"
    assert ring.serving[N1] == generation("a", 0).id


@pytest.mark.criterion("D6")
@pytest.mark.parametrize("check", ["ring.node-moving", "node.streaming", "node.repair", "node.busy", "node.held"])
async def test_work_of_others_is_waited_for_longer_than_a_ring_that_is_not_whole(
    temporal_skipping: WorkflowEnvironment, check: str
) -> None:
    ring = known(ring_patience=60, work_patience=7200)
    reached, go = ring.hold_at("settle_node", N1)

    async def work() -> None:
        await reached.wait()
        ring.fail("check_ring", "", *[blocking(check, N2)] * 20)
        go.set()

    async with serving(temporal_skipping, ring):
        working = asyncio.create_task(work())
        handle = await start(temporal_skipping, deploy(f"work-{check.replace('.', '-')}", apply="restart"))
        report = await handle.result()
        await working
    assert report.outcome is Phase.DONE
    assert flips(ring) == [N1, N2, N3], "nobody was taken back for it"
    assert report.finished_at is not None
    assert (report.finished_at - report.started_at).total_seconds() > 240


@pytest.mark.criterion("D6")
async def test_work_of_others_without_an_end_is_asked_about(temporal_skipping: WorkflowEnvironment) -> None:
    ring = known(ring_patience=10, work_patience=7200)
    ring.fail("check_ring", "", *[blocking("node.repair", N1)] * 1000)
    error = await ended(temporal_skipping, ring, deploy("endless", apply="restart"))
    problem = report_of(error).problem
    assert problem is not None
    assert problem.code == "node.repair"
    looks = [step for step, _ in ring.calls].count("check_ring")
    assert 60 < looks < 120, "two hours are not spent asking every ten seconds"


async def test_a_node_that_is_tried_again_is_drained_on_a_new_look_only(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = known(on_failure="ask", ring_patience=60)
    ring.fail("verify_node", N1, distrusted(N1))
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, deploy("again", apply="restart"))
        await until(handle, lambda s: s.phase is Phase.NEEDS_DECISION)
        await temporal_skipping.sleep(1800)
        ring.topology = topology(ring, down=(N3,))
        begun = len(ring.calls)
        await handle.execute_update("resolve", Resolution.model_validate({"node": N1, "action": "retry"}))
        await until(handle, lambda s: s.phase is Phase.NEEDS_DECISION)
        assert ("check_ring", "") in ring.calls[begun:]
        assert ("drain_node", N1) not in ring.calls[begun:], "with N3 it would be the second replica away"
        await handle.execute_update("abort", {})
        await ended_of(handle)


class Forgetful(FakeRing):
    """A ring that tells its tokens to the gate, and not to the planner."""

    blind = 0

    @activity.defn
    async def make_plan(self, question: PlanQuestion) -> Plan:
        await self._enter("make_plan", "")
        again = [step for step, _ in self.calls].count("make_plan") > 1
        self.blind -= again
        return make_plan(question, self.rules, None if again and self.blind >= 0 else self.topology)


@pytest.mark.criterion("E8")
@pytest.mark.parametrize("blind", [1, 100])
async def test_what_nobody_can_prove_any_more_is_not_more_careful(
    temporal_skipping: WorkflowEnvironment, blind: int
) -> None:
    ring = Forgetful(rules=RolloutSettings(ring_patience=timedelta(seconds=60)))
    ring.topology, ring.blind = topology(ring), blind
    reached, go = ring.hold_at("settle_node", N1)
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, deploy(f"blind-{blind}", apply="restart"))
        await reached.wait()
        lowered = topology(ring).model_dump()
        lowered["keyspaces"][0]["replication"]["dc1"] = 1
        ring.topology = Topology.model_validate(lowered)
        go.set()
        report = report_of(await ended_of(handle))
    assert report.problem is not None
    assert report.problem.code == ("plan.quorum" if blind == 1 else "ring.topology")
    assert flips(ring) == [N1]


@pytest.mark.criterion("F8")
async def test_another_order_is_simulated_before_it_is_followed(temporal_skipping: WorkflowEnvironment) -> None:
    ring = known(strategy="load-aware")
    assert ring.topology is not None
    reached, go = ring.hold_at("settle_node", N1)
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, deploy("foreseen", apply="restart"))
        await reached.wait()
        busy = [n.model_copy(update={"load": {N2: 90, N3: 5}.get(n.address, 0)}) for n in ring.topology.nodes]
        ring.topology = ring.topology.model_copy(update={"nodes": tuple(busy)})
        ring.fail("simulate_trust", "", blocking("trust.states", N3))
        go.set()
        report = report_of(await ended_of(handle))
    assert report.problem is not None
    assert report.problem.code == "trust.states"
    assert flips(ring) == [N1]
