"""Can everybody talk to everybody, in every state of a plan? Nodes and clients, both roles, from now to the plan's end.

A connection works when the side that dials accepts what it is shown, and, where a certificate is demanded of it, the
other side accepts its own. So everything comes down to one question, who refuses whose identity, asked for all ordered
pairs in both roles, and for all generations of the two that can meet (`sealring.planning.trust_states`).

Judges with the same generations in the same waves are asked as one; `acceptance.Judge` answers each question once.

What a rollout did not cause is told apart: a pair that fails before it is not made worse by a state in which it still
fails. But what is delivered must work in the end, whatever was before.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from typing import Literal

from cryptography import x509

from sealring.models.cluster import ListenerKind
from sealring.models.trust import (
    Break,
    BreakGroup,
    ClientTrust,
    Identity,
    NodeTrust,
    TlsRole,
    TrustReport,
    TrustStep,
)
from sealring.pki.acceptance import Judge, Refusal
from sealring.planning.trust_states import Span, meet, spans

Cause = Literal["broken", "already", "ending"]
SHOWN = 6
"""Kinds of break that a report spells out, of each cause."""


@dataclass(frozen=True)
class _Shown:
    """What somebody shows, while it may be in force."""

    first: int
    last: int
    identity: int  # as `Judge` numbers them
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class _Believed:
    """What somebody believes, while it may be in force; `trust` is None where no certificate is demanded."""

    first: int
    last: int
    trust: int | None
    verifies: bool


@dataclass
class _Tally:
    """What was found so far."""

    judge: Judge
    steps: Sequence[TrustStep]
    checked: int = 0
    passed: int = 0
    broken: int = 0
    groups: dict[tuple[Cause, int, str], tuple[int, Break]] = field(default_factory=dict)


def simulate(
    before: Sequence[NodeTrust],
    steps: Sequence[TrustStep],
    certificates: Mapping[str, x509.Certificate],
    *,
    start: datetime,
    end: datetime,
    clients: Sequence[ClientTrust] = (),
) -> TrustReport:
    """Check all ordered pairs in every state of a plan. Pure.

    Args:
        before: every node of the ring as it is now.
        steps: the waves of the plan in their order, all stages.
        certificates: by SHA-256: all that are named in the other arguments.
        start: now (aware).
        end: when the last wave is over.
        clients: whom the nodes must go on to serve; they do not change.
    """
    judge = Judge(certificates, start, end)
    tally = _Tally(judge, steps)
    nodes = spans(before, steps)
    peers = {node.address: nodes[node.address] for node in before if node.internode}
    listening = {node.address: nodes[node.address] for node in before if node.native}
    always = len(steps)
    trusting = {
        c.name: [_Believed(0, always, judge.trust(c.trust), c.endpoint_verification)] for c in clients if c.trust
    }
    known = {c.name: [_Shown(0, always, judge.identity(c.identity), ())] for c in clients if c.identity}
    dialled = _shows(judge, peers, lambda node: (node.identity, node.dialled))
    dialling = _shows(judge, peers, lambda node: (node.dialling or node.identity, node.source))
    _weigh(tally, dialled, _believes(judge, peers, "internode", "server"), "internode", "server")
    _weigh(tally, dialling, _believes(judge, peers, "internode", "client"), "internode", "client")
    _weigh(tally, _shows(judge, listening, lambda node: (node.identity, node.serving)), trusting, "native", "server")
    _weigh(tally, known, _believes(judge, listening, "native", "client"), "native", "client")
    breaks = _groups(tally, "broken")
    return TrustReport(
        nodes=len(nodes),
        clients=len(clients),
        waves=len(steps),
        start=start,
        end=end,
        checked=tally.checked,
        passed=tally.passed,
        broken=tally.broken,
        first=breaks[0].example if breaks else None,
        breaks=breaks[:SHOWN],
        already=_groups(tally, "already")[:SHOWN],
        ending=_groups(tally, "ending")[:SHOWN],
    )


def _shows(
    judge: Judge, nodes: Mapping[str, Sequence[Span]], shown: Callable[[NodeTrust], tuple[Identity, tuple[str, ...]]]
) -> dict[str, list[_Shown]]:
    """What nodes show, with the addresses that it is compared with."""

    def one(span: Span) -> _Shown:
        identity, addresses = shown(span.state)
        return _Shown(span.first, span.last, judge.identity(identity), addresses)

    return {name: [one(span) for span in found] for name, found in nodes.items()}


def _believes(
    judge: Judge, nodes: Mapping[str, Sequence[Span]], listener: ListenerKind, role: TlsRole
) -> dict[str, list[_Believed]]:
    """What nodes believe of those who show themselves in `role`."""

    def believed(span: Span) -> _Believed:
        demands = span.state.internode if listener == "internode" else span.state.native
        judged = role == "server" or (demands is not None and demands.client_auth)
        # Where a client of the native port connects from is not known, so no address of it is looked at.
        verifies = demands is not None and demands.endpoint_verification and listener == "internode"
        return _Believed(span.first, span.last, judge.trust(span.state.trust) if judged else None, verifies)

    return {name: [believed(span) for span in found] for name, found in nodes.items()}


def _weigh(
    tally: _Tally,
    presenters: Mapping[str, Sequence[_Shown]],
    judges: Mapping[str, Sequence[_Believed]],
    listener: ListenerKind,
    role: TlsRole,
) -> None:
    """Every presenter before every judge but itself, in all generations that can meet."""
    alike: dict[tuple[_Believed, ...], list[str]] = defaultdict(list)
    for name, believed in judges.items():
        alike[tuple(believed)].append(name)
    of_judge = {name: believed for believed, names in alike.items() for name in names}
    for presenter, shown in presenters.items():
        for believed, names in alike.items():
            count = len(names) - (of_judge.get(presenter) is believed)
            if count:
                other = next(name for name in names if name != presenter)
                _weigh_pair(tally, (presenter, other), (shown, believed), count, (listener, role))


def _weigh_pair(
    tally: _Tally,
    pair: tuple[str, str],
    generations: tuple[Sequence[_Shown], Sequence[_Believed]],
    count: int,
    way: tuple[ListenerKind, TlsRole],
) -> None:
    """One presenter before judges that are alike, of whom `pair` names one."""
    shown, believed = generations
    base = _refusal(tally, shown[0], believed[0], way[1])
    for mine, theirs in product(shown, believed):
        wave = meet(mine, theirs)
        if theirs.trust is None or wave is None:
            continue
        tally.checked += count
        refusal = _refusal(tally, mine, theirs, way[1])
        if refusal is None:
            tally.passed += count
            continue
        cause = _cause(base, refusal, delivered=mine.identity != shown[0].identity and theirs is believed[-1])
        if cause == "broken":
            tally.broken += count
        elif (mine, theirs) != (shown[0], believed[0]):
            continue  # a pair that fails anyhow is told once
        group = cause, wave, f"{way} {refusal.kind}"
        number, example = tally.groups.get(group, (0, None))
        found = example or _break(tally, wave, pair, (mine, theirs), generations, refusal, way)
        tally.groups[group] = number + count, found


def _cause(base: Refusal | None, refusal: Refusal, *, delivered: bool) -> Cause:
    """Whether the rollout is to blame: not for what failed before, or would have by then, until it has delivered."""
    if base is None or delivered or (base.later and not refusal.later):
        return "broken"
    return "ending" if base.later else "already"


def _refusal(tally: _Tally, shown: _Shown, believed: _Believed, role: TlsRole) -> Refusal | None:
    if believed.trust is None:
        return None
    return tally.judge.refusal(shown.identity, believed.trust, role, shown.addresses if believed.verifies else ())


def _break(
    tally: _Tally,
    wave: int,
    pair: tuple[str, str],
    met: tuple[_Shown, _Believed],
    generations: tuple[Sequence[_Shown], Sequence[_Believed]],
    refusal: Refusal,
    way: tuple[ListenerKind, TlsRole],
) -> Break:
    flipped = [name for name, first in zip(pair, (met[0].first, met[1].first), strict=True) if wave and first == wave]
    return Break(
        wave=tally.steps[wave - 1].name if wave else "",
        flipped=tuple(flipped),
        presenter=pair[0],
        judge=pair[1],
        listener=way[0],
        role=way[1],
        kind=refusal.kind,
        reason=refusal.reason,
        remedy=_remedy(tally, pair, met, generations, refusal, way[1]),
        at=refusal.at,
    )


def _remedy(
    tally: _Tally,
    pair: tuple[str, str],
    met: tuple[_Shown, _Believed],
    generations: tuple[Sequence[_Shown], Sequence[_Believed]],
    refusal: Refusal,
    role: TlsRole,
) -> str:
    """What would have to be delivered otherwise: the same pair in other generations shows what is missing."""
    presenter, judge = pair
    if refusal.kind == "usage":
        return f"issue the certificate of {presenter} with digitalSignature, serverAuth and clientAuth"
    if refusal.kind == "address":
        return f"issue the certificate of {presenter} with these addresses in its subject alternative name"
    if refusal.later:
        return f"issue a certificate, and a chain, for {presenter} that outlast the rollout"
    (mine, theirs), (shown, believed) = met, generations

    def accepts(other: _Believed) -> bool:
        return _refusal(tally, mine, other, role) is None

    if any(accepts(later) for later in believed if later.first > theirs.first):
        return f"let {judge} trust the authority of {presenter}'s new certificate first, in a stage of its own"
    if any(accepts(earlier) for earlier in believed if earlier.last < theirs.last):
        return (
            f"keep the authority of {presenter}'s certificate in what {judge} is given to trust, until every node "
            "shows a certificate of the new one"
        )
    if mine.identity == shown[0].identity and len(shown) == 1:
        return f"give {judge} the authority of {presenter}, or {presenter} a certificate of one that {judge} trusts"
    return f"deliver the certificate of {presenter} with all of its chain, under an authority that {judge} trusts"


def _groups(tally: _Tally, cause: Cause) -> tuple[BreakGroup, ...]:
    """In order of waves; within one, those of which one side alone has flipped come first."""
    found = [(key, group) for key, group in tally.groups.items() if key[0] == cause]
    found.sort(key=lambda item: (item[0][1], len(item[1][1].flipped)))
    return tuple(BreakGroup(count=count, example=example) for _, (count, example) in found)
