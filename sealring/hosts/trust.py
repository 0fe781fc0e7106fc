"""Whom we believe: the host keys of one known_hosts file, and what it means when a server shows another one."""

import re
from pathlib import Path

import asyncssh
from cryptography.exceptions import UnsupportedAlgorithm

from sealring.errors import Actor, ErrorClass, SealringError, refuse
from sealring.hosts.routes import Endpoint
from sealring.local_files import at_home, read_small, version_of

# asyncssh says KeyImportError, a ValueError; of some malformed keys it and `cryptography` say other things, and of an
# X.509 certificate NameError, unless pyOpenSSL is installed. It makes a pattern of a key's first line.
UNREADABLE = (OSError, ValueError, LookupError, TypeError, ArithmeticError, NameError, UnsupportedAlgorithm, re.error)

_MOST_HOST_KEYS = 16 * 1024 * 1024  # bytes of a known_hosts file: a hundred thousand hosts


def words_of(error: Exception) -> str:
    """What an UNREADABLE says of a file, for a person."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) if isinstance(error, ValueError) else "it is malformed"


class KnownHosts:
    """A known_hosts file, parsed once for each of its versions: 1,000 lines would cost 11 ms at every login."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._version: tuple[int, ...] | None = None
        self._parsed = asyncssh.import_known_hosts("")

    def load(self) -> asyncssh.SSHKnownHosts:
        """The parsed file.

        Raises:
            SealringError: `ssh.known-hosts-unreadable` when it is absent, unreadable or malformed.
        """
        try:
            path = at_home(self.path)
            version = version_of(path)
            if version != self._version:
                self._parsed = asyncssh.import_known_hosts(read_small(path, _MOST_HOST_KEYS).decode())
                self._version = version
        except UNREADABLE as error:
            raise refuse(
                "ssh.known-hosts-unreadable",
                f"ssh.known_hosts: {self.path} cannot be used: {words_of(error)}",
                "put the nodes' host keys or the authority that signs them (@cert-authority) into that file",
            ) from error
        return self._parsed


def stranger(place: Endpoint, trusted: asyncssh.SSHKnownHosts, words: str) -> SealringError:
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
        f"{place.server} shows {what} ({words}); nothing was sent to it",
        error_class=ErrorClass.STOP,
        actor=Actor.NODE_ADMIN,
        remedy="compare the key with the node's console (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub); "
        "only when it is genuine, put it into known_hosts",
        node=place.address,
    )
