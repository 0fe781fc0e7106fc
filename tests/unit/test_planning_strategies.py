"""What each strategy promises beside safety: who goes first, what never goes together, what a reload may reach."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealring.errors import SealringError
from sealring.models.base import Many
from sealring.models.cluster import RolloutSettings
from sealring.models.schedule import Schedule, Way
from sealring.models.topology import Topology
from sealring.planning.schedule import schedule
from tests.unit.rings_by_hand import broken, ring

SIX = ring(6, 3, 4, 3)


def made(topology: Topology, way: Way = "restart", waived: tuple[str, ...] = (), **rules: Any) -> Schedule:
    said = RolloutSettings.model_validate({"strategy": "fastest", "max_parallel": Many} | rules)
    return schedule(topology, {node.address: way for node in topology.nodes}, said, waived=waived)


def differing(topology: Topology, **facts: dict[str, Any]) -> Topology:
    """The same ring, with other facts about some nodes: `n1={"seed": True}`."""
    content = topology.model_dump()
    for name, changes in facts.items():
        content["nodes"][int(name[1:]) - 1].update(changes)
    return Topology.model_validate(content)


def places(topology: Topology, addresses: tuple[str, ...]) -> set[tuple[str, str]]:
    return {(n.datacenter, n.rack) for n in topology.nodes if n.address in addresses}


@pytest.mark.criterion("D3")
def test_rolling_takes_one_node_at_a_time_rack_by_rack_and_seeds_last() -> None:
    topology = differing(SIX, n1={"seed": True})
    plan = made(topology, strategy="rolling")
    assert [wave.nodes for wave in plan.waves] == [
        ("10.0.0.4",),
        ("10.0.0.1",),
        ("10.0.0.2",),
        ("10.0.0.5",),
        ("10.0.0.3",),
        ("10.0.0.6",),
    ]


@pytest.mark.criterion("D2")
def test_canaries_are_one_of_each_version_system_and_rack_and_the_first_is_alone_and_no_seed() -> None:
    topology = differing(SIX, n1={"seed": True}, n4={"version": "4.1.4"}, n5={"os": "debian-12"}, n6={"load": 9})
    plan = made(topology, strategy="canary")
    first, kinds, rest = plan.stages
    assert [len(wave.nodes) for wave in first.waves] == [1]
    assert first.waves[0].nodes != ("10.0.0.1",)
    chosen = {address for stage in (first, kinds) for wave in stage.waves for address in wave.nodes}
    assert chosen == {"10.0.0.1", "10.0.0.4", "10.0.0.2", "10.0.0.5", "10.0.0.3"}
    assert [address for wave in rest.waves for address in wave.nodes] == ["10.0.0.6"]


@pytest.mark.criterion("D4")
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(6, 18), st.sampled_from(["restart", "reload"]), st.integers(0, 99))
def test_zone_aware_waves_never_hold_two_racks(racks: int, nodes: int, way: Way, seed: int) -> None:
    topology = ring(nodes, racks, 2, 3, seed=seed)
    plan = made(topology, way, strategy="zone-aware")
    assert all(len(places(topology, wave.nodes)) == 1 for wave in plan.waves)


@pytest.mark.criterion("D5")
def test_load_aware_begins_with_the_wave_that_carries_least() -> None:
    topology = differing(SIX, n1={"load": 5}, n4={"load": 5}, n2={"load": 1}, n5={"load": 2}, n3={"load": 3})
    plan = made(topology, strategy="load-aware")
    assert [wave.nodes for wave in plan.waves] == [
        ("10.0.0.2", "10.0.0.5"),
        ("10.0.0.6", "10.0.0.3"),
        ("10.0.0.1", "10.0.0.4"),
    ]


@pytest.mark.criterion("D1")
def test_blue_green_does_the_green_part_first_and_then_holds() -> None:
    plan = made(SIX, strategy="blue-green", green=("dc1/r1",))
    assert [(stage.name, stage.hold) for stage in plan.stages] == [("green", True), ("blue", False)]
    green = [address for wave in plan.stages[0].waves for address in wave.nodes]
    assert green == ["10.0.0.2", "10.0.0.5"]
    for wrong in ((), ("dc2",)):
        with pytest.raises(SealringError) as caught:
            made(SIX, strategy="blue-green", green=wrong)
        assert caught.value.code == "plan.green"


@pytest.mark.criterion("H2")
@pytest.mark.parametrize(
    ("rules", "sizes"),
    [
        ({}, [10, 10, 10]),
        ({"batch": "5"}, [5] * 6),
        ({"batch": "10%"}, [3] * 10),
        ({"grow": True}, [1, 2, 4, 3, 10, 10]),
        ({"max_parallel": 2}, [2] * 15),
        ({"strategy": "rolling", "batch": "2"}, [2] * 15),
    ],
)
def test_batches_are_numbers_percent_or_per_rack_and_may_grow(rules: dict[str, Any], sizes: list[int]) -> None:
    topology = ring(30, 3, 8, 3)
    plan = made(topology, **rules)
    found = [len(wave.nodes) for wave in plan.waves]
    assert found == sizes
    assert not any(broken(topology, wave.nodes) for wave in plan.waves)


@pytest.mark.criterion("H2")
def test_a_batch_per_rack_bounds_each_rack_s_part_of_a_wave() -> None:
    topology = ring(30, 3, 8, 3)
    rack = {node.address: node.rack for node in topology.nodes}
    plan = made(topology, batch_per_rack=5)
    assert len(plan.waves) == 6
    for wave in plan.waves:
        found = [rack[address] for address in wave.nodes]
        assert max(map(found.count, found)) <= 5
        assert not broken(topology, wave.nodes)


@pytest.mark.criterion("C8")
def test_one_seed_stays_up_where_that_costs_no_wave() -> None:
    two = Topology.model_validate(
        {
            "name": "t",
            "nodes": [
                {"address": f"10.{dc}.0.{i}", "datacenter": f"dc{dc}", "rack": f"r{i}", "tokens": [dc * 10 + i]}
                | {"seed": i == 1}
                for dc in (1, 2)
                for i in (1, 2, 3)
            ],
            "keyspaces": [{"name": "k", "replication": {"class": "NetworkTopologyStrategy", "dc1": 3, "dc2": 3}}],
        }
    )
    plan = made(two)
    assert len(plan.waves) == plan.lower_bound == 3
    assert not any({"10.1.0.1", "10.2.0.1"} <= set(wave.nodes) for wave in plan.waves)
    assert not any("seeds" in risk for risk in plan.risks)
    alone = differing(SIX, n1={"seed": True}, n4={"seed": True})
    assert any("seeds" in risk for risk in made(alone, strategy="zone-aware").risks)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 20), st.integers(1, 3), st.sampled_from(["canary", "fastest", "load-aware"]))
def test_reloads_begin_with_one_node_then_what_could_be_lost(
    racks: int, nodes: int, factor: int, strategy: str
) -> None:
    topology = ring(nodes, racks, 2, factor)
    waves = [wave.nodes for wave in made(topology, "reload", strategy=strategy).waves]
    assert sorted(address for wave in waves for address in wave) == sorted(n.address for n in topology.nodes)
    assert len(waves[0]) == 1
    if len(waves) > 1 and factor == 3:
        assert len(places(topology, waves[1])) == 1
        assert len(waves[1]) == 1 or not broken(topology, waves[1])
    company = [w for w in made(topology, "reload", strategy=strategy).waves if len(w.nodes) > 1]
    assert not any(wave.may_restart for wave in company)


def test_a_reload_may_become_a_restart_only_where_that_breaks_no_promise() -> None:
    safe, not_safe = ring(3, 3, 1, 3), ring(3, 3, 1, 2)
    assert all(wave.may_restart and wave.proof for wave in made(safe, "reload", strategy="rolling").waves)
    assert not any(wave.may_restart for wave in made(not_safe, "reload", strategy="rolling").waves)


def test_the_reserve_is_kept_for_a_failure_that_nobody_planned() -> None:
    five = ring(10, 5, 4, 5)
    assert len(made(five).waves) == 3
    assert len(made(five, strategy="load-aware").waves) == 5
    assert len(made(five, strategy="load-aware", reserve=0).waves) == 3
    assert len(made(five, reserve=1).waves) == 5
    assert len(made(five, reserve=9).waves) == 5, "one may always go"


@pytest.mark.criterion("D7")
def test_what_cannot_be_restarted_is_named_with_keyspaces_and_ways_out() -> None:
    topology = ring(6, 3, 4, 3).model_dump()
    topology["keyspaces"] += (
        {"name": "lone", "replication": {"class": "SimpleStrategy", "replication_factor": 1}},
        {"name": "strict", "replication": {"class": "NetworkTopologyStrategy", "dc1": 3}, "consistency": ["ALL"]},
    )
    nodes = Topology.model_validate(topology)
    plan = made(nodes)
    assert plan.stages == ()
    (group,) = plan.infeasible
    assert group.kind == "never"
    assert group.keyspaces == ("lone", "strict")
    assert "strict at ALL in" not in group.because
    assert any("--waive plan.quorum.lone --waive plan.quorum.strict" in way for way in group.ways_out)
    assert made(nodes, waived=("lone",)).infeasible[0].keyspaces == ("strict",)
    both = made(nodes, waived=("lone", "strict"))
    assert both.infeasible == ()
    assert len(both.waves) == 3
    assert {risk.split()[1] for risk in both.risks} == {"lone", "strict"}
    assert made(nodes, "reload").infeasible == ()


def test_a_range_that_misses_a_replica_waits_and_says_for_whom() -> None:
    topology = differing(ring(12, 3, 1, 3), n1={"state": "down"})
    plan = made(topology)
    waiting = [group for group in plan.infeasible if group.kind == "wait"]
    assert {group.because for group in waiting} >= {"down"}
    assert all("10.0.0.1" in group.because or group.nodes == ("10.0.0.1",) for group in waiting)
    near = {address for group in waiting for address in group.nodes}
    placed = {address for wave in plan.waves for address in wave.nodes}
    assert placed
    assert near | placed == {n.address for n in topology.nodes}
    suspect = made(differing(ring(12, 3, 1, 3), n1={"state": "suspect"}))
    assert suspect.waves[0].nodes[0] == "10.0.0.1", "what is unwell goes early"
    assert {a for group in suspect.infeasible for a in group.nodes} == near - {"10.0.0.1"}
