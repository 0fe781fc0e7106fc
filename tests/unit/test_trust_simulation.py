"""Every state of a plan: what would split a ring is found before, by name; what would not, passes."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import chain as chained

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from sealring.models.trust import ClientTrust, NodeTrust, TrustReport, TrustStep
from sealring.pki.simulation import simulate
from tests.unit.pki_maker import ISSUING, NOW, OTHER_ROOT, ROOT, Made, make
from tests.unit.trust_maker import LAX, ONE_WAY, STRICT, Paper, address_of, leaf_of

END = NOW + timedelta(hours=3)
THREE = range(3)
N0, N1, N2 = (address_of(number) for number in THREE)
NEW_ROOT = make("new root", ca=True)
NEW_ISSUING = make("new issuing", NEW_ROOT, ca=True)


def run(
    paper: Paper, before: Sequence[NodeTrust], *steps: Sequence[NodeTrust], clients: Sequence[ClientTrust] = ()
) -> TrustReport:
    """The steps as `wave 1`, `wave 2` …"""
    waves = [TrustStep(name=f"wave {number}", after=tuple(after)) for number, after in enumerate(steps, 1)]
    return simulate(before, waves, paper.certificates, start=NOW, end=END, clients=clients)


def ring(paper: Paper, issuer: Made, chain: Sequence[Made], trust: Sequence[Made]) -> list[NodeTrust]:
    """Three nodes whose leaves have one issuer."""
    return [paper.node(number, leaf_of(number, issuer), chain, trust) for number in THREE]


def one_by_one(nodes: Sequence[NodeTrust]) -> list[list[NodeTrust]]:
    return [[node] for node in nodes]


@pytest.mark.criterion("F8")
def test_a_renewal_under_one_authority_passes() -> None:
    paper = Paper()
    before, after = (ring(paper, ISSUING, [ISSUING], [ROOT]) for _ in "12")
    report = run(paper, before, *one_by_one(after))
    assert (report.broken, report.first, report.already, report.ending) == (0, None, (), ())
    # Of each ordered pair three of the four pairs of generations can meet, as server and as client.
    assert report.passed == report.checked == 3 * 2 * 3 * 2


@pytest.mark.criterion("F8")
def test_a_leaf_of_a_new_authority_before_trust_is_caught_with_wave_and_pair() -> None:
    """The latent split that was measured: n1 shows the new authority, n2 believes the old one alone."""
    paper = Paper()
    before = ring(paper, ISSUING, [ISSUING], [ROOT])
    after = ring(paper, NEW_ISSUING, [NEW_ISSUING], [ROOT, NEW_ROOT])
    first = run(paper, before, *one_by_one(after)).first
    assert first is not None
    assert (first.wave, first.flipped, first.presenter, first.judge) == ("wave 1", (N0,), N0, N1)
    assert "CN=new root, is neither in the chain nor trusted" in first.reason
    assert first.remedy == f"let {N1} trust the authority of {N0}'s new certificate first, in a stage of its own"
    assert str(first).startswith(f"in wave 1, when {N0} has flipped: {N1}, dialling {N0} (internode), would refuse")


@pytest.mark.criterion("F8")
def test_three_stages_change_the_authority_without_a_split() -> None:
    paper = Paper()
    before = ring(paper, ISSUING, [ISSUING], [ROOT])
    both = [paper.node(i, leaf_of(i, ISSUING), [ISSUING], [ROOT, NEW_ROOT]) for i in THREE]
    shown = ring(paper, NEW_ISSUING, [NEW_ISSUING], [ROOT, NEW_ROOT])
    alone = [node.model_copy(update={"trust": paper.keep(NEW_ROOT)}) for node in shown]
    stages = [one_by_one(stage) for stage in (both, shown, alone)]
    assert run(paper, before, *chained(*stages)).broken == 0
    assert run(paper, before, both, shown, alone).broken == 0  # all at once in a stage: any order of flips


@pytest.mark.criterion("F8")
def test_dropping_the_old_authority_while_one_node_still_shows_it_is_caught() -> None:
    paper = Paper()
    before = [paper.node(i, leaf_of(i, ISSUING), [ISSUING], [ROOT, NEW_ROOT]) for i in THREE]
    shown = [paper.node(i, leaf_of(i, NEW_ISSUING), [NEW_ISSUING], [ROOT, NEW_ROOT]) for i in (0, 1)]
    alone = [node.model_copy(update={"trust": paper.keep(NEW_ROOT)}) for node in shown]
    report = run(paper, before, shown, alone)
    assert report.first is not None
    assert (report.first.wave, report.first.presenter, report.first.judge) == ("wave 2", N2, N0)
    assert "keep the authority" in report.first.remedy
    assert report.broken == 4  # n2 before n0 and n1, as server and as client


@pytest.mark.criterion("F8")
def test_any_subset_of_a_wave_may_have_flipped() -> None:
    """Together in one wave, two nodes that would understand each other before and after do not in between."""
    paper = Paper()
    before = ring(paper, ISSUING, [ISSUING], [ROOT])[:2]
    after = ring(paper, NEW_ISSUING, [NEW_ISSUING], [NEW_ROOT])[:2]
    first = run(paper, before, after).first
    assert first is not None
    assert len(first.flipped) == 1


def test_where_failed_nodes_may_stay_behind_later_waves_count_too() -> None:
    """n0 takes the new trust first; should it fail and go back, n1 may not show the new leaf in the next wave."""
    paper = Paper()
    before = ring(paper, ISSUING, [ISSUING], [ROOT, NEW_ROOT])[:2]
    before[0] = before[0].model_copy(update={"trust": paper.keep(ROOT)})
    trusting = before[0].model_copy(update={"trust": paper.keep(ROOT, NEW_ROOT)})
    shown = paper.node(1, leaf_of(1, NEW_ISSUING), [NEW_ISSUING], [ROOT, NEW_ROOT])

    def steps(settled: bool) -> list[TrustStep]:
        return [
            TrustStep(name="a", after=(trusting,), settled=settled),
            TrustStep(name="b", after=(shown,), settled=settled),
        ]

    assert simulate(before, steps(True), paper.certificates, start=NOW, end=END).broken == 0
    first = simulate(before, steps(False), paper.certificates, start=NOW, end=END).first
    assert first is not None
    assert (first.wave, first.presenter, first.judge) == ("b", N1, N0)


@pytest.mark.criterion("F2", "F8")
def test_an_intermediate_that_nobody_sends_counts_where_the_truststore_has_it() -> None:
    paper = Paper()
    before = ring(paper, ISSUING, [ISSUING], [ROOT])
    bare = [paper.node(i, leaf_of(i, ISSUING), [], [ROOT]) for i in THREE]
    report = run(paper, before, *one_by_one(bare))
    assert report.first is not None
    assert (report.first.wave, report.first.presenter) == ("wave 1", N0)
    assert "CN=issuing, is neither in the chain nor trusted" in report.first.reason
    # n1 has the intermediate in its truststore, so n2 alone refuses n0's leaf; and n0 and n2 refuse what comes next
    before[1] = before[1].model_copy(update={"trust": paper.keep(ROOT, ISSUING)})
    first = run(paper, before, bare[:1]).first
    assert first is not None
    assert (first.presenter, first.judge) == (N0, N2)
    everywhere = [node.model_copy(update={"trust": paper.keep(ROOT, ISSUING)}) for node in before]
    assert run(paper, everywhere, bare[:1]).broken == 0


def test_leaves_in_a_truststore_are_believed_as_they_are() -> None:
    """Rings without an authority, and rings that pin the leaves of one."""
    paper = Paper()
    for issuer in (None, ISSUING):
        leaves = [make(f"pinned {i}", issuer, addresses=[address_of(i)]) for i in THREE]
        pinned = [paper.node(i, leaves[i], [], [OTHER_ROOT, *leaves]) for i in THREE]
        assert run(paper, pinned, *one_by_one(pinned)).already == ()
        renewed = [make(f"pinned {i}", issuer, addresses=[address_of(i)], own_key="fresh") for i in THREE]
        report = run(paper, pinned, [paper.node(0, renewed[0], [], [OTHER_ROOT, *leaves])])
        assert (report.broken, report.first and report.first.presenter) == (4, N0)


@pytest.mark.criterion("F8")
def test_a_new_certificate_for_the_same_key_of_an_authority_needs_no_stage_of_its_own() -> None:
    paper = Paper()
    renewed = make("root", ca=True, end=NOW + timedelta(days=900))
    before = ring(paper, ISSUING, [ISSUING], [ROOT])
    after = ring(paper, ISSUING, [ISSUING], [renewed])
    assert run(paper, before, *one_by_one(after)).broken == 0
    other = make("root", ca=True, own_key="another key")
    first = run(paper, before, *one_by_one(ring(paper, make("issuing", other, ca=True), [], [other]))).first
    assert first is not None
    assert "not signed by the CN=root at hand" in first.reason or "CN=issuing, is neither" in first.reason


@pytest.mark.criterion("F8")
def test_a_cross_signed_intermediate_leads_to_both_authorities() -> None:
    paper = Paper()
    crossed = make("new issuing", ROOT, ca=True)  # the same name and key under the old root
    before = ring(paper, ISSUING, [ISSUING], [ROOT])
    after = ring(paper, NEW_ISSUING, [NEW_ISSUING, crossed], [ROOT, NEW_ROOT])
    assert run(paper, before, *one_by_one(after)).broken == 0
    without = ring(paper, NEW_ISSUING, [NEW_ISSUING], [ROOT, NEW_ROOT])
    assert run(paper, before, *one_by_one(without)).broken > 0


@pytest.mark.criterion("F1", "F8")
@pytest.mark.parametrize(("usage", "role"), [("SERVER_AUTH", "client"), ("CLIENT_AUTH", "server")])
def test_an_extended_key_usage_that_lacks_one_role_breaks_that_role(usage: str, role: str) -> None:
    paper = Paper()
    before = ring(paper, ISSUING, [ISSUING], [ROOT])
    half = leaf_of(1, ISSUING, usages=[getattr(ExtendedKeyUsageOID, usage)])
    report = run(paper, before, [paper.node(1, half, [ISSUING], [ROOT])])
    assert report.first is not None
    assert (report.first.presenter, report.first.kind, report.first.role) == (N1, "usage", role)
    assert f"extendedKeyUsage has no {role}Auth" in report.first.reason
    assert report.broken == 2  # before both peers, in one role


@pytest.mark.criterion("F8")
def test_an_address_that_the_leaf_lacks_counts_where_addresses_are_verified() -> None:
    """Measured on loopback: a ring that verifies no addresses takes any leaf; one that does refuses in both roles."""
    paper = Paper()
    wrong = leaf_of(1, ISSUING, addresses=["127.0.0.1"])
    for demands, broken in ((STRICT, 4), (LAX, 0)):
        before = [paper.node(i, leaf_of(i, ISSUING), [ISSUING], [ROOT], internode=demands) for i in THREE]
        report = run(paper, before, [paper.node(1, wrong, [ISSUING], [ROOT], internode=demands)])
        assert report.broken == broken
    assert report.passed == report.checked
    first = run(paper, ring(paper, ISSUING, [ISSUING], [ROOT]), [paper.node(1, wrong, [ISSUING], [ROOT])]).first
    assert first is not None
    assert first.kind == "address"
    assert f"is for 127.0.0.1, not for {N1}" in first.reason


def test_on_loopback_every_leaf_needs_the_one_address_that_all_connections_come_from() -> None:
    """Measured: Cassandra does not bind its outgoing sockets, so peers see 127.0.0.1."""
    paper = Paper()
    own = ring(paper, ISSUING, [ISSUING], [ROOT])
    before = [node.model_copy(update={"source": ("127.0.0.1",)}) for node in own]
    report = run(paper, before)
    assert [(group.count, group.example.role) for group in report.already] == [(6, "client")]
    assert report.already[0].example.reason == f"CN=n0 is for {N0}, not for 127.0.0.1"
    both = [leaf_of(i, ISSUING, addresses=[address_of(i), "127.0.0.1"]) for i in THREE]
    after = [node.model_copy(update={"identity": paper.identity(both[i], ISSUING)}) for i, node in enumerate(before)]
    assert run(paper, after).already == ()


@pytest.mark.criterion("F1", "F8")
@pytest.mark.parametrize("short", ["leaf", "intermediate", "authority"])
def test_a_certificate_that_ends_before_the_forecast_does_is_caught(short: str) -> None:
    paper = Paper()
    soon = NOW + timedelta(hours=1)
    root = make("short root", ca=True, end=soon if short == "authority" else END + timedelta(days=1))
    issuing = make("short issuing", root, ca=True, end=soon if short == "intermediate" else END + timedelta(days=1))
    leaf = leaf_of(0, issuing, end=soon if short == "leaf" else END + timedelta(days=1))
    before = ring(paper, ISSUING, [ISSUING], [ROOT, root])
    first = run(paper, before, [paper.node(0, leaf, [issuing], [ROOT, root])]).first
    assert first is not None
    assert first.at == soon + timedelta(seconds=1)
    assert "expired at" in first.reason
    assert first.remedy.endswith("outlast the rollout")


def test_what_ends_in_between_and_what_begins_after_is_a_gap() -> None:
    """Two intermediates of one key, one valid now and one valid at the end, none in between."""
    paper = Paper()
    early = make("gap", ROOT, ca=True, end=NOW + timedelta(hours=1))
    late = make("gap", ROOT, ca=True, start=NOW + timedelta(hours=2))
    before = ring(paper, ISSUING, [ISSUING], [ROOT])
    first = run(paper, before, [paper.node(0, leaf_of(0, early), [early, late], [ROOT])]).first
    assert first is not None
    assert first.at == NOW + timedelta(hours=1, seconds=1)


def test_what_ends_during_the_rollout_without_us_is_told_apart() -> None:
    paper = Paper()
    dying = [paper.node(i, leaf_of(i, ISSUING, end=NOW + timedelta(hours=1)), [ISSUING], [ROOT]) for i in THREE]
    report = run(paper, dying, *one_by_one(ring(paper, ISSUING, [ISSUING], [ROOT])))
    assert report.broken == 0
    assert [group.count for group in report.ending] == [6, 6]  # in both roles
    # but a wave that makes it worse than time does is a break
    lost = [node.model_copy(update={"trust": paper.keep(NEW_ROOT)}) for node in dying[:1]]
    first = run(paper, dying, lost).first
    assert first is not None
    assert (first.judge, first.at) == (N0, NOW)


def test_pairs_that_fail_already_are_said_separately_and_do_not_hide_what_we_break() -> None:
    """Expired everywhere: new leaves mend it, in any order; a leaf that nobody trusts would not."""
    paper = Paper()
    expired = [paper.node(i, leaf_of(i, ISSUING, end=NOW - timedelta(hours=1)), [ISSUING], [ROOT]) for i in THREE]
    mending = run(paper, expired, *one_by_one(ring(paper, ISSUING, [ISSUING], [ROOT])))
    assert (mending.broken, mending.first) == (0, None)
    assert [group.count for group in mending.already] == [6, 6]
    assert mending.already[0].example.wave == ""
    assert str(mending.already[0].example).startswith("before anything flips")
    useless = run(paper, expired, *one_by_one(ring(paper, NEW_ISSUING, [NEW_ISSUING], [ROOT])))
    assert useless.broken > 0


def test_without_client_authentication_nobody_looks_at_who_dials() -> None:
    paper = Paper()
    server_only = [ExtendedKeyUsageOID.SERVER_AUTH]
    before = [paper.node(i, leaf_of(i, ISSUING), [ISSUING], [ROOT], internode=ONE_WAY) for i in THREE]
    leaf = leaf_of(0, ISSUING, usages=server_only)
    report = run(paper, before, [paper.node(0, leaf, [ISSUING], [ROOT], internode=ONE_WAY)])
    assert (report.broken, report.checked) == (0, 6 + 4)  # six pairs before, four with the new n0; as server only
    lax = before[1].model_copy(update={"internode": STRICT})
    mixed = run(paper, [before[0], lax, before[2]], [paper.node(0, leaf, [ISSUING], [ROOT], internode=ONE_WAY)])
    assert mixed.first is not None
    assert (mixed.first.judge, mixed.first.role) == (N1, "client")


@pytest.mark.criterion("F2", "F8")
def test_a_leaf_alone_is_refused_when_its_chain_has_changed() -> None:
    """The new leaf comes from another intermediate and the keystore kept the old one behind it."""
    paper = Paper()
    fresh = make("fresh issuing", ROOT, ca=True)
    before = ring(paper, ISSUING, [ISSUING], [ROOT])
    first = run(paper, before, [paper.node(0, leaf_of(0, fresh), [ISSUING], [ROOT])]).first
    assert first is not None
    assert "CN=fresh issuing, is neither in the chain nor trusted" in first.reason
    assert "with all of its chain" in first.remedy


@pytest.mark.criterion("F8")
def test_clients_that_pin_the_old_authority_are_caught_in_the_wave_that_leaves_them_behind() -> None:
    paper = Paper()
    pinned, ready = paper.client("billing", ROOT), paper.client("shop", ROOT, NEW_ROOT)
    before = [paper.node(i, leaf_of(i, ISSUING), [ISSUING], [ROOT, NEW_ROOT]) for i in THREE]
    after = ring(paper, NEW_ISSUING, [NEW_ISSUING], [ROOT, NEW_ROOT])
    assert run(paper, before, *one_by_one(after), clients=[ready]).broken == 0
    report = run(paper, before, *one_by_one(after), clients=[ready, pinned])
    assert report.first is not None
    assert (report.first.judge, report.first.listener, report.first.role) == ("billing", "native", "server")
    assert (report.first.wave, report.broken) == ("wave 1", 3)


@pytest.mark.criterion("F8")
def test_clients_that_show_a_certificate_are_caught_when_nodes_stop_to_believe_it() -> None:
    paper = Paper()
    app = paper.client("app", identity=paper.identity(make("app", OTHER_ROOT, addresses=[])))
    before = [paper.node(i, leaf_of(i, ISSUING), [ISSUING], [ROOT, OTHER_ROOT], native=STRICT) for i in THREE]
    after = [node.model_copy(update={"trust": paper.keep(ROOT)}) for node in before]
    first = run(paper, before, *one_by_one(after), clients=[app]).first
    assert first is not None
    assert (first.presenter, first.judge, first.listener, first.role) == ("app", N0, "native", "client")
    open_ = [node.model_copy(update={"native": ONE_WAY}) for node in [*before, *after]]
    assert run(paper, open_[:3], *one_by_one(open_[3:]), clients=[app]).broken == 0
