"""Keyspaces of a simulated ring, and what each needs."""

from sealring.models.topology import Keyspace
from tests.twin.ring import Need, Node
from tests.twin.world import World

TIGHT = "cache"
"""The keyspace without slack, where there is one: one replica, or two at QUORUM."""


def needs(world: World, nodes: list[Node], *, tight: bool) -> tuple[list[Need], tuple[Keyspace, ...]]:
    """Keyspaces, as sets of replicas with how many must answer, and as the planner is told of them.

    NetworkTopologyStrategy: distinct racks first; worked out here once more: the planner is no witness of itself.

    Args:
        tight: whether there is a keyspace that can lose no replica, in one datacenter or in all of them.
    """
    centers = sorted({node.ref.datacenter for node in nodes})
    found: dict[tuple[str, frozenset[str], int], Need] = {}
    keyspaces = []
    for name, level in (("app", "LOCAL_QUORUM"), ("archive", "LOCAL_ONE"), ("system_auth", "QUORUM")):
        of_center: dict[str, list[tuple[int, frozenset[str]]]] = {}
        factors: dict[str, int | str] = {"class": "NetworkTopologyStrategy"}
        for center in centers:
            members = [node for node in nodes if node.ref.datacenter == center]
            factor = min(len(members), world.dice.choice((3, 3, 5)) if level != "LOCAL_ONE" else 2)
            of_center[center], factors[center] = _replicas(members, factor), factor
        keyspaces.append(Keyspace.model_validate({"name": name, "replication": factors, "consistency": [level]}))
        if level == "QUORUM" and len(centers) > 1:
            for token, _ in next(iter(of_center.values())):
                union = frozenset().union(*(_at(of_center[center], token) for center in centers))
                need = Need(name, union, len(union) // 2 + 1)
                found.setdefault(("", need.replicas, need.required), need)
            continue
        for sets in of_center.values():
            for _, replicas in sets:
                required = 1 if level == "LOCAL_ONE" else len(replicas) // 2 + 1
                need = Need(name, replicas, required)
                found.setdefault(("", need.replicas, need.required), need)
    if tight:
        factor, level = world.dice.choice(((1, "LOCAL_ONE"), (1, "LOCAL_QUORUM"), (2, "LOCAL_QUORUM")))
        where = centers if world.chance(0.5) else centers[:1]
        replication: dict[str, int | str] = {"class": "NetworkTopologyStrategy"} | dict.fromkeys(where, factor)
        keyspaces.append(Keyspace.model_validate({"name": TIGHT, "replication": replication, "consistency": [level]}))
        for center in where:
            for _, replicas in _replicas([node for node in nodes if node.ref.datacenter == center], factor):
                found.setdefault((TIGHT, replicas, factor), Need(TIGHT, replicas, factor))
    return list(found.values()), tuple(keyspaces)


def _replicas(members: list[Node], factor: int) -> list[tuple[int, frozenset[str]]]:
    """(token, replicas of the range that ends there)."""
    ring = sorted((token, node) for node in members for token in node.tokens)
    racks = {node.ref.rack for node in members}
    result = []
    for start in range(len(ring)):
        chosen: list[Node] = []
        repeats = max(0, factor - len(racks))
        for _, node in ring[start:] + ring[:start]:
            if node in chosen or len(chosen) == factor:
                continue
            if any(other.ref.rack == node.ref.rack for other in chosen):
                if not repeats:
                    continue
                repeats -= 1
            chosen.append(node)
        result.append((ring[start][0], frozenset(node.address for node in chosen)))
    return result


def _at(sets: list[tuple[int, frozenset[str]]], token: int) -> frozenset[str]:
    return next((replicas for end, replicas in sets if end >= token), sets[0][1])
