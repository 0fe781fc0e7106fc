"""`python -m tests.fuzz MINUTES`: throw new inputs at every parser in turn until the time is up.

What fails is kept in .cache/fuzz and tried first the next time. Ends with one line, and status 1 when anything failed.
"""

import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from tests.fuzz.bounds import thrown
from tests.fuzz.parsers import TARGETS

ROUND = 100  # inputs for one parser before the next one has its turn


def named(name: str, tried: Counter[str]) -> Callable[[object], None]:
    """A parser's property that counts, under a name of its own: the database keys what it keeps by it."""
    holds = thrown(name)

    def counted(content: object) -> None:
        tried[name] += 1
        holds(content)

    counted.__name__ = counted.__qualname__ = re.sub(r"\W", "_", name)
    return counted


def main(minutes: float) -> int:
    """Fuzz for that long; the number of parsers that failed."""
    kept = DirectoryBasedExampleDatabase(Path(".cache") / "fuzz")
    end, tried, failed = time.monotonic() + minutes * 60, Counter[str](), set[str]()
    waiting = list(TARGETS)
    while waiting and time.monotonic() < end:
        for name in list(waiting):
            if time.monotonic() >= end:
                break
            property_ = named(name, tried)
            strategy, _ = TARGETS[name]
            plan = settings(
                max_examples=ROUND,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                database=kept,
                print_blob=True,
            )
            try:
                plan(given(strategy)(property_))()
            except Exception:
                traceback.print_exc()
                failed.add(name)
                waiting.remove(name)
    for name, count in tried.items():
        print(f"{'FAILED' if name in failed else 'ok':6} {count:>9} {name}")
    verdict = "failed" if failed else "ok"
    print(f"fuzz {verdict}: parsers={len(TARGETS)} inputs={tried.total()} failed={len(failed)} minutes={minutes:g}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(min(main(float(sys.argv[1]) if len(sys.argv) > 1 else 10), 1))
