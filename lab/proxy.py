"""A TCP link that can be made bad while it is in use: slow, narrow, frozen, reset, refused.

async with ChaosProxy("127.0.0.11", 9042) as proxy:
    proxy.link = Link(delay=0.2)
    ... connect to proxy.host, proxy.port ...
    proxy.reset()
"""

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Self

CHUNK = 16 * 1024
IN_FLIGHT = 64  # chunks under way in one direction before the sender is held back
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close sends RST


@dataclass(frozen=True)
class Link:
    """How the link behaves now; the default is a good one.

    Args:
        delay: seconds that every byte is late, in each direction.
        bytes_per_second: throughput of each direction of each connection; None for no limit.
        frozen: no byte passes and nothing is closed; new connections are accepted and stay silent.
        refuse: new connections are reset at once; those that exist go on.
    """

    delay: float = 0.0
    bytes_per_second: float | None = None
    frozen: bool = False
    refuse: bool = False


class ChaosProxy:
    """Forwards `host:port` to a target through a `Link` that can be changed at any time.

    Args:
        target_host: where connections go.
        target_port: its port.
        host: address to listen on.
        port: port to listen on; 0 for a free one, which `port` then tells.
    """

    def __init__(self, target_host: str, target_port: int, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port
        self._target = (target_host, target_port)
        self._link = Link()
        self._changed = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def link(self) -> Link:
        """How the link behaves; assign another to change it, also for what is under way."""
        return self._link

    @link.setter
    def link(self, link: Link) -> None:
        self._link = link
        self._changed.set()
        self._changed = asyncio.Event()

    def reset(self) -> None:
        """Break every connection with a TCP reset, on both sides; bytes under way are lost."""
        for writer in self._writers:
            _reset(writer)

    @property
    def connections(self) -> int:
        """How many connections are open through the proxy."""
        return len(self._connections)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, self.host, self.port, limit=CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        self._writers.add(writer)
        try:
            await self._carry(reader, writer)
        except (OSError, asyncio.CancelledError):  # the link is down: what both ends see is the reset below
            _reset(writer)
        finally:
            self._connections.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._link.refuse:
            _reset(writer)
            return
        await self._thawed()
        far_reader, far_writer = await asyncio.open_connection(*self._target, limit=CHUNK)
        self._writers.add(far_writer)
        try:
            async with asyncio.TaskGroup() as directions:
                directions.create_task(self._forward(reader, far_writer))
                directions.create_task(self._forward(far_reader, writer))
        except* OSError:
            _reset(writer)
            _reset(far_writer)
        finally:
            self._writers.discard(far_writer)
            far_writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction: a queue between reading and writing, so that a delay costs no throughput."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(IN_FLIGHT)
        now = asyncio.get_running_loop().time

        async def read() -> None:
            chunk = b"."
            while chunk:
                chunk = await reader.read(CHUNK)
                await under_way.put((now(), chunk))

        async with asyncio.TaskGroup() as both:
            both.create_task(read())
            while True:
                read_at, chunk = await under_way.get()
                await self._not_before(read_at)
                if not chunk:
                    break
                await self._write(writer, chunk)
        with contextlib.suppress(OSError):  # the other end may have closed altogether
            writer.write_eof()

    async def _write(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        while chunk:
            rate = self._link.bytes_per_second
            size = len(chunk) if rate is None else max(1, min(len(chunk), int(rate / 20)))
            writer.write(chunk[:size])
            await writer.drain()
            chunk = chunk[size:]
            if rate is not None:
                await asyncio.sleep(size / rate)
            await self._thawed()

    async def _not_before(self, read_at: float) -> None:
        """Wait until what was read then may pass, by the link's delay of now."""
        await self._thawed()
        while (left := read_at + self._link.delay - asyncio.get_running_loop().time()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)
            await self._thawed()

    async def _thawed(self) -> None:
        while self._link.frozen:
            await self._changed.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN; what was not sent is dropped."""
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()
