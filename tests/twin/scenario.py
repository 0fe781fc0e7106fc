"""What a seed stands for: a topology, what shall be delivered to it, by which rules, and how big a mess it will be."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sealring.models.cluster import NodeRef, RolloutSettings
from sealring.models.topology import Keyspace
from tests.twin.eyes import LIFE
from tests.twin.ring import Content, Key, Need, Node, Ring, digest
from tests.twin.world import World

RING_SIZE = 2**20
SMALL = (3, 3, 3, 4, 4, 5, 6, 6, 7, 8, 9)
LARGE = (12, 18, 30)


@dataclass(frozen=True)
class Scenario:
    """One play."""

    ring: Ring
    settings: RolloutSettings
    request: dict[str, Any]
    deliveries: dict[str, dict[str, Content]]  # by path, by address
    hidden: bool  # some delivered keystore opens for us and not for Cassandra
    suggest_at: int
    faults: int
    people: int

    @property
    def sound(self) -> bool:
        """Whether the delivery can come through: each node, as it is or as it will be, talks to each other node."""
        states = [(node.address, node.disk) for node in self.ring.nodes.values()] + list(self.deliveries["b"].items())
        return not self.hidden and all(
            mine.key.issuer in other.trust for a, mine in states for b, other in states if a != b
        )


def draw(world: World) -> Scenario:
    """Roll the dice for everything that is fixed before the play."""
    dice = world.dice
    size = dice.choice(LARGE) if world.chance(0.03) else dice.choice(SMALL)
    centers = 2 if size >= 6 and world.chance(0.3) else 1
    racks = dice.choice((1, 2, 3, 3, 3))
    old = dice.choice((("old",), ("old",), ("old", "new")))
    reload = dice.choice(("forced", "forced", "forced", "by-mtime", "none"))
    version = {"forced": "5.0.9", "by-mtime": "4.0.11", "none": "3.11.19"}[reload]
    slots = world.chance(0.5)
    slowness = dice.choice((10.0, 40.0, 120.0))
    vnodes = dice.choice((1, 4, 8)) if size < 12 else 1
    tokens = dice.sample(range(RING_SIZE), size * vnodes)
    nodes = []
    for i in range(size):
        address = f"10.0.{i // 250}.{i % 250 + 1}"
        ref = NodeRef(
            host_id=f"host-{i}",
            address=address,
            internode_address=address,
            datacenter=f"dc{i % centers + 1}",
            rack=f"r{(i // centers) % racks + 1}",
        )
        key = Key(digest(f"old leaf {i}"), "old", world.time() + timedelta(days=20))
        mine = tuple(tokens[i * vnodes : (i + 1) * vnodes])
        node = Node(ref, mine, reload, slots, key, old, version, world.between(5, slowness))
        node.skew = world.between(-30, 30)
        nodes.append(node)
    needed, keyspaces = needs(world, nodes)
    ring = Ring(world, nodes, needed, keyspaces)
    rules = RolloutSettings(
        strategy=dice.choice(("rolling", "rolling", "zone-aware", "fastest", "canary", "load-aware")),
        max_parallel=dice.choice((1, 3, 10)),
        apply=dice.choice(("auto", "auto", "restart")),
        allow_restart=world.chance(0.7),
        failure_budget=dice.choice((0, 0, 0, 1, 2)),
        on_failure=dice.choice(("stop", "ask")),
        settle=timedelta(seconds=dice.choice((0, 3, 30))),
    )
    deliveries, hidden = _deliveries(world, ring, old)
    return Scenario(
        ring=ring,
        settings=rules,
        request={"cluster": "twin", "material": {"path": "b"}},
        deliveries=deliveries,
        hidden=hidden,
        suggest_at=dice.choice((60, 200, 10_000)),
        faults=0 if world.chance(0.1) else dice.choice((1, 1, 2, 2, 3, 4, 6)),
        people=dice.choice((0, 0, 0, 1, 2)),
    )


def _deliveries(world: World, ring: Ring, old: tuple[str, ...]) -> tuple[dict[str, dict[str, Content]], bool]:
    """The delivery b: what the ring shall serve. What kind it is decides whether it may come through at all."""
    kind = world.dice.choice(("leaf", "leaf", "leaf", "trust", "identity", "drop", "both"))
    issuer, trust = {
        "leaf": ("old", old),  # a renewal
        "trust": ("old", ("old", "new")),  # stage one of a new authority
        "identity": ("new", ("old", "new")),  # stage two, right or too early
        "drop": ("new", ("new",)),  # stage three, right or too early
        "both": ("new", ("new",)),  # all at once
    }[kind]
    # Of a change of trust alone no handshake of the node tells whether Cassandra has read it: see docs/twin.md.
    hidden = kind != "trust" and world.chance(0.12)
    bad = world.dice.choice(sorted(ring.nodes)) if hidden else ""
    made = {}
    for i, node in enumerate(ring.nodes.values()):
        leaf = node.disk_key.leaf if kind == "trust" else digest(f"new leaf {i}")
        key = Key(leaf, issuer, world.time() + LIFE - timedelta(hours=1))
        if leaf == node.disk_key.leaf:
            key = node.disk_key
        made[node.address] = Content(replace(key, loads=node.address != bad), trust)
    if kind == "drop" and world.chance(0.7):  # stage two was done before
        for i, node in enumerate(ring.nodes.values()):
            node.disk_key = replace(node.disk_key, issuer="new", leaf=digest(f"leaf of stage two {i}"))
            node.disk_trust = ("old", "new")
            node.serving = node.disk
        ring.connected.clear()
        ring.meet()
    return {"b": made}, hidden


def needs(world: World, nodes: list[Node]) -> tuple[list[Need], tuple[Keyspace, ...]]:
    """Keyspaces, as sets of replicas with how many must answer, and as the planner is told of them.

    NetworkTopologyStrategy: distinct racks first; worked out here once more: the planner is no witness of itself.

    Every keyspace can lose one replica: what a plan does about those that cannot is the planner's own test.
    """
    centers = sorted({node.ref.datacenter for node in nodes})
    found: dict[tuple[frozenset[str], int], Need] = {}
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
                found.setdefault((need.replicas, need.required), need)
            continue
        for sets in of_center.values():
            for _, replicas in sets:
                required = 1 if level == "LOCAL_ONE" else len(replicas) // 2 + 1
                need = Need(name, replicas, required)
                found.setdefault((need.replicas, need.required), need)
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
