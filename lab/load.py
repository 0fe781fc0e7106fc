"""A client load beside anything: real driver, mutual TLS, LOCAL_QUORUM, a steady rate, and every failure counted.

    load = LoadProcess(spec)
    load.start()
    ... do something to the ring ...
    summary = load.stop()
    assert summary.failed == 0

It runs in a process of its own (`lab.load_client`), so that nothing here slows it down; `lab.tally` is what it counts.
"""

import json
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from lab import state
from lab.authority import Authority, client_identity, write_file
from lab.load_client import REQUEST_SECONDS, LoadPlan
from lab.spec import NATIVE_PORT, LabSpec
from lab.tally import LoadSummary, Second
from sealring.errors import SealringError, refuse

RATE = 40.0
REPLICAS = 3
START_SECONDS = 60.0
STOP_SECONDS = 3 * REQUEST_SECONDS  # longer than the process waits for what is under way
_POLL_SECONDS = 0.05
_PROJECT = Path(__file__).resolve().parents[1]


class LoadProcess:
    """One load on one lab's ring.

    Args:
        spec: the lab; its ring must be up.
        rate: requests a second, half reads and half writes.
    """

    def __init__(self, spec: LabSpec, *, rate: float = RATE) -> None:
        self._spec = spec
        self._rate = rate
        self._role = f"load:{uuid.uuid4().hex[:8]}"
        self._folder = spec.root / "load" / self._role.partition(":")[2]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the load; returns when the ring answers it.

        Raises:
            SealringError: `lab.load-failed` with the client's last words.
        """
        self._folder.mkdir(parents=True)
        write_file(self._plan_file, json.dumps(asdict(self._plan())).encode(), 0o600)
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lab.load_client", str(self._plan_file)],
                cwd=_PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C in a terminal must not end it without a summary
            )
        state.record(self._spec.root, self._role, self._process.pid)
        end = time.monotonic() + START_SECONDS
        while not any(second.ok for second in self.seconds()):
            if self._process.poll() is not None or time.monotonic() > end:
                state.stop(self._spec.root, self._role, timeout=0)
                raise self._failure("did not get one answer from the ring")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> LoadSummary:
        """Stop sending, wait for what is under way, and tell what was counted.

        Raises:
            SealringError: `lab.load-failed` when the process did not live to tell.
        """
        state.stop(self._spec.root, self._role, STOP_SECONDS)
        if self._process:
            self._process.wait()
        if not self._summary_file.exists():
            raise self._failure("ended without a summary")
        return LoadSummary(**json.loads(self._summary_file.read_text()))

    def seconds(self) -> list[Second]:
        """What was counted so far, second by second."""
        if not self._seconds_file.exists():
            return []
        lines = self._seconds_file.read_text().splitlines(keepends=True)
        return [Second(**json.loads(line)) for line in lines if line.endswith("\n")]

    def follow(self) -> Iterator[Second]:
        """Each second as it is over, until the process ends."""
        told = 0
        while True:
            runs = self._role in state.alive(self._spec.root)
            new = self.seconds()[told:]
            yield from new
            told += len(new)
            if not runs:
                return
            time.sleep(_POLL_SECONDS)

    def _plan(self) -> LoadPlan:
        ring = self._spec.ring
        sizes = Counter(node.datacenter for node in ring)
        return LoadPlan(
            addresses=[node.address for node in ring],
            port=NATIVE_PORT,
            datacenter=ring[0].datacenter,
            replication={name: min(REPLICAS, size) for name, size in sizes.items()},
            rate=self._rate,
            identity=str(client_identity(self._spec, Authority.open(self._spec.authority))),
            seconds_file=str(self._seconds_file),
            summary_file=str(self._summary_file),
        )

    def _failure(self, what: str) -> SealringError:
        words = self._log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        return refuse("lab.load-failed", f"The client load {what}; its last words: {words[0]}", f"read {self._log}")

    @property
    def _plan_file(self) -> Path:
        return self._folder / "plan.json"

    @property
    def _seconds_file(self) -> Path:
        return self._folder / "seconds.jsonl"

    @property
    def _summary_file(self) -> Path:
        return self._folder / "summary.json"

    @property
    def _log(self) -> Path:
        return self._folder / "load.log"
