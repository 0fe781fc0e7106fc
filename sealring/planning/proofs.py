"""Why a wave is safe, in data and in words; which nodes are in no wave, and what would help them."""

from collections.abc import Iterable, Sequence
from heapq import nsmallest

from sealring.models.schedule import Blocked, Proof
from sealring.models.topology import RingNode
from sealring.planning.slack import Constraint, Promise, bits

_NAMED = 8  # names in a list of them; the others are counted


class Prover:
    """Finds the tightest replica sets of waves in a ring as it is now."""

    def __init__(self, nodes: tuple[RingNode, ...], limits: Sequence[Constraint], away: int) -> None:
        self.nodes, self.limits, self.away = nodes, limits, away
        self._by_node: list[list[int]] = [[] for _ in nodes]
        for j, limit in enumerate(limits):
            for i in bits(limit.replicas):
                self._by_node[i].append(j)

    def proof(self, wave: int, count: int) -> tuple[Proof, ...]:
        """The sets with the fewest spare replicas, at most `count`: of every promise one before a second of any."""
        tight = nsmallest(50, ((self._spare(j, wave), j) for j in self._touched(wave)))
        first: dict[int, int] = {}
        for _, j in tight:
            first.setdefault(id(self.limits[j].promise), j)  # the object: a hash would go over all its sets
        chosen = list(dict.fromkeys((*first.values(), *(j for _, j in tight))))[:count]
        return tuple(self._proof(self.limits[j], wave) for j in chosen)

    def unsafe_if(self, wave: int) -> str:
        """What must not happen while the wave is worked on."""
        touched = self._touched(wave)
        if not touched:
            return ""
        spares = {j: self._spare(j, wave) for j in touched}
        spare, others = min(spares.values()), 0
        for j in touched:
            if spares[j] == spare:
                others |= self.limits[j].replicas
        names = _some(self._addresses(others & ~(wave | self.away)), 3)
        what = f"one of {names} goes" if not spare else f"{spare + 1} replicas of one range, of {names}, go"
        return f"{what} down meanwhile, or tokens, racks or replication change"

    def _touched(self, wave: int) -> set[int]:
        return {j for i in bits(wave) for j in self._by_node[i]}

    def _spare(self, j: int, wave: int) -> int:
        return self.limits[j].slack - (self.limits[j].replicas & (wave | self.away)).bit_count()

    def _proof(self, limit: Constraint, wave: int) -> Proof:
        away = limit.replicas & (wave | self.away)
        return Proof(
            keyspaces=limit.promise.keyspaces[:_NAMED],
            others=len(limit.promise.keyspaces[_NAMED:]),
            consistency=limit.promise.consistency,
            datacenter=limit.promise.datacenter,
            replicas=self._addresses(limit.replicas),
            away=self._addresses(away),
            remain=(limit.replicas & ~away).bit_count(),
            required=limit.promise.required,
        )

    def _addresses(self, mask: int) -> tuple[str, ...]:
        return tuple(self.nodes[i].address for i in bits(mask))


def in_words(proofs: tuple[Proof, ...]) -> str:
    """Why a wave is safe."""
    if not proofs:
        return "no range that is promised has a replica here"
    tightest = proofs[0]
    place = f" in {tightest.datacenter}" if tightest.datacenter else ""
    names = _some((*tightest.keyspaces, *[""] * tightest.others), 3)
    kept = f"{tightest.remain} of {len(tightest.replicas)} replicas stay, {tightest.required} needed"
    return f"every range keeps enough replicas; tightest: {names} at {tightest.consistency}{place}: {kept}"


def blocked(
    nodes: tuple[RingNode, ...], found: Sequence[Promise], short: Sequence[Constraint], away: int, left: int
) -> tuple[Blocked, ...]:
    """Why the nodes of `left` cannot be restarted now.

    Args:
        nodes: of the ring, ordered.
        found: all promises; a node is named with every keyspace that it would hurt.
        short: constraints that leave no room now.
        away: nodes that are down or suspect.
        left: the nodes to explain, none of them down.
    """
    never: dict[int, list[int]] = {}
    for number, promise in enumerate(found):
        hurt = 0
        for replicas in promise.sets:
            if promise.slack(replicas) <= 0:
                hurt |= replicas
        for i in bits(hurt & left):
            never.setdefault(i, []).append(number)
    alike: dict[tuple[int, ...], list[str]] = {}
    for i, numbers in sorted(never.items()):
        alike.setdefault(tuple(numbers), []).append(nodes[i].address)
    named = [_never(tuple(them), [found[n] for n in numbers]) for numbers, them in alike.items()]
    waiting: dict[tuple[int, tuple[str, ...]], list[str]] = {}
    for i in bits(left):
        if i not in never:
            tight = [limit for limit in short if limit.replicas >> i & 1]
            missing = sum(1 << k for k in {k for limit in tight for k in bits(limit.replicas & away)})
            keyspaces = tuple(sorted({name for limit in tight for name in limit.promise.keyspaces}))
            waiting.setdefault((missing, keyspaces), []).append(nodes[i].address)
    for (missing, keyspaces), them in waiting.items():
        gone = tuple(nodes[i].address for i in bits(missing))
        named.append(
            Blocked(
                nodes=tuple(them),
                kind="wait",
                keyspaces=keyspaces,
                because=f"ranges they hold miss replicas already: {_some(gone)} down, or not to be counted on",
                ways_out=(f"bring {_some(gone)} back, then plan again", "change the certificates by reload"),
            )
        )
    return tuple(named)


def _never(them: tuple[str, ...], hurt: list[Promise]) -> Blocked:
    keyspaces = tuple(sorted({name for promise in hurt for name in promise.keyspaces}))
    words = dict.fromkeys(
        f"{_some(p.keyspaces)} at {p.consistency}{f' in {p.datacenter}' if p.datacenter else ''} needs {p.required} of "
        f"{min(mask.bit_count() for mask in p.sets)} replicas"
        for p in hurt
    )
    return Blocked(
        nodes=them,
        kind="never",
        keyspaces=keyspaces,
        because="no replica can be spared: " + "; ".join(words),
        ways_out=(
            "change the certificates by reload: no replica leaves (--apply reload)",
            "accept that these keyspaces are unavailable meanwhile: "
            + " ".join(f"--waive plan.quorum.{name}" for name in keyspaces),
            "raise their replication, or use a lower consistency level: RF 3 and LOCAL_QUORUM spare one replica",
        ),
    )


def down(them: Iterable[str]) -> Blocked:
    """Nodes that nothing can be done to."""
    return Blocked(
        nodes=tuple(them),
        kind="wait",
        because="down",
        ways_out=("bring them back, then plan again", "leave them out (--nodes) and do them when they are back"),
    )


def _some(names: Sequence[str], count: int = _NAMED) -> str:
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
