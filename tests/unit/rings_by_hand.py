"""Replica placement, promises and cstar's rule once more, as plainly as can be: what the planner is compared with.

Nothing of `sealring.planning` is used. Placement walks the ring node by node, as the Java code of
`NetworkTopologyStrategy` and `SimpleStrategy` does, for every token of the ring; sets are sets of addresses.
"""

import random
from collections.abc import Iterable, Iterator
from typing import Any

from sealring.models.topology import RingNode, Topology

Limit = tuple[frozenset[str], int]
"""Replicas, and how many of them may be away."""


def ring(
    nodes: int,
    racks: int,
    tokens: int,
    factor: int,
    *,
    seed: int = 1,
    level: str | tuple[str, ...] = "LOCAL_QUORUM",
    **more: Any,
) -> Topology:
    """One datacenter with racks in turn, and one keyspace; random tokens, the same for the same seed."""
    dice = random.Random(seed)
    taken = dice.sample(range(-(2**62), 2**62 - 1), nodes * tokens)
    places = [
        {"address": f"10.0.{i // 250}.{i % 250 + 1}", "rack": f"r{i % racks}", "tokens": taken[i::nodes]}
        for i in range(nodes)
    ]
    keyspace = {
        "name": "orders",
        "replication": {"class": "NetworkTopologyStrategy", "dc1": factor},
        "consistency": (level,) if isinstance(level, str) else level,
    }
    return Topology.model_validate({"name": "t", "nodes": places, "keyspaces": [keyspace]} | more)


Promised = tuple[str, frozenset[str], int]
"""The same with its keyspace."""


def replicas(topology: Topology, replication: dict[str, int | str]) -> list[dict[str, frozenset[str]]]:
    """By datacenter, for each range of the ring; SimpleStrategy: under "*"."""
    options = {name: int(value) for name, value in replication.items() if name != "class"}
    positions = sorted((token, node.address, node) for node in topology.nodes for token in node.tokens)
    owners = [node for _, _, node in positions]

    def walk(start: int, datacenter: str) -> Iterator[RingNode]:
        nodes = (owners[i % len(owners)] for i in range(start, start + len(owners)))
        return (node for node in nodes if datacenter in ("*", node.datacenter))

    if replication["class"] == "SimpleStrategy":
        return [{"*": simple(walk(i, "*"), options["replication_factor"])} for i in range(len(owners))]
    counts = {
        dc: (
            len({n.address for n in owners if n.datacenter == dc}),
            len({n.rack for n in owners if n.datacenter == dc}),
        )
        for dc, factor in options.items()
        if factor
    }
    return [
        {dc: network(walk(i, dc), options[dc], nodes, racks) for dc, (nodes, racks) in counts.items()}
        for i in range(len(owners))
    ]


def simple(walk: Iterator[RingNode], factor: int) -> frozenset[str]:
    """The first distinct nodes."""
    chosen: list[str] = []
    for node in walk:
        if node.address not in chosen:
            chosen.append(node.address)
        if len(chosen) == factor:
            break
    return frozenset(chosen)


def network(walk: Iterator[RingNode], factor: int, nodes: int, racks: int) -> frozenset[str]:
    """As `NetworkTopologyStrategy.DatacenterEndpoints` counts."""
    left = min(factor, nodes)
    repeats = factor - racks
    chosen: set[str] = set()
    met: set[str] = set()
    for node in walk:
        if node.address in chosen:
            continue
        if node.rack in met:
            if repeats <= 0:
                continue
            repeats -= 1
        met.add(node.rack)
        chosen.add(node.address)
        left -= 1
        if not left:
            break
    return frozenset(chosen)


def limits(topology: Topology, waived: Iterable[str] = ()) -> set[Promised]:
    """Keyspace, replicas and slack of every promise on every range; nothing is reduced."""
    found = set()
    where = {node.address: node.datacenter for node in topology.nodes}
    for keyspace in topology.keyspaces:
        if keyspace.name in waived:
            continue
        factors = {name: int(value) for name, value in keyspace.replication.items() if name != "class"}
        total = sum(factors.values())
        simply = keyspace.replication["class"] == "SimpleStrategy"
        for placed in replicas(topology, keyspace.replication):
            everywhere = frozenset[str]().union(*placed.values())
            for level in keyspace.consistency:
                word = level.removeprefix("LOCAL_").removeprefix("EACH_")
                if level == "ANY":
                    continue
                if simply and level == "LOCAL_SERIAL":  # Paxos asks the majority of what is there
                    for dc in set(where.values()):
                        here = frozenset(a for a in everywhere if where[a] == dc)
                        found.add((keyspace.name, here, len(here) - (len(here) // 2 + 1)))
                    continue
                if word == level or simply:
                    found.add((keyspace.name, everywhere, len(everywhere) - need(word, total)))
                if level.startswith("LOCAL_") and simply:
                    for dc in set(where.values()):
                        here = frozenset(a for a in everywhere if where[a] == dc)
                        if len(here) >= need(word, total):
                            found.add((keyspace.name, here, len(here) - need(word, total)))
                elif word != level and not simply:
                    for dc, here in placed.items():
                        found.add((keyspace.name, here, len(here) - need(word, factors[dc])))
    return {(name, who, slack) for name, who, slack in found if who}


def need(word: str, factor: int) -> int:
    """Replicas that a consistency level waits for."""
    return {"ONE": 1, "TWO": 2, "THREE": 3, "ALL": factor}.get(word, factor // 2 + 1)


def broken(
    topology: Topology, wave: Iterable[str], known: Iterable[Promised] | None = None, reserve: int = 0
) -> set[Limit]:
    """Promises that would not be kept with this wave away too; those that it does not touch aside."""
    members = set(wave)
    away = members | {node.address for node in topology.nodes if node.state != "up"}
    return {
        (who, slack)
        for _, who, slack in (limits(topology) if known is None else known)
        if who & members and (len(who & away) > (slack if slack < 2 else max(1, slack - reserve)) or slack < 1)
    }


def cstar(topology: Topology) -> list[set[str]]:
    """Waves by cstar's rule: in order of rack, any node that shares no range with one of the wave in its datacenter."""
    where = {node.address: node for node in topology.nodes}
    near: dict[str, set[str]] = {address: set() for address in where}
    for keyspace in topology.keyspaces:
        for placed in replicas(topology, keyspace.replication):
            for who in placed.values():
                for one in who:
                    near[one] |= {o for o in who if where[o].datacenter == where[one].datacenter}
    by_rack = sorted(where, key=lambda a: (where[a].datacenter, where[a].rack, tuple(map(int, a.split(".")))))
    waves: list[set[str]] = []
    while by_rack:
        wave: set[str] = set()
        for address in by_rack:
            if not near[address] & wave:
                wave.add(address)
        waves.append(wave)
        by_rack = [address for address in by_rack if address not in wave]
    return waves
