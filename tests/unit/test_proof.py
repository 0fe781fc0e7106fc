"""The gate's proof: may these nodes be taken away now?"""

from typing import Any

from sealring.models.evidence import Verdict
from sealring.models.rollout import RingAnswer, RingQuestion
from sealring.models.topology import Topology
from sealring.planning.proof import proven_again


def ring(*states: str, factor: int = 3, consistency: str = "LOCAL_QUORUM", racks: int = 3) -> Topology:
    nodes = [
        {"address": f"10.0.0.{i + 1}", "rack": f"r{i % racks}", "tokens": [i * 100], "state": state}
        for i, state in enumerate(states)
    ]
    app = {
        "name": "app",
        "replication": {"class": "NetworkTopologyStrategy", "dc1": factor},
        "consistency": [consistency],
    }
    return Topology.model_validate({"name": "c", "nodes": nodes, "keyspaces": [app]})


def ask(topology: Topology | None, planned: Topology, **wave: Any) -> RingAnswer:
    question = RingQuestion(cluster="c", fingerprint=planned.fingerprint, **wave)
    return proven_again(question, RingAnswer(), topology)


def test_one_of_three_may_go_and_two_may_not() -> None:
    topology = ring("up", "up", "up")
    (finding,) = ask(topology, topology, restarts=("10.0.0.1",)).findings
    assert (finding.check, finding.verdict) == ("ring.quorum", Verdict.PASS)
    (finding,) = ask(topology, topology, restarts=("10.0.0.1", "10.0.0.2")).blocking
    assert finding.check == "ring.quorum"
    assert "app: LOCAL_QUORUM needs 2 of 10.0.0.1, 10.0.0.2, 10.0.0.3" in finding.message


def test_a_node_that_is_down_or_suspect_counts_as_away() -> None:
    for state in ("down", "suspect"):
        topology = ring("up", "up", state)
        assert ask(topology, topology, restarts=("10.0.0.1",)).blocking
        assert not ask(topology, topology).blocking, "nothing is taken away"


def test_what_is_lost_already_without_us_is_not_ours_to_keep() -> None:
    topology = ring("up", "down", "down", "up", "up", "up", factor=2, consistency="ONE", racks=6)
    assert not ask(topology, topology, restarts=("10.0.0.5",)).blocking
    assert ask(topology, topology, restarts=("10.0.0.4",)).blocking


def test_a_waived_keyspace_does_not_count() -> None:
    topology = ring("up", "up", "up", factor=1)
    assert ask(topology, topology, restarts=("10.0.0.1",)).blocking
    assert not ask(topology, topology, restarts=("10.0.0.1",), waive=("plan.quorum.app",)).blocking
    assert ask(topology, topology, restarts=("10.0.0.1",), waive=("plan.quorum.other",)).blocking


def test_what_was_waived_is_said_and_takes_one_replica_of_a_range_only() -> None:
    topology = ring("up", "up", "up", "up", factor=2, consistency="QUORUM")
    waive = ("plan.quorum.app",)
    answer = ask(topology, topology, restarts=("10.0.0.1",), waive=waive)
    assert not answer.blocking
    assert [(f.check, f.verdict) for f in answer.findings] == [
        ("waiver.used", Verdict.WARN),
        ("ring.quorum", Verdict.PASS),
    ]
    assert "plan.quorum.app" in answer.findings[0].message
    assert ask(topology, topology, restarts=("10.0.0.1", "10.0.0.2"), waive=waive).blocking, "both of one range"
    degraded = ring("up", "down", "up", "up", factor=2, consistency="QUORUM")
    assert ask(degraded, degraded, restarts=("10.0.0.1",), waive=waive).blocking, "one of the range is away already"


def test_a_restart_after_a_reload_is_taken_back_where_it_would_not_be_safe() -> None:
    topology = ring("up", "up", "down", "up", racks=4, factor=3)
    answer = ask(topology, topology, fallbacks=("10.0.0.1", "10.0.0.2", "10.0.0.4"))
    assert not answer.blocking
    assert set(answer.unproven) == {"10.0.0.1", "10.0.0.2", "10.0.0.4"}
    healthy = ring("up", "up", "up", "up", racks=4)
    assert ask(healthy, healthy, fallbacks=("10.0.0.1",)).unproven == ()


def test_another_ring_than_the_planned_one_is_said_and_an_unknown_one_blocks() -> None:
    planned = ring("up", "up", "up")
    assert ask(ring("up", "up", "up", "up"), planned, restarts=("10.0.0.1",)).changed
    assert not ask(planned, planned).changed
    (finding,) = ask(None, planned).blocking
    assert (finding.check, finding.verdict) == ("ring.topology", Verdict.INCONCLUSIVE)


def test_what_others_may_take_meanwhile_counts_and_what_is_down_is_not_taken_again() -> None:
    topology = ring("up", "up", "up")
    assert ask(topology, topology, restarts=("10.0.0.1",), beside=("10.0.0.2",)).blocking
    apart = ring("up", "up", "up", "up", "up", "up", factor=1)
    waived = ask(apart, apart, restarts=("10.0.0.1",), beside=("10.0.0.2",), waive=("plan.quorum.app",))
    assert not waived.blocking
    one = ring("up", "down", "down")
    assert not ask(one, one, restarts=("10.0.0.2",)).blocking, "it is gone already: this brings it back"
    assert ask(one, one, restarts=("10.0.0.1",)).blocking


def test_a_node_of_the_same_identity_at_another_address_is_another_ring() -> None:
    planned = ring("up", "up", "up")
    ids = [node.model_copy(update={"host_id": f"h{i}"}) for i, node in enumerate(planned.nodes)]
    swapped = [a.model_copy(update={"address": b.address}) for a, b in zip(ids, (ids[1], ids[0], ids[2]), strict=True)]
    before, after = (planned.model_copy(update={"nodes": tuple(nodes)}) for nodes in (ids, swapped))
    assert ask(after, before, restarts=("10.0.0.1",)).changed
