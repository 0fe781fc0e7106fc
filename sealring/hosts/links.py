"""One connection to one SSH server, a node or a bastion: made once however many ask for it, made again when it is gone.

A link behind a bastion holds a lease of the bastion's own link for as long as its connection stands; so one connection
to a bastion serves all nodes behind it, and ends when the last of them has gone.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from sealring.errors import Actor, SealringError, passing
from sealring.hosts.breakers import Breakers
from sealring.hosts.certificates import Certificates, Sign
from sealring.hosts.login import GONE, Login, login
from sealring.hosts.routes import Endpoint
from sealring.hosts.throttle import Throttle
from sealring.hosts.trust import KnownHosts
from sealring.models.cluster import SshSettings

LINGER_SECONDS = 60.0
"""A connection that nobody leases is closed after this long."""

_JUMP = "ssh.jump-"  # codes of bastions

ANSWER_SECONDS = 5.0  # a link that does not answer an empty command in this time is called dead


class Commons:
    """What all links of a pool share."""

    def __init__(self, settings: SshSettings, sign: Sign | None = None) -> None:
        self.settings = settings
        self._certificates = Certificates(sign) if sign is not None else None
        self.breakers = Breakers(settings.breaker)
        self.throttle = Throttle(settings.limits, self.breakers.subnet)
        self.logins = asyncio.Semaphore(settings.max_logins)
        self._known_hosts: dict[Path, KnownHosts] = {}

    def known_hosts(self, path: Path) -> KnownHosts:
        """A known_hosts file, whoever asks."""
        return self._known_hosts.setdefault(path, KnownHosts(path))

    def certificates(self, place: Endpoint) -> Certificates | None:
        """Who certifies the private key that is used at a server; None: nobody needs to."""
        return self._certificates if place.identity.vault_role is not None else None

    async def close(self) -> None:
        """Give up what is under way for all of them."""
        if self._certificates is not None:
            await self._certificates.close()


@dataclass
class _Through:
    """What a bastion lets through at once."""

    logins: asyncio.Semaphore
    channels: asyncio.Semaphore
    waiting: int = 0  # for a channel


class Link:
    """A server, the way to it, and the connection when there is one.

    Args:
        place: the server.
        commons: of the pool.
        via: the link of the bastion before it; None: directly.
    """

    def __init__(self, place: Endpoint, commons: Commons, via: "Link | None" = None) -> None:
        self.place = place
        self.commons = commons
        self.channels = asyncio.Semaphore(commons.settings.max_channels)
        self._via = via
        self._through = _Through(asyncio.Semaphore(place.max_logins or 1), asyncio.Semaphore(place.max_channels or 1))
        self._behind: list[Link] = []
        self.depth: int = 0 if via is None else via.depth + 1
        if via is not None:
            via._behind.append(self)
        self._login: asyncio.Task[asyncssh.SSHClientConnection] | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._password = ""  # the method, when a password was sent for the connection
        self._leases = 0
        self._closing: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def leased(self) -> Iterator[None]:
        """Keep the connection, once it is made."""
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
                if self._via is not None and self._via._through.waiting:
                    self._drop()

    async def connection(self) -> asyncssh.SSHClientConnection:
        """The connection, made by whoever asks first; all who wait share its outcome, a failure too.

        Raises:
            SealringError: those of `login`, `ssh.circuit-open`; with the code `ssh.jump-...` for a bastion on the way.
        """
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        if self._login is None or self._login.done():
            self._login = asyncio.create_task(self._log_in())
        return await asyncio.shield(self._login)

    def passwords(self) -> tuple[str, ...]:
        """The servers on the way, this one too, that were sent a password for the connections that stand."""
        before = self._via.passwords() if self._via is not None else ()
        own = f"{self.place.user} at {self.place.server} (method {self._password})"
        return (*before, own) if self._password else before

    async def _log_in(self) -> asyncssh.SSHClientConnection:
        self.commons.breakers.check(self.place)
        with contextlib.ExitStack() as held:  # of the bastion, until the connection is gone
            tunnel = await self._via._let_through(self.place.address, held) if self._via is not None else None
            connection, ours = await self._attempt(tunnel)
            self._connection, self._password = connection, ours.password
            ours.ended = held.pop_all().close
            if connection.is_closed():  # before anybody could be told
                ours.ended()
        return connection

    async def _attempt(self, tunnel: asyncssh.SSHClientConnection | None) -> tuple[asyncssh.SSHClientConnection, Login]:
        commons, via = self.commons, self._via
        async with contextlib.AsyncExitStack() as turns:
            if via is not None:
                await turns.enter_async_context(via._through.logins)
            await turns.enter_async_context(commons.throttle.login(self.place.host))
            await turns.enter_async_context(commons.logins)
            with commons.breakers.attempt(self.place):
                try:
                    known_hosts = commons.known_hosts(self.place.known_hosts)
                    certificates = commons.certificates(self.place)
                    return await login(self.place, commons.settings, known_hosts, tunnel, certificates)
                except SealringError as error:
                    if via is None or tunnel is None:
                        raise
                    if error.code.startswith(_JUMP):
                        raise _on_the_way(error, via.place, self.place.address) from error
                    if error.code == "ssh.connect-timeout" and not await via.answers(tunnel):
                        lost = passing(
                            "ssh.lost",
                            f"it does not answer any more; {self.place.server} was not reached",
                            "check the network to the bastion",
                            actor=Actor.NETWORK_ADMIN,
                        )
                        raise _on_the_way(lost, via.place, self.place.address) from error
                    raise

    async def _let_through(self, address: str, held: contextlib.ExitStack) -> asyncssh.SSHClientConnection:
        """As a bastion: our connection, for one more connection through it. What it holds of us goes into `held`."""
        held.enter_context(self.leased())
        try:
            await self._take_channel()
            held.callback(self._through.channels.release)
            return await self.connection()
        except SealringError as error:
            raise _on_the_way(error, self.place, address) from error

    async def _take_channel(self) -> None:
        through, seconds = self._through, self.commons.settings.connect_timeout.total_seconds()
        if through.channels.locked():
            idle = [link for link in self._behind if link._closing is not None and link._connection is not None]
            if idle:
                min(idle, key=lambda link: link._closing.when() if link._closing else 0.0)._drop()
        through.waiting += 1
        try:
            async with asyncio.timeout(seconds):
                await through.channels.acquire()
        except TimeoutError as error:
            raise passing(
                "ssh.channel-limit",
                f"all {self.place.max_channels} connections through it were in use for {seconds:g} s",
                "if it lasts: raise max_channels of this jump, or lower rollout.max_parallel",
            ) from error
        finally:
            through.waiting -= 1

    async def answers(self, connection: asyncssh.SSHClientConnection) -> bool:
        """Whether a connection still lives; one that does not is given up, the next command gets a new one."""
        try:
            process = await asyncio.wait_for(
                connection.create_process("exit 0", stdin=asyncssh.DEVNULL), ANSWER_SECONDS
            )
            process.close()
        except asyncssh.ChannelOpenError as error:
            if error.reason != GONE:
                return True  # a refusal is an answer
        except (TimeoutError, OSError, asyncssh.Error):
            pass
        else:
            return True
        if self._connection is connection:
            self._connection = None
        connection.abort()
        return False

    async def close(self) -> None:
        """Close the connection; commands that still run are cut off."""
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
                await asyncio.wait_for(connection.wait_closed(), ANSWER_SECONDS)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _on_the_way(error: SealringError, bastion: Endpoint, address: str) -> SealringError:
    """A bastion's error as that of the node behind it: `ssh.jump-...`, with the bastion's name."""
    named = error.message.startswith("bastion ")
    return SealringError(
        _JUMP + error.code.removeprefix(_JUMP).removeprefix("ssh."),
        error.message if named else f"bastion {bastion.server}: {error.message}",
        error_class=error.error_class,
        actor=error.actor,
        remedy=error.remedy,
        node=address,
        retry_after=error.retry_after,
    )
