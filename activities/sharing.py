"""Looks that many activities ask for at the same time: each look is made once for all who wait for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Shared(Generic[Key, Value]):
    """At most one look a key is under way and one more waits for it.

    Nobody is given a look that began before the question: what was done by then is seen. A look whose askers were all
    cancelled is made to its end. Belongs to one event loop.
    """

    def __init__(self) -> None:
        """Nothing is under way."""
        self._running: dict[Key, asyncio.Task[Value]] = {}
        self._waiting: dict[Key, asyncio.Task[Value]] = {}

    async def ask(self, key: Key, look: Callable[[], Awaitable[Value]]) -> Value:
        """The answer, or the error, of a look that begins after this call."""
        if key not in self._waiting:
            self._waiting[key] = asyncio.create_task(self._look(key, look))
        return await asyncio.shield(self._waiting[key])

    async def _look(self, key: Key, look: Callable[[], Awaitable[Value]]) -> Value:
        if before := self._running.get(key):
            await asyncio.wait({before})
        mine = self._running[key] = self._waiting.pop(key)
        try:
            return await look()
        finally:
            if self._running.get(key) is mine:
                del self._running[key]
