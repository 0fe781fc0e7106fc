"""Short-lived certificates for our own key: asked for when a login needs one, kept in memory, shared by all hosts.

Who signs is the caller's business: see `sealring.sources.signing`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import asyncssh
from asyncssh.public_key import CERT_TYPE_USER, SSHOpenSSHCertificate

from sealring.errors import Actor, refuse
from sealring.hosts.trust import UNREADABLE, words_of

Sign = Callable[[str, str], Awaitable[str]]
"""A public key and a login name make a user certificate; all three in OpenSSH's text form."""

MARGIN_SECONDS = 60.0
"""A certificate is replaced this long before its end, a login's two budgets at their defaults; or in its last third."""


class Certificates:
    """The certificate in use for each key and login name. Belongs to one event loop."""

    def __init__(self, sign: Sign) -> None:
        """`sign` is called once for all who wait."""
        self._sign = sign
        self._signed: dict[tuple[bytes, str], asyncio.Task[_Signed]] = {}

    async def certificate(self, key: asyncssh.SSHKey, user: str) -> SSHOpenSSHCertificate:
        """A certificate that lasts for a login; all who wait for one share the outcome, a failure too.

        Raises:
            SealringError: `vault.certificate-unusable`, and what `sign` raises.
        """
        who = (key.public_data, user)
        signing = self._signed.get(who)
        if signing is None or (signing.done() and not _lasts(signing)):
            signing = self._signed[who] = asyncio.create_task(self._make(key, user))
        return (await asyncio.shield(signing)).certificate

    async def close(self) -> None:
        """Forget them all; a signing under way is given up."""
        under_way = list(self._signed.values())
        self._signed.clear()
        for signing in under_way:
            signing.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _make(self, key: asyncssh.SSHKey, user: str) -> "_Signed":
        return _Signed(await self._sign(key.export_public_key("openssh").decode().strip(), user), key)


class _Signed:
    """A certificate that was looked at, and when to replace it."""

    def __init__(self, text: str, key: asyncssh.SSHKey) -> None:
        self.certificate = _read(text, key)
        now, end = time.time(), self.certificate._valid_before
        self.replace_at = end - min(MARGIN_SECONDS, (end - now) / 3)


def _lasts(signing: asyncio.Task[_Signed]) -> bool:
    failed = signing.cancelled() or signing.exception() is not None
    return not failed and time.time() < signing.result().replace_at


def _read(text: str, key: asyncssh.SSHKey) -> SSHOpenSSHCertificate:
    try:
        certificate = asyncssh.import_certificate(text)
        if not isinstance(certificate, SSHOpenSSHCertificate):
            raise ValueError("it is no OpenSSH certificate")
        if certificate.key.public_data != key.public_data:
            raise ValueError("it belongs to another key")
        certificate.validate(CERT_TYPE_USER, None)
    except UNREADABLE as error:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        raise refuse(
            "vault.certificate-unusable",
            f"ssh.vault_role: what the vault signed cannot be used at {now}: {words_of(error)}",
            "compare the clocks of worker and vault, and the role's key_type (ca)",
            actor=Actor.PKI_ADMIN,
        ) from error
    return certificate
