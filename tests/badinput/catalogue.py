"""The catalogue of bad input: tables of cases as data, and what must hold of every refusal.

A case is: name, what is wrong, the input (text, or the name of a maker where text cannot say it), the code that it is
refused with, and words that must stand in message or remedy. One table for each door under `cases/`.
"""

import hashlib
import os
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from sealring.errors import SealringError

TABLES = Path(__file__).parent / "cases"
PATIENCE = 60  # seconds for one case; the slowest takes two, and 15 when twenty others want the processor


@dataclass(frozen=True)
class Case:
    """One bad input."""

    name: str
    what: str
    input: Any
    code: str
    words: tuple[str, ...]

    def expects(self, error: SealringError | str) -> None:
        """The refusal has the code, the words, and a remedy."""
        told = str(error)
        assert f"[{self.code}]" in told, told
        assert [word for word in self.words if word.lower() not in told.lower()] == [], told
        assert len(told) < 4000, "an error is read by people"
        if isinstance(error, SealringError):
            assert error.remedy, told


def cases(door: str) -> list[Any]:
    """The table of one door, as parameters."""
    rows = yaml.safe_load((TABLES / f"{door}.yaml").read_text())
    made = [Case(r["name"], r["what"], r.get("input"), r["code"], tuple(r.get("words", ()))) for r in rows]
    assert len({case.name for case in made}) == len(made)
    return [pytest.param(case, id=case.name) for case in made]


@contextmanager
def in_time(seconds: int = PATIENCE) -> Iterator[None]:
    """Fail instead of hanging, also inside a system call."""

    def late(*_: object) -> None:
        raise AssertionError(f"not refused within {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)  # it is pytest-timeout's too, which goes on afterwards
    begun = time.monotonic()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, left - (time.monotonic() - begun)))


def tree(root: Path) -> dict[str, str]:
    """Everything below a folder: kind, mode, owner, and content or target. The lock of our scripts is not counted."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            status = path.lstat()
            content = b""
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path).encode()
            elif stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            if name != "lock":
                kept = f"{status.st_mode:o} {status.st_uid} {status.st_gid} {hashlib.sha256(content).hexdigest()}"
                found[str(path.relative_to(root))] = kept
    return found
