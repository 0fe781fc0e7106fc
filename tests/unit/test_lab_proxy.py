"""The chaos proxy's faults, each seen from both ends of a real connection."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from lab.proxy import ChaosProxy, Link

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """A server that sends back what it reads and tells how its connections ended."""

    def __init__(self) -> None:
        self.ends: asyncio.Queue[str] = asyncio.Queue()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(4096):
                writer.write(chunk)
                await writer.drain()
            self.ends.put_nowait("end")
        except ConnectionResetError:
            self.ends.put_nowait("reset")
        finally:
            writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    echo.port = server.sockets[0].getsockname()[1]
    yield echo
    server.close()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[ChaosProxy]:
    async with ChaosProxy("127.0.0.1", echo.port) as proxy:
        yield proxy


async def through(proxy: ChaosProxy) -> Streams:
    return await asyncio.open_connection(proxy.host, proxy.port)


async def ask(streams: Streams, question: bytes, timeout: float = 60.0) -> bytes:
    reader, writer = streams
    writer.write(question)
    return await asyncio.wait_for(reader.readexactly(len(question)), timeout)


async def test_bytes_pass_unchanged_and_the_end_is_passed_on(proxy: ChaosProxy, echo: Echo) -> None:
    reader, writer = await through(proxy)
    question = bytes(range(256)) * 400
    assert await ask((reader, writer), question) == question
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 60) == b""
    assert await asyncio.wait_for(echo.ends.get(), 60) == "end"


async def test_a_delay_is_paid_in_each_direction_but_not_by_each_chunk(proxy: ChaosProxy) -> None:
    streams = await through(proxy)
    proxy.link = Link(delay=0.1)
    begin = time.monotonic()
    await ask(streams, b"x" * 4_000_000)
    assert 0.2 <= time.monotonic() - begin < 20  # paid by each of its 244 chunks it would be more than 24 s


async def test_a_narrow_link_takes_its_time(proxy: ChaosProxy) -> None:
    streams = await through(proxy)
    proxy.link = Link(bytes_per_second=20_000)
    begin = time.monotonic()
    await ask(streams, b"x" * 10_000)
    assert time.monotonic() - begin >= 0.45


async def test_a_frozen_link_passes_nothing_and_loses_nothing(proxy: ChaosProxy, echo: Echo) -> None:
    reader, writer = streams = await through(proxy)
    await ask(streams, b"before")
    proxy.link = Link(frozen=True)
    writer.write(b"during")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readexactly(6), 0.2)
    assert echo.ends.empty()
    assert not reader.at_eof()


async def test_what_was_frozen_goes_on_when_the_link_is_back(proxy: ChaosProxy) -> None:
    streams = await through(proxy)
    await ask(streams, b"before")
    proxy.link = Link(frozen=True)
    answer = asyncio.create_task(ask(streams, b"during"))
    late = asyncio.create_task(ask(await through(proxy), b"new one"))
    done, _ = await asyncio.wait({answer, late}, timeout=0.2)
    assert not done
    proxy.link = Link()
    assert await answer == b"during"
    assert await late == b"new one"


async def test_a_reset_is_seen_as_a_reset_by_both_ends(proxy: ChaosProxy, echo: Echo) -> None:
    streams = await through(proxy)
    await ask(streams, b"before")
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(streams[0].read(1), 60)
    assert await asyncio.wait_for(echo.ends.get(), 60) == "reset"
    assert await ask(await through(proxy), b"after") == b"after"


async def test_new_connections_are_refused_while_old_ones_go_on(proxy: ChaosProxy) -> None:
    old = await through(proxy)
    await ask(old, b"before")
    proxy.link = Link(refuse=True)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)) as refused:
        await ask(await through(proxy), b"new")
    assert refused.type is ConnectionResetError
    assert await ask(old, b"old") == b"old"


async def test_a_target_that_does_not_listen_is_a_reset() -> None:
    async with ChaosProxy("127.0.0.1", 1) as proxy:
        with pytest.raises(ConnectionResetError):
            await ask(await through(proxy), b"hello")


async def test_leaving_ends_every_connection(echo: Echo) -> None:
    async with ChaosProxy("127.0.0.1", echo.port) as proxy:
        streams = await through(proxy)
        await ask(streams, b"before")
        assert proxy.connections == 1
    assert proxy.connections == 0
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(streams[0].read(1), 60)
    with pytest.raises(OSError, match=r"Connect|refused"):
        await through(proxy)
