"""The pool: one SSH connection per host and worker, shared by everything that works on that host.

`HostPool.host(address)` leases a `Host`; the connection is made on first use, kept while it is leased and for a minute
after, watched by keep-alives, and replaced when it died. Logins in progress are capped for the worker, channels for
each connection (sshd's MaxSessions).
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence

import asyncssh

from sealring.errors import Actor, ErrorClass, SealringError, passing
from sealring.hosts.certificates import Certificates, Sign
from sealring.hosts.login import KnownHosts, endpoint, login
from sealring.hosts.refusals import refusal
from sealring.hosts.session import OUTPUT_LIMIT, TooMuchOutput, is_sudo_refusal, talk
from sealring.hosts.shell import Become, Completed, assemble, command_line, load_script
from sealring.models.cluster import SshSettings

LINGER_SECONDS = 60.0
"""A connection that nobody leases is closed after this long."""

_ANSWER_SECONDS = 5.0  # a link that does not answer an empty command in this time is called dead
_GONE = "SSH connection closed"  # asyncssh's words when it is asked for a channel of a connection that is gone
_Opener = Callable[[str], Awaitable[asyncssh.SSHClientConnection]]  # of an address


class HostPool:
    """Connections to hosts, one each. Belongs to one event loop; close it at the end."""

    def __init__(self, settings: SshSettings, sign: Sign | None = None) -> None:
        """`sign` makes certificates for ssh.private_key; None: `settings` alone say who we are."""
        self.settings = settings
        self._own = sign and Certificates(sign)
        self._known = KnownHosts(settings.known_hosts)
        self._logins = asyncio.Semaphore(settings.max_logins)
        self._links: dict[str, _Link] = {}

    @contextlib.asynccontextmanager
    async def host(self, address: str) -> AsyncIterator["Host"]:
        """Lease a host. Connects at the first command, or finds the connection of another lease."""
        link = self._links.setdefault(address, _Link(address, self.settings, self._logins, self._login))
        with link.leased():
            yield Host(link)

    async def close(self) -> None:
        """Close every connection; commands that still run are cut off."""
        for link in self._links.values():
            await link.close()
        self._links.clear()
        if self._own is not None:
            await self._own.close()

    async def _login(self, address: str) -> asyncssh.SSHClientConnection:
        return await login(address, self.settings, self._known, self._own)


class _Link:
    """One host's connection: made once however many ask for it, made again when it is gone."""

    def __init__(self, address: str, settings: SshSettings, logins: asyncio.Semaphore, opener: _Opener) -> None:
        self.address = address
        self.settings = settings
        self.user = endpoint(settings, address).user
        self.channels = asyncio.Semaphore(settings.max_channels)
        self._logins = logins
        self._open = opener
        self._login: asyncio.Task[asyncssh.SSHClientConnection] | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._leases = 0
        self._closing: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def leased(self) -> Iterator[None]:
        self._leases += 1
        if self._closing:
            self._closing.cancel()
            self._closing = None
        try:
            yield
        finally:
            self._leases -= 1
            if self._leases == 0:
                self._closing = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._drop)

    async def connection(self) -> asyncssh.SSHClientConnection:
        """The connection, made by whoever asks first; all who wait share its outcome, a failure too."""
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        if self._login is None or self._login.done():
            self._login = asyncio.create_task(self._log_in())
        return await asyncio.shield(self._login)

    async def _log_in(self) -> asyncssh.SSHClientConnection:
        async with self._logins:
            self._connection = await self._open(self.address)
        return self._connection

    async def close(self) -> None:
        if self._closing:
            self._closing.cancel()
        if self._login is not None:
            self._login.cancel()
            await asyncio.wait({self._login})
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            # A peer that does not answer any more must not hold us up.
            with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
                await asyncio.wait_for(connection.wait_closed(), _ANSWER_SECONDS)

    def abandon(self, connection: asyncssh.SSHClientConnection) -> None:
        """Give up a connection that does not answer: the next command gets a new one."""
        if self._connection is connection:
            self._connection = None
        connection.abort()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Host:
    """A leased host."""

    def __init__(self, link: _Link) -> None:
        self._link = link

    @property
    def address(self) -> str:
        """The node's address."""
        return self._link.address

    @property
    def user(self) -> str:
        """The login user."""
        return self._link.user

    async def run(
        self,
        script: str,
        *,
        variables: Mapping[str, str] = {},
        arguments: Sequence[str] = (),
        secret_input: bytes | None = None,
        timeout: float | None = None,
        become: Become = "",
    ) -> Completed:
        """Run one /bin/sh script (`set -eu`, `LC_ALL=C`, umask 077).

        Args:
            script: POSIX sh, sent over stdin; a shell that gets only a part of it runs nothing.
            variables: set before the script, quoted.
            arguments: `$1`, `$2`, ...; quoted, never in argv.
            secret_input: bytes for the script's stdin, sent when it has printed the line `#ready`.
            timeout: seconds from the opened channel to the end; default: ssh.command_timeout.
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
        script = assemble(load_script("read", common=False), {"path": path, "limit": str(limit + 1)}, ())
        status, content, stderr = await self._converse(script.encode(), None, None, become)
        if status != 0:
            raise refusal(_READ_FAILURES.get(stderr.decode().strip(), "node.file-unreadable"), path, self.address)
        if len(content) > limit:
            raise refusal("node.file-too-large", f"{path} has more than {limit} bytes", self.address)
        return content

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
            if error.reason == _GONE:
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
        self, script: bytes, secret_input: bytes | None, timeout: float | None, become: Become
    ) -> tuple[int, bytes, bytes]:
        """Run the script in a channel of its own: exit status, stdout, stderr."""
        if become == self._link.user:
            become = ""
        seconds = self._link.settings.command_timeout.total_seconds() if timeout is None else timeout
        connection = await self._link.connection()
        async with self._link.channels:
            try:
                async with asyncio.timeout(seconds):
                    result = await talk(connection, command_line(become), script, secret_input)
            except TimeoutError as error:
                raise await self._too_slow(connection, seconds) from error
            except asyncssh.ChannelOpenError as error:
                if error.reason == _GONE:
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

    async def _too_slow(self, connection: asyncssh.SSHClientConnection, seconds: float) -> SealringError:
        try:
            await asyncio.wait_for(connection.run("exit 0", stdin=asyncssh.DEVNULL), _ANSWER_SECONDS)
            alive = True
        except asyncssh.ChannelOpenError:
            alive = True  # a refusal is an answer
        except (TimeoutError, OSError, asyncssh.Error):
            alive = False
        link = "the link is alive, the command is slow" if alive else "the link is dead"
        if not alive:
            self._link.abandon(connection)
        return passing(
            "ssh.command-timeout",
            f"a command did not end within {seconds:g} s: {link}; the channel was closed",
            "check the node's load, or raise ssh.command_timeout" if alive else "check the network to the node",
            actor=Actor.NODE_ADMIN if alive else Actor.NETWORK_ADMIN,
            node=self.address,
        )

    def _lost(self, error: Exception) -> SealringError:
        if "keepalive" in str(error):
            seconds = self._link.settings.idle_timeout.total_seconds()
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
