"""What our scripts do on a simulated host, with the rules of the real ones (sealring/hosts/scripts)."""

from collections.abc import Generator
from contextlib import suppress
from typing import Any

from sealring.errors import SealringError, passing, refuse
from sealring.hosts.refusals import refusal
from sealring.models.node import Change
from sealring.models.rollout import Activated, NodeOrder
from tests.twin.ring import Content, Intent, Node
from tests.twin.world import World

Work = Generator[float, None, None]


def reach(world: World, node: Node) -> Work:
    """Log in."""
    yield world.between(0.1, 1.5)
    linked(world, node)


def linked(world: World, node: Node) -> None:
    """Raises when there is no way to the host now."""
    if node.ssh_until > world.now:
        raise passing("ssh.connect-timeout", "no answer", node=node.address)


def guard(node: Node, rollout: str) -> None:
    """Nobody else is at work on this node."""
    if node.intent is not None and node.intent.rollout != rollout:
        raise refusal("node.busy", node.intent.rollout, node.address)


def adopt(node: Node, rollout: str) -> None:
    """Keep what is in force as a generation."""
    guard(node, rollout)
    node.kept[node.disk.id] = node.disk
    node.adopted.add(node.disk.id)
    node.current = node.disk.id


def flip(world: World, node: Node, generation: str, rollout: str) -> Generator[Any, None, Any]:
    """Put a generation in force; every yield may be where it is killed. Returns Activated."""
    if node.locked:
        raise refusal("node.locked", "flip", node.address)
    node.locked = True
    try:
        return (yield from _flip(world, node, generation, rollout))
    finally:
        node.locked = False


def _flip(world: World, node: Node, generation: str, rollout: str) -> Generator[Any, None, Any]:
    guard(node, rollout)
    if generation not in node.kept:
        raise refusal("node.generation-missing", generation, node.address)
    if not node.current:
        raise refusal("node.not-backed-up", "current", node.address)
    content = node.kept[generation]
    if node.intent is None:
        if not node.in_force:
            raise refusal("node.drifted", "a store", node.address)
        node.intent = Intent(rollout, generation, node.current, node.previous)
    node.intent.to = generation
    changed = node.disk != content or node.current != generation
    if node.slots:
        node.write(key=content.key, trust=content.trust)
    else:
        yield world.between(0.01, 0.2)
        node.write(trust=content.trust)
        node.fresh = node.fresh or changed
        yield world.between(0.01, 0.2)
        node.write(key=content.key)
    node.fresh = node.fresh or changed
    yield world.between(0.01, 0.2)
    intent = node.intent
    node.previous = intent.previous if generation == intent.before else intent.before
    node.current = generation
    world.tell(f"node {node.address} has {generation[:8]} in force")
    return Activated(current=generation, previous=node.previous or None, changed=changed)


def settle(world: World, node: Node, rollout: str) -> None:
    """The rollout is done with the node."""
    if node.locked:
        raise refusal("node.locked", "settle", node.address)
    guard(node, rollout)
    if node.intent is not None:
        at = world.time(world.now + node.skew)
        node.last = Change(rollout=rollout, before=node.intent.before, after=node.intent.to, at=at)
        node.intent = None
    for old in [g for g in node.kept if g not in (node.current, node.previous)][:-3]:
        with suppress(KeyError):
            del node.kept[old]


def room(node: Node) -> None:
    """Raises when the disk is full."""
    if node.disk_full:
        raise refusal("node.disk-full", "the file system", node.address)


def gone_wrong(node: Node, code: str, message: str) -> SealringError:
    """A restart that did not come out well."""
    return refuse(code, message, "read system.log on the node", node=node.address)


def target_content(node: Node, order: NodeOrder, deliveries: dict[str, dict[str, Content]]) -> Content:
    """What the node's order is about: what it takes of the delivery, or in a rollback the kept content."""
    if order.material is None:
        return node.kept[order.target.generation]
    content = combined(order.material.take, deliveries[order.material.path][node.address], node.disk)
    if content.id != order.target.generation:
        raise refuse("material.changed", "it makes another generation now", "start anew", node=node.address)
    return content


def combined(take: str, delivered: Content, present: Content) -> Content:
    """What a stage of a CA rotation takes of a delivery and of what is in force; worked out here once more."""
    both = tuple(sorted({*delivered.trust, *present.trust}))
    match take:
        case "trust":
            return Content(present.key, both)
        case "identity":
            return Content(delivered.key, both)
        case _:
            return delivered
