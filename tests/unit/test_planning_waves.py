"""No plan loses a quorum: whatever the ring, the waves are checked by placement and promises written down anew."""

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealring.errors import SealringError
from sealring.models.base import Many
from sealring.models.cluster import RolloutSettings
from sealring.models.schedule import Schedule
from sealring.models.topology import Topology
from sealring.planning.replicas import ordered, replica_sets, replication_of
from sealring.planning.schedule import schedule
from sealring.planning.slack import bits, constraints, promises
from tests.unit.rings_by_hand import broken, cstar, limits, replicas, ring

LEVELS = ("ONE", "TWO", "QUORUM", "LOCAL_ONE", "LOCAL_QUORUM", "EACH_QUORUM", "SERIAL", "LOCAL_SERIAL", "ALL", "ANY")
STRATEGIES = ("rolling", "canary", "zone-aware", "load-aware", "blue-green", "fastest")


def restart(topology: Topology, **rules: Any) -> Schedule:
    said = {"strategy": "fastest", "max_parallel": Many} | rules
    work = {node.address: "restart" for node in topology.nodes}
    return schedule(topology, work, RolloutSettings.model_validate(said))  # type: ignore[arg-type]


@st.composite
def rings(draw: st.DrawFn, *, levels: tuple[str, ...] = LEVELS, troubled: bool = True) -> Topology:
    datacenters = draw(st.integers(1, 3))
    racks = draw(st.integers(1, 6))
    nodes = draw(st.integers(1, 16))
    tokens = draw(st.integers(1, 4))
    taken = draw(st.lists(st.integers(-9999, 9999), unique=True, min_size=nodes * tokens, max_size=nodes * tokens))
    states = ["up"] * 8 + (["down", "suspect"] if troubled else [])
    places = [
        {
            "address": f"10.0.0.{i + 1}",
            "datacenter": f"dc{i % datacenters}" if i < datacenters else f"dc{draw(st.integers(0, datacenters - 1))}",
            "rack": f"r{draw(st.integers(0, racks - 1))}",
            "tokens": taken[i * tokens : (i + 1) * tokens],
            "state": draw(st.sampled_from(states)),
            "seed": draw(st.booleans()),
            "load": draw(st.integers(0, 3)),
            "version": draw(st.sampled_from(["4.1.4", "5.0.9"])),
        }
        for i in range(nodes)
    ]
    there = sorted({str(place["datacenter"]) for place in places})
    keyspaces = [
        {
            "name": f"ks{k}",
            "replication": draw(
                st.one_of(
                    st.fixed_dictionaries({dc: st.integers(1, 5) for dc in there}).map(
                        lambda factors: {"class": "NetworkTopologyStrategy", **factors}
                    ),
                    st.integers(1, 5).map(lambda f: {"class": "SimpleStrategy", "replication_factor": f}),
                )
            ),
            "consistency": draw(st.lists(st.sampled_from(levels), min_size=1, max_size=2, unique=True)),
        }
        for k in range(draw(st.integers(1, 3)))
    ]
    return Topology.model_validate({"name": "t", "nodes": places, "keyspaces": keyspaces})


@settings(max_examples=100, deadline=None)
@given(rings())
def test_replicas_are_placed_as_cassandra_places_them(topology: Topology) -> None:
    nodes = ordered(topology)
    for keyspace in topology.keyspaces:
        replication = replication_of(keyspace, {node.datacenter for node in nodes})
        assert replication is not None
        found = replica_sets(nodes, replication)
        told = {dc: {frozenset(nodes[i].address for i in bits(mask)) for mask in found[dc]} for dc in found}
        by_hand = replicas(topology, keyspace.replication)
        assert told[""] == {frozenset[str]().union(*placed.values()) for placed in by_hand}
        for dc in by_hand[0].keys() - {"*"}:
            assert told[dc] == {placed[dc] for placed in by_hand}


