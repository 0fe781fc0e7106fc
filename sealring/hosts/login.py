"""Open one SSH connection: who we are, whom we believe, and what each refusal means.

Host keys are always verified, against one known_hosts file (plain lines, `@cert-authority`, `@revoked`); a file with
nothing in it trusts nobody. OpenSSH's own client configuration is not read: the cluster file says everything.
"""

import asyncio
import getpass
import random
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from sealring.errors import Actor, ErrorClass, SealringError, passing, refuse
from sealring.hosts.certificates import Certificates
from sealring.models.cluster import SshSettings

KEEPALIVES = 3
"""Keep-alives that may stay unanswered; the time for all of them is idle_timeout."""

ATTEMPTS = 3
"""An sshd under MaxStartups drops connections before login: these are tried again here, after a jittered pause."""

_PAUSE_SECONDS = 0.2


@dataclass(frozen=True)
class Endpoint:
    """Where a node's SSH server listens."""

    address: str  # the node's address: what errors name
    host: str
    port: int
    user: str


def endpoint(settings: SshSettings, address: str) -> Endpoint:
    """The endpoint of a node: its own address and the common port, unless `ssh.hosts` says else."""
    other = settings.hosts.get(address)
    return Endpoint(
        address=address,
        host=(other and other.host) or address,
        port=(other and other.port) or settings.port,
        user=settings.user or getpass.getuser(),
    )


class KnownHosts:
    """A known_hosts file, parsed once for each of its versions: 1,000 lines would cost 11 ms at every login."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()
        self._version: tuple[int, int] | None = None
        self._parsed = asyncssh.import_known_hosts("")

    def load(self) -> asyncssh.SSHKnownHosts:
        """The parsed file.

        Raises:
            SealringError: `ssh.known-hosts-unreadable` when it is absent, unreadable or malformed.
        """
        try:
            found = self.path.stat()
            version = (found.st_mtime_ns, found.st_size)
            if version != self._version:
                self._parsed = asyncssh.import_known_hosts(self.path.read_text())
                self._version = version
        except (OSError, ValueError) as error:
            words = error.strerror if isinstance(error, OSError) else error
            raise refuse(
                "ssh.known-hosts-unreadable",
                f"ssh.known_hosts: {self.path} cannot be used: {words}",
                "put the nodes' host keys or the authority that signs them (@cert-authority) into that file",
            ) from error
        return self._parsed


class _Phases(asyncssh.SSHClient):
    """Gives each phase of a login its own time: first connecting and key exchange, then authentication."""

    def __init__(self, budget: asyncio.Timeout, login_seconds: float) -> None:
        self.authenticating = False
        self._budget = budget
        self._login_seconds = login_seconds

    def begin_auth(self, username: str) -> None:
        """The host is proven, our turn: the second budget starts."""
        self.authenticating = True
        self._budget.reschedule(asyncio.get_running_loop().time() + self._login_seconds)


async def login(
    address: str, settings: SshSettings, known_hosts: KnownHosts, certificates: Certificates | None = None
) -> asyncssh.SSHClientConnection:
    """Connect to a node and log in; with `certificates`, private_key is used with one of them.

    Raises:
        SealringError: retry: `ssh.connect-timeout`, `ssh.login-timeout`, `ssh.connect-failed`; stop:
            `ssh.host-key-unverified`, `ssh.host-key-changed`, `ssh.auth-refused`, `ssh.certificate-invalid`,
            `ssh.key-unusable`, `ssh.known-hosts-unreadable`; those of `Certificates.certificate`.
    """
    place = endpoint(settings, address)
    trusted = known_hosts.load()
    identity = load_identity(settings, place)
    if certificates is not None:
        (key,) = identity["client_keys"]
        identity["client_keys"] = [(key, await certificates.certificate(key, place.user))]
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await _login_once(place, settings, trusted, identity)
        except (asyncssh.ConnectionLost, ConnectionResetError) as error:
            if attempt == ATTEMPTS:
                raise passing(
                    "ssh.connect-failed",
                    f"{place.host}:{place.port} dropped {ATTEMPTS} connections before login: {error}",
                    "if it lasts: raise MaxStartups in the node's sshd_config, or lower ssh.max_logins",
                    actor=Actor.NODE_ADMIN,
                    node=address,
                ) from error
            await asyncio.sleep(_PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
    raise AssertionError("unreachable")


async def _login_once(
    place: Endpoint, settings: SshSettings, trusted: asyncssh.SSHKnownHosts, identity: Mapping[str, Any]
) -> asyncssh.SSHClientConnection:
    phases: _Phases | None = None
    connect_seconds, login_seconds = settings.connect_timeout.total_seconds(), settings.login_timeout.total_seconds()
    try:
        async with asyncio.timeout(connect_seconds) as budget:
            phases = _Phases(budget, login_seconds)
            return await asyncssh.connect(
                place.host,
                place.port,
                config=None,
                username=place.user,
                known_hosts=trusted,
                x509_trusted_certs=None,
                preferred_auth="publickey",
                gss_host=None,
                client_factory=lambda: phases,
                login_timeout=0,
                connect_timeout=None,
                keepalive_interval=settings.idle_timeout.total_seconds() / (KEEPALIVES + 1),
                keepalive_count_max=KEEPALIVES,
                **identity,
            )
    except TimeoutError as error:
        raise _too_slow(place, phases, connect_seconds, login_seconds) from error
    except asyncssh.HostKeyNotVerifiable as error:
        raise _stranger(place, trusted, str(error)) from error
    except asyncssh.PermissionDenied as error:
        raise refuse(
            "ssh.auth-refused",
            f"{place.host}:{place.port} refuses the login of {place.user} ({_identity_words(settings)})",
            "check on the node that the key or its authority is trusted (authorized_keys, TrustedUserCAKeys), that "
            "the login name is among the certificate's principals, and sshd's log",
            actor=Actor.NODE_ADMIN,
            node=place.address,
        ) from error
    except (asyncssh.ConnectionLost, ConnectionResetError):
        raise
    except (OSError, asyncssh.DisconnectError) as error:
        raise passing(
            "ssh.connect-failed",
            f"no SSH connection to {place.host}:{place.port}: {error}",
            f"check that sshd runs on the node and that no firewall is between (nc -vz {place.host} {place.port})",
            actor=Actor.NETWORK_ADMIN,
            node=place.address,
        ) from error


def _too_slow(place: Endpoint, phases: _Phases | None, connect: float, login_seconds: float) -> SealringError:
    where = f"{place.host}:{place.port}"
    if phases is not None and phases.authenticating:
        return passing(
            "ssh.login-timeout",
            f"{where} did not decide on the login of {place.user} within {login_seconds:g} s",
            "check the node's load and what its sshd asks (PAM, LDAP), or raise ssh.login_timeout",
            actor=Actor.NODE_ADMIN,
            node=place.address,
        )
    return passing(
        "ssh.connect-timeout",
        f"{where} did not answer within {connect:g} s",
        "check that the node is up and that no firewall drops the packets, or raise ssh.connect_timeout",
        actor=Actor.NETWORK_ADMIN,
        node=place.address,
    )


def _stranger(place: Endpoint, trusted: asyncssh.SSHKnownHosts, words: str) -> SealringError:
    """The host's key is not one we trust. Known by another key is worse than not known."""
    keys, authorities, revoked, *_ = trusted.match(
        place.host, "", place.port if place.port != asyncssh.DEFAULT_PORT else None
    )
    changed = bool(keys or revoked)
    what = "another key than the one known for it" if changed else "a key that nobody vouches for"
    if authorities and not changed:
        what = "a key without a valid certificate of the known authority"
    return SealringError(
        "ssh.host-key-changed" if changed else "ssh.host-key-unverified",
        f"{place.host}:{place.port} shows {what} ({words}); nothing was sent to it",
        error_class=ErrorClass.STOP,
        actor=Actor.NODE_ADMIN,
        remedy="compare the key with the node's console (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub); "
        "only when it is genuine, put it into known_hosts",
        node=place.address,
    )


