"""One measured run of one tool, and several of them as one figure."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import processes
from bench.fleet import Fleet
from lab.tools import PROJECT

_QUIET_SECONDS = 20.0


@dataclass(frozen=True)
class Measured:
    """What one run cost.

    Args:
        seconds: wall time.
        controller: CPU seconds of the tool itself and everything it started on its side.
        target: CPU seconds of the hosts' side: sshd and the commands in its sessions.
        rss: bytes of the largest controller process.
        others: share of the machine's cores that other processes used meanwhile, 0 to 1.
        more: further figures by name.
    """

    seconds: float
    controller: float
    target: float
    rss: int
    others: float
    more: Mapping[str, float] = field(default_factory=dict)


def run_command(fleet: Fleet, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Measured:
    """Run a command that delivers to the fleet, from a cold start to its end.

    Raises:
        AssertionError: it failed; its output is in <fleet>/output.
    """
    out, log = fleet.spec.root / "measured.json", fleet.spec.root / "output"
    target, busy, begun = processes.tree_cpu(fleet.superserver), processes.machine_cpu(), time.monotonic()
    with log.open("wb") as output:
        status = subprocess.run(
            [sys.executable, "-m", "bench.meter", out, *command],
            cwd=PROJECT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        ).returncode
    assert status == 0, f"exit code {status}: {log.read_text(errors='replace')[-2000:]}"
    sessions_ended(fleet)
    cost = json.loads(out.read_text())
    target = processes.tree_cpu(fleet.superserver) - target
    others = processes.machine_cpu() - busy - cost["cpu"] - target
    share = max(0.0, others / (time.monotonic() - begun) / (os.cpu_count() or 1))
    return Measured(cost["seconds"], cost["cpu"], target, cost["rss"], share)


def sessions_ended(fleet: Fleet) -> None:
    """Wait until no SSH session runs any more: their CPU then counts as that of the superserver's children."""
    end = time.monotonic() + _QUIET_SECONDS
    while processes.below(fleet.superserver) and time.monotonic() < end:
        time.sleep(0.05)


@dataclass(frozen=True)
class Figure:
    """Several runs of one thing: the median, and how far they lie apart."""

    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.runs)

    def __str__(self) -> str:
        if len(self.runs) == 1:
            return f"{self.median:.1f}"
        return f"{self.median:.1f} ({min(self.runs):.1f}–{max(self.runs):.1f})"