@settings(max_examples=60, deadline=None)
@given(rings(), st.randoms(use_true_random=False))
def test_what_was_reduced_forbids_what_all_promises_forbid(topology: Topology, dice: Any) -> None:
    nodes = ordered(topology)
    reduced = constraints(promises(topology))
    everything = limits(topology)
    assert len(reduced) <= len({who for _, who, _ in everything})
    for _ in range(10):
        away = {node.address for node in nodes if dice.random() < 0.3}
        mask = sum(1 << i for i, node in enumerate(nodes) if node.address in away)
        kept = all((limit.replicas & mask).bit_count() <= limit.slack for limit in reduced)
        assert kept == all(len(who & away) <= slack for _, who, slack in everything)


@pytest.mark.criterion("D6")
@pytest.mark.criterion("D7")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rings(), st.sampled_from(STRATEGIES), st.sampled_from([None, "1", "3", "50%"]), st.sampled_from([None, 0, 1, 2]))
def test_no_wave_breaks_a_promise_and_every_node_is_in_one_or_named(
    topology: Topology, strategy: str, batch: str | None, reserve: int | None
) -> None:
    made = restart(topology, strategy=strategy, batch=batch, reserve=reserve, green=("dc0",))
    placed = [address for wave in made.waves for address in wave.nodes]
    named = [address for group in made.infeasible for address in group.nodes]
    assert sorted(placed + named) == sorted(node.address for node in topology.nodes)
    known = limits(topology)
    for wave in made.waves:
        assert wave.nodes
        assert broken(topology, wave.nodes, known, made.reserve) == set()
        for proof in wave.proof:
            away = set(proof.replicas) & ({n.address for n in topology.nodes if n.state != "up"} | set(wave.nodes))
            assert set(proof.away) == away
            assert proof.remain == len(proof.replicas) - len(away) >= proof.required
            slacks = {slack for _, who, slack in known if who == set(proof.replicas)}
            assert len(proof.replicas) - proof.required in slacks
    for group in made.infeasible:
        for address in group.nodes:
            state = next(node.state for node in topology.nodes if node.address == address)
            alone = broken(topology, [address], known, made.reserve)
            assert state == "down" or alone, "named, but it could be restarted by itself"
            if group.kind == "never":
                hurt = {name for name, who, slack in known if address in who and slack < 1}
                assert set(group.keyspaces) == hurt
    assert len(made.waves) >= made.lower_bound


@pytest.mark.criterion("D6")
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(8, 20), st.integers(1, 4), st.integers(3, 7), st.integers(0, 999), st.data())
def test_where_several_replicas_can_be_spared_no_more_of_them_go(
    racks: int, nodes: int, tokens: int, factor: int, seed: int, data: st.DataObject
) -> None:
    level = data.draw(st.sampled_from(["LOCAL_ONE", "TWO", "QUORUM"]))
    topology = ring(nodes, racks, tokens, factor, seed=seed, level=level)
    known = limits(topology)
    for strategy in ("fastest", "zone-aware"):
        made = restart(topology, strategy=strategy, reserve=0)
        assert made.infeasible == ()
        assert not any(broken(topology, wave.nodes, known) for wave in made.waves)


@pytest.mark.parametrize(("nodes", "racks", "tokens"), [(40, 8, 8), (24, 6, 2), (60, 6, 16)])
def test_whole_racks_stay_together_where_that_costs_no_wave(nodes: int, racks: int, tokens: int) -> None:
    topology = ring(nodes, racks, tokens, 3)
    rack = {node.address: node.rack for node in topology.nodes}
    made = restart(topology)
    assert len(made.waves) <= racks
    if len(made.waves) == racks:
        assert all(len({rack[address] for address in wave.nodes}) == 1 for wave in made.waves)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rings(levels=("ONE", "LOCAL_ONE", "QUORUM", "LOCAL_QUORUM", "SERIAL"), troubled=False))
