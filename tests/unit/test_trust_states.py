"""Grouped, cached and without listing subsets, the simulation says what looking at every state says; and is fast."""

from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from itertools import chain as chained
from itertools import combinations, permutations
from time import process_time

import pytest
from cryptography.x509 import ExtendedKeyUsage
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from sealring.models.trust import NodeTrust, TrustReport, TrustStep
from sealring.pki.simulation import simulate
from sealring.pki.trust import explain_path
from tests.unit.pki_maker import ISSUING, NOW, OTHER_ROOT, ROOT, Made, make
from tests.unit.trust_maker import Paper, leaf_of

END = NOW + timedelta(hours=3)
SOON = NOW + timedelta(hours=1)
MOMENTS = (NOW, SOON + timedelta(seconds=1), END)  # all at which anything changes in what chance makes
NEW_ROOT = make("new root", ca=True)
NEW_ISSUING = make("new issuing", NEW_ROOT, ca=True)


def run(paper: Paper, before: Sequence[NodeTrust], *steps: Sequence[NodeTrust]) -> TrustReport:
    """The steps as `wave 1`, `wave 2` …"""
    waves = [TrustStep(name=f"wave {number}", after=tuple(after)) for number, after in enumerate(steps, 1)]
    return simulate(before, waves, paper.certificates, start=NOW, end=END)


Asked = tuple[str, int, str, int, str]  # presenter and its generation, judge and its generation, role


def naive(
    paper: Paper, before: Sequence[NodeTrust], waves: Sequence[Sequence[NodeTrust]]
) -> tuple[dict[Asked, int | None], dict[Asked, int]]:
    """Each state by itself: every subset of every wave, every pair, both roles.

    What is asked with the first of `MOMENTS` at which it fails; and the wave in which it is asked first.
    """
    answers: dict[Asked, int | None] = {}
    since: dict[Asked, int] = {}
    present = {node.address: (0, node) for node in before}
    for number, wave in enumerate([[], *waves]):
        moved = {node.address: (present[node.address][0] + 1, node) for node in wave}
        for subset in chained.from_iterable(combinations(moved, size) for size in range(len(moved) + 1)):
            state = present | {address: moved[address] for address in subset}
            for (i, shown), (j, judge) in permutations(state.values(), 2):
                for role in ("server", "client"):
                    key = shown.address, i, judge.address, j, role
                    if key not in answers:
                        answers[key], since[key] = refused(paper, shown, judge, role), number
        present |= moved
    return answers, since


def refused(paper: Paper, shown: NodeTrust, judge: NodeTrust, role: str) -> int | None:
    """By the path builder alone, at the few instants at which anything changes."""
    leaf, *sent = (paper.certificates[name] for name in (shown.identity.leaf, *shown.identity.chain))
    trust = [paper.certificates[name] for name in judge.trust]
    usages = leaf.extensions.get_extension_for_class(ExtendedKeyUsage).value
    if (ExtendedKeyUsageOID.SERVER_AUTH if role == "server" else ExtendedKeyUsageOID.CLIENT_AUTH) not in usages:
        return 0
    fails = (bool(explain_path(leaf, sent, trust, at=at, address=shown.address)) for at in MOMENTS)
    return next((number for number, failed in enumerate(fails) if failed), None)


def ours(
    answers: dict[Asked, int | None], before: Sequence[NodeTrust], waves: Sequence[Sequence[NodeTrust]]
) -> set[Asked]:
    """Of what fails, what worked before the rollout, or is what it delivers in the end."""
    states = {node.address: [node] for node in before}
    for node in chained.from_iterable(waves):
        states[node.address].append(node)
    found = set()
    for key, failed in answers.items():
        a, i, b, j, role = key
        base = answers[a, 0, b, 0, role]
        fresh = states[a][i].identity != states[a][0].identity and j == len(states[b]) - 1
        if failed is not None and (base is None or fresh or failed == 0 < base):
            found.add(key)
    return found


