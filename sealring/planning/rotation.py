"""The stages of a CA rotation: trust both authorities, present the new leaf, drop the old authority. Pure.

A node has work in a stage when its generation there is another than that of the stage before, or than what it has in
force: so a rotation that was stopped anywhere goes on with what is left, on each node by itself.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from sealring.errors import Actor, refuse
from sealring.models.material import MaterialRef, NodeRotation, RotationMaterial
from sealring.models.node import NodeView
from sealring.models.plan import Stage, StageKind, Target, Wave

NAMES: dict[StageKind, str] = {
    "trust": "trust both authorities",
    "identity": "present the new leaf",
    "drop": "drop the old authority",
}

MOST_NAMED = 5

Aim = Callable[[NodeView, str, str], Target]
"""The target of a node, given generation and leaf."""

Form = Callable[[tuple[Target, ...]], tuple[Wave, ...]]
"""Waves of targets."""


def rotation_stages(
    material: RotationMaterial, nodes: Sequence[NodeView], aim: Aim, form: Form
) -> tuple[tuple[Stage, ...], tuple[str, ...]]:
    """The stages that are left, and the addresses of nodes without work in any.

    Args:
        material: the delivery beside what is in force.
        nodes: those to work on: all of the ring, but for a plan made anew for what remains.
        aim: makes a target.
        form: makes waves of the targets of a stage; their names are given here.

    Raises:
        SealringError: plan.no-material.
    """
    rows = {row.address: row for row in material.nodes}
    chosen = [(node, _row(rows, node, material.ref)) for node in nodes]
    in_force = {node.node.address: settled(node) for node, _ in chosen}
    idle = set(in_force)
    stages: list[Stage] = []
    number = 0
    for kind in _kinds(material):
        targets = []
        for node, row in chosen:
            address = node.node.address
            generation, leaf = _aims(row, kind, last=not material.drops)
            if in_force[address] != generation:
                targets.append(aim(node, generation, leaf))
                in_force[address] = generation
                idle.discard(address)
        waves = []
        for wave in form(tuple(targets)):
            number += 1
            waves.append(wave.model_copy(update={"name": f"wave {number}"}))
        if waves:
            ref = material.ref.model_copy(update={"take": _take(kind, last=not material.drops), "digest": None})
            stages.append(Stage(name=NAMES[kind], waves=tuple(waves), kind=kind, material=ref))
    return tuple(stages), tuple(sorted(idle))


def settled(view: NodeView) -> str:
    """The generation that a node has in force and serves; empty when that is in doubt.

    A node whose last change was not brought to its end may have files in force that its Cassandra has not read: when
    only the trust is new, the leaf that it shows does not tell.
    """
    current = view.current
    if current is None or view.served != (current.leaf_sha256,):
        return ""
    done = current.adopted or (view.last is not None and view.last.after == current.id)
    return current.id if done else ""


def point_of_no_return(material: RotationMaterial) -> Iterator[str]:
    """The risk of a rotation that drops something, named."""
    if material.drops:
        named = ", ".join(material.authorities[:MOST_NAMED]) or "what the delivery does not trust"
        yield f'"{NAMES["drop"]}" is the point of no return: whoever then presents or trusts only {named} is cut off'


def _kinds(material: RotationMaterial) -> tuple[StageKind, ...]:
    first: tuple[StageKind, ...] = ("trust",) if material.adds else ()
    last: tuple[StageKind, ...] = ("drop",) if material.drops else ()
    return (*first, "identity", *last)


def _take(kind: StageKind, *, last: bool) -> Literal["all", "trust", "identity"]:
    """Where nothing is dropped in the end, the delivery is taken as it is with its identity."""
    if kind == "trust":
        return "trust"
    return "all" if kind == "drop" or last else "identity"


def _aims(row: NodeRotation, kind: StageKind, *, last: bool) -> tuple[str, str]:
    match _take(kind, last=last):
        case "trust":
            return row.trust, row.leaf_now
        case "identity":
            return row.identity, row.leaf_new
        case _:
            return row.final, row.leaf_new


def _row(rows: dict[str, NodeRotation], node: NodeView, ref: MaterialRef) -> NodeRotation:
    address = node.node.address
    if address in rows:
        return rows[address]
    raise refuse(
        "plan.no-material",
        f"{ref.path} holds nothing for {address}",
        f"deliver {ref.path}/{address}: a rotation needs material for every node",
        actor=Actor.PKI_ADMIN,
        node=address,
    )
