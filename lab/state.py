"""What runs for a lab, remembered on disk: <root>/lab.json for processes, <root>/spec.json for what the lab is.

A process is remembered with its start time, so that a recycled pid is never taken for ours, after a crash or a reboot.
"""

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from lab.spec import LabSpec
from sealring.errors import refuse

_STATE = "lab.json"
_SPEC = "spec.json"
_POLL_S = 0.02

Processes = dict[str, dict[str, int]]  # role -> {"pid": , "start_ticks": }


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot (proc(5), field 22); None when it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the command's name may hold anything, but it ends with the last ")"
    return None if fields[0] in "ZX" else int(fields[19])


def record(root: Path, role: str, pid: int) -> None:
    """Remember that `pid` plays `role` ("supervisor:n1", "sshd", "engine") in the lab at `root`."""
    ticks = start_ticks(pid)
    if ticks is None:
        return  # it is gone already: there is nothing to remember
    with _changing(root) as processes:
        processes[role] = {"pid": pid, "start_ticks": ticks}


def forget(root: Path, role: str) -> None:
    """Nothing plays `role` any more."""
    with _changing(root) as processes:
        processes.pop(role, None)


def alive(root: Path) -> dict[str, int]:
    """The pids of the lab's processes that run, by role."""
    return {role: p["pid"] for role, p in _read(root).items() if start_ticks(p["pid"]) == p["start_ticks"]}


def stop(root: Path, role: str, timeout: float = 10.0) -> None:
    """End the process that plays `role`: SIGTERM, and SIGKILL after `timeout` seconds. Returns when it is gone."""
    stop_all(root, [role], timeout)


def stop_all(root: Path, roles: list[str], timeout: float) -> None:
    """End several at once, as `stop` does."""
    for number, patience in ((signal.SIGTERM, timeout), (signal.SIGKILL, 5.0)):
        running = {role: pid for role, pid in alive(root).items() if role in roles}
        for pid in running.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and any(role in alive(root) for role in running):
            _reap(running.values())
            time.sleep(_POLL_S)
    for role in roles:
        forget(root, role)


def save_spec(spec: LabSpec) -> None:
    """Remember what the lab at `spec.root` is.

    Raises:
        SealringError: lab.other-spec, when another lab lives there.
    """
    check_spec(spec)
    spec.root.mkdir(parents=True, exist_ok=True)
    _write(spec.root / _SPEC, {key: value for key, value in asdict(spec).items() if key != "root"})


def check_spec(spec: LabSpec) -> None:
    """Refuse when another lab lives at `spec.root`.

    Raises:
        SealringError: lab.other-spec.
    """
    path = spec.root / _SPEC
    if path.exists() and load_spec(spec.root) != spec:
        raise refuse(
            "lab.other-spec",
            f"{spec.root} holds another lab: {path.read_text().strip()}",
            "take it down with `python -m lab down --purge`, or choose another folder with --root",
        )


def load_spec(root: Path) -> LabSpec:
    """The lab that lives at `root`.

    Raises:
        SealringError: lab.none, when there is none.
    """
    try:
        return LabSpec(root=root, **json.loads((root / _SPEC).read_text()))
    except FileNotFoundError as e:
        raise refuse("lab.none", f"There is no lab in {root}.", "bring one up: python -m lab up") from e


def _read(root: Path) -> Processes:
    try:
        processes: Processes = json.loads((root / _STATE).read_text())
    except FileNotFoundError:
        return {}
    return processes


@contextlib.contextmanager
def _changing(root: Path) -> Iterator[Processes]:
    """Read, change, write under a lock: several processes remember things at the same time."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lab.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        processes = _read(root)
        yield processes
        _write(root / _STATE, processes)


def _write(path: Path, content: object) -> None:
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(json.dumps(content) + "\n")
    draft.replace(path)


def _reap(pids: Iterable[int]) -> None:
    """Collect children of this very process, which would otherwise stay as zombies."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
