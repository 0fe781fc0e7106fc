"""What the rooms above ask of a host: to run one /bin/sh script, as one user, and to answer in key=value lines.

The script goes over stdin and never into argv. It is one brace group: a shell that received only half of it, because
the link broke, runs nothing at all.
"""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Protocol

from sealring.errors import SealringError
from sealring.hosts.refusals import refusal, system_refusal

Become = str
"""The user a script runs as: empty for the login user, else by `sudo -n`."""

READY = b"#ready\n"
"""A script says so when it wants its secret input. Only then is it sent: dash reads ahead on stdin, so what follows
the script at once would be taken for a part of it."""

_NAME = re.compile(r"^[a-z_][a-z0-9_]*$")
_LINE = re.compile(r"^([a-z_]+)=(.*)$")
_USER = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\$?$")


def _nobody_asks(_done: int, _total: int) -> None:
    pass


@dataclass(frozen=True)
class Feed:
    """Secret input that depends on what the script says first, or whose progress somebody wants to know."""

    make: Callable[[str], bytes]  # from the lines that the script printed before `#ready`
    progress: Callable[[int, int], None] = _nobody_asks  # bytes sent, bytes in all


@dataclass(frozen=True)
class Completed:
    """A script that ended. What it printed stays out of `repr`: it may be a configuration with passwords."""

    status: int  # exit status; negative: the signal that ended it
    stdout: str = field(repr=False)
    stderr: str = field(repr=False)
    seconds: float


class Shell(Protocol):
    """A host that runs scripts: `sealring.hosts.ssh.Host`, or a local shell in tests."""

    @property
    def address(self) -> str:
        """The node's address: named in errors."""
        ...

    async def run(
        self,
        script: str,
        *,
        variables: Mapping[str, str] = {},
        arguments: Sequence[str] = (),
        secret_input: bytes | Feed | None = None,
        timeout: float | None = None,
        become: Become = "",
    ) -> Completed:
        """Run one script; see `sealring.hosts.ssh.Host.run`."""
        ...


def assemble(script: str, variables: Mapping[str, str], arguments: Sequence[str]) -> str:
    """The text for the stdin of `/bin/sh -s`: variables, then the script, all of it or nothing.

    Raises:
        ValueError: a variable's name is no plain lower-case name, or a value holds a NUL. A mistake in our code.
    """
    lines = ["{", "set -eu", "umask 077", "LC_ALL=C; export LC_ALL"]
    for name, value in variables.items():
        if not _NAME.match(name):
            raise ValueError(f"not a shell variable: {name!r}")
        lines.append(f"{name}={shlex.quote(value)}")
    # `--`: an empty list must clear the arguments too, and a first one may begin with a dash.
    lines.append(f"set -- {shlex.join(arguments)}")
    text = "\n".join([*lines, script, "exit 0", "}", ""])
    if "\0" in text:
        raise ValueError("a script cannot hold a NUL character")
    return text


def command_line(become: Become) -> str:
    """What the SSH server is asked to run: a constant, so that sudoers can name it exactly."""
    if not become:
        return "/bin/sh -s"
    if not _USER.match(become):
        raise ValueError(f"not a user name: {become!r}")
    return "sudo -n /bin/sh -s" if become == "root" else f"sudo -n -u {become} /bin/sh -s"


@cache
def load_script(name: str, *, common: bool = True) -> str:
    """A script of ours by its name, with the shared functions before it. Read once."""
    folder = resources.files("sealring.hosts") / "scripts"
    names = ("common", name) if common else (name,)
    return "\n".join((folder / f"{each}.sh").read_text() for each in names)


async def run_script(
    shell: Shell,
    name: str,
    *,
    variables: Mapping[str, str] = {},
    arguments: Sequence[str] = (),
    secret_input: bytes | Feed | None = None,
    timeout: float | None = None,
    become: Become = "",
) -> list[tuple[str, str]]:
    """Run one of our scripts and return the key=value lines that it printed, in order.

    Raises:
        SealringError: what the script refused (`node.*`), what the system refused it (`node.permission`,
            `node.disk-full`, `node.read-only`), `node.script-failed` for anything else; and all of `Shell.run`.
    """
    done = await shell.run(
        load_script(name),
        variables=variables,
        arguments=arguments,
        secret_input=secret_input,
        timeout=timeout,
        become=become,
    )
    return answer(name, done, shell.address)


def answer(name: str, done: Completed, address: str) -> list[tuple[str, str]]:
    """The key=value lines that a script of ours printed, in order.

    Raises:
        SealringError: as `run_script`, but for those of `Shell.run`.
    """
    pairs: list[tuple[str, str]] = []
    for line in done.stdout.splitlines():
        match = _LINE.match(line)
        if match is None:
            raise refusal("node.script-failed", f"{name}.sh printed a line that is no key=value", address)
        pairs.append((match[1], match[2]))
    for key, value in pairs:
        if key == "error":
            code, _, detail = value.partition(" ")
            raise refusal(code, detail, address)
    if done.status != 0:
        raise _failure(name, done, address)
    return pairs


def number(text: str, what: str, shell: Shell) -> int:
    """A whole number that a host printed.

    Raises:
        SealringError: `node.script-failed`, when it is none.
    """
    if not re.fullmatch(r"-?[0-9]{1,20}", text.strip()):
        raise refusal("node.script-failed", f"{what}: expected a number, the node said {text[:60]!r}", shell.address)
    return int(text)


def one(pairs: list[tuple[str, str]], key: str) -> str:
    """The value of a key that is there at most once; empty when it is not there."""
    values = [value for name, value in pairs if name == key]
    if len(values) > 1:
        raise ValueError(f"{key} stands {len(values)} times in the answer of a script")
    return values[0] if values else ""


def _failure(name: str, done: Completed, address: str) -> SealringError:
    words = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "it said nothing")
    return system_refusal(words, address) or refusal(
        "node.script-failed", f"{name}.sh ended with status {done.status}: {words}", address
    )
