"""Throttles: logins and bytes go no faster than they may, for all hosts of a ring together.

`Bucket` is pure: every call gets the time. `Throttle` has one for each limit.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from time import monotonic

from sealring.models.cluster import Limits

CHUNK = 16 * 1024
"""Bytes that are paid for and sent at a time: a slow link is shared fairly by all who send."""

_BURST_SECONDS = 0.05  # what a sleep that ended late may catch up on


class Bucket:
    """A token bucket as one number: the moment up to which everything taken is paid for.

    In any stretch of `t` seconds no more than `rate * t + burst` are let go.

    Args:
        rate: per second.
        burst: how much may go at once after a silence.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self._paid = float("-inf")

    def take(self, amount: float, now: float) -> float:
        """Take an amount, first come first served; returns the seconds to wait before it may go."""
        self._paid = max(self._paid, now - self.burst / self.rate) + amount / self.rate
        return max(0.0, self._paid - now)


class Throttle:
    """The limits of one worker for one ring.

    Args:
        limits: what may be used; None in it is no limit.
        subnet: the subnet of a server.
    """

    def __init__(self, limits: Limits, subnet: Callable[[str], str]) -> None:
        logins, rate = limits.logins_per_second, limits.rate
        self._logins = Bucket(logins, 1) if logins else None
        self._bytes = Bucket(rate, rate * _BURST_SECONDS) if rate else None
        self._subnet = subnet
        per_subnet = limits.logins_per_subnet
        self._subnets = (
            defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(per_subnet)) if per_subnet else None
        )

    @contextlib.asynccontextmanager
    async def login(self, server: str) -> AsyncIterator[None]:
        """Around one login, to a node or a bastion."""
        async with contextlib.AsyncExitStack() as stack:
            if self._subnets is not None:
                await stack.enter_async_context(self._subnets[self._subnet(server)])
            if self._logins:
                await asyncio.sleep(self._logins.take(1, monotonic()))
            yield

    def take(self, amount: int) -> float:
        """Take so many bytes; returns the seconds to wait before they may go, or before more may be read."""
        return 0.0 if self._bytes is None else self._bytes.take(amount, monotonic())
