"""sealring as in production, to be measured: Temporal server, codec, control and deploy worker, a process each."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from temporalio.client import Client

from bench import processes
from lab import state
from lab.authority import Authority, deliver
from lab.engine import configure_engine
from lab.spec import UI_ABOVE, LabSpec
from lab.tools import PROJECT
from sealring.models.rollout import RolloutReport
from sealring.temporal.attributes import SEARCH_ATTRIBUTES
from sealring.temporal.connect import connect
from sealring.temporal.keyring import create_keyring
from workers.temporal_server import launch, temporal_program

_BIN = Path(sys.executable).parent
_READY_SECONDS = 60.0
_STOP_SECONDS = 60.0


@dataclass(frozen=True)
class Engine:
    """The running processes, by name, and the command line."""

    spec: LabSpec
    settings: Path
    pids: Mapping[str, int]

    def command(self, *words: str) -> list[str | Path]:
        """A `sealring` command line."""
        return [_BIN / "sealring", *words]

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to find this engine."""
        return {**os.environ, "SEALRING_CONFIG": str(self.settings)}

    def cpu(self) -> dict[str, float]:
        """CPU seconds of each process, and of everything else that plays a role in the lab (sshd, nodes)."""
        all_ = {**self.pids, **state.alive(self.spec.root)}
        return {name: processes.tree_cpu(pid) for name, pid in all_.items()}

    def peaks(self) -> dict[str, int]:
        """Bytes of the greatest resident set of each process."""
        return {name: processes.peak_rss(pid) for name, pid in self.pids.items()}

    def report(self, cluster: str = "lab") -> RolloutReport:
        """Of the latest rollout."""
        command = self.command("rollout", "report", cluster, "--json")
        done = subprocess.run(command, env=self.environment, capture_output=True, check=True)
        return RolloutReport.model_validate_json(done.stdout)

    async def client(self) -> Client:
        """A client with the engine's payload keys."""
        address, keys = f"127.0.0.1:{self.spec.temporal_port}", self.spec.root / "engine" / "keyring.json"
        return await connect(address=address, keyring_path=keys)

    async def history(self, since: float) -> tuple[int, int]:
        """Events and bytes of the histories of all workflows that started after `since` (time.time())."""
        client = await self.client()
        begun = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))
        events = size = 0
        async for found in client.list_workflows(f'StartTime >= "{begun}"'):
            info = found.raw_info
            events, size = events + info.history_length, size + info.history_size_bytes
        return events, size

    def deliver(self, **how: Any) -> Path:
        """New material for every node, as a PKI would deliver it."""
        return deliver(self.spec, Authority.open(self.spec.authority), f"bench-{time.time_ns()}", **how)


@contextmanager
def engine(spec: LabSpec, cluster: Mapping[str, Mapping[str, Any]]) -> Iterator[Engine]:
    """Start all processes for the lab at `spec`; end them afterwards.

    Args:
        spec: the lab; its ring and its SSH servers run.
        cluster: sections of the cluster file that depart from the lab's.
    """
    settings = configure_engine(spec)
    content = yaml.safe_load(spec.cluster_file.read_text())
    for section, values in cluster.items():
        content[section] = {**content.get(section, {}), **values}
    spec.cluster_file.write_text(yaml.safe_dump(content, sort_keys=False))
    folder = spec.root / "engine"
    folder.mkdir(mode=0o700, exist_ok=True)
    if not (folder / "keyring.json").exists():
        create_keyring(folder / "keyring.json")
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        running["temporal"] = launch(
            temporal_program(),
            folder / "temporal",
            port=spec.temporal_port,
            ui_port=spec.temporal_port + UI_ABOVE,
            search_attributes=SEARCH_ATTRIBUTES,
        )
        for kind in ("control", "deploy"):
            running[kind] = _worker(spec, settings, kind)
        yield Engine(spec, settings, {name: process.pid for name, process in running.items()})
    finally:
        for process in reversed(running.values()):
            process.terminate()
            process.wait(_STOP_SECONDS)


def _worker(spec: LabSpec, settings: Path, kind: str) -> "subprocess.Popen[bytes]":
    """A worker that polls."""
    log = spec.root / f"{kind}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [_BIN / "sealring", "worker", kind],
            cwd=PROJECT,
            env={**os.environ, "SEALRING_CONFIG": str(settings)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    end = time.monotonic() + _READY_SECONDS
    while "polls namespace" not in (words := log.read_text(errors="replace")):
        assert process.poll() is None, f"the {kind} worker ended: {words[-500:]}"
        assert time.monotonic() < end, f"the {kind} worker is not ready: {words[-500:]}"
        time.sleep(0.05)
    return process
