"""Who we are: keys, certificates and passwords, read from their files at each login and never kept.

Keys come first. A password is sent only where the cluster file allows and names one, only to a server whose host key
was verified, and once: a wrong one must not lock the account.
"""

import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncssh

from sealring.errors import refuse
from sealring.hosts.routes import Endpoint, Identity
from sealring.hosts.trust import UNREADABLE, words_of
from sealring.local_files import at_home, read_small


def load_identity(identity: Identity) -> dict[str, Any]:
    """What asyncssh needs to prove who we are: the key file with its certificate, or the agent.

    Read at each login: certificates that live for an hour are renewed on the disk.

    Raises:
        SealringError: `ssh.key-unusable`, `ssh.certificate-invalid` (sshd would only say "permission denied").
    """
    methods = "publickey,password,keyboard-interactive" if identity.password_file else "publickey"
    if identity.private_key is None:
        if identity.password_file:
            return {"client_keys": None, "agent_path": None, "preferred_auth": "password,keyboard-interactive"}
        return {"client_keys": (), "agent_path": (), "preferred_auth": methods}
    path = identity.private_key
    try:
        path = at_home(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise refuse(
                "ssh.key-unusable", f"{identity.section}.private_key: others may read {path}", f"chmod 600 {path}"
            )
        key = asyncssh.import_private_key(read_small(path))
    except UNREADABLE as error:
        raise refuse(
            "ssh.key-unusable",
            f"{identity.section}.private_key: {path} cannot be used: {words_of(error)}",
            "name an unencrypted OpenSSH private key with mode 0600, or leave private_key out to use the SSH agent",
        ) from error
    proof: Any = key if identity.certificate is None else (key, _load_certificate(identity, key))
    return {"client_keys": [proof], "agent_path": None, "preferred_auth": methods}


def _load_certificate(identity: Identity, key: asyncssh.SSHKey) -> asyncssh.SSHCertificate:
    assert identity.certificate is not None
    path = identity.certificate
    try:
        certificate = asyncssh.import_certificate(read_small(at_home(path)))
        if not isinstance(certificate, asyncssh.public_key.SSHOpenSSHCertificate):
            raise ValueError("it is no OpenSSH certificate")
        if certificate.key.public_data != key.public_data:
            raise ValueError("it belongs to another private key")
        # The principal is left to sshd: AuthorizedPrincipalsFile may map it to the login name.
        certificate.validate(asyncssh.public_key.CERT_TYPE_USER, None)
    except UNREADABLE as error:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        raise refuse(
            "ssh.certificate-invalid",
            f"{identity.section}.certificate: {path} cannot be used at {now}: {words_of(error)}",
            f"renew it (ssh-keygen -L -f {path} shows its validity and principals)",
        ) from error
    return certificate


class PasswordOnce:
    """Answers a server that asks for a password: once, by whichever of the two methods it asks first."""

    def __init__(self, place: Endpoint) -> None:
        self.method = ""  # by which a password was sent; empty: none was
        file = place.identity.password_file
        self._password = None if file is None else _read_password(file, place.identity.section)

    def __repr__(self) -> str:
        """Without the password."""
        return f"PasswordOnce(method={self.method!r})"

    def take(self, method: str) -> str | None:
        """The password, the first time."""
        password, self._password = self._password, None
        if password is not None:
            self.method = method
        return password

    def answer(self, prompts: Sequence[tuple[str, bool]]) -> list[str] | None:
        """The answer to a keyboard-interactive question: only to a single, hidden one for a password."""
        if not prompts:
            return []
        (words, echo), *others = prompts
        if others or echo or "password" not in words.lower():
            return None
        password = self.take("keyboard-interactive")
        return None if password is None else [password]

    @property
    def unused(self) -> bool:
        """Whether there is a password that was not sent yet."""
        return self._password is not None


def _read_password(path: Path, section: str) -> str:
    """The first line of the file.

    Raises:
        SealringError: `ssh.password-unusable`.
    """
    try:
        path = at_home(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise refuse(
                "ssh.password-unusable", f"{section}.password_file: others may read {path}", f"chmod 600 {path}"
            )
        lines = read_small(path).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        words = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise refuse(
            "ssh.password-unusable",
            f"{section}.password_file: {path} cannot be used: {words}",
            "name a file with mode 0600 that holds the password and nothing else",
        ) from None
    if len(lines) != 1 or not lines[0]:
        raise refuse(
            "ssh.password-unusable",
            f"{section}.password_file: {path} has {len(lines)} lines, expected one that is the password",
            "name a file with mode 0600 that holds the password and nothing else",
        )
    return lines[0]
