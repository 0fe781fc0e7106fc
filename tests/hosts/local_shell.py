"""The engine's scripts in a shell on this computer, which can be killed at any command that changes the disk."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sealring.hosts.refusals import refusal
from sealring.hosts.shell import READY, Completed, Feed, assemble, command_line

MUTATING = ("mv", "rm", "ln", "mkdir", "cp", "touch", "chmod", "chown", "sync", "cat", "head")

_SHIM = """#!/bin/sh
read -r n <"$SHIM_COUNT"
n=$((n + 1))
echo "$n" >"$SHIM_COUNT"
if [ "$n" = "$SHIM_KILL_AT" ]; then
    case {name} in
    cat | head) {real} "$@" | {head} -c 3 ;;
    esac
    kill -9 0
fi
exec {real} "$@"
"""


class Killed(Exception):
    """The shell was killed, as by a power cut of the process: nothing of it ran on."""


class LocalShell:
    """Runs scripts as this user.

    Args:
        folder: for the shims.
        kill_at: number of the mutating command, from 1, before which everything is killed; a command that writes
            content writes three bytes first. 0: never.
        shell: the shell to use.
    """

    def __init__(self, folder: Path, kill_at: int = 0, shell: str = "/bin/sh") -> None:
        self.address = "127.0.0.1"
        self.count = 0
        self._folder = folder / "shims"
        self._kill_at = kill_at
        self._shell = shell
        self.sudo_as: tuple[str, ...] = ()  # put before sudo: who asks for it

    async def run(
        self,
        script: str,
        *,
        variables: Mapping[str, str] = {},
        arguments: Sequence[str] = (),
        secret_input: bytes | Feed | None = None,
        timeout: float | None = None,
        become: str = "",
    ) -> Completed:
        begin = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *([self._shell, "-s"] if not become else (*self.sudo_as, *command_line(become).split())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            env=self._environment(),
        )
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(assemble(script, variables, arguments).encode())
        stdout = b""
        if secret_input is not None:
            while (line := await process.stdout.readline()) and line != READY:
                stdout += line
            if line == READY:
                content = secret_input if isinstance(secret_input, bytes) else secret_input.make(stdout.decode())
                process.stdin.write(content)
        process.stdin.close()
        stdout += await process.stdout.read()
        stderr = await process.stderr.read()
        status = await process.wait()
        if self._kill_at:
            self.count = int(self._count.read_text())
            if status == -signal.SIGKILL:
                raise Killed
        if become and status and stderr.startswith(b"sudo: "):  # as `Host` does
            raise refusal("node.sudo-refused", stderr.decode().strip(), self.address)
        return Completed(status, stdout.decode(), stderr.decode(), time.monotonic() - begin)

    @property
    def _count(self) -> Path:
        return self._folder / "count"

    def _environment(self) -> dict[str, str]:
        if not self._kill_at:
            return dict(os.environ)
        if not self._folder.exists():
            self._folder.mkdir()
            for name in MUTATING:
                shim = self._folder / name
                shim.write_text(_SHIM.format(name=name, real=shutil.which(name), head=shutil.which("head")))
                shim.chmod(0o755)
        self._count.write_text("0\n")
        path = f"{self._folder}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "SHIM_COUNT": str(self._count), "SHIM_KILL_AT": str(self._kill_at)}


def shell_of(folder: Path, uid: int) -> str:
    """A program that is /bin/sh as another user with that uid and gid and no other groups; we must be root."""
    script = folder / f"as-{uid}"
    script.write_text(f'#!/bin/sh\nexec setpriv --reuid {uid} --regid {uid} --clear-groups /bin/sh "$@"\n')
    script.chmod(0o755)
    return str(script)
