"""One script in one channel of a connection: send it, feed it, take what it answers."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import asyncssh

from sealring.hosts.shell import READY, Feed
from sealring.hosts.throttle import CHUNK

OUTPUT_LIMIT = 8 * 1024 * 1024
"""Bytes of output that a script may print."""

_SESSION_PAUSES = (0.02, 0.1, 0.3)


class TooMuchOutput(Exception):
    """More output than the limit."""


Pay = Callable[[int], Awaitable[None]]
"""Waits until so many bytes may go, or, when they came in, until more may be read."""


async def talk(
    connection: asyncssh.SSHClientConnection,
    command: str,
    script: bytes,
    secret_input: bytes | Feed | None,
    pay: Pay,
) -> tuple[int, bytes, bytes]:
    """Run `command` with `script` on its stdin, and the secret input behind it when the script is ready for it.

    Returns:
        Exit status (negative: the signal that ended it), stdout, stderr.

    Raises:
        asyncssh.ChannelOpenError, asyncssh.DisconnectError, OSError: what the connection says.
        TooMuchOutput: more than OUTPUT_LIMIT bytes on stdout or stderr.
    """
    process = await _open_session(connection, command)
    try:
        stderr = asyncio.ensure_future(_drain(process.stderr, pay))
        feeding: asyncio.Task[None] | None = None
        try:
            # A command that never reads (sudo refused) closes its end: what it printed tells why.
            with contextlib.suppress(BrokenPipeError):
                await _send(process, script, pay)
                if secret_input is None:
                    process.stdin.write_eof()
            lines = b""
            if secret_input is not None:
                lines, ready = await _until_ready(process)
                if ready:
                    feed = secret_input if isinstance(secret_input, Feed) else Feed(lambda _: secret_input)
                    content = feed.make(lines.decode(errors="replace"))
                    feeding = asyncio.ensure_future(_feed(process, content, feed, pay))
            stdout = lines + await _drain(process.stdout, pay)
            errors = await stderr
        finally:
            stderr.cancel()
            if feeding is not None:
                feeding.cancel()
        await process.wait_closed()
        status = process.returncode
        if status is None:
            raise ConnectionResetError("the channel was closed before the command ended")
        return status, stdout, errors
    finally:
        # On a timeout or a cancellation: ask for its end, then leave. OpenSSH honours it since 7.9, but not in root's
        # sessions and not through sudo: what runs on there holds the node's lock, and is bounded by its own commands.
        if process.returncode is None:
            with contextlib.suppress(OSError, asyncssh.Error):
                process.terminate()
        process.close()


async def _open_session(connection: asyncssh.SSHClientConnection, command: str) -> asyncssh.SSHClientProcess[bytes]:
    """A session channel. sshd frees a closed one a moment after it said so: a refusal is tried again, briefly."""
    for pause in _SESSION_PAUSES:
        try:
            return await connection.create_process(command, encoding=None)
        except asyncssh.ChannelOpenError:
            await asyncio.sleep(pause)
    return await connection.create_process(command, encoding=None)


async def _send(process: asyncssh.SSHClientProcess[bytes], content: bytes, pay: Pay) -> None:
    for begin in range(0, len(content), CHUNK):
        chunk = content[begin : begin + CHUNK]
        await pay(len(chunk))
        process.stdin.write(chunk)
        await process.stdin.drain()


async def _until_ready(process: asyncssh.SSHClientProcess[bytes]) -> tuple[bytes, bool]:
    """Read up to the script's `#ready`, or to its end: the lines before, and whether it asked."""
    lines = b""
    while line := await process.stdout.readline():
        if line == READY:
            return lines, True
        lines += line
    return lines, False


async def _feed(process: asyncssh.SSHClientProcess[bytes], content: bytes, feed: Feed, pay: Pay) -> None:
    """Send what the script waits for, while what it prints is read: there every fault of the channel shows."""
    with contextlib.suppress(OSError, asyncssh.Error):
        for begin in range(0, len(content), CHUNK):
            await _send(process, content[begin : begin + CHUNK], pay)
            feed.progress(min(begin + CHUNK, len(content)), len(content))
        process.stdin.write_eof()


async def _drain(reader: asyncssh.SSHReader[bytes], pay: Pay) -> bytes:
    content = bytearray()
    while chunk := await reader.read(65536):
        content += chunk
        if len(content) > OUTPUT_LIMIT:
            raise TooMuchOutput
        await pay(len(chunk))
    return bytes(content)


def is_sudo_refusal(stderr: bytes) -> bool:
    """Whether the words are sudo's own ("sudo: a password is required") or say that there is no sudo."""
    return stderr.startswith(b"sudo: ") or b"sudo: not found" in stderr or b"sudo: command not found" in stderr
