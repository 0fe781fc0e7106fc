"""Has a node's leaf expired, by what its listeners show and what lies on its disk? Pure."""

from collections.abc import Sequence
from datetime import datetime

from sealring.models.evidence import Served


def expiry(served: Sequence[Served], on_disk: datetime | None, now: datetime) -> str:
    """In words, what has expired; empty when nothing that the node shows has.

    A leaf on the disk that is over does not count while the listeners show a valid one: new connections work. Where no
    listener shows any, because the node does not run, say, the disk says what it would show.

    Args:
        served: one new handshake with each listener, or why there was none.
        on_disk: when the leaf in the stores in force ends; None: they cannot be read.
        now: the instant of judgement (aware).
    """
    shown = [s for s in served if s.not_after is not None]
    over = [f"{s.listener} shows a leaf that ended {s.not_after:%Y-%m-%d %H:%M:%SZ}" for s in shown if _is_over(s, now)]
    disk_is_over = on_disk is not None and on_disk <= now
    if not over and (shown or not disk_is_over):
        return ""
    nothing = [] if shown else ["no listener shows a leaf"]
    return "; ".join([*over, *nothing, _disk(on_disk, over=disk_is_over)])


def _is_over(served: Served, now: datetime) -> bool:
    return served.not_after is not None and served.not_after <= now


def _disk(on_disk: datetime | None, *, over: bool) -> str:
    if on_disk is None:
        return "the stores on its disk cannot be read"
    return f"the one on its disk {'ended' if over else 'is good until'} {on_disk:%Y-%m-%d %H:%M:%SZ}"
