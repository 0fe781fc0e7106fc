"""A node's service manager: `python -m lab.supervisor <home>` keeps <home>/unit.json running as systemd would.

It behaves like a unit with Type=simple, Restart=always, RestartSec=2, SuccessExitStatus=143: a service that dies is
started again, for ever, so a node that cannot start crash-loops; `restart` answers once the process *was started*,
whether or not it stays up. State is in <home>/service.json, commands come over <home>/service.sock (`lab.systemctl`).
The service dies with its manager, however that ends (prctl(2), PR_SET_PDEATHSIG).
"""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from lab.service_client import SOCKET, address
from lab.state import start_ticks

RESTART_S = 2.0
SUCCESS = (0, 128 + signal.SIGTERM, -signal.SIGTERM)  # the JVM ends a SIGTERM with exit code 143
EXEC_FAILED = 203  # systemd's EXIT_EXEC

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Unit:
    """What to run: <home>/unit.json."""

    argv: list[str]
    environment: dict[str, str]
    directory: str
    log: str  # the process's standard output and error are appended to this file
    stop_timeout_s: float = 90.0  # then SIGKILL
    restart_s: float = RESTART_S

    @classmethod
    def load(cls, home: Path) -> "Unit":
        """The unit of the node that lives in `home`."""
        return cls(**json.loads((home / "unit.json").read_text()))

    def save(self, home: Path) -> None:
        """Write <home>/unit.json."""
        (home / "unit.json").write_text(json.dumps(asdict(self), indent=1) + "\n")


class Process(Protocol):
    """A running service."""

    @property
    def pid(self) -> int:
        """Of its main process."""

    async def wait(self) -> int:
        """Its exit code; negative: the signal that ended it."""

    def send_signal(self, number: int, /) -> None:
        """kill(2)."""


async def launch(unit: Unit) -> Process:
    """Start a service's process, which dies with this one.

    Raises:
        OSError: the program cannot be run.
    """
    parent = os.getpid()

    def die_with_parent() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)

    with Path(unit.log).open("ab") as log:  # noqa: ASYNC230  a local file, opened once a start
        return await asyncio.create_subprocess_exec(
            *unit.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=unit.directory,
            env=unit.environment,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )


@dataclass
class State:
    """What systemd would know about the service. Times: (seconds since 1970, microseconds since boot); 0 for never."""

    sub: str = "dead"  # running, stop-sigterm, stop-sigkill, auto-restart, failed, dead
    pid: int = 0  # 0 when nothing runs
    start_ticks: int = 0
    exec_pid: int = 0  # of the last process, which may be gone
    restarts: int = 0
    result: str = "success"  # success, exit-code, signal
    exit_code: int = 0  # CLD_EXITED or CLD_KILLED of the last process, 0 when none has ended
    exit_status: int = 0
    started: tuple[float, int] = (0.0, 0)
    exited: tuple[float, int] = (0.0, 0)
    changed: tuple[float, int] = (0.0, 0)

    @property
    def active(self) -> str:
        """systemd's ActiveState."""
        return {
            "running": "active",
            "auto-restart": "activating",
            "stop-sigterm": "deactivating",
            "stop-sigkill": "deactivating",
            "failed": "failed",
        }.get(self.sub, "inactive")


