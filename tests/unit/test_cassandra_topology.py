"""What the planner is told of a ring: rows of CQL become a topology."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sealring.cassandra.load import NodeLoad, load_findings, load_of
from sealring.cassandra.topology import topology_of
from sealring.errors import SealringError
from sealring.models.cluster import ClusterFile, NodeRef, RolloutSettings
from sealring.models.node import ClusterView, NodeView
from sealring.models.topology import RingNode

NTS, SIMPLE = "org.apache.cassandra.locator.NetworkTopologyStrategy", "org.apache.cassandra.locator.SimpleStrategy"


def node(number: int, **seen: Any) -> NodeView:
    ref = NodeRef(
        host_id=f"h{number}",
        address=f"127.0.0.{number}",
        internode_address=f"127.0.1.{number}",
        datacenter="dc1",
        rack=f"r{number}",
    )
    return NodeView(node=ref, version="5.0.9", **({"up": True, "normal": True} | seen))


def view(*nodes: NodeView) -> ClusterView:
    return ClusterView(
        cluster="lab", observed_at=datetime(2026, 1, 1, tzinfo=UTC), observers=("127.0.0.1",), nodes=nodes
    )


def rows(*numbers: int) -> tuple[dict[str, Any], ...]:
    return tuple({"host_id": f"h{n}", "tokens": {str(n * 100), str(-n)}} for n in numbers)


def keyspace(name: str, strategy: str = NTS, **options: str) -> dict[str, Any]:
    return {"keyspace_name": name, "replication": {"class": strategy, **options}}


def cluster(**said: Any) -> ClusterFile:
    return ClusterFile.model_validate({"name": "lab", "contact_points": ["127.0.0.1"], "consistency": said})


APP = keyspace("app", dc1="3")


def test_nodes_carry_tokens_place_and_what_peers_say_of_them() -> None:
    seen = view(node(1), node(2, up=False), node(3, normal=False))
    made = topology_of(cluster(), seen, rows(1, 2, 3), (APP,))
    assert [(n.address, n.rack, n.tokens, n.state, n.host_id, n.seed) for n in made.nodes] == [
        ("127.0.0.1", "r1", (-1, 100), "up", "h1", True),
        ("127.0.0.2", "r2", (-2, 200), "down", "h2", False),
        ("127.0.0.3", "r3", (-3, 300), "suspect", "h3", False),
    ]


def test_a_node_without_tokens_is_on_the_move_and_nothing_is_proven_meanwhile() -> None:
    with pytest.raises(SealringError, match=r"127\.0\.0\.2") as caught:
        topology_of(cluster(), view(node(1), node(2)), (*rows(1), {"host_id": "h2", "tokens": None}), (APP,))
    assert caught.value.code == "observe.topology-moves"
    assert caught.value.retryable


def test_keyspaces_that_every_node_holds_alone_do_not_count() -> None:
    local = keyspace("system", "org.apache.cassandra.locator.LocalStrategy")
    private = keyspace("something_local", "org.apache.cassandra.locator.LocalStrategy")
    made = topology_of(cluster(), view(node(1)), rows(1), (local, private, APP))
    assert [(k.name, k.replication) for k in made.keyspaces] == [
        ("app", {"class": "NetworkTopologyStrategy", "dc1": 3})
    ]


def test_system_auth_counts_where_somebody_logs_in() -> None:
    auth = keyspace("system_auth", SIMPLE, replication_factor="1")
    (other,) = topology_of(cluster(), view(node(1)), rows(1), (APP, auth), logins=False).keyspaces
    assert other.name == "app"
    _, found = topology_of(cluster(), view(node(1)), rows(1), (APP, auth), logins=True).keyspaces
    assert (found.name, found.replication, found.consistency) == (
        "system_auth",
        {"class": "SimpleStrategy", "replication_factor": 1},
        ("LOCAL_QUORUM",),
    )


def test_promises_come_from_the_cluster_file_and_light_weight_transactions_are_noticed() -> None:
    said = cluster(default=["QUORUM"], keyspaces={"named": ["ONE"]})
    given = (APP, keyspace("named", dc1="3"), keyspace("system_traces", SIMPLE, replication_factor="2"))
    made = topology_of(said, view(node(1)), rows(1), given, serial=frozenset({"app", "named"}))
    assert {k.name: k.consistency for k in made.keyspaces} == {
        "app": ("QUORUM", "SERIAL"),
        "named": ("ONE",),
        "system_traces": ("ANY",),
    }


def test_the_fingerprint_is_of_the_ring_and_not_of_who_is_up() -> None:
    whole = topology_of(cluster(), view(node(1), node(2)), rows(1, 2), (APP,))
    down = topology_of(cluster(), view(node(2, up=False), node(1)), rows(2, 1), (APP,))
    moved = topology_of(cluster(), view(node(1), node(2)), (*rows(1), {"host_id": "h2", "tokens": {"7"}}), (APP,))
    wider = topology_of(cluster(), view(node(1), node(2)), rows(1, 2), (keyspace("app", dc1="2"),))
    replaced = topology_of(
        cluster(),
        view(node(1), node(2).model_copy(update={"node": node(2).node.model_copy(update={"host_id": "h9"})})),
        (*rows(1), {"host_id": "h9", "tokens": {"-2", "200"}}),
        (APP,),
    )
    assert whole.fingerprint == down.fingerprint
    assert len({whole.fingerprint, moved.fingerprint, wider.fingerprint, replaced.fingerprint}) == 4


def test_how_busy_a_node_is_is_what_clients_wait_for_and_who_is_connected() -> None:
    pools: list[dict[str, Any]] = [
        {"name": "ReadStage", "active_tasks": 2, "pending_tasks": 5},
        {"name": "CompactionExecutor", "active_tasks": 1, "pending_tasks": 100},
        {"name": "MutationStage", "active_tasks": None, "pending_tasks": 1},
    ]
    load = load_of(pools, ({"address": "10.0.0.1"},) * 3)
    assert load == NodeLoad(pending=6, busy=11)
    made = topology_of(cluster(), view(node(1), node(2)), rows(1, 2), (APP,), loads={"127.0.0.2": load})
    assert [n.load for n in made.nodes] == [0, 11]


def test_a_wave_does_not_begin_while_a_node_is_behind() -> None:
    loads = {"a": NodeLoad(pending=3, busy=3), "b": NodeLoad(pending=9, busy=9)}
    (finding,) = load_findings(loads, RolloutSettings(max_pending=8))
    assert (finding.check, finding.node, finding.verdict.value) == ("ring.busy", "b", "fail")
    assert [f.verdict.value for f in load_findings(loads, RolloutSettings(max_pending=9))] == ["pass"]
    (finding,) = load_findings({}, RolloutSettings(max_pending=9))
    assert (finding.node, finding.verdict.value) == ("", "inconclusive"), "no answer is no pass"


def test_a_wave_does_not_begin_while_one_request_of_a_hundred_is_slow() -> None:
    table = {"keyspace_name": "app", "count": 10, "p99th_ms": 40.0}
    system = {"keyspace_name": "system", "count": 10, "p99th_ms": 900.0}
    unused = {"keyspace_name": "app", "count": 0, "p99th_ms": 900.0}
    load = load_of((), (), (table, system, unused, table | {"p99th_ms": 61.5}))
    assert load.p99_ms == 61.5
    (finding,) = load_findings({"a": load}, RolloutSettings(max_p99=timedelta(milliseconds=60)))
    assert (finding.check, finding.verdict.value) == ("ring.busy", "fail")
    assert "62 ms" in finding.message
    assert load_findings({"a": load}, RolloutSettings(max_p99=timedelta(milliseconds=62)))[0].verdict.value == "pass"


def test_racks_may_have_any_name_that_cassandra_takes() -> None:
    odd = node(1)
    odd = odd.model_copy(update={"node": odd.node.model_copy(update={"rack": "hall 2/row:7"})})
    assert topology_of(cluster(), view(odd, node(2)), rows(1, 2), (APP,)).nodes[0].rack == "hall 2/row:7"
    with pytest.raises(ValueError, match="rack"):
        RingNode(address="n1", rack="a\x1b[2J", tokens=(1,))
