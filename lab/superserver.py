"""One process that is the SSH daemon of every node: `python -m lab.superserver CONFIG`.

It listens on every node's address and runs a real `sshd -i` with the node's own configuration for each connection, so
that hundreds of hosts cost a few megabytes. A link can be cut: `refuse` closes the listener and kills the sessions of
the node (commands they started live on, as they would behind a broken cable), `freeze` keeps connections open and
passes no byte. Links are read from a file at SIGHUP; what holds is written to another, which is the answer.

Everything that sessions start stays below this process (it is their subreaper) and ends with it; when it is killed by
SIGKILL, a session of an ordinary user ends with its connection. Standard library only.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close sends RST

UP, REFUSE, FREEZE = "up", "refuse", "freeze"

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Host:
    """One node's door."""

    name: str
    address: str
    port: int
    command: list[str]
    link: str = UP
    listener: socket.socket | None = None
    sessions: set[int] = field(default_factory=set)  # pids of `sshd -i`
    held: list[socket.socket] = field(default_factory=list)  # accepted while frozen: served when the link is back

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Bind and accept; raises OSError when the port is taken."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.address, self.port))
        listener.listen(128)
        listener.setblocking(False)
        self.listener = listener
        loop.add_reader(listener, self.accept)

    def deaf(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the listener: the kernel refuses from now on."""
        if self.listener:
            loop.remove_reader(self.listener)
            self.listener.close()
            self.listener = None

    def accept(self) -> None:
        """Take one connection and give it its own sshd."""
        assert self.listener
        try:
            connection, _ = self.listener.accept()
        except OSError:  # the client was gone first
            return
        if self.link == FREEZE:
            self.held.append(connection)
        else:
            self.serve(connection)

    def serve(self, connection: socket.socket) -> None:
        """Run sshd on the connection, which is closed here."""
        connection.setblocking(True)
        pid = os.fork()
        if pid == 0:
            try:
                _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                os.dup2(connection.fileno(), 0)
                os.dup2(connection.fileno(), 1)
                os.execv(self.command[0], self.command)  # noqa: S606  no shell wanted
            finally:
                os._exit(127)
        self.sessions.add(pid)
        connection.close()

    def change(self, link: str, loop: asyncio.AbstractEventLoop) -> None:
        """Bring the link from its present state to `link`."""
        if link == self.link:
            return
        if self.link == FREEZE:
            self._signal(signal.SIGCONT)
        self.link = link
        match link:
            case "refuse":
                self.deaf(loop)
                self._drop_held()
                self._signal(signal.SIGKILL)
            case "freeze":
                self._signal(signal.SIGSTOP)
            case _:
                for connection in self.held:
                    self.serve(connection)
                self.held.clear()
        if link != REFUSE and not self.listener:
            self.listen(loop)

    def _drop_held(self) -> None:
        for connection in self.held:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            connection.close()
        self.held.clear()

    def _signal(self, number: signal.Signals) -> None:
        """Signal the sshd processes of this node, but not the commands they run; also one that is just being forked."""
        signalled: set[int] = set()
        while new := self._daemons() - signalled:
            for pid in new:
                _kill(pid, number)
            signalled |= new

    def _daemons(self) -> set[int]:
        parents = _processes()
        return {
            pid
            for pid, (_, command) in parents.items()
            if command.startswith("sshd") and self.sessions.intersection(_ancestry(pid, parents))
        }


def main(configuration: Path) -> None:
    """Serve what the configuration file names, until SIGTERM."""
    settings = json.loads(configuration.read_text())
    links, applied = Path(settings["links"]), Path(settings["applied"])
    try:
        asyncio.run(serve([Host(**host) for host in settings["hosts"]], links, applied))
    finally:
        applied.unlink(missing_ok=True)


async def serve(hosts: list[Host], links: Path, applied: Path) -> None:
    """Serve until SIGTERM, then end everything that was started.

    Args:
        hosts: the nodes' doors.
        links: JSON file {node: link} that is wanted; read at the start and at SIGHUP.
        applied: JSON file of the same form, written when it holds.
    """
    loop = asyncio.get_running_loop()
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    for host in hosts:
        host.listen(loop)

    def reconcile() -> None:
        wanted = json.loads(links.read_text()) if links.exists() else {}
        for host in hosts:
            host.change(wanted.get(host.name, UP), loop)
        draft = applied.with_suffix(".new")
        draft.write_text(json.dumps(wanted))
        draft.replace(applied)

    def reap() -> None:
        for pid in _reaped():
            for host in hosts:
                host.sessions.discard(pid)

    stopped = asyncio.Event()
    handlers: list[tuple[signal.Signals, Callable[[], None]]] = [
        (signal.SIGTERM, stopped.set),
        (signal.SIGINT, stopped.set),
        (signal.SIGHUP, reconcile),
        (signal.SIGCHLD, reap),
    ]
    for number, handler in handlers:
        loop.add_signal_handler(number, handler)
    reconcile()
    await stopped.wait()
    for host in hosts:
        host.deaf(loop)
    await _end_descendants()


async def _end_descendants() -> None:
    """Kill what is below us until nothing is: a killed process hands its children to us, the subreaper."""
    while True:
        parents = _processes()
        below = [pid for pid in parents if os.getpid() in _ancestry(pid, parents)]
        if not below:
            _reaped()  # what ended during this very look is ours to collect, not init's
            return
        for pid in below:
            _kill(pid, signal.SIGKILL)
        _reaped()
        await asyncio.sleep(0.01)


def _processes() -> dict[int, tuple[int, str]]:
    """Every live process: pid → (parent, command name); from /proc/<pid>/stat, see proc(5)."""
    found: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            head, _, tail = (entry / "stat").read_text().rpartition(")")
            state, parent = tail.split()[:2]
            if state != "Z":
                found[int(entry.name)] = (int(parent), head.partition("(")[2])
    return found


def _ancestry(pid: int, parents: dict[int, tuple[int, str]]) -> list[int]:
    """Parents of `pid`, nearest first, with `pid` itself unless that is this process."""
    line = [pid] if pid != os.getpid() else []
    while pid in parents and line:
        pid = parents[pid][0]
        line.append(pid)
    return line


def _reaped() -> list[int]:
    done: list[int] = []
    with contextlib.suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            done.append(pid)
    return done


def _kill(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
