"""What a client load counts, and how it knows that a read was wrong: pure, and safe to call from driver threads."""

import math
import threading
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Second:
    """One second of load; latencies are milliseconds from the scheduled time of the request, of successes only."""

    second: int  # seconds since the load began
    ok: int
    failed: int  # the driver gave up: what an application would see
    retried: int  # times the driver tried again
    wrong: int  # reads that did not show the last acknowledged write
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True)
class LoadSummary:
    """A whole load; the words are those of `Second`."""

    queries: int  # all that were answered or given up
    failed: int
    retried: int
    wrong: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    seconds: float
    failures: dict[str, int] = field(default_factory=dict)  # name of the driver's error → how often


class Tally:
    """Counts by second and in all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now: Counter[str] = Counter()
        self._all: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._now_s = array("d")
        self._all_s = array("d")
        self._cuts = 0

    def ok(self, latency: float) -> None:
        """A request succeeded `latency` seconds after it was due."""
        with self._lock:
            self._now["ok"] += 1
            self._now_s.append(latency)

    def failed(self, reason: str) -> None:
        """The driver gave a request up."""
        with self._lock:
            self._now["failed"] += 1
            self._failures[reason] += 1

    def retried(self) -> None:
        """The driver decided to try a request again."""
        with self._lock:
            self._now["retried"] += 1

    def wrong(self) -> None:
        """A read, counted as a success too, showed something that it must not."""
        with self._lock:
            self._now["wrong"] += 1

    def cut(self) -> Second:
        """What was counted since the last cut."""
        with self._lock:
            now, latencies = self._now, sorted(self._now_s)
            self._all += now
            self._all_s.extend(latencies)
            self._now, self._now_s = Counter(), array("d")
            self._cuts += 1
        return Second(
            second=self._cuts - 1,
            ok=now["ok"],
            failed=now["failed"],
            retried=now["retried"],
            wrong=now["wrong"],
            p50_ms=percentile_ms(latencies, 50),
            p95_ms=percentile_ms(latencies, 95),
            p99_ms=percentile_ms(latencies, 99),
            max_ms=percentile_ms(latencies, 100),
        )

    def summary(self, seconds: float) -> LoadSummary:
        """All that was cut so far, over `seconds`."""
        with self._lock:
            total, latencies, failures = self._all.copy(), sorted(self._all_s), dict(self._failures)
        return LoadSummary(
            queries=total["ok"] + total["failed"],
            failed=total["failed"],
            retried=total["retried"],
            wrong=total["wrong"],
            p50_ms=percentile_ms(latencies, 50),
            p99_ms=percentile_ms(latencies, 99),
            max_ms=percentile_ms(latencies, 100),
            seconds=round(seconds, 1),
            failures=failures,
        )


class Key:
    """One row with one writer: writes carry 1, 2, 3, ..., so a read can be judged by its value alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent = 0
        self._acknowledged = 0

    def next_value(self) -> int:
        """The value of the next write."""
        with self._lock:
            self._sent += 1
            return self._sent

    def acknowledge(self, value: int) -> None:
        """The write of `value` succeeded; acknowledgements may come out of order."""
        with self._lock:
            self._acknowledged = max(self._acknowledged, value)

    def acknowledged(self) -> int:
        """What a read that begins now must show at least; 0 when nothing was acknowledged."""
        return self._acknowledged

    def is_right(self, value: int | None, at_least: int) -> bool:
        """Whether a read of `value` (None: no row) is right, when `at_least` was acknowledged as it began.

        A write that failed may still have happened, so anything up to the last one sent may be seen.
        """
        return at_least <= (value or 0) <= self._sent


def percentile_ms(ascending: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of seconds in ascending order, as milliseconds; 0 of nothing."""
    if not ascending:
        return 0.0
    return round(ascending[max(0, math.ceil(len(ascending) * percent / 100) - 1)] * 1000, 1)
