"""Which nodes hold the replicas of which ranges, as Cassandra places them.

Sets of nodes are bit masks: bit i is the node at position i of `ordered(topology)`. A thousand nodes with 16 tokens
take about a second; the ring is walked once, from its end to its start, keeping for every position which distinct
nodes (and racks) come next.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from sealring.errors import Actor, SealringError, refuse
from sealring.models.topology import LOCAL_KEYSPACES, Keyspace, RingNode, Topology

Ring = list[tuple[int, int]]
"""Tokens in order, each with its node's position."""


@dataclass(frozen=True)
class Replication:
    """Of one or more keyspaces: how many replicas, and where."""

    network: bool  # NetworkTopologyStrategy; else SimpleStrategy
    factors: tuple[tuple[str, int], ...]  # by datacenter; SimpleStrategy: one, without a datacenter

    @property
    def total(self) -> int:
        """Replicas everywhere."""
        return sum(factor for _, factor in self.factors)


def ordered(topology: Topology) -> tuple[RingNode, ...]:
    """The nodes by datacenter, rack and address."""
    return tuple(sorted(topology.nodes, key=lambda n: (n.datacenter, n.rack, natural(n.address))))


def natural(address: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts 10.0.0.9 before 10.0.0.10."""
    return tuple((0, int(p), "") if p.isascii() and p.isdigit() else (1, 0, p) for p in address.split("."))


def replication_of(keyspace: Keyspace, datacenters: Iterable[str]) -> Replication | None:
    """What a keyspace asks for; None: every node holds its own (`LocalStrategy`).

    `replication_factor` beside NetworkTopologyStrategy stands for every datacenter that is not named (CASSANDRA-14303).

    Raises:
        SealringError: `plan.replication`: transient replicas, another strategy, a factor that is none.
    """
    options = dict(keyspace.replication)
    strategy = str(options.pop("class", "")).rpartition(".")[2]
    if keyspace.name in LOCAL_KEYSPACES or strategy == "LocalStrategy":
        return None
    factors = {name: _factor(keyspace.name, name, factor) for name, factor in options.items()}
    usual = factors.pop("replication_factor", None)
    if strategy == "SimpleStrategy" and usual is not None and not factors:
        return Replication(network=False, factors=(("", usual),))
    if strategy != "NetworkTopologyStrategy":
        raise _unknown(
            keyspace.name,
            "class",
            f"{strategy or 'missing'}, expected NetworkTopologyStrategy or SimpleStrategy with replication_factor",
        )
    known = set(datacenters)
    if lost := sorted(set(factors) - known):
        raise _unknown(keyspace.name, lost[0], "no node is in a datacenter of that name")
    if usual is not None:
        factors = dict.fromkeys(known, usual) | factors
    if not any(factors.values()):
        raise _unknown(keyspace.name, "class", "no datacenter has a factor")
    return Replication(network=True, factors=tuple(sorted((d, f) for d, f in factors.items() if f)))


def _factor(keyspace: str, name: str, factor: int | str) -> int:
    """Source: Cassandra's `ReplicationFactor.fromString`: "3", or "3/1" with one transient replica."""
    text = str(factor).strip()
    if "/" in text:
        raise _unknown(keyspace, name, "transient replicas: no slack can be computed for them")
    if not (text.isascii() and text.isdigit() and len(text) < 5):
        raise _unknown(keyspace, name, 'expected a number of replicas, as 3 or "3"')
    return int(text)


def _unknown(keyspace: str, option: str, what: str) -> SealringError:
    return refuse(
        "plan.replication",
        f"keyspaces: {keyspace}: replication.{option}: {what}",
        "correct it, or leave the keyspace out and look after it yourself",
        actor=Actor.CASSANDRA_ADMIN,
    )


def replica_sets(nodes: tuple[RingNode, ...], replication: Replication) -> dict[str, tuple[int, ...]]:
    """The distinct replica sets of all ranges: by datacenter, and under "" all replicas of a range together.

    Source: Cassandra's `NetworkTopologyStrategy.calculateNaturalReplicas` and `SimpleStrategy`.
    """
    everyone = _ring(nodes, lambda _: True)
    if not replication.network:
        whole = _first_nodes(everyone, replication.total)
        found = {"": whole}
        for datacenter in dict.fromkeys(node.datacenter for node in nodes):
            here = sum(1 << i for i, node in enumerate(nodes) if node.datacenter == datacenter)
            found[datacenter] = [mask & here for mask in whole]
        return {scope: _distinct(sets) for scope, sets in found.items()}
    placed: dict[str, tuple[list[int], list[int]]] = {}
    for datacenter, factor in replication.factors:
        ring = _ring(nodes, lambda node, here=datacenter: node.datacenter == here)  # type: ignore[misc]
        placed[datacenter] = ([token for token, _ in ring], _first_racks(ring, nodes, factor))
    found = {datacenter: sets for datacenter, (_, sets) in placed.items()}
    if len(placed) == 1:
        found[""] = next(iter(found.values()))
    else:
        found[""] = [
            sum(sets[bisect_left(tokens, token) % len(tokens)] for tokens, sets in placed.values())
            for token, _ in everyone
        ]
    return {scope: _distinct(sets) for scope, sets in found.items()}


def _ring(nodes: tuple[RingNode, ...], counts: Callable[[RingNode], bool]) -> Ring:
    return sorted((token, i) for i, node in enumerate(nodes) if counts(node) for token in node.tokens)


def _distinct(sets: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(sets) - {0}))


def _backwards(ring: Ring) -> Iterator[tuple[int, int, bool]]:
    """Positions and nodes from the end to the start, twice: the first time only tells what comes after the end."""
    for counted in (False, True):
        for position in range(len(ring) - 1, -1, -1):
            yield position, ring[position][1], counted


def _first_nodes(ring: Ring, factor: int) -> list[int]:
    """For the range that ends at each token: the first distinct nodes from there on."""
    sets, next_nodes = [0] * len(ring), OrderedDict[int, None]()
    for position, node, counted in _backwards(ring):
        next_nodes[node] = None
        next_nodes.move_to_end(node, last=False)
        if counted:
            sets[position] = sum(1 << i for i in islice(next_nodes, factor))
    return sets


def _first_racks(ring: Ring, nodes: tuple[RingNode, ...], factor: int) -> list[int]:
    """The same, but a node of a rack that was met already counts only as often as racks are fewer than replicas."""
    wanted = min(factor, len({node for _, node in ring}))
    repeats = max(0, factor - len({nodes[node].rack for _, node in ring}))
    sets = [0] * len(ring)
    next_nodes, next_racks = OrderedDict[int, str](), OrderedDict[str, int]()
    for position, node, counted in _backwards(ring):
        rack = nodes[node].rack
        next_nodes[node], next_racks[rack] = rack, node
        next_nodes.move_to_end(node, last=False)
        next_racks.move_to_end(rack, last=False)
        if counted:
            sets[position] = _walk(next_nodes, next_racks, wanted, repeats)
    return sets


def _walk(next_nodes: OrderedDict[int, str], next_racks: OrderedDict[str, int], wanted: int, repeats: int) -> int:
    """Replicas of one range: every new rack's first node, and `repeats` nodes of racks met already, as they come."""
    chosen, met = 0, set[str]()
    if repeats:
        for node, rack in next_nodes.items():
            if rack in met:
                repeats -= 1
            met.add(rack)
            chosen |= 1 << node
            wanted -= 1
            if not repeats or not wanted:
                break
    for rack, node in next_racks.items():
        if not wanted:
            break
        if rack not in met:
            chosen |= 1 << node
            wanted -= 1
    return chosen
