"""One script in one channel of a connection: send it, feed it, take what it answers."""

import asyncio
import contextlib

import asyncssh

from sealring.hosts.shell import READY

OUTPUT_LIMIT = 8 * 1024 * 1024
"""Bytes of output that a script may print."""

_SESSION_PAUSES = (0.02, 0.1, 0.3)


class TooMuchOutput(Exception):
    """More output than the limit."""


async def talk(
    connection: asyncssh.SSHClientConnection, command: str, script: bytes, secret_input: bytes | None
) -> tuple[int, bytes, bytes]:
    """Run `command` with `script` on its stdin, and `secret_input` behind it when the script is ready for it.

    Returns:
        Exit status (negative: the signal that ended it), stdout, stderr.

    Raises:
        asyncssh.ChannelOpenError, asyncssh.DisconnectError, OSError: what the connection says.
        TooMuchOutput: more than OUTPUT_LIMIT bytes on stdout or stderr.
    """
    process = await _open_session(connection, command)
    try:
        stderr = asyncio.ensure_future(_drain(process.stderr))
        try:
            # A command that never reads (sudo refused) closes its end: what it printed tells why.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(script)
                if secret_input is None:
                    process.stdin.write_eof()
            stdout = await _answer(process, secret_input) + await _drain(process.stdout)
            errors = await stderr
        finally:
            stderr.cancel()
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


async def _answer(process: asyncssh.SSHClientProcess[bytes], secret_input: bytes | None) -> bytes:
    """Read up to the script's `#ready` and send what it waits for; returns the lines before."""
    lines = b""
    if secret_input is None:
        return lines
    while line := await process.stdout.readline():
        if line == READY:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(secret_input)
                process.stdin.write_eof()
            break
        lines += line
    return lines


async def _drain(reader: asyncssh.SSHReader[bytes]) -> bytes:
    content = bytearray()
    while chunk := await reader.read(65536):
        content += chunk
        if len(content) > OUTPUT_LIMIT:
            raise TooMuchOutput
    return bytes(content)


def is_sudo_refusal(stderr: bytes) -> bool:
    """Whether the words are sudo's own ("sudo: a password is required") or say that there is no sudo."""
    return stderr.startswith(b"sudo: ") or b"sudo: not found" in stderr or b"sudo: command not found" in stderr