ISSUERS = {
    "old": (ISSUING, [ISSUING]),
    "new": (NEW_ISSUING, [NEW_ISSUING]),
    "crossed": (NEW_ISSUING, [NEW_ISSUING, make("new issuing", ROOT, ca=True)]),
    "bare": (ISSUING, []),
    "dying": (ISSUING, [make("issuing", ROOT, ca=True, end=SOON)]),
}
TRUSTS = [[ROOT], [ROOT, NEW_ROOT], [NEW_ROOT], [ROOT, ISSUING], [NEW_ROOT, OTHER_ROOT]]


@cache
def any_leaf(number: int, issuer: str, short: bool, both: bool) -> Made:
    """Of a node on paper: kept, since making one takes longer than judging it."""
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if both else [])]
    return leaf_of(number, ISSUERS[issuer][0], end=SOON if short else END + timedelta(days=9), usages=usages)


GENERATIONS = st.tuples(
    st.sampled_from(sorted(ISSUERS)), st.integers(0, len(TRUSTS) - 1), st.booleans(), st.integers(0, 9).map(bool)
)


@settings(max_examples=40)
@given(
    first=st.lists(GENERATIONS, min_size=2, max_size=4),
    moves=st.lists(st.dictionaries(st.integers(0, 3), GENERATIONS, min_size=1), max_size=3),
)
def test_what_is_cached_and_grouped_says_what_looking_at_every_state_says(
    first: list[tuple[str, int, bool, bool]], moves: list[dict[int, tuple[str, int, bool, bool]]]
) -> None:
    paper = Paper()

    def node(number: int, kind: str, trust: int, short: bool, both: bool) -> NodeTrust:
        return paper.node(number, any_leaf(number, kind, short, both), ISSUERS[kind][1], TRUSTS[trust])

    before = [node(number, *generation) for number, generation in enumerate(first)]
    waves = [[node(n, *generation) for n, generation in move.items() if n < len(first)] for move in moves]
    report = run(paper, before, *waves)
    answers, since = naive(paper, before, waves)
    broken = ours(answers, before, waves)
    assert report.checked == len(answers)
    assert report.passed == sum(failed is None for failed in answers.values())
    assert report.broken == len(broken)
    assert (report.first is None) == (not broken)
    if report.first:
        wave = min(since[key] for key in broken)
        assert report.first.wave == f"wave {wave}"
        seen = {(key[0], key[2], key[4]) for key in broken if since[key] == wave}
        assert (report.first.presenter, report.first.judge, report.first.role) in seen


@pytest.mark.criterion("F8")
@pytest.mark.parametrize(("count", "distinct"), [(300, False), (90, True)], ids=["one truststore", "one each"])
def test_three_hundred_nodes_and_a_new_authority_take_seconds(count: int, distinct: bool) -> None:
    """Three racks, each node with its own leaf, through three stages: 89,700 ordered pairs."""
    paper = Paper()
    own = [[make(f"own {i}", ca=True, own_key="own")] if distinct else [] for i in range(count)]

    def all_of(issuer: Made, *trust: Made) -> list[NodeTrust]:
        return [paper.node(i, leaf_of(i, issuer), [issuer], [*trust, *own[i]]) for i in range(count)]

    before, both = all_of(ISSUING, ROOT), all_of(ISSUING, ROOT, NEW_ROOT)
    shown, alone = all_of(NEW_ISSUING, ROOT, NEW_ROOT), all_of(NEW_ISSUING, NEW_ROOT)
    begun = process_time()
    report = run(paper, before, *(stage[rack::3] for stage in (both, shown, alone) for rack in range(3)))
    took = process_time() - begun
    print(f"{count} nodes, 9 waves, {report.checked} answers: {took:.1f} s")
    assert report.broken == 0
    assert report.passed == report.checked > count**2 * 15
    assert took < 30
