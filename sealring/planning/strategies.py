"""What the strategies mean: which nodes come first, and how waves are formed of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sealring.errors import refuse
from sealring.models.cluster import RolloutSettings
from sealring.models.topology import RingNode
from sealring.planning.slack import bits


@dataclass(frozen=True)
class Part:
    """Nodes that are through before the next part begins."""

    name: str
    nodes: int
    hold: bool = False
    in_order: bool = False  # rather than as few waves as possible
    within_rack: bool = False  # no wave has nodes of two racks
    by_load: bool = False  # the wave with the least load first


def parts(nodes: tuple[RingNode, ...], work: int, rules: RolloutSettings) -> list[Part]:
    """The work in parts.

    Raises:
        SealringError: `plan.green`: blue-green without a green part, or with one that is not in the ring.
    """
    match rules.strategy:
        case "rolling":
            return [Part("rolling", work, in_order=True)]
        case "zone-aware":
            return [Part("rack by rack", work, within_rack=True)]
        case "load-aware":
            return [Part("least loaded first", work, by_load=True)]
        case "canary":
            chosen = canaries(nodes, work)
            alone, first = sum(1 << i for i in chosen[:1]), sum(1 << i for i in chosen)
            return [Part("canary", alone), Part("one of each kind", first ^ alone), Part("the rest", work & ~first)]
        case "blue-green":
            green = _green(nodes, rules.green) & work
            return [Part("green", green, hold=True), Part("blue", work & ~green)]
        case _:
            return [Part("fewest waves", work)]


def canaries(nodes: tuple[RingNode, ...], work: int) -> list[int]:
    """One node of each version, operating system and rack: no seed where there is a choice, the least loaded first."""
    chosen: dict[tuple[str, ...], int] = {}
    for i in sorted(bits(work), key=lambda i: (nodes[i].state != "up", nodes[i].seed, nodes[i].load, i)):
        node = nodes[i]
        chosen.setdefault((node.version, node.os, node.datacenter, node.rack), i)
    return list(chosen.values())


def _green(nodes: tuple[RingNode, ...], places: Sequence[str]) -> int:
    known = {name for node in nodes for name in (node.datacenter, f"{node.datacenter}/{node.rack}")}
    lost = [place for place in places if place not in known]
    if lost or not places:
        what = f"{lost[0]} is no datacenter and no rack of the ring" if lost else "blue-green needs it"
        raise refuse(
            "plan.green",
            f"rollout.green: {what}",
            f"name what goes first: {', '.join(sorted(known)[:10])}",
        )
    return sum(1 << i for i, n in enumerate(nodes) if {n.datacenter, f"{n.datacenter}/{n.rack}"} & set(places))


def grown(waves: Sequence[int], in_order: Callable[[int], list[int]]) -> list[int]:
    """The same waves, the first of them in parts of 1, 2, 4, ... nodes: a part of a safe wave is safe."""
    size, made = 1, []
    for wave in waves:
        order = in_order(wave)
        while order:
            made.append(sum(1 << i for i in order[:size]))
            order, size = order[size:], size * 2
    return made
