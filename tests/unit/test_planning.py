"""Plans are pure: what is decided, and what no plan may ever do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sealring.errors import SealringError
from sealring.models.cluster import NodeRef, RolloutSettings
from sealring.models.evidence import Finding, Verdict
from sealring.models.material import CertificateFacts, MaterialRef, NodeMaterial, ResolvedMaterial
from sealring.models.node import Change, ClusterView, Generation, NodeView
from sealring.models.plan import Plan
from sealring.models.rollout import NodeOutcome, NodeState, PlanQuestion, RolloutRequest
from sealring.models.topology import Topology
from sealring.planning.budget import budget_spent
from sealring.planning.plan import make_plan

NOW = datetime(2026, 11, 21, tzinfo=UTC)
OLD, NEW = "a" * 64, "b" * 64


def node(number: int, *, rack: str = "r1", datacenter: str = "dc1", **facts: Any) -> NodeView:
    address = f"127.0.0.{number}"
    ref = NodeRef(host_id=f"h{number}", address=address, internode_address=address, datacenter=datacenter, rack=rack)
    base: dict[str, object] = {"version": "5.0.9", "up": True, "normal": True, "reload": "forced"}
    return NodeView.model_validate({"node": ref, **base, **facts})


def view(*nodes: NodeView, schemas: tuple[str, ...] = ("s",)) -> ClusterView:
    return ClusterView(cluster="c", observed_at=NOW, observers=(), nodes=nodes, schema_versions=schemas)


def delivery(seen: ClusterView, *findings: Finding) -> ResolvedMaterial:
    leaf = CertificateFacts(
        sha256=NEW,
        subject="s",
        issuer="i",
        serial="1",
        not_before=NOW,
        not_after=NOW + timedelta(90),
        key="EC secp256r1",
    )
    materials = tuple(NodeMaterial(address=n.node.address, generation=NEW, leaf=leaf) for n in seen.nodes)
    return ResolvedMaterial(ref=MaterialRef(path="/d"), nodes=materials, findings=findings)


def plan(seen: ClusterView, rules: RolloutSettings | None = None, *findings: Finding, **request: object) -> Plan:
    asked = RolloutRequest.model_validate({"cluster": "c", "material": {"path": "/d"}, **request})
    material = delivery(seen, *findings) if asked.goal == "deploy" else None
    return make_plan(PlanQuestion(request=asked, view=seen, material=material), rules or RolloutSettings())


def refused(code: str, seen: ClusterView, *findings: Finding, **request: object) -> str:
    with pytest.raises(SealringError) as caught:
        plan(seen, None, *findings, **request)
    assert caught.value.code == code
    return str(caught.value)


RINGS = st.lists(
    st.tuples(
        st.sampled_from(["dc1", "dc2"]), st.sampled_from(["r1", "r2", "r3"]), st.sampled_from(["forced", "none"])
    ),
    min_size=1,
    max_size=30,
)


@given(RINGS, st.sampled_from(["rolling", "canary", "zone-aware", "load-aware", "fastest"]), st.integers(1, 12))
def test_where_replicas_are_not_known_restarts_go_one_by_one_and_the_plan_says_so(
    ring: list[tuple[str, str, str]], strategy: str, parallel: int
) -> None:
    seen = view(*(node(i + 1, datacenter=d, rack=r, reload=how) for i, (d, r, how) in enumerate(ring)))
    made = plan(seen, RolloutSettings.model_validate({"strategy": strategy, "max_parallel": parallel}))
    addresses = [target.node.address for target in made.targets]
    assert sorted(addresses) == sorted(n.node.address for n in seen.nodes)
    for one in made.waves:
        assert len(one.targets) <= (1 if strategy == "rolling" else parallel)
        if strategy == "zone-aware":
            assert len({(t.node.datacenter, t.node.rack) for t in one.targets}) == 1
        if len(one.targets) > 1:
            assert not any(t.apply == "restart" or t.may_restart for t in one.targets)
    assert made.topology == ""
    restarted = any(t.apply == "restart" for t in made.targets)
    assert any("nothing was proven" in risk for risk in made.risks) is restarted


def topology_of(seen: ClusterView, factor: int = 3, **facts: Any) -> Topology:
    nodes = [
        {"address": n.node.address, "datacenter": n.node.datacenter, "rack": n.node.rack, "tokens": [i * 10]}
        for i, n in enumerate(seen.nodes)
    ]
    factors = {place["datacenter"]: factor for place in nodes}
    orders = {"name": "orders", "replication": {"class": "NetworkTopologyStrategy", **factors}}
    return Topology.model_validate({"name": "c", "nodes": nodes, "keyspaces": [orders]} | facts)


def with_topology(seen: ClusterView, topology: Topology, rules: RolloutSettings | None = None, **request: Any) -> Plan:
    asked = RolloutRequest.model_validate({"cluster": "c", "material": {"path": "/d"}, **request})
    question = PlanQuestion(request=asked, view=seen, material=delivery(seen))
    return make_plan(question, rules or RolloutSettings(strategy="fastest"), topology)


NINE = view(*(node(i + 1, rack=f"r{i % 3}", reload="none") for i in range(9)))


@pytest.mark.criterion("D6", "H1")
def test_with_a_topology_racks_restart_together_and_every_wave_says_why() -> None:
    made = with_topology(NINE, topology_of(NINE))
    assert [len(wave.targets) for wave in made.waves] == [3, 3, 3]
    assert made.lower_bound == 3
    assert made.topology == topology_of(NINE).fingerprint
    for wave in made.waves:
        assert "orders at LOCAL_QUORUM in dc1: 2 of 3 replicas stay, 2 needed" in wave.because
        assert "goes down meanwhile" in wave.unsafe_if
        assert all(proof.remain >= proof.required for proof in wave.proof)
    assert made.forecast is not None
    assert made.forecast.least < made.forecast.seconds < made.forecast.most
    assert Plan.model_validate_json(made.model_dump_json()).digest == made.digest
    rolling = with_topology(NINE, topology_of(NINE), RolloutSettings())
    assert [len(wave.targets) for wave in rolling.waves] == [1] * 9
    assert [len(w.targets) for w in with_topology(NINE, topology_of(NINE), batch="2").waves] == [2, 2, 2, 2, 1]


@pytest.mark.criterion("D7")
def test_a_restart_that_would_lose_a_keyspace_is_refused_unless_that_keyspace_is_waived() -> None:
    two = topology_of(NINE, 2)
    with pytest.raises(SealringError) as caught:
        with_topology(NINE, two)
    assert caught.value.code == "plan.quorum"
    assert "orders at LOCAL_QUORUM in dc1 needs 2 of 2" in caught.value.message
    assert "--waive plan.quorum.orders" in caught.value.remedy
    assert "--apply reload" in caught.value.remedy
    waived = with_topology(NINE, two, waive=("plan.quorum.orders",))
    assert any("orders may be unavailable" in risk for risk in waived.risks)
    over = {"code": "plan.quorum.orders", "until": NOW}
    with pytest.raises(SealringError):
        with_topology(NINE, two, waive=(over,))
    reload = view(*(node(i + 1, rack=f"r{i % 3}") for i in range(9)))
    by_reload = with_topology(reload, topology_of(reload, 2))
    assert not any(target.may_restart for target in by_reload.targets), "no restart may follow a reload here"
    assert with_topology(reload, topology_of(reload)).targets[0].may_restart


def test_a_node_that_the_topology_does_not_have_is_refused_and_replicas_that_are_away_are_named() -> None:
    with pytest.raises(SealringError) as caught:
        with_topology(NINE, topology_of(view(*NINE.nodes[:8])))
    assert caught.value.code == "plan.not-in-topology"
    content = topology_of(NINE).model_dump()
    content["nodes"][0]["state"] = "suspect"
    with pytest.raises(SealringError) as caught:
        with_topology(NINE, Topology.model_validate(content), nodes=("127.0.0.2", "127.0.0.3"))
    assert caught.value.code == "plan.replicas-away"
    assert "127.0.0.1" in caught.value.message


def test_what_wave_said_before_there_were_strategies_is_still_read() -> None:
    assert RolloutSettings.model_validate({"wave": "rack"}).strategy == "zone-aware"
    assert RolloutSettings.model_validate({"wave": "node", "batch": "3"}).strategy == "rolling"
    assert RolloutRequest.model_validate({"cluster": "c", "goal": "rollback", "wave": None}).strategy is None
    with pytest.raises(ValidationError):
        RolloutSettings.model_validate({"wave": "datacenter"})


@given(RINGS)
def test_the_same_facts_give_the_same_digest_whatever_their_order(ring: list[tuple[str, str, str]]) -> None:
    nodes = [node(i + 1, datacenter=d, rack=r) for i, (d, r, _) in enumerate(ring)]
    ordered, turned = plan(view(*nodes)), plan(view(*reversed(nodes)))
    assert [t.node.address for t in ordered.targets] == [t.node.address for t in turned.targets]
    assert ordered.digest == plan(view(*nodes)).digest


@pytest.mark.criterion("V2")
def test_the_digest_names_everything_that_is_decided() -> None:
    seen = view(node(1))
    digests = {
        plan(seen).digest,
        plan(seen, apply="restart").digest,
        plan(seen, failure_budget=1).digest,
        plan(seen, on_failure="ask").digest,
        plan(view(node(2))).digest,
    }
    assert len(digests) == 5


@pytest.mark.criterion("F6")
@pytest.mark.parametrize(
    ("trouble", "named"),
    [({"up": False}, "down"), ({"normal": False}, "not normal"), ({"problem": "no ssh"}, "no ssh")],
)
def test_a_ring_that_is_not_whole_is_not_touched(trouble: dict[str, Any], named: str) -> None:
    told = refused("plan.ring-degraded", view(node(1), node(2, **trouble)), nodes=("127.0.0.1",))
    assert "127.0.0.2" in told
    assert named in told


def test_two_schema_versions_are_a_ring_that_is_not_whole() -> None:
    refused("plan.ring-degraded", view(node(1), schemas=("s", "t")))


def test_unknown_nodes_are_named() -> None:
    assert "127.0.0.9" in refused("plan.unknown-node", view(node(1)), nodes=("127.0.0.9",))


def test_bad_material_is_refused_unless_waived() -> None:
    bad = Finding(check="material.usage", verdict=Verdict.FAIL, message="no clientAuth", node="127.0.0.1")
    assert "clientAuth" in refused("plan.material-refused", view(node(1)), bad)
    assert plan(view(node(1)), None, bad, waive=("material.usage",)).waves


@pytest.mark.parametrize(
    ("facts", "apply"),
    [
        ({"reload": "forced"}, "reload"),
        ({"reload": "by-mtime"}, "reload"),
        ({"reload": "none"}, "restart"),
        ({"reload": "forced", "restart_because": ("a store was added",)}, "restart"),
    ],
)
def test_reload_where_the_node_can_restart_where_it_must(facts: dict[str, Any], apply: str) -> None:
    target = plan(view(node(1, **facts))).targets[0]
    assert target.apply == apply
    assert target.may_restart is (apply == "reload")


def test_a_reload_that_cannot_work_is_refused_when_it_was_asked_for() -> None:
    assert "no hot reload" in refused("plan.reload-impossible", view(node(1, reload="none")), apply="reload")


def test_what_is_served_already_is_left_alone_but_only_when_it_is_served() -> None:
    current = Generation(id=NEW, leaf_sha256=NEW, not_after=NOW)
    assert plan(view(node(1, current=current, served=(NEW,)))).unchanged == ("127.0.0.1",)
    assert plan(view(node(1, current=current, served=(OLD,)))).unchanged == ()
    assert plan(view(node(1, current=current, served=(OLD, NEW)))).unchanged == ()


@pytest.mark.criterion("N5")
def test_rollback_goes_to_the_previous_generation_and_may_say_no() -> None:
    good = Generation(id=OLD, leaf_sha256=OLD, not_after=NOW + timedelta(1))
    asked: dict[str, object] = {"goal": "rollback", "material": None, "nodes": ("127.0.0.1",)}
    assert plan(view(node(1, previous=good)), None, **asked).targets[0].generation == OLD
    expired = good.model_copy(update={"not_after": NOW})
    assert "expired" in refused("plan.previous-expired", view(node(1, previous=expired)), **asked)
    refused("plan.no-previous", view(node(1)), **asked)


@pytest.mark.criterion("N5")
def test_a_ring_s_rollback_takes_back_the_last_rollout_and_nothing_older() -> None:
    def change(rollout: str, minutes: int, before: str = OLD, after: str = NEW) -> Change:
        return Change(rollout=rollout, before=before, after=after, at=NOW + timedelta(minutes=minutes))

    kept = Generation(id=OLD, leaf_sha256=OLD, not_after=NOW + timedelta(1))
    asked: dict[str, object] = {"goal": "rollback", "material": None}
    reached = node(1, previous=kept, last=change("second", 2))
    not_reached = node(2, previous=kept, last=change("first", 1))
    taken_back = node(3, previous=kept, last=change("second", 3, after=OLD))
    never = node(4, previous=None)
    made = plan(view(reached, not_reached, taken_back, never), None, **asked)
    assert [t.node.address for t in made.targets] == ["127.0.0.1"]
    assert "taken back itself" in refused("plan.no-previous", view(not_reached, taken_back), **asked)
    assert "no rollout" in refused("plan.no-previous", view(never), **asked)


@pytest.mark.criterion("N5")
def test_what_was_stopped_and_started_again_is_one_change() -> None:
    def change(rollout: str, minutes: int) -> Change:
        return Change(rollout=rollout, before=OLD, after=NEW, at=NOW + timedelta(minutes=minutes))

    kept = Generation(id=OLD, leaf_sha256=OLD, not_after=NOW + timedelta(1))
    runs = ("r1/identity/abc", "r2/identity/abc", "r1/trust/abc", "r1/identity/def")
    nodes = [node(i, previous=kept, last=change(run, i)) for i, run in zip((2, 3, 1, 0), runs, strict=True)]
    made = plan(view(*nodes), None, goal="rollback", material=None)
    assert {t.node.address for t in made.targets} == {nodes[0].node.address, nodes[1].node.address}


def test_vantages_are_peers_of_other_racks_first() -> None:
    made = plan(view(node(1, rack="r1"), node(2, rack="r1"), node(3, rack="r2"), node(4, rack="r3")))
    by_node = {t.node.address: [p.address for p in t.vantages] for t in made.targets}
    assert by_node["127.0.0.1"] == ["127.0.0.3", "127.0.0.4"]
    assert all(address not in peers for address, peers in by_node.items())
    assert plan(view(node(1))).targets[0].vantages == ()


@given(st.lists(st.sampled_from(sorted(NodeState)), max_size=8), st.integers(0, 4))
def test_the_budget_counts_failures_and_a_broken_node_spends_it_all(states: list[NodeState], budget: int) -> None:
    outcomes = [NodeOutcome(address=str(i), state=state) for i, state in enumerate(states)]
    bad = (NodeState.ROLLED_BACK, NodeState.BROKEN, NodeState.UNTOUCHED, NodeState.REFUSED)
    failures = [state for state in states if state in bad]
    assert budget_spent(outcomes, budget) == (len(failures) > budget or NodeState.BROKEN in states)
