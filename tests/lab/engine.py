"""sealring's processes for a test: the real Temporal server, control and deploy worker, each by itself."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.authority import Authority, Fault, deliver
from lab.engine import configure_engine
from lab.ring import find
from lab.spec import UI_ABOVE, LabSpec
from sealring.models.rollout import RolloutReport
from sealring.temporal.attributes import SEARCH_ATTRIBUTES
from sealring.temporal.keyring import create_keyring
from workers.temporal_server import launch, temporal_program

BIN = Path(sys.executable).parent
PATIENCE = 600.0  # seconds, on a machine that has much else to do


class Engine:
    """Processes by name, and the command line."""

    def __init__(self, spec: LabSpec) -> None:
        self.spec = spec
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.settings = configure_engine(spec)
        self.environment = {**os.environ, "SEALRING_CONFIG": str(self.settings)}
        self.delivered = 0

    def start(self, *names: str) -> None:
        for name in names:
            match name:
                case "temporal":
                    port = self.spec.temporal_port
                    self.processes[name] = launch(
                        temporal_program(),
                        self.spec.root / "engine" / "temporal",
                        port=port,
                        ui_port=port + UI_ABOVE,
                        search_attributes=SEARCH_ATTRIBUTES,
                    )
                case _:
                    with (self.spec.root / f"{name}.log").open("ab") as log:
                        self.processes[name] = subprocess.Popen(
                            [BIN / "sealring", "worker", name], env=self.environment, stdout=log, stderr=log
                        )

    def kill(self, name: str) -> None:
        """kill -9."""
        self.stop(name, signal.SIGKILL)

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(60)

    def cli(self, *words: str, program: str = "sealring") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / program, *words], env=self.environment, capture_output=True, text=True, timeout=1500, check=False
        )

    def rollout(self, *words: str) -> tuple[int, RolloutReport]:
        """Start one and wait for its end: exit code and report."""
        done = self.cli("rollout", "start", "lab", "--json", *words)
        assert done.stdout, done.stderr
        return done.returncode, RolloutReport.model_validate_json(done.stdout)

    def temporal(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The stock CLI, told nothing but the address."""
        return self.cli(*words, "--address", f"127.0.0.1:{self.spec.temporal_port}", program="temporal")

    def status(self) -> dict[str, Any]:
        done = self.cli("rollout", "status", "lab", "--json")
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def until(self, true: Any) -> dict[str, Any]:
        """Ask for the status until something holds."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            status = self.status()
            if true(status):
                return status
            time.sleep(0.1)
        raise AssertionError(f"not in time: {status}")

    def begun(self, *, but: str = "") -> str:
        """Address of a node, other than `but`, whose activation has begun and not ended: its intent is on its disk."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for node in self.spec.ring:
                if node.address != but and (node.tls / ".sealring" / "intent.json").exists():
                    return node.address
            time.sleep(0.02)
        raise AssertionError("no activation began")

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """The process stands still: nothing that it does is reported meanwhile, however long our commands take."""
        process = self.processes[name]
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def deliver(self, faults: dict[str, Fault] | None = None) -> Path:
        """New certificates for all nodes; faults by node name."""
        self.delivered += 1
        by_address = {find(self.spec, name).address: fault for name, fault in (faults or {}).items()}
        name = f"test-{os.getpid()}-{self.delivered}-{time.time_ns()}"
        return deliver(self.spec, Authority.open(self.spec.authority), name, faults=by_address)


@contextmanager
def running(spec: LabSpec) -> Iterator[Engine]:
    """All processes, ended at the end, whatever happened to them."""
    engine = Engine(spec)
    keyring = spec.root / "engine" / "keyring.json"
    if not keyring.exists():
        keyring.parent.mkdir(mode=0o700, exist_ok=True)
        create_keyring(keyring)
    try:
        engine.start("temporal", "control", "deploy")
        yield engine
    finally:
        for name in ("deploy", "control", "temporal"):
            if name in engine.processes:
                engine.stop(name)