def load_identity(settings: SshSettings, place: Endpoint) -> dict[str, Any]:
    """What asyncssh needs to prove who we are: the key file with its certificate, or the agent.

    Read at each login: certificates that live for an hour are renewed on the disk.

    Raises:
        SealringError: `ssh.key-unusable`, `ssh.certificate-invalid` (sshd would only say "permission denied").
    """
    if settings.private_key is None:
        return {"client_keys": (), "agent_path": ()}
    path = settings.private_key.expanduser()
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise refuse("ssh.key-unusable", f"ssh.private_key: others may read {path}", f"chmod 600 {path}")
        key = asyncssh.read_private_key(path)
    except (OSError, asyncssh.KeyImportError) as error:
        words = error.strerror if isinstance(error, OSError) else error
        raise refuse(
            "ssh.key-unusable",
            f"ssh.private_key: {path} cannot be used: {words}",
            "name an unencrypted OpenSSH private key with mode 0600, or leave private_key out to use the SSH agent",
        ) from error
    if settings.certificate is None:
        return {"client_keys": [key], "agent_path": None}
    return {"client_keys": [(key, _load_certificate(settings.certificate.expanduser(), key))], "agent_path": None}


def _load_certificate(path: Path, key: asyncssh.SSHKey) -> asyncssh.SSHCertificate:
    try:
        certificate = asyncssh.read_certificate(path)
        if not isinstance(certificate, asyncssh.public_key.SSHOpenSSHCertificate):
            raise ValueError("it is no OpenSSH certificate")
        if certificate.key.public_data != key.public_data:
            raise ValueError("it belongs to another private key")
        # The principal is left to sshd: AuthorizedPrincipalsFile may map it to the login name.
        certificate.validate(asyncssh.public_key.CERT_TYPE_USER, None)
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else error
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        raise refuse(
            "ssh.certificate-invalid",
            f"ssh.certificate: {path} cannot be used at {now}: {words}",
            f"renew it (ssh-keygen -L -f {path} shows its validity and principals)",
        ) from error
    return certificate


def _identity_words(settings: SshSettings) -> str:
    if settings.private_key is None:
        return "keys of the SSH agent"
    if settings.vault_role is not None:
        return f"key {settings.private_key}, certificate by {settings.vault_role}"
    return f"certificate {settings.certificate}" if settings.certificate else f"key {settings.private_key}"
