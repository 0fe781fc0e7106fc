"""The process that a host shows for a node: a sleeping shell with Cassandra's arguments. The node is served here.

Whoever looks for a pid, a command line or a start time finds them, and killing that process kills the node. It ends
with the process that serves the nodes, however that ends: its standard input does.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

from lab.standin.node import EXIT_BAD_START, Node, StartError
from lab.supervisor import Process, Unit

_JVM_AT_SIGTERM = 128 + signal.SIGTERM


def launcher(node: Node, lifeline: int) -> Callable[[Unit], Awaitable[Process]]:
    """What starts the node for its service manager.

    Args:
        node: the node.
        lifeline: reading end of a pipe that nobody writes to and that ends with this process.
    """

    async def launch(unit: Unit) -> Process:
        actions = [
            (os.POSIX_SPAWN_DUP2, lifeline, 0),
            (os.POSIX_SPAWN_OPEN, 1, unit.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        # A fork of this process, which may serve a thousand nodes, would be slow; vfork is not.
        pid = os.posix_spawn(unit.argv[0], unit.argv, unit.environment, file_actions=actions, setsid=True)  # noqa: ASYNC221
        return _NodeProcess(node, pid)

    return launch


class _NodeProcess:
    """A node and the shell that stands for it."""

    def __init__(self, node: Node, pid: int) -> None:
        self.pid = pid
        self._node = node
        self._said: int | None = None  # the exit code when the node ended by itself
        loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = loop.create_future()
        self._descriptor = os.pidfd_open(pid)
        loop.add_reader(self._descriptor, self._end)
        self._starting = loop.create_task(self._start())

    async def wait(self) -> int:
        """The exit code of the JVM that this would be."""
        return await asyncio.shield(self._ended)

    def send_signal(self, number: int, /) -> None:
        """SIGTERM ends the node in order; what kills, kills the shell and the node with it."""
        if number == signal.SIGTERM:
            self._quit(_JVM_AT_SIGTERM)
        else:
            os.kill(self.pid, number)

    async def _start(self) -> None:
        try:
            await self._node.start()
        except StartError:
            self._quit(EXIT_BAD_START)

    def _quit(self, code: int) -> None:
        if self._said is None:
            self._said = code
            self._starting.cancel()
            if self._node.running:
                self._node.stop()
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _end(self) -> None:
        """The shell is gone."""
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        _, status = os.waitpid(self.pid, 0)
        self._starting.cancel()
        self._node.kill()
        self._ended.set_result(os.waitstatus_to_exitcode(status) if self._said is None else self._said)
