"""Which generations of two nodes can meet, in the states that a plan goes through.

A node has its first generation from the start until it is surely flipped, and each later one from the wave that brings
it. In between lies the wave itself, in which any subset of its nodes may have flipped. So two generations of two nodes
meet exactly when the waves in which they may be in force overlap: nobody has to enumerate subsets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sealring.models.trust import NodeTrust, TrustStep


class Lasting(Protocol):
    """What may be in force from one wave to another."""

    @property
    def first(self) -> int:
        """The wave that brings it; 0: the time before the first wave."""

    @property
    def last(self) -> int:
        """The wave in which it surely ends."""


@dataclass(frozen=True)
class Span:
    """One generation of one node, and the waves in which it may be in force."""

    first: int
    last: int
    state: NodeTrust


def spans(before: Sequence[NodeTrust], steps: Sequence[TrustStep]) -> Mapping[str, tuple[Span, ...]]:
    """The generations of every node in their order, by address.

    Args:
        before: every node as it is now.
        steps: the waves in their order; a node may be in several of them (a rotation of an authority).
    """
    moves: dict[str, list[tuple[int, NodeTrust]]] = {node.address: [(0, node)] for node in before}
    for wave, step in enumerate(steps, 1):
        for node in step.after:
            moves[node.address].append((wave, node))
    return {address: _spans(moved, steps) for address, moved in moves.items()}


def meet(one: Lasting, other: Lasting) -> int | None:
    """The first wave in which the two may be in force together; None when they never are."""
    first = max(one.first, other.first)
    return first if first <= min(one.last, other.last) else None


def _spans(moved: Sequence[tuple[int, NodeTrust]], steps: Sequence[TrustStep]) -> tuple[Span, ...]:
    ends = [_settled(wave, steps) for wave, _ in moved[1:]] + [len(steps)]
    return tuple(Span(first, last, state) for (first, state), last in zip(moved, ends, strict=True))


def _settled(wave: int, steps: Sequence[TrustStep]) -> int:
    """The wave at whose end a node that flips in `wave` is surely flipped; the last one when nobody makes sure."""
    return next((number for number, step in enumerate(steps, 1) if number >= wave and step.settled), len(steps))
