"""The pool: one SSH connection per host and worker, shared by everything that works on that host.

`HostPool.host(address)` leases a `Host`; the connection (`sealring.hosts.links`) is made on first use, kept while it is
leased and for a minute after, watched by keep-alives, and replaced when it died. Logins in progress are capped for the
worker, channels for each connection (sshd's MaxSessions), and both for each bastion on the way.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial

import asyncssh

from sealring.errors import Actor, ErrorClass, SealringError, passing
from sealring.hosts.certificates import Sign
from sealring.hosts.links import Commons, Link
from sealring.hosts.login import GONE
from sealring.hosts.refusals import refusal
from sealring.hosts.routes import Endpoint, chain, endpoint
from sealring.hosts.session import OUTPUT_LIMIT, TooMuchOutput, is_sudo_refusal, talk
from sealring.hosts.shell import Become, Completed, Feed, assemble, command_line, load_script
from sealring.models.cluster import SshSettings


class HostPool:
    """Connections to hosts, one each. Belongs to one event loop; close it at the end."""

    def __init__(self, settings: SshSettings, sign: Sign | None = None) -> None:
        """`sign` certifies the key of the ssh section where `vault_role` is set, anew before a certificate ends."""
        self.settings = settings
        self._commons = Commons(settings, sign)
        self._links: dict[str, Link] = {}
        self._bastions: dict[tuple[Endpoint, ...], Link] = {}

    @contextlib.asynccontextmanager
    async def host(self, address: str) -> AsyncIterator["Host"]:
        """Lease a host. Connects at the first command, or finds the connection of another lease."""
        if address not in self._links:
            via = self._bastion(chain(self.settings, address))
            self._links[address] = Link(endpoint(self.settings, address), self._commons, via)
        link = self._links[address]
        with link.leased():
            yield Host(link)

    def _bastion(self, way: tuple[Endpoint, ...]) -> Link | None:
        """The last bastion of a chain; chains with the same beginning share it."""
        if not way:
            return None
        if way not in self._bastions:
            self._bastions[way] = Link(way[-1], self._commons, self._bastion(way[:-1]))
        return self._bastions[way]

    async def close(self) -> None:
        """Close every connection, those to bastions last; commands that still run are cut off."""
        for link in (*self._links.values(), *sorted(self._bastions.values(), key=lambda link: -link.depth)):
            await link.close()
        await self._commons.close()
        self._links.clear()
        self._bastions.clear()


class Host:
    """A leased host."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @property
    def address(self) -> str:
        """The node's address."""
        return self._link.place.address

    @property
    def user(self) -> str:
        """The login user."""
        return self._link.place.user

    @property
    def passwords(self) -> tuple[str, ...]:
        """The servers on the way, the node among them, that were sent a password; empty before the first command."""
        return self._link.passwords()

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
        """Run one /bin/sh script (`set -eu`, `LC_ALL=C`, umask 077).

        Args:
            script: POSIX sh, sent over stdin; a shell that gets only a part of it runs nothing.
            variables: set before the script, quoted.
            arguments: `$1`, `$2`, ...; quoted, never in argv.
            secret_input: for the script's stdin, sent when it has printed the line `#ready`.
            timeout: seconds from the opened channel to the end, waiting for a throttle not counted; default:
                ssh.command_timeout.
            become: the user to run as.

        Raises:
            SealringError: retry: `ssh.command-timeout` (says whether the link lives), `ssh.idle` (no keep-alive was
                answered for ssh.idle_timeout), `ssh.lost`, `ssh.channel-limit`, those of a login; stop:
                `node.sudo-refused` and those of a login; ask: `ssh.output-too-long`.
        """
        begin = time.monotonic()
        text = assemble(script, variables, arguments).encode()
        status, stdout, stderr = await self._converse(text, secret_input, timeout, become)
        words = stderr.decode(errors="replace")
        return Completed(status, stdout.decode(errors="replace"), words, time.monotonic() - begin)

    async def read(self, path: str, *, become: Become = "", limit: int = 1024 * 1024) -> bytes:
        """The content of one file.

        Args:
            path: absolute path on the node.
            become: the user to read as.
            limit: bytes; a longer file is refused.

        Raises:
            SealringError: `node.file-missing`, `node.not-a-file`, `node.file-unreadable`, `node.file-too-large`, and
                all of `run`.
        """
        return (await self.read_all((path,), become=become, limit=limit))[path]

    async def read_all(
        self, paths: Iterable[str], *, become: Become = "", limit: int = 1024 * 1024
    ) -> dict[str, bytes]:
        """The contents of some files by path, in one script: that costs a node as much as one file does.

        Args:
            paths: absolute paths on the node; one that is named twice is read once.
            become: the user to read as.
            limit: bytes of one file; a longer one is refused.

        Raises:
            SealringError: as `read`, for the first file that cannot be read.
        """
        wanted = list(dict.fromkeys(paths))
        at_once = max(1, OUTPUT_LIMIT // (limit + 64))
        found: dict[str, bytes] = {}
        for begin in range(0, len(wanted), at_once):
            found |= await self._read(wanted[begin : begin + at_once], become, limit)
        return found

    async def _read(self, paths: Sequence[str], become: Become, limit: int) -> dict[str, bytes]:
        """Files whose contents one answer can hold."""
        mark = secrets.token_hex(16)  # files may hold anything but what was drawn after they were written
        script = assemble(load_script("read", common=False), {"limit": str(limit + 1), "mark": mark}, paths)
        status, output, stderr = await self._converse(script.encode(), None, None, become)
        contents = output.split(f"{mark}\n".encode())  # the last one: of the file that could not be read, or nothing
        for path, content in zip(paths, contents, strict=False):
            if len(content) > limit:
                raise refusal("node.file-too-large", f"{path} has more than {limit} bytes", self.address)
        if status != 0 or len(contents) <= len(paths):
            code = _READ_FAILURES.get(stderr.decode(errors="replace").strip(), "node.file-unreadable")
            raise refusal(code, paths[min(len(contents), len(paths)) - 1], self.address)
        return dict(zip(paths, contents, strict=False))

    async def forward(self, host: str, port: int) -> tuple[asyncssh.SSHReader[bytes], asyncssh.SSHWriter[bytes]]:
        """A TCP connection from this host to `host:port` (direct-tcpip). The caller closes the writer.

        Raises:
            SealringError: `ssh.forward-refused` (retry) when nothing answers there, `ssh.forward-prohibited` (skip)
                when sshd forbids forwarding, and those of a login.
        """
        connection = await self._link.connection()
        try:
            return await connection.open_connection(host, port, encoding=None)
        except asyncssh.ChannelOpenError as error:
            if error.reason == GONE:
                raise self._lost(error) from error
            if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
                raise SealringError(
                    "ssh.forward-prohibited",
                    f"its sshd forbids a connection to {host}:{port}: {error.reason}",
                    error_class=ErrorClass.SKIP,
                    actor=Actor.NODE_ADMIN,
                    remedy="set AllowTcpForwarding and PermitOpen for the deploy user in sshd_config",
                    node=self.address,
                ) from error
            raise passing(
                "ssh.forward-refused", f"{host}:{port} cannot be reached from it: {error.reason}", node=self.address
            ) from error
        except (OSError, asyncssh.DisconnectError) as error:
            raise self._lost(error) from error

    async def _converse(
        self, script: bytes, secret_input: bytes | Feed | None, timeout: float | None, become: Become
    ) -> tuple[int, bytes, bytes]:
        """Run the script in a channel of its own: exit status, stdout, stderr."""
        if become == self._link.place.user:
            become = ""
        seconds = self._link.commons.settings.command_timeout.total_seconds() if timeout is None else timeout
        connection = await self._link.connection()
        async with self._link.channels:
            try:
                async with asyncio.timeout(seconds) as budget:
                    pay = partial(self._pay, budget)
                    result = await talk(connection, command_line(become), script, secret_input, pay)
            except TimeoutError as error:
                raise await self._too_slow(connection, seconds) from error
            except asyncssh.ChannelOpenError as error:
                if error.reason == GONE:
                    raise self._lost(error) from error
                raise passing(
                    "ssh.channel-limit",
                    f"its sshd opens no further session: {error.reason}",
                    "if it lasts: lower ssh.max_channels below MaxSessions of the node's sshd_config",
                    actor=Actor.NODE_ADMIN,
                    node=self.address,
                ) from error
            except (OSError, asyncssh.DisconnectError) as error:
                raise self._lost(error) from error
            except TooMuchOutput as error:
                raise SealringError(
                    "ssh.output-too-long",
                    f"a script printed more than {OUTPUT_LIMIT} bytes",
                    error_class=ErrorClass.ASK,
                    remedy="look at the node; if it is well, report this as a bug",
                    node=self.address,
                ) from error
        if become and result[0] != 0 and is_sudo_refusal(result[2]):
            words = result[2].decode(errors="replace").splitlines()[0]
            raise refusal("node.sudo-refused", words, self.address)
        return result

    async def _pay(self, budget: asyncio.Timeout, amount: int) -> None:
        """Wait for the throttle; the command's own time stands still meanwhile."""
        seconds, end = self._link.commons.throttle.take(amount), budget.when()
        if seconds and end is not None and not budget.expired():
            budget.reschedule(end + seconds)
            await asyncio.sleep(seconds)

    async def _too_slow(self, connection: asyncssh.SSHClientConnection, seconds: float) -> SealringError:
        alive = await self._link.answers(connection)
        link = "the link is alive, the command is slow" if alive else "the link is dead"
        return passing(
            "ssh.command-timeout",
            f"a command did not end within {seconds:g} s: {link}; the channel was closed",
            "check the node's load, or raise ssh.command_timeout" if alive else "check the network to the node",
            actor=Actor.NODE_ADMIN if alive else Actor.NETWORK_ADMIN,
            node=self.address,
        )

    def _lost(self, error: Exception) -> SealringError:
        if "keepalive" in str(error):
            seconds = self._link.commons.settings.idle_timeout.total_seconds()
            return passing(
                "ssh.idle",
                f"the host answered no keep-alive for {seconds:g} s; a command that ran may have been done",
                "check the network to the node",
                actor=Actor.NETWORK_ADMIN,
                node=self.address,
            )
        return passing(
            "ssh.lost",
            f"the connection was lost ({error}); a command that ran may have been done",
            "check the network to the node and its sshd",
            actor=Actor.NETWORK_ADMIN,
            node=self.address,
        )


_READ_FAILURES = {"missing": "node.file-missing", "not-a-file": "node.not-a-file", "unreadable": "node.file-unreadable"}
