"""Nodes that join, leave or are replaced while a rollout is under way: none of them ends it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from sealring.errors import refuse
from sealring.models.rollout import NodeState, Phase, RolloutReport
from tests.workflow.fakes import FakeRing, blocking, generation
from tests.workflow.story import N1, N2, N3, PREPARATION, deploy, run, serving, start
from tests.workflow.test_gate import N4, flips, known, topology

pytestmark = pytest.mark.criterion("E8")


async def changed_after_n1(
    environment: WorkflowEnvironment, ring: FakeRing, request: dict[str, Any], change: Callable[[], object]
) -> RolloutReport:
    """A rollout by restart; when the first node is nearly done the ring changes."""
    reached, go = ring.hold_at("settle_node", N1)
    async with serving(environment, ring):
        handle = await start(environment, request | {"apply": "restart"})
        await reached.wait()
        change()
        if ring.topology is not None:
            ring.topology = topology(ring)
        go.set()
        return await handle.result()


def told(report: RolloutReport) -> set[tuple[str, str, str]]:
    return {(f.check, f.node, f.verdict.value) for f in report.findings}


def absorbing(**rules: Any) -> FakeRing:
    return known(newcomers="absorb", **rules)


async def test_who_joins_is_prepared_and_worked_on_in_the_waves_that_are_left(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = absorbing()
    report = await changed_after_n1(temporal_skipping, ring, deploy("joins"), lambda: ring.join(N4))
    assert report.outcome is Phase.DONE
    assert sorted(flips(ring)) == [N1, N2, N3, N4]
    assert [step for step in ring.steps(N4) if step in PREPARATION] == PREPARATION
    assert ring.steps(N2).count("validate_node") == 1, "nobody else is prepared again"
    assert ring.serving[N4] == generation("b", 3).id
    assert told(report) == {("ring.node-joined", N4, "pass")}
    assert {n.address: n.state for n in report.nodes}[N4] is NodeState.SERVING
    assert [step for step, _ in ring.calls].count("simulate_trust") == 2


@pytest.mark.parametrize("request_", [{"nodes": [N1, N2]}, {"goal": "rollback", "material": None}])
async def test_what_was_asked_of_some_nodes_or_backwards_takes_nobody_in(
    temporal_skipping: WorkflowEnvironment, request_: dict[str, Any]
) -> None:
    ring = absorbing()
    name = f"some-{len(request_)}"
    if "goal" in request_:
        await run(temporal_skipping, ring, deploy(name, apply="restart"))
        for address, number in ring.nodes.items():
            ring.previous[address] = generation("a", number).id
        ring.calls.clear()
        request_ = request_ | {"nodes": [N1, N2, N3]}
    report = await changed_after_n1(temporal_skipping, ring, deploy(name) | request_, lambda: ring.join(N4))
    assert report.outcome is Phase.DONE
    assert N4 not in flips(ring)
    assert told(report) == set(), "nodes that nobody asked for are nobody's newcomers"


@pytest.mark.parametrize(
    ("step", "where", "answer", "words"),
    [
        ("resolve_material", "", refuse("material.missing", "nothing there", ""), "nothing there"),
        ("preflight_node", N4, blocking("node.staged", N4), "not good"),
        ("simulate_trust", "", blocking("trust.states", N4), "trust.states"),
    ],
    ids=["not-delivered", "not-ready", "not-understood"],
)
async def test_whatever_is_the_matter_with_a_newcomer_it_is_left_alone(
    temporal_skipping: WorkflowEnvironment, step: str, where: str, answer: Any, words: str
) -> None:
    ring = absorbing()

    def change() -> None:
        ring.join(N4)
        ring.fail(step, where, answer)

    report = await changed_after_n1(temporal_skipping, ring, deploy(f"unfit-{step}"), change)
    assert report.outcome is Phase.DONE
    assert flips(ring) == [N1, N2, N3]
    (finding,) = [f for f in report.findings if f.check == "ring.node-joined"]
    assert (finding.node, finding.verdict.value) == (N4, "warn")
    assert words in finding.message
    assert N4 not in {n.address for n in report.nodes}


@pytest.mark.parametrize("newcomers", ["leave", "absorb"])
async def test_another_node_at_the_same_address_is_a_new_one(
    temporal_skipping: WorkflowEnvironment, newcomers: str
) -> None:
    ring = known(newcomers=newcomers)

    def change() -> None:
        del ring.nodes[N2]
        ring.join(N2)  # with another host id, and nothing prepared on its disk

    report = await changed_after_n1(temporal_skipping, ring, deploy(f"replaced-{newcomers}"), change)
    assert report.outcome is Phase.DONE
    absorbed = newcomers == "absorb"
    assert sorted(flips(ring)) == ([N1, N2, N3] if absorbed else [N1, N3])
    assert ring.steps(N2).count("validate_node") == 1 + absorbed
    joined = ("ring.node-joined", N2, "pass" if absorbed else "warn")
    assert told(report) == {("ring.node-replaced", N2, "warn"), joined}
    assert report.plan is not None
    assert {t.node.host_id for t in report.plan.targets if t.node.address == N2} == ({"host-3"} if absorbed else set())


async def test_a_done_node_that_is_replaced_or_leaves_is_told_and_not_asked_for_again(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = absorbing(nodes=4)

    def change() -> None:
        del ring.nodes[N1]

    report = await changed_after_n1(temporal_skipping, ring, deploy("left"), change)
    assert report.outcome is Phase.DONE
    assert sorted(flips(ring)) == [N1, N2, N3, N4]
    assert told(report) == {("ring.node-left", N1, "warn")}
    assert {row.address for row in report.matrix} == {N2, N3, N4}


async def test_a_plan_that_rests_on_no_topology_drops_who_left_too(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing()
    report = await changed_after_n1(temporal_skipping, ring, deploy("unproven"), lambda: ring.nodes.pop(N2))
    assert report.outcome is Phase.DONE
    assert flips(ring) == [N1, N3]
    assert told(report) == {("ring.node-left", N2, "warn")}


async def test_a_node_that_leaves_while_it_is_worked_on_is_no_failure(temporal_skipping: WorkflowEnvironment) -> None:
    ring = known(nodes=4)
    reached, go = ring.hold_at("restart_node", N2)
    gone = refuse("ssh.host-key", "another machine answers", "look", node=N2)
    ring.fail("restart_node", N2, gone)
    ring.fail("rollback_node", N2, gone)

    async def leave() -> None:
        await reached.wait()
        del ring.nodes[N2]
        ring.topology = topology(ring)
        go.set()

    async with serving(temporal_skipping, ring):
        leaving = asyncio.create_task(leave())
        report = await (await start(temporal_skipping, deploy("meanwhile", apply="restart"))).result()
        await leaving
    assert report.outcome is Phase.DONE
    assert sorted(flips(ring)) == [N1, N2, N3, N4]
    assert ("ring.node-left", N2, "warn") in told(report)
