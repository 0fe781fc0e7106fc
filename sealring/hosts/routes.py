"""The way to a node: the SSH servers between, then its own; for each, where it is, whom we believe and who we are."""

import getpass
from dataclasses import dataclass
from pathlib import Path

from sealring.models.cluster import Jump, SshSettings


@dataclass(frozen=True)
class Identity:
    """What proves who we are to one server, by reference."""

    section: str  # of the cluster file: what errors name
    private_key: Path | None
    certificate: Path | None
    password_file: Path | None  # None: no password is sent there
    vault_role: str | None = None  # where a vault certifies private_key

    def __str__(self) -> str:
        """In words, for a refusal."""
        if self.private_key is None:
            return f"password of {self.password_file}" if self.password_file else "keys of the SSH agent"
        key = f"certificate {self.certificate}" if self.certificate else f"key {self.private_key}"
        if self.vault_role:
            key += f", certificate by {self.vault_role}"
        return f"{key}, then password of {self.password_file}" if self.password_file else key


@dataclass(frozen=True)
class Endpoint:
    """One SSH server that we log in at: a node, or a bastion on the way to it."""

    address: str  # the node's address, or the bastion's host: what errors name
    host: str
    port: int
    user: str
    known_hosts: Path
    identity: Identity
    max_logins: int | None = None  # of a bastion: logins through it
    max_channels: int | None = None  # of a bastion: connections through it

    @property
    def server(self) -> str:
        """As `host:port`."""
        return f"{self.host}:{self.port}"


def endpoint(settings: SshSettings, address: str) -> Endpoint:
    """The endpoint of a node: its own address and the common port, unless `ssh.hosts` says else."""
    other = settings.hosts.get(address)
    return Endpoint(
        address=address,
        host=(other and other.host) or address,
        port=(other and other.port) or settings.port,
        user=settings.user or getpass.getuser(),
        known_hosts=settings.known_hosts,
        identity=Identity(
            section="ssh",
            private_key=settings.private_key,
            certificate=settings.certificate,
            password_file=(other and other.password_file) or settings.password_file,
            vault_role=settings.vault_role,
        ),
    )


def chain(settings: SshSettings, address: str) -> tuple[Endpoint, ...]:
    """The bastions on the way to a node, the nearest to us first."""
    other = settings.hosts.get(address)
    jumps = settings.jump if other is None or other.jump is None else other.jump
    return tuple(_bastion(settings, jump) for jump in jumps)


def _bastion(settings: SshSettings, jump: Jump) -> Endpoint:
    """A password is never inherited: it goes to the server that it was named for, and to no other."""
    own = jump.private_key is not None or jump.password_file is not None
    return Endpoint(
        address=jump.host,
        host=jump.host,
        port=jump.port,
        user=jump.user or settings.user or getpass.getuser(),
        known_hosts=jump.known_hosts or settings.known_hosts,
        identity=Identity(
            section=f"ssh.jump {jump.host}",
            private_key=jump.private_key if own else settings.private_key,
            certificate=jump.certificate or (None if own else settings.certificate),
            password_file=jump.password_file,
            vault_role=None if own or jump.certificate else settings.vault_role,
        ),
        max_logins=jump.max_logins,
        max_channels=jump.max_channels,
    )
