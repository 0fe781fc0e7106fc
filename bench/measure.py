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
from typing import TypedDict

from bench import processes
from lab import hosts, state
from lab.spec import LabSpec
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


class Cost(TypedDict):
    """What `bench.meter` writes: wall s, CPU s, bytes of the largest process."""

    seconds: float
    cpu: float
    rss: int


def metered(spec: LabSpec, command: Sequence[str | Path], environment: Mapping[str, str]) -> Cost:
    """Run a command from a cold start to its end.

    Raises:
        AssertionError: it failed; its output is in <root>/output.
    """
    out, log = spec.root / "measured.json", spec.root / "output"
    with log.open("wb") as output:
        status = subprocess.run(
            [sys.executable, "-m", "bench.meter", out, *command],
            cwd=PROJECT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        ).returncode
    assert status == 0, f"exit code {status}: {log.read_text(errors='replace')[-2000:]}"
    cost: Cost = json.loads(out.read_text())
    return cost


def run_command(spec: LabSpec, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Measured:
    """Measure a command that delivers to the lab's hosts, and needs nothing but itself to do so."""
    superserver = state.alive(spec.root)[hosts.ROLE]
    target, machine = processes.tree_cpu(superserver), Machine()
    cost = metered(spec, command, environment or {})
    end = time.monotonic() + _QUIET_SECONDS
    while processes.below(superserver) and time.monotonic() < end:
        time.sleep(0.05)  # what a session used counts when it has ended
    target = processes.tree_cpu(superserver) - target
    return Measured(cost["seconds"], cost["cpu"], target, cost["rss"], machine.others(cost["cpu"] + target))


class Machine:
    """The whole machine, from now on."""

    def __init__(self) -> None:
        """Begin."""
        self._busy, self._begun = processes.machine_cpu(), time.monotonic()

    def others(self, ours: float) -> float:
        """Share of all cores that went to processes which did not use these `ours` CPU seconds, 0 to 1."""
        others = processes.machine_cpu() - self._busy - ours
        return max(0.0, others / (time.monotonic() - self._begun) / (os.cpu_count() or 1))


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
