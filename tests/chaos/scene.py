"""A ring, its engine and its client load, with every process within reach of a fault."""

import asyncio
import ctypes
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from lab import hosts, lifecycle, ring
from lab.spec import UI_ABOVE, LabSpec, NodeSpec
from sealring.models.rollout import RolloutReport, RolloutRequest
from sealring.settings import Settings
from sealring.temporal.attributes import SEARCH_ATTRIBUTES
from sealring.temporal.connect import client_for
from sealring.temporal.keyring import create_keyring
from starters import rollouts
from tests.chaos import gates
from tests.lab.conftest import fresh
from tests.lab.engine import BIN, Engine
from workers.temporal_server import launch, temporal_program

HEARTBEAT = 8.0
"""Seconds, instead of a minute: how soon a dead worker's step is given to another."""

CUT_AFTER = 40
"""Events after which the server suggests to cut a history, in the story `long`."""

SHORT = {"connect_timeout": 4, "login_timeout": 4, "idle_timeout": 6}  # seconds: what a frozen link costs
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None, use_errno=True)
_SITE = Path(__file__).with_name("site")


class ChaosEngine(Engine):
    """The engine's processes; workers with `site/sitecustomize.py`, a server that may cut histories early."""

    def __init__(self, spec: LabSpec) -> None:
        super().__init__(spec)
        cluster = yaml.safe_load(spec.cluster_file.read_text())
        cluster["ssh"] |= SHORT
        cluster["rollout"] = {"settle": 1}
        spec.cluster_file.write_text(yaml.safe_dump(cluster, sort_keys=False))
        folder = gates.worker_folder(spec)
        folder.mkdir(exist_ok=True)
        (folder / "heartbeat").write_text(str(HEARTBEAT))
        self.scratch = spec.root / "worker-tmp"
        self.scratch.mkdir(exist_ok=True)
        self.cutting = False
        self.known = Settings(**tomllib.loads(self.settings.read_text()))

    def start(self, *names: str) -> None:
        """Processes by name: `temporal`, `control`, `deploy`, and any further `deploy-…`."""
        for name in names:
            if name == "temporal":
                self.processes[name] = self._temporal()
                continue
            environment = self.environment | {
                "PYTHONPATH": str(_SITE),
                "SEALRING_CHAOS": str(gates.worker_folder(self.spec)),
                "TMPDIR": str(self.scratch),
            }
            with (self.spec.root / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    [BIN / "sealring", "worker", name.partition("-")[0]],
                    env=environment,
                    stdout=log,
                    stderr=log,
                    preexec_fn=_die_with_us,
                )

    def cut_histories(self, cutting: bool) -> None:
        """Have the server suggest continue-as-new after CUT_AFTER events, or not."""
        if cutting == self.cutting:
            return
        self.cutting = cutting
        workers = [name for name in self.processes if name != "temporal"]
        for name in (*workers, "temporal"):  # a worker that is just starting would find no server, and end
            self.stop(name)
        self.start("temporal", *workers)

    def _temporal(self) -> "subprocess.Popen[bytes]":
        program = temporal_program()
        if self.cutting:
            short = self.spec.root / "temporal-with-short-histories"
            setting = f"--dynamic-config-value limit.historyCount.suggestContinueAsNew={CUT_AFTER}"
            short.write_text(
                f'#!/bin/sh\n[ "$1 $2" = "server start-dev" ] && set -- "$@" {setting}\nexec {program} "$@"\n'
            )
            short.chmod(0o755)
            program = short
        port = self.spec.temporal_port
        return launch(
            program,
            self.spec.root / "engine" / "temporal",
            port=port,
            ui_port=port + UI_ABOVE,
            search_attributes=SEARCH_ATTRIBUTES,
        )


