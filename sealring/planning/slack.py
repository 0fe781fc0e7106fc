"""How many replicas each range can lose and still keep every promise made of it.

Quorum safety is a matter of capacity, for each replica set: of every set R at most `slack` nodes may be unusable at
once. Nothing about racks, datacenters or the number of nodes away is assumed.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from sealring.errors import SealringError
from sealring.models.cluster import ConsistencyLevel
from sealring.models.topology import Keyspace, RingNode, Topology
from sealring.planning.replicas import Replication, ordered, replica_sets, replication_of


@dataclass(frozen=True)
class Promise:
    """One consistency level of keyspaces that have the same replication, where its replicas are counted."""

    keyspaces: tuple[str, ...]
    consistency: ConsistencyLevel
    datacenter: str  # empty: replicas everywhere
    required: int
    sets: tuple[int, ...]  # bit masks over `ordered(topology)`

    def slack(self, replicas: int) -> int:
        """Replicas of this set that may be missing; below zero: it is not kept even when all are up."""
        return replicas.bit_count() - self.required


@dataclass(frozen=True)
class Constraint:
    """Of these replicas at most `slack` may be unusable, or the promise is broken."""

    replicas: int
    slack: int
    promise: Promise


def promises(topology: Topology, waived: Collection[str] = ()) -> tuple[Promise, ...]:
    """Everything that must stay possible.

    Args:
        topology: the ring.
        waived: keyspaces that may become unavailable. Of their ranges that could spare no replica one may be away all
            the same, and no second; ranges that can spare one are kept as if nothing was waived. Where nobody
            can say which replicas a waived keyspace has, it is left out.

    Raises:
        SealringError: `plan.replication`.
    """
    nodes = ordered(topology)
    datacenters = tuple(dict.fromkeys(node.datacenter for node in nodes))
    alike: dict[tuple[Replication, tuple[ConsistencyLevel, ...], bool], list[str]] = {}
    for keyspace in sorted(topology.keyspaces, key=lambda k: k.name):
        if keyspace.name in waived and _unknown(keyspace, datacenters):
            continue
        replication = replication_of(keyspace, datacenters)
        if replication is not None:
            kind = replication, _levels(keyspace), keyspace.name in waived
            alike.setdefault(kind, []).append(keyspace.name)
    placed = {replication: replica_sets(nodes, replication) for replication, _, _ in alike}
    return tuple(
        part
        for (replication, levels, lifted), names in alike.items()
        for level in levels
        for promise in _promises(tuple(names), replication, level, placed[replication])
        for part in (_lifted(promise) if lifted else (promise,))
    )


def kept_by_nothing(topology: Topology) -> frozenset[str]:
    """Keyspaces with a range that can spare no replica: none of its nodes can be restarted without a waiver for it."""
    datacenters = tuple(dict.fromkeys(node.datacenter for node in topology.nodes))
    unknown = frozenset(k.name for k in topology.keyspaces if _unknown(k, datacenters))
    found = promises(topology, unknown)
    return unknown | {name for p in found if any(p.slack(s) <= 0 for s in p.sets) for name in p.keyspaces}


def _unknown(keyspace: Keyspace, datacenters: tuple[str, ...]) -> bool:
    """Whether nobody can say which replicas its ranges have."""
    try:
        replication_of(keyspace, datacenters)
    except SealringError:
        return True
    return False


def _lifted(promise: Promise) -> Iterator[Promise]:
    """A waived promise: of a set that can spare nothing one replica is spared, whatever its level needs."""
    if kept := tuple(s for s in promise.sets if promise.slack(s) > 0):
        yield replace(promise, sets=kept)
    short: dict[int, list[int]] = {}
    for replicas in promise.sets:
        if promise.slack(replicas) <= 0:
            short.setdefault(replicas.bit_count(), []).append(replicas)
    for size, sets in short.items():
        yield replace(promise, required=max(0, size - 1), sets=tuple(sets))


def _levels(keyspace: Keyspace) -> tuple[ConsistencyLevel, ...]:
    return tuple(sorted(set(keyspace.consistency)))


def _promises(
    names: tuple[str, ...], replication: Replication, level: ConsistencyLevel, sets: dict[str, tuple[int, ...]]
) -> Iterable[Promise]:
    """Source: Cassandra's `ConsistencyLevel.blockFor`: by the configured factor, not by the replicas that exist.

    SimpleStrategy knows no datacenters: a local quorum there is a quorum of all replicas, as is EACH_QUORUM. Where a
    datacenter happens to hold that many replicas of a range, its clients may rely on it. LOCAL_SERIAL is another: Paxos
    asks more than half of the replicas that the datacenter has, however few (`Paxos.Participants`,
    `ReplicaPlans.forPaxos`).
    """
    if level == "ANY":  # a hint on any node is enough
        return
    local = level.startswith("LOCAL_") or level == "EACH_QUORUM"
    required = _required(level, replication.total)
    if local and replication.network:
        for datacenter, factor in replication.factors:
            yield Promise(names, level, datacenter, _required(level, factor), sets[datacenter])
    elif level == "LOCAL_SERIAL":
        for datacenter in sorted(sets.keys() - {""}):
            for size in sorted({s.bit_count() for s in sets[datacenter]}):
                alike = tuple(s for s in sets[datacenter] if s.bit_count() == size)
                yield Promise(names, level, datacenter, size // 2 + 1, alike)
    else:
        yield Promise(names, level, "", required, sets[""])
        if level.startswith("LOCAL_"):
            for datacenter in sorted(sets.keys() - {""}):
                possible = tuple(s for s in sets[datacenter] if s.bit_count() >= required)
                yield Promise(names, level, datacenter, required, possible)


def _required(level: ConsistencyLevel, factor: int) -> int:
    counts = {"ONE": 1, "LOCAL_ONE": 1, "TWO": 2, "THREE": 3, "ALL": factor}
    return counts.get(level, factor // 2 + 1)


def constraints(found: Iterable[Promise]) -> tuple[Constraint, ...]:
    """Promises as limits on sets of nodes: of one set only the smallest slack, and none that another one implies."""
    tightest: dict[int, Constraint] = {}
    for promise in found:
        for replicas in promise.sets:
            known = tightest.get(replicas)
            if known is None or promise.slack(replicas) < known.slack:
                tightest[replicas] = Constraint(replicas, promise.slack(replicas), promise)
    return _undominated(tuple(tightest.values()))


def _undominated(all_of_them: tuple[Constraint, ...]) -> tuple[Constraint, ...]:
    """Drop (R', s') when some (R, s) has R' within R and s <= s': what R can lose, its part R' can lose with it."""
    kinds = {(c.replicas.bit_count(), c.slack) for c in all_of_them}
    by_node: dict[int, list[Constraint]] = {}
    kept = []
    for constraint in sorted(all_of_them, key=lambda c: (-c.replicas.bit_count(), c.slack, c.replicas)):
        size = constraint.replicas.bit_count()
        comparable = any(larger > size and slack <= constraint.slack for larger, slack in kinds)
        lowest = constraint.replicas & -constraint.replicas
        if comparable and any(
            constraint.replicas & c.replicas == constraint.replicas and c.slack <= constraint.slack
            for c in by_node.get(lowest, ())
        ):
            continue
        kept.append(constraint)
        for bit in bits(constraint.replicas):
            by_node.setdefault(1 << bit, []).append(constraint)
    return tuple(kept)


def bits(mask: int) -> Iterator[int]:
    """The positions of a mask, from the lowest."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def usable(slack: int, reserve: int) -> int:
    """Slack that waves may use: where it is two or more, `reserve` replicas are kept back; one is always left."""
    return slack if slack < 2 else max(1, slack - reserve)


def mask_of(nodes: tuple[RingNode, ...], addresses: Collection[str]) -> int:
    """The nodes with these addresses."""
    return sum(1 << i for i, node in enumerate(nodes) if node.address in addresses)
