"""Virtual time: what happens when, in an order that the seed decides and that repeats."""

import hashlib
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(order=True)
class Event:
    """Something that will happen; unless it is called off."""

    at: float
    shuffle: float
    number: int
    what: Callable[[], None] = field(compare=False)
    off: bool = field(default=False, compare=False)


class World:
    """The clock, the queue of events, the dice, and the trace of what happened."""

    def __init__(self, seed: int, *, loud: bool = False) -> None:
        """`loud` prints the trace as it grows."""
        self.dice = random.Random(seed)
        self.now = 0.0
        self.loud = loud
        self.violations: list[str] = []
        self.last: list[str] = []  # of the trace, for a violation's report
        self._trace = hashlib.sha256()
        self._queue: list[Event] = []
        self._count = count()

    def after(self, seconds: float, what: Callable[[], None]) -> Event:
        """Let it happen so many seconds from now. Of what happens at one instant, the dice say what comes first."""
        event = Event(self.now + seconds, self.dice.random(), next(self._count), what)
        heapq.heappush(self._queue, event)
        return event

    def step(self) -> bool:
        """Let the next thing happen; false when nothing is left."""
        while self._queue:
            event = heapq.heappop(self._queue)
            if not event.off:
                self.now = event.at
                event.what()
                return True
        return False

    def tell(self, text: str) -> None:
        """A line of the trace; its digest is the proof that a seed plays the same again."""
        line = f"{self.now:12.3f} {text}"
        self._trace.update(line.encode() + b"\n")
        self.last = [*self.last[-39:], line]
        if self.loud:
            print(line, flush=True)

    def violate(self, text: str) -> None:
        """An invariant does not hold."""
        line = f"at {self.now:.3f} s: {text}"
        if line not in self.violations:
            self.violations.append(line)
            self.tell(f"VIOLATION {text}")

    @property
    def digest(self) -> str:
        """SHA-256 of the trace so far."""
        return self._trace.hexdigest()

    def time(self, seconds: float | None = None) -> datetime:
        """Virtual seconds as a time."""
        return BEGIN + timedelta(seconds=self.now if seconds is None else seconds)

    def chance(self, probability: float) -> bool:
        """Whether it happens."""
        return self.dice.random() < probability

    def between(self, low: float, high: float) -> float:
        """A number of seconds in that range."""
        return self.dice.uniform(low, high)