def test_never_more_waves_than_by_the_pairwise_rule_where_that_rule_is_safe(topology: Topology) -> None:
    by_pairs = cstar(topology)
    if any(broken(topology, wave) for wave in by_pairs):
        return  # blind to consistency levels: it would lose a quorum
    assert len(restart(topology).waves) <= len(by_pairs)


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 5), st.integers(1, 5), st.integers(1, 4), st.integers(0, 999), st.booleans())
def test_with_as_many_racks_as_replicas_the_lower_bound_is_met(
    racks: int, each: int, tokens: int, seed: int, everywhere: bool
) -> None:
    topology = ring(racks * each, racks, tokens, racks, seed=seed, level="QUORUM" if everywhere else "LOCAL_QUORUM")
    made = restart(topology)
    if racks == 2:
        assert len(made.infeasible[0].nodes) == racks * each
        assert made.stages == ()
    else:
        assert made.infeasible == ()
        assert len(made.waves) == made.lower_bound == -(-racks // (racks - racks // 2 - 1))


PUBLISHED = [  # nodes, racks, tokens, RF: waves of a greedy planner by slack, and its largest
    (60, 3, 16, 3, 3, 20),
    (300, 3, 16, 3, 3, 100),
    (60, 6, 16, 3, 6, 10),
    (60, 5, 16, 5, 3, 24),
    (60, 3, 16, 5, 9, None),
    (60, 2, 16, 3, 17, None),
    (60, 1, 1, 3, 5, None),
    (60, 1, 16, 3, 18, None),
    (60, 1, 256, 3, 60, 1),
]


@pytest.mark.criterion("C7")
@pytest.mark.criterion("H1")
@pytest.mark.parametrize("seed", [1, 2], ids=["one", "two"])
@pytest.mark.parametrize(("nodes", "racks", "tokens", "factor", "waves", "largest"), PUBLISHED)
def test_published_rings_need_no_more_waves_than_published(
    nodes: int, racks: int, tokens: int, factor: int, waves: int, largest: int | None, seed: int
) -> None:
    made = restart(ring(nodes, racks, tokens, factor, seed=seed))
    assert sum(len(wave.nodes) for wave in made.waves) == nodes
    assert made.lower_bound <= len(made.waves) <= waves
    assert largest in (None, max(len(wave.nodes) for wave in made.waves))
    if tokens < 256:
        topology = ring(nodes, racks, tokens, factor, seed=seed)
        known = limits(topology)
        assert not any(broken(topology, wave.nodes, known) for wave in made.waves)


def test_rf_2_at_quorum_is_impossible_and_a_rack_at_a_time_would_not_have_said_so() -> None:
    made = restart(ring(12, 3, 16, 2))
    assert made.stages == ()
    assert made.infeasible[0].kind == "never"


@pytest.mark.criterion("H1")
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_thousand_nodes_take_seconds_and_little_room(strategy: str) -> None:
    topology = ring(1000, 3, 16, 3)
    begun = time.process_time()
    made = restart(topology, strategy=strategy, green=("dc1/r1",))
    assert time.process_time() - begun < 20
    assert len(made.model_dump_json()) < 450_000
    assert sum(len(wave.nodes) for wave in made.waves) == 1000


def test_local_serial_asks_the_majority_of_the_replicas_a_datacenter_has() -> None:
    """Paxos does, with SimpleStrategy too: of two replicas in a datacenter both, of one that one."""
    nodes = [
        {"address": f"10.0.0.{i + 1}", "datacenter": place, "tokens": [100 * i]} for i, place in enumerate("aabbb")
    ]
    keyspace = {"name": "app", "replication": {"class": "SimpleStrategy", "replication_factor": 5}}

    def blocked(level: str) -> set[str]:
        topology = Topology.model_validate(
            {"name": "t", "nodes": nodes, "keyspaces": [keyspace | {"consistency": [level]}]}
        )
        found = restart(topology)
        return {address for each in found.infeasible for address in each.nodes}

    assert blocked("LOCAL_SERIAL") == {"10.0.0.1", "10.0.0.2"}
    assert blocked("EACH_QUORUM") == set(), "any three of the five: SimpleStrategy knows no datacenters"


def test_a_waived_keyspace_may_have_replicas_that_nobody_can_count() -> None:
    topology = ring(3, 3, 1, 3)
    odd = {"name": "odd", "replication": {"class": "EverywhereStrategy"}}
    gone = {"name": "gone", "replication": {"class": "NetworkTopologyStrategy", "dc1": "3", "dc9": "3"}}
    whole = Topology.model_validate(topology.model_dump() | {"keyspaces": [odd, gone]})
    with pytest.raises(SealringError) as caught:
        promises(whole)
    assert caught.value.code == "plan.replication"
    assert promises(whole, {"odd", "gone"}) == ()