@dataclass
class Service:
    """One supervised process. All methods run in one event loop; start, stop and restart wait for each other."""

    unit: Unit
    home: Path
    state: State = field(default_factory=State)
    launch: Callable[[Unit], Awaitable[Process]] = launch
    _process: Process | None = None
    _watcher: asyncio.Task[None] | None = None
    _stopping: bool = False
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def start(self) -> None:
        """Start the process unless it runs; returns when it was started, not when it works."""
        async with self._turn:
            await self._start()

    async def stop(self) -> None:
        """Stop the process and wait for its end: SIGTERM, SIGKILL after the unit's timeout."""
        async with self._turn:
            await self._stop()

    async def restart(self) -> None:
        """Stop and start."""
        async with self._turn:
            await self._stop()
            await self._start()

    def kill(self, number: signal.Signals) -> bool:
        """Send a signal to the process; whether there was one. What dies of it is started again."""
        if self._process is None:
            return False
        self._signal(number)
        return True

    async def _start(self) -> None:
        if self._process is not None:
            return
        await self._forget_watcher()
        self.state.restarts = 0
        await self._spawn()

    async def _stop(self) -> None:
        self._stopping = True
        try:
            for sub, number, patience in (
                ("stop-sigterm", signal.SIGTERM, self.unit.stop_timeout_s),
                ("stop-sigkill", signal.SIGKILL, None),
            ):
                if self._process is None:
                    break
                self._enter(sub)
                self._signal(number)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(self._watcher or asyncio.sleep(0)), patience)
            await self._forget_watcher()
        finally:
            self._stopping = False
        if self.state.sub != "failed":
            self._enter("dead")

    async def _spawn(self) -> None:
        self.state.started, self.state.result = _now(), "success"
        try:
            self._process = await self.launch(self.unit)
        except OSError:
            self._watcher = asyncio.create_task(self._after(EXEC_FAILED))
            return
        self.state.pid = self.state.exec_pid = self._process.pid
        self.state.start_ticks = start_ticks(self._process.pid) or 0
        self._enter("running")
        self._watcher = asyncio.create_task(self._watch(self._process))

    async def _watch(self, process: Process) -> None:
        await self._after(await process.wait())

    async def _after(self, code: int) -> None:
        """The process ended with `code` (negative: by a signal): rest, or wait and start it again."""
        state = self.state
        self._process = None
        state.pid = state.start_ticks = 0
        state.exited = _now()
        state.exit_code, state.exit_status = (1, code) if code >= 0 else (2, -code)
        state.result = "success" if code in SUCCESS else "exit-code" if code >= 0 else "signal"
        if self._stopping:
            self._enter("dead" if state.result == "success" else "failed")
            return
        self._enter("auto-restart")
        await asyncio.sleep(self.unit.restart_s)
        async with self._turn:  # whoever stops us holds it, so a start is never cut in the middle
            state.restarts += 1
            await self._spawn()

    async def _forget_watcher(self) -> None:
        """End the wait for the next automatic start, if there is one."""
        if self._watcher is not None and self._process is None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
            self._watcher = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def _enter(self, sub: str) -> None:
        self.state.sub, self.state.changed = sub, _now()
        draft = self.home / ".service.json.new"
        draft.write_text(json.dumps({"active": self.state.active, **asdict(self.state)}) + "\n")
        draft.replace(self.home / "service.json")


def _now() -> tuple[float, int]:
    return time.time(), time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@contextlib.asynccontextmanager
async def commanded(service: Service) -> AsyncIterator[None]:
    """Let the service take commands at its socket."""
    from lab.systemctl import run

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError):
            arguments = json.loads(await reader.readline())
            writer.write(json.dumps(await run(service, arguments)).encode() + b"\n")
            await writer.drain()
        writer.close()

    folder = os.open(service.home, os.O_PATH)
    path = service.home / SOCKET
    path.unlink(missing_ok=True)
    try:
        async with await asyncio.start_unix_server(answer, address(folder)):
            path.chmod(0o600)
            yield
    finally:
        path.unlink(missing_ok=True)
        os.close(folder)


def told_to_end() -> asyncio.Event:
    """Set at SIGTERM and SIGINT."""
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    return over


async def supervise(home: Path) -> None:
    """Run the service until SIGTERM or SIGINT, answering commands."""
    service = Service(Unit.load(home), home)
    over = told_to_end()
    async with commanded(service):
        await service.start()
        await over.wait()
        await service.stop()


if __name__ == "__main__":
    asyncio.run(supervise(Path(sys.argv[1]).resolve()))