def _die_with_us() -> None:
    """A worker that outlived a killed run would help the next one, and spoil what it shows."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class Scene:
    """What a cell is played on."""

    spec: LabSpec
    engine: ChaosEngine
    kind: str
    well: bool = False  # nothing is left of the cell before

    @property
    def victim(self) -> NodeSpec:
        """The node that is worked on and harmed."""
        return self.spec.ring[1]

    def begin(self, request: RolloutRequest) -> None:
        """Start a rollout as the command line does, and do not wait for it."""
        asyncio.run(self._begin(request))

    def over(self) -> bool:
        """Whether the last rollout has ended; no, while nobody can be asked."""
        return asyncio.run(self._status()) not in (None, WorkflowExecutionStatus.RUNNING)

    def has_failed_once(self) -> bool:
        """Whether some step in hand is being repeated, or the rollout is over: the fault was felt."""
        return asyncio.run(self._repeats())

    def was_cut(self) -> bool:
        """Whether the last rollout has continued as new."""
        return asyncio.run(self._cut())

    def report(self) -> RolloutReport:
        """Wait for the end of the last rollout."""
        return asyncio.run(self._report())

    def run(self, request: RolloutRequest) -> RolloutReport:
        """Start a rollout and wait for its end."""
        self.begin(request)
        return self.report()

    async def _begin(self, request: RolloutRequest) -> None:
        await rollouts.start(await client_for(self.engine.known), request)

    async def _report(self) -> RolloutReport:
        return await rollouts.result(rollouts.rollout_of(await client_for(self.engine.known), "lab"))

    async def _status(self) -> WorkflowExecutionStatus | None:
        try:
            client = await self._client()
            return (await client.get_workflow_handle("tls-rollout/lab").describe()).status
        except (RPCError, RuntimeError):
            return None

    async def _cut(self) -> bool:
        handle = (await self._client()).get_workflow_handle("tls-rollout/lab")
        told = (await handle.describe()).raw_description.workflow_execution_info
        return told.first_run_id != told.execution.run_id

    async def _repeats(self) -> bool:
        try:
            client = await self._client()
            running = [w async for w in client.list_workflows('ExecutionStatus="Running"')]
            told = [await client.get_workflow_handle(w.id).describe() for w in running]
        except (RPCError, RuntimeError):
            return False
        pending = [activity for each in told for activity in each.raw_description.pending_activities]
        over = await self._status() not in (None, WorkflowExecutionStatus.RUNNING)
        return over or any(activity.attempt > 1 for activity in pending)

    async def _terminate(self) -> None:
        """A rollout that a cell gave up waiting for would refuse those of all cells after it."""
        client = await self._client()
        async for each in client.list_workflows('ExecutionStatus="Running"'):
            with suppress(RPCError):  # ended meanwhile, or its parent was ended
                await client.get_workflow_handle(each.id, run_id=each.run_id).terminate("the cell is over")

    async def _client(self) -> Client:
        return await Client.connect(f"127.0.0.1:{self.spec.temporal_port}")

    def heal(self) -> None:
        """Everything as it must be before a cell, whatever the one before did."""
        for name in [n for n in self.engine.processes if n.startswith("deploy-")]:
            self.engine.kill(name)
        for name in ("temporal", "control", "deploy"):
            process = self.engine.processes.get(name)
            if process is None or process.poll() is not None:
                self.engine.processes.pop(name, None)
                self.engine.start(name)
            else:
                process.send_signal(signal.SIGCONT)
        asyncio.run(self._terminate())
        for node in self.spec.ring:
            hosts.restore(self.spec, node)
            ring.start_node(self.spec, node.name)
        ring.wait_up(self.spec)


def anew(node: NodeSpec) -> None:
    """Make a node one that sealring has never touched: its stores stay, what sealring keeps beside them goes."""
    for name in ("current", "previous"):
        (node.tls / name).unlink(missing_ok=True)
    for name in ("generations", ".sealring"):
        shutil.rmtree(node.tls / name, ignore_errors=True)


@contextmanager
def built(spec: LabSpec, kind: str) -> Iterator[Scene]:
    """A new ring with gates, and an engine beside it; of an earlier run nothing is kept."""
    for node in spec.ring:
        if node.tls.is_mount():
            subprocess.run(["umount", "-l", node.tls], check=True)
    fresh(spec)
    lifecycle.up(spec, engine=False)
    for node in spec.ring:
        gates.install_on(spec, node)
    keyring = spec.root / "engine" / "keyring.json"
    if not keyring.exists():
        keyring.parent.mkdir(mode=0o700, exist_ok=True)
        create_keyring(keyring)
    engine = ChaosEngine(spec)
    try:
        engine.start("temporal", "control", "deploy")
        yield Scene(spec, engine, kind)
    finally:
        for name in sorted(engine.processes, key=lambda name: name == "temporal"):
            engine.processes[name].send_signal(signal.SIGCONT)
            engine.stop(name)
        lifecycle.down(spec)
