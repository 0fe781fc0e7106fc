"""Open one SSH connection, to a node or to a bastion on the way to it, and say what each refusal means.

Host keys are always verified, against one known_hosts file (plain lines, `@cert-authority`, `@revoked`); a file with
nothing in it trusts nobody. OpenSSH's own client configuration is not read: the cluster file says everything.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import asyncssh

from sealring.errors import Actor, ErrorClass, SealringError, passing, refuse
from sealring.hosts.certificates import Certificates
from sealring.hosts.identity import PasswordOnce, load_identity
from sealring.hosts.routes import Endpoint
from sealring.hosts.trust import KnownHosts, stranger
from sealring.models.cluster import SshSettings

KEEPALIVES = 3
"""Keep-alives that may stay unanswered; the time for all of them is idle_timeout."""

CIPHERS = "^aes256-gcm@openssh.com"
"""First of asyncssh's own list: one call of the cryptographic library a packet, where ChaCha20-Poly1305 takes four."""

ATTEMPTS = 3
"""An sshd under MaxStartups drops connections before login: these are tried again here, after a jittered pause."""

GONE = "SSH connection closed"
"""asyncssh's words when it is asked for a channel of a connection that is gone."""

_PAUSE_SECONDS = 0.2

_log = logging.getLogger(__name__)


class Login(asyncssh.SSHClient):
    """One login: each phase has its own time, first connecting and key exchange, then authentication."""

    def __init__(self, budget: asyncio.Timeout, login_seconds: float, password: PasswordOnce) -> None:
        self.authenticating = False
        self.ended: Callable[[], None] = lambda: None  # called when the connection is gone
        self._budget = budget
        self._login_seconds = login_seconds
        self._password = password

    @property
    def password(self) -> str:
        """The method by which a password was sent; empty when none was needed."""
        return self._password.method

    def begin_auth(self, username: str) -> None:
        """The host is proven, our turn: the second budget starts."""
        self.authenticating = True
        self._budget.reschedule(asyncio.get_running_loop().time() + self._login_seconds)

    def password_auth_requested(self) -> str | None:
        """See base class."""
        return self._password.take("password")

    def kbdint_auth_requested(self) -> str | None:
        """See base class. Not when the password was refused already."""
        return "" if self._password.unused else None

    def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> list[str] | None:
        """See base class."""
        return self._password.answer(prompts)

    def connection_lost(self, exc: Exception | None) -> None:
        """See base class."""
        self.ended()


