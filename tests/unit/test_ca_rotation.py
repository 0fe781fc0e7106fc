"""CA rotation, the pure parts on real certificates: what a node gets in which stage, and who would refuse whom."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.prepare import as_warning
from activities.rotation import answer_of
from sealring.cassandra.barrier import (
    Client,
    Look,
    disk_findings,
    handshake_findings,
    left_out,
    live_clients,
    path_findings,
)
from sealring.cassandra.borrowed import borrowed_context
from sealring.errors import SealringError
from sealring.models.cluster import KnownClient, Listener, NodeRef, RolloutSettings
from sealring.models.evidence import Finding, Served, Verdict
from sealring.models.material import MaterialRef, RotationMaterial
from sealring.models.node import Change, ClusterView, DiskState, Generation, NodeView
from sealring.models.plan import Plan, Target
from sealring.models.rollout import MaterialQuestion, PlanQuestion, RolloutRequest
from sealring.pki.acceptance import Presented, refusals
from sealring.pki.certificates import fingerprint
from sealring.pki.keys import NodeKey
from sealring.pki.material import Material, generation_id
from sealring.pki.rotation import Pair, adds, combined, dropped, drops
from sealring.planning.plan import make_plan
from tests.unit.pki_maker import NOW, Made, key, make, material

OLD, NEW = make("old authority", ca=True), make("new authority", ca=True)
ISSUING = make("new issuing", NEW, ca=True)
RENEWED = make("old authority", ca=True)  # same name and key, another certificate
LATE = NOW + timedelta(days=79)


def refs(count: int) -> list[NodeRef]:
    return [
        NodeRef(
            host_id=f"h{i}",
            address=f"10.0.0.{i}",
            internode_address=f"10.0.0.{i}",
            datacenter="dc1",
            rack=f"r{i % 3}",
        )
        for i in range(1, count + 1)
    ]


def leaf(number: int, authority: Made, *, generation: str = "") -> Made:
    return make(f"node {number}{generation}", authority, addresses=(f"10.0.0.{number}",))


def present(number: int) -> Material:
    return material(leaf(number, OLD), trust=[OLD])


def delivered(number: int, *trust: Made) -> Material:
    return material(leaf(number, ISSUING, generation=" new"), ISSUING, trust=trust or [NEW])


def look_at(pairs: list[Pair]) -> RotationMaterial:
    nodes = tuple(seen(ref, pair.present) for ref, pair in zip(refs(len(pairs)), pairs, strict=True))
    return answer_of(MaterialQuestion(view=view(nodes), ref=MaterialRef(path="/d")), pairs, (), NOW)


def seen(ref: NodeRef, held: Material, **facts: object) -> NodeView:
    digest = fingerprint(held.leaf)
    current = Generation(id=generation_id(held), leaf_sha256=digest, not_after=LATE, adopted=True)
    base = {"version": "5.0.9", "up": True, "normal": True, "reload": "forced", "served": (digest,)}
    return NodeView.model_validate({"node": ref, "current": current, **base, **facts})


def view(nodes: tuple[NodeView, ...]) -> ClusterView:
    return ClusterView(cluster="c", observed_at=NOW, observers=(), nodes=nodes, schema_versions=("s",))


def plan(pairs: list[Pair], rules: RolloutSettings | None = None, nodes: tuple[NodeView, ...] = ()) -> Plan:
    nodes = nodes or tuple(seen(ref, pair.present) for ref, pair in zip(refs(len(pairs)), pairs, strict=True))
    request = RolloutRequest(cluster="c", goal="rotate-ca", material=MaterialRef(path="/d"))
    question = PlanQuestion(request=request, view=view(nodes), rotation=look_at(pairs))
    return make_plan(question, rules or RolloutSettings())


def looks(pairs: list[Pair]) -> list[Look]:
    return [
        Look(ref, DiskState(), pair, client_auth=True, endpoint_verification=True)
        for ref, pair in zip(refs(len(pairs)), pairs, strict=True)
    ]


def split(held: dict[str, Material]) -> list[str]:
    """Ordered pairs of which one would refuse the other."""
    shown = [Presented(node, m.leaf, m.chain, address=node) for node, m in held.items()]
    return [f"{r.acceptor} refuses {r.presenter}" for r in refusals(shown, {n: m.trust for n, m in held.items()}, NOW)]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.sampled_from(["node", "rack"]), st.lists(st.integers(0, 6), max_size=6))
def test_stopped_anywhere_and_started_again_no_state_splits_the_ring_and_nothing_is_done_twice(
    count: int, wave: str, stops: list[int]
) -> None:
    nodes = [ref.address for ref in refs(count)]
    deliveries = {ref.address: delivered(i) for i, ref in enumerate(refs(count), 1)}
    held = {ref.address: present(i) for i, ref in enumerate(refs(count), 1)}
    rules = RolloutSettings.model_validate({"wave": wave})
    done = 0
    for limit in (*stops, 100):
        made = plan([Pair(node, held[node], deliveries[node]) for node in nodes], rules)
        assert [stage.kind for stage in made.stages] == ["trust", "identity", "drop"][3 - len(made.stages) :]
        began = 0
        for stage in made.stages:
            if stage.kind != "trust" and began < limit:
                pairs = [Pair(node, held[node], deliveries[node]) for node in nodes]
                assert not list(path_findings(looks(pairs), (), stage.kind, NOW))
            for one in stage.waves:
                if began == limit:
                    break
                began += 1
                for target in one.targets:
                    assert stage.material is not None
                    node = target.node.address
                    held[node] = combined(stage.material.take, deliveries[node], held[node])
                    assert generation_id(held[node]) == target.generation
                    assert fingerprint(held[node].leaf) == target.leaf_sha256
                    assert split(held) == []
                    done += 1
        if limit == 100:
            assert held == deliveries
    assert done == 3 * count


def test_a_renewal_with_the_same_key_takes_one_stage() -> None:
    pairs = [
        Pair(ref.address, present(i), material(leaf(i, RENEWED, generation=" new"), trust=[RENEWED]))
        for i, ref in enumerate(refs(3), 1)
    ]
    assert not dropped(pairs)
    (stage,) = plan(pairs).stages
    assert (stage.kind, stage.material and stage.material.take) == ("identity", "all")


def test_an_authority_that_is_expired_accepts_nobody_so_its_renewal_takes_trust_first() -> None:
    expired = make("old authority", ca=True, end=NOW - timedelta(days=1))
    pairs = [
        Pair(
            ref.address,
            material(leaf(i, OLD), trust=[expired]),
            material(leaf(i, RENEWED, generation=" new"), trust=[RENEWED]),
        )
        for i, ref in enumerate(refs(2), 1)
    ]
    assert adds(pairs, NOW)
    assert plan(pairs).stages[0].kind == "trust"


def test_a_cross_signed_intermediate_that_is_trusted_already_needs_no_trust_stage() -> None:
    cross = make("new issuing", OLD, ca=True)  # the new issuer, vouched for by the old root too
    pairs = [
        Pair(ref.address, present(i), replace(delivered(i), chain=(cross.certificate, ISSUING.certificate)))
        for i, ref in enumerate(refs(2), 1)
    ]
    assert not adds(pairs, NOW)
    assert [stage.kind for stage in plan(pairs).stages] == ["identity", "drop"]


def test_a_delivery_that_trusts_both_drops_nothing() -> None:
    pairs = [Pair(ref.address, present(i), delivered(i, OLD, NEW)) for i, ref in enumerate(refs(2), 1)]
    assert not drops(pairs, NOW)
    assert [stage.kind for stage in plan(pairs).stages] == ["trust", "identity"]


def test_a_node_whose_last_change_was_cut_off_gets_it_again() -> None:
    """Its files are in force, its leaf is the old one in any case: whether it trusts both cannot be seen there."""
    pairs = [Pair(ref.address, present(i), delivered(i)) for i, ref in enumerate(refs(2), 1)]
    pairs = [replace(pair, present=combined("trust", pair.delivered, pair.present)) for pair in pairs]
    first, second = (seen(ref, pair.present) for ref, pair in zip(refs(2), pairs, strict=True))
    assert first.current is not None
    written = first.current.model_copy(update={"adopted": False})
    last = Change(rollout="r/trust", before="", after="f" * 64, at=NOW)
    cut = first.model_copy(update={"current": written, "last": last})
    whole = cut.model_copy(update={"last": last.model_copy(update={"after": written.id})})
    pairs[1] = replace(pairs[1], present=present(2))  # so that trust is still to be added somewhere
    second = seen(refs(2)[1], pairs[1].present)
    assert [t.node.address for t in plan(pairs, None, (cut, second)).stages[0].targets] == ["10.0.0.1", "10.0.0.2"]
    assert [t.node.address for t in plan(pairs, None, (whole, second)).stages[0].targets] == ["10.0.0.2"]


def test_a_delivery_that_would_split_the_ring_in_the_end_is_refused() -> None:
    pairs = [Pair(ref.address, present(i), delivered(i)) for i, ref in enumerate(refs(2), 1)]
    pairs[1] = replace(pairs[1], delivered=replace(pairs[1].delivered, trust=(OLD.certificate,)))
    with pytest.raises(SealringError, match="would refuse") as caught:
        plan(pairs)
    assert caught.value.code == "plan.material-refused"


def test_the_same_facts_give_the_same_plan() -> None:
    pairs = [Pair(ref.address, present(i), delivered(i)) for i, ref in enumerate(refs(3), 1)]
    made = plan(pairs)
    assert made.digest == plan(pairs).digest
    assert {t.generation for t in made.targets} == {generation_id(pair.delivered) for pair in pairs}
    assert len(made.waves) == 9
    assert [wave.name for wave in made.waves] == [f"wave {i + 1}" for i in range(9)]


def test_the_barrier_names_who_would_refuse_whom() -> None:
    pairs = [Pair(ref.address, present(i), delivered(i)) for i, ref in enumerate(refs(2), 1)]
    pairs[0] = replace(pairs[0], present=combined("trust", pairs[0].delivered, pairs[0].present))
    found = list(path_findings(looks(pairs), (), "identity", NOW))
    assert {(f.check, f.node) for f in found} == {("barrier.not-trusted", "10.0.0.2")}
    assert "10.0.0.1" in found[0].message
    both = [replace(pair, present=combined("trust", pair.delivered, pair.present)) for pair in pairs]
    assert not list(path_findings(looks(both), (), "identity", NOW))
    early = list(path_findings(looks(both), (), "drop", NOW))
    assert {f.check for f in early} == {"barrier.old-presented"}


def test_a_known_client_of_the_old_authority_holds_the_last_barrier() -> None:
    pairs = [Pair(ref.address, present(i), delivered(i)) for i, ref in enumerate(refs(2), 1)]
    ready = [replace(pair, present=combined("identity", pair.delivered, pair.present)) for pair in pairs]
    old = Client("the client of role app", (make("app", OLD).certificate,))
    assert not list(path_findings(looks(ready), [old], "identity", NOW))
    found = list(path_findings(looks(ready), [old], "drop", NOW))
    assert {f.check for f in found} == {"barrier.client-needs-old"}
    assert "role app" in found[0].message
    new = Client("the client of role app", (make("app 2", NEW).certificate,))
    assert not list(path_findings(looks(ready), [new], "drop", NOW))
    asking_nobody = [replace(look, client_auth=False) for look in looks(ready)]
    assert not list(path_findings(asking_nobody, [old], "drop", NOW))


def test_barriers_judge_by_the_rules_of_the_simulation_so_a_usage_counts_too() -> None:
    pairs = [Pair(ref.address, present(i), delivered(i)) for i, ref in enumerate(refs(2), 1)]
    for usage, held in ((ExtendedKeyUsageOID.SERVER_AUTH, True), (ExtendedKeyUsageOID.CLIENT_AUTH, False)):
        app = Client("the client of role app", (make("app 3", OLD, usages=[usage]).certificate,))
        found = list(path_findings(looks(pairs), [app], "trust", NOW))
        refused = [f for f in found if f.check == "barrier.client-not-trusted"]
        assert [f.node for f in refused] == ([ref.address for ref in refs(2)] if held else [])
        assert all("extendedKeyUsage has no clientAuth" in f.message for f in refused)


def test_files_in_force_that_are_not_the_stage_s_fail_the_barrier() -> None:
    (ref,) = refs(1)
    held = present(1)
    current = Generation(id=generation_id(held), leaf_sha256=fingerprint(held.leaf), not_after=LATE)
    disk = DiskState(current=current, in_force=True, whole=True)
    target = Target(node=ref, generation=current.id, leaf_sha256=current.leaf_sha256, apply="reload", may_restart=False)
    look = Look(ref, disk, Pair(ref.address, held, held), client_auth=True, endpoint_verification=True)
    assert not list(disk_findings([look], {ref.address: target}))
    for changed in (
        {"in_force": False},
        {"whole": False},
        {"current": None},
        {"current": current.model_copy(update={"id": "f" * 64})},
    ):
        other = replace(look, disk=disk.model_copy(update=changed))
        assert [f.check for f in disk_findings([other], {ref.address: target})] == ["barrier.generation"]


def test_a_new_connection_that_is_refused_or_not_trusted_fails_and_silence_is_no_yes() -> None:
    listener = Listener(kind="native", address="10.0.0.1", port=9042)
    answers = [(True, True), (True, None), (False, True), (True, False), (None, True)]
    served = [Served(listener=listener, vantage="10.0.0.2", accepted=a, trusted=t, problem="alert") for a, t in answers]
    found = list(handshake_findings(served, "the delivered identity"))
    assert [f.verdict for f in found] == [Verdict.FAIL, Verdict.FAIL, Verdict.INCONCLUSIVE]
    assert found[0].node == "10.0.0.1"
    assert "from 10.0.0.2 with the delivered identity: alert" in found[0].message


def test_live_clients_are_told_with_owner_and_number() -> None:
    row = {"username": "app", "driver_name": "Java", "driver_version": "4", "address": "192.0.2.9", "ssl_enabled": True}
    found = list(live_clients({"n1": [row, row], "n2": [row]}, [KnownClient(role="app", owner="team app")]))
    assert [f.message for f in found] == ["role app, owner team app: Java 4 at 192.0.2.9, 3 connections"]
    assert found[0].verdict is Verdict.WARN
    many = [row | {"address": f"192.0.2.{i}"} for i in range(50)]
    assert list(live_clients({"n1": many}, ()))[-1].message == "and 20 more roles, drivers and addresses"


def test_what_is_dropped_is_named() -> None:
    pairs = [Pair(ref.address, present(i), delivered(i)) for i, ref in enumerate(refs(2), 1)]
    assert "CN=old authority" in left_out(looks(pairs)).message


def test_an_identity_is_borrowed_without_a_file_and_never_without_its_key() -> None:
    assert borrowed_context(present(1)) is not None
    on_node = replace(present(1), key=NodeKey(key("node 1").public_key()))
    assert borrowed_context(on_node) is None


def test_what_is_in_force_already_is_no_reason_against_more_trust() -> None:
    expired = Finding(check="material.validity", verdict=Verdict.FAIL, message="expired")
    assert as_warning(expired).verdict is Verdict.WARN


def test_what_one_node_is_not_to_trust_any_more_is_dropped_though_another_keeps_it() -> None:
    """Nobody shows a leaf of it by then; clients of it are cut off on that node all the same."""
    there = [material(leaf(i, NEW), trust=[OLD, NEW]) for i in (1, 2)]
    given = [material(leaf(1, NEW), trust=[NEW]), material(leaf(2, NEW), trust=[OLD, NEW])]
    pairs = [Pair(ref.address, *both) for ref, both in zip(refs(2), zip(there, given, strict=True), strict=True)]
    assert dropped(pairs) == (OLD.certificate,)
    assert drops(pairs, NOW)
    assert plan(pairs).stages[-1].kind == "drop"
