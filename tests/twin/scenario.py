"""What a seed stands for: a topology, what shall be delivered to it, by which rules, and how big a mess it will be."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sealring.models.cluster import NodeRef, RolloutSettings
from tests.twin.eyes import LIFE
from tests.twin.keyspaces import TIGHT, needs
from tests.twin.ring import Content, Key, Node, Ring, digest
from tests.twin.world import World

RING_SIZE = 2**20
SMALL = (3, 3, 3, 4, 4, 5, 6, 6, 7, 8, 9)
LARGE = (12, 18, 30)
KINDS = ("leaf", "leaf", "leaf", "trust", "identity", "drop", "both")
OLD, BOTH, NEW = ("old",), ("new", "old"), ("new",)


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
    def rotates(self) -> bool:
        """Whether it is a CA rotation."""
        return bool(self.request.get("goal") == "rotate-ca")

    @property
    def waived(self) -> frozenset[str]:
        """Keyspaces that may become unavailable."""
        return frozenset({TIGHT}) if self.request.get("waive") else frozenset()

    @property
    def infeasible(self) -> bool:
        """Whether nodes must be restarted whose replicas nobody can spare: then nothing may be done at all."""
        tight = any(keyspace.name == TIGHT for keyspace in self.ring.keyspaces) and not self.waived
        reloads = self.settings.apply == "auto" and all(n.reload != "none" for n in self.ring.nodes.values())
        return tight and not reloads

    @property
    def sound(self) -> bool:
        """Whether the delivery can come through.

        Each node, as it is or as it will be, must talk to each other node; a rotation goes by stages instead.
        """
        if self.rotates:
            return not self.hidden
        states = [(node.address, node.disk) for node in self.ring.nodes.values()] + list(self.deliveries["b"].items())
        return not self.hidden and all(
            mine.key.issuer in other.trust for a, mine in states for b, other in states if a != b
        )


def draw(world: World) -> Scenario:
    """Roll the dice for everything that is fixed before the play."""
    dice = world.dice
    rotates = world.chance(0.2)
    size = dice.choice(LARGE) if world.chance(0.01 if rotates else 0.03) else dice.choice(SMALL)
    centers = 2 if size >= 6 and world.chance(0.3) else 1
    racks = dice.choice((1, 2, 3, 3, 3))
    old = dice.choice((OLD, OLD, OLD, BOTH) if rotates else (OLD, OLD, BOTH))
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
    tight = world.chance(0.2)
    needed, keyspaces = needs(world, nodes, tight=tight)
    ring = Ring(world, nodes, needed, keyspaces)
    rules = RolloutSettings(
        strategy=dice.choice(("rolling", "rolling", "zone-aware", "fastest", "canary", "load-aware")),
        max_parallel=dice.choice((1, 3, 10)),
        apply=dice.choice(("auto", "auto", "restart")),
        allow_restart=world.chance(0.7),
        failure_budget=dice.choice((0, 0, 0, 1, 2)),
        on_failure=dice.choice(("stop", "ask")),
        settle=timedelta(seconds=dice.choice((0, 3, 30))),
        authority_hold=timedelta(hours=dice.choice((0, 0, 3)) if rotates else 0),
    )
    request: dict[str, Any] = {"cluster": "twin", "material": {"path": "b"}}
    if tight and world.chance(0.3):
        request["waive"] = [f"plan.quorum.{TIGHT}"]
    if rotates:
        request |= {"goal": "rotate-ca", "old_authority": dice.choice(("ask", "ask", "drop", "keep"))}
        ring.clients = {"old"} if world.chance(0.15) else set()
    kind = dice.choice(("both", "both", "both", "identity") if rotates else KINDS)
    deliveries, hidden = _deliveries(world, ring, old, kind, staged=not rotates)
    return Scenario(
        ring=ring,
        settings=rules,
        request=request,
        deliveries=deliveries,
        hidden=hidden,
        suggest_at=dice.choice((60, 200, 10_000)),
        faults=0 if world.chance(0.1) else dice.choice((1, 1, 2, 2, 3, 4, 6)),
        people=dice.choice((0, 0, 0, 1, 2)),
    )


def _deliveries(
    world: World, ring: Ring, old: tuple[str, ...], kind: str, *, staged: bool
) -> tuple[dict[str, dict[str, Content]], bool]:
    """The delivery b: what the ring shall serve. What kind it is decides whether it may come through at all.

    Args:
        staged: it may be one stage of a rotation that is made by hand, of which the one before was done.
    """
    issuer, trust = {
        "leaf": ("old", old),  # a renewal
        "trust": ("old", BOTH),  # stage one of a new authority
        "identity": ("new", BOTH),  # stage two, right or too early; a rotation that drops nothing
        "drop": ("new", NEW),  # stage three, right or too early
        "both": ("new", NEW),  # all at once; what a rotation brings in stages
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
    if staged and kind == "drop" and world.chance(0.7):  # stage two was done before
        for i, node in enumerate(ring.nodes.values()):
            node.disk_key = replace(node.disk_key, issuer="new", leaf=digest(f"leaf of stage two {i}"))
            node.disk_trust = BOTH
            node.serving = node.disk
        ring.connected.clear()
        ring.meet()
    return {"b": made}, hidden