async def login(
    place: Endpoint,
    settings: SshSettings,
    known_hosts: KnownHosts,
    tunnel: asyncssh.SSHClientConnection | None = None,
    certificates: Certificates | None = None,
) -> tuple[asyncssh.SSHClientConnection, Login]:
    """Connect to a server and log in. A login by password leaves a line in the log.

    Args:
        place: the server.
        settings: for its timeouts.
        known_hosts: whom to believe there.
        tunnel: the connection to the bastion before it; None: directly.
        certificates: who certifies the private key; None: it goes as its file is.

    Raises:
        SealringError: retry: `ssh.connect-timeout`, `ssh.login-timeout`, `ssh.connect-failed`, `ssh.jump-lost`,
            `ssh.jump-channel-limit`; skip: `ssh.jump-prohibited`; stop: `ssh.host-key-unverified`,
            `ssh.host-key-changed`, `ssh.auth-refused`, `ssh.certificate-invalid`, `ssh.key-unusable`,
            `ssh.password-unusable`, `ssh.known-hosts-unreadable`; those of `Certificates.certificate`.
    """
    trusted = known_hosts.load()
    identity = load_identity(place.identity)
    if certificates is not None:
        (key,) = identity["client_keys"]
        identity["client_keys"] = [(key, await certificates.certificate(key, place.user))]
    for attempt in range(1, ATTEMPTS + 1):
        try:
            connection, done = await _login_once(place, settings, trusted, identity, tunnel)
        except (asyncssh.ConnectionLost, ConnectionResetError) as error:
            if attempt == ATTEMPTS:
                raise passing(
                    "ssh.connect-failed",
                    f"{place.server} dropped {ATTEMPTS} connections before login: {error}",
                    "if it lasts: raise MaxStartups in the node's sshd_config, or lower ssh.max_logins",
                    actor=Actor.NODE_ADMIN,
                    node=place.address,
                ) from error
            await asyncio.sleep(_PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        else:
            if done.password:
                _log.warning(
                    "audit: event=ssh.password-login node=%s server=%s user=%s method=%s password_file=%s",
                    place.address,
                    place.server,
                    place.user,
                    done.password,
                    place.identity.password_file,
                )
            return connection, done
    raise AssertionError("unreachable")


async def _login_once(
    place: Endpoint,
    settings: SshSettings,
    trusted: asyncssh.SSHKnownHosts,
    identity: Mapping[str, Any],
    tunnel: asyncssh.SSHClientConnection | None,
) -> tuple[asyncssh.SSHClientConnection, Login]:
    connect_seconds, login_seconds = settings.connect_timeout.total_seconds(), settings.login_timeout.total_seconds()
    password = PasswordOnce(place)
    ours: Login | None = None
    try:
        async with asyncio.timeout(connect_seconds) as budget:
            ours = Login(budget, login_seconds, password)
            connection = await asyncssh.connect(
                place.host,
                place.port,
                tunnel=tunnel or (),
                config=None,
                username=place.user,
                known_hosts=trusted,
                x509_trusted_certs=None,
                gss_host=None,
                client_factory=lambda: ours,
                login_timeout=0,
                connect_timeout=None,
                keepalive_interval=settings.idle_timeout.total_seconds() / (KEEPALIVES + 1),
                keepalive_count_max=KEEPALIVES,
                encryption_algs=CIPHERS,
                compression_algs=["zlib@openssh.com", "none"] if settings.compression else ["none"],
                **identity,
            )
            return connection, ours
    except TimeoutError as error:
        raise _too_slow(place, ours, connect_seconds, login_seconds) from error
    except asyncssh.HostKeyNotVerifiable as error:
        raise stranger(place, trusted, str(error)) from error
    except asyncssh.PermissionDenied as error:
        raise refuse(
            "ssh.auth-refused",
            f"{place.server} refuses the login of {place.user} ({place.identity})",
            "check on the node that the key or its authority is trusted (authorized_keys, TrustedUserCAKeys), that "
            "the login name is among the certificate's principals, and sshd's log",
            actor=Actor.NODE_ADMIN,
            node=place.address,
        ) from error
    except asyncssh.ChannelOpenError as error:
        raise _no_way(place, error) from error
    except (asyncssh.ConnectionLost, ConnectionResetError):
        raise
    except (OSError, asyncssh.DisconnectError, UnicodeError) as error:  # the last: a name that cannot be looked up
        raise passing(
            "ssh.connect-failed",
            f"no SSH connection to {place.server}: {error}",
            f"check that sshd runs on the node and that no firewall is between (nc -vz {place.host} {place.port})",
            actor=Actor.NETWORK_ADMIN,
            node=place.address,
        ) from error


def _too_slow(place: Endpoint, ours: Login | None, connect: float, login_seconds: float) -> SealringError:
    if ours is not None and ours.authenticating:
        return passing(
            "ssh.login-timeout",
            f"{place.server} did not decide on the login of {place.user} within {login_seconds:g} s",
            "check the node's load and what its sshd asks (PAM, LDAP), or raise ssh.login_timeout",
            actor=Actor.NODE_ADMIN,
            node=place.address,
        )
    return passing(
        "ssh.connect-timeout",
        f"{place.server} did not answer within {connect:g} s",
        "check that the node is up and that no firewall drops the packets, or raise ssh.connect_timeout",
        actor=Actor.NETWORK_ADMIN,
        node=place.address,
    )


def _no_way(place: Endpoint, error: asyncssh.ChannelOpenError) -> SealringError:
    """The bastion opens no connection to the server."""
    if error.reason == GONE:
        return passing(
            "ssh.jump-lost",
            f"the connection was lost before {place.server} was reached",
            "check the network to the bastion",
            actor=Actor.NETWORK_ADMIN,
            node=place.address,
        )
    if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
        return SealringError(
            "ssh.jump-prohibited",
            f"its sshd forbids a connection to {place.server}: {error.reason}",
            error_class=ErrorClass.SKIP,
            actor=Actor.NODE_ADMIN,
            remedy="set AllowTcpForwarding and PermitOpen for the login user in the bastion's sshd_config",
            node=place.address,
        )
    if error.code == asyncssh.OPEN_RESOURCE_SHORTAGE:
        return passing(
            "ssh.jump-channel-limit",
            f"it opens no further connection: {error.reason}",
            "if it lasts: lower max_channels of this jump",
            actor=Actor.NODE_ADMIN,
            node=place.address,
        )
    return passing(
        "ssh.connect-failed",
        f"the bastion has no connection to {place.server}: {error.reason}",
        "check that sshd runs on the node and that no firewall is between the bastion and it",
        actor=Actor.NETWORK_ADMIN,
        node=place.address,
    )
