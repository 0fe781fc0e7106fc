"""`make twin SEEDS=2000`: play many seeds on both cores; `python -m tests.twin --seed N` plays one, aloud."""

import argparse
import multiprocessing
import sys
import time
from collections import Counter

from tests.twin.play import Result, play
from tests.twin.pool import played, quiet

SHOWN = 12  # seeds with violations whose story is printed


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.twin", description="The failure twin.")
    parser.add_argument("--seeds", type=int, default=2000, help="how many; default 2000")
    parser.add_argument("--first", type=int, default=0, help="the first of them; default 0")
    parser.add_argument("--seed", type=int, help="play this one alone and print what happens")
    asked = parser.parse_args()
    quiet()
    if asked.seed is not None:
        return _told(play(asked.seed, loud=True))
    return _many(range(asked.first, asked.first + asked.seeds))


def _many(seeds: range) -> int:
    begin = time.monotonic()
    endings: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    wrong: list[Result] = []
    late = rollouts = 0
    with multiprocessing.get_context("spawn").Pool(multiprocessing.cpu_count(), quiet) as pool:
        for number, result in enumerate(pool.imap_unordered(played, seeds, chunksize=5), start=1):
            endings.update(result.outcomes)
            faults.update(result.faults)
            late += result.late
            rollouts += len(result.outcomes)
            if result.violations:
                wrong.append(result)
                print(f"violation: {result.violations[0]}\n  python -m tests.twin --seed {result.seed}", flush=True)
            if number % max(1, len(seeds) // 20) == 0:
                print(f"{number} of {len(seeds)} seeds, {time.monotonic() - begin:.0f} s", flush=True)
    print("endings:", ", ".join(f"{name} {count}" for name, count in endings.most_common()))
    print("faults:", ", ".join(f"{name} {count}" for name, count in faults.most_common()))
    print(
        f"rollouts with those that followed on the same ring: {rollouts}; replicas taken after the gate's look: {late}"
    )
    for result in sorted(wrong, key=lambda r: r.seed)[:SHOWN]:
        print(f"python -m tests.twin --seed {result.seed}  # {result.violations[0]}")
    said = "twin ok" if not wrong else "twin FAILED"
    seconds = time.monotonic() - begin
    print(f"{said}: rollouts={len(seeds)} violations={sum(len(r.violations) for r in wrong)} seconds={seconds:.0f}")
    return 1 if wrong else 0


def _told(result: Result) -> int:
    print(f"seed {result.seed}: {', '.join(result.outcomes)}; {result.nodes} nodes, {result.hours:.1f} virtual hours")
    print(f"faults: {', '.join(result.faults) or 'none'}; trace {result.digest}")
    for violation in result.violations:
        print(f"violation: {violation}")
    return 1 if result.violations else 0


if __name__ == "__main__":
    sys.exit(main())
