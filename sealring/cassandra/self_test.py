"""The verifier proves itself: listeners whose answer is known, looked at by the very probe that judges nodes.

A verifier that says yes to everything is worse than none. So before its word counts, small TLS listeners on loopback
show it what it must tell apart, with keys made on the spot: the right certificate, one of another authority, an expired
one, one for another address, another leaf than intended, a listener that is silent, one that is not there. `probe` and
`judge` must say of each what is true.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sealring.cassandra.probe import CQL_HEADER, CQL_SUPPORTED, CQL_VERSION, judge, probe
from sealring.errors import SealringError, refuse
from sealring.models.cluster import Listener
from sealring.models.evidence import Verdict
from sealring.pki.certificates import fingerprint

CODE = "verifier.self-test"
_HERE, _ELSEWHERE = "127.0.0.1", "127.0.0.2"
_DAY = timedelta(days=1)
_PATIENCE = 20.0  # seconds for one handshake: this machine may be very busy
_SILENCE = 0.1  # seconds that a listener which says nothing is given

_NOTHING_SEEN = {"verify.served": Verdict.INCONCLUSIVE}
_ALL_WELL = dict.fromkeys(("verify.served", "verify.trusted", "verify.accepted"), Verdict.PASS)


async def self_test() -> None:
    """Show that this process can tell a good listener from a bad one. Takes some tens of milliseconds.

    Raises:
        SealringError: `verifier.self-test`, naming each case that was misjudged: no verdict of this process counts.
    """
    try:
        async with AsyncExitStack() as stack:
            cases = await _cases(stack)
            misjudged = [reason for reason in await asyncio.gather(*map(_ask, cases)) if reason]
    except OSError as error:
        raise _unfit(f"the test could not be made: {error}") from error
    if misjudged:
        raise _unfit("; ".join(misjudged))


def _unfit(what: str) -> SealringError:
    return refuse(
        CODE,
        f"the verifier of this process cannot tell good from bad: {what}",
        "use no verdict from here: install sealring anew with its locked requirements, see that 127.0.0.1 and the "
        "temporary directory can be used, then start it again",
    )


@dataclass(frozen=True)
class _Case:
    """A listener, and what must be said of it."""

    what: str
    listener: Listener
    roots: tuple[x509.Certificate, ...]
    intended: str
    expected: dict[str, Verdict]
    patience: float = _PATIENCE


async def _ask(case: _Case) -> str:
    """Why the verifier is wrong about a case; empty when it is right."""
    served = await probe(case.listener, vantage="self-test", roots=case.roots, handshake_timeout=case.patience)
    found = {finding.check: finding.verdict for finding in judge(served, intended=case.intended)}
    if found == case.expected:
        return ""
    said = ", ".join(f"{check} {verdict.value}" for check, verdict in found.items())
    return f"{case.what} was judged {said} ({served.problem or 'no problem seen'})"


async def _cases(stack: AsyncExitStack) -> tuple[_Case, ...]:
    ours, theirs, now = _Issuer("self-test"), _Issuer("self-test stranger"), datetime.now(UTC)
    good = ours.leaf(_HERE, now + _DAY)
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="sealring-self-test-")))
    untrusted = _ALL_WELL | {"verify.trusted": Verdict.FAIL}

    async def serving(what: str, leaf: x509.Certificate, expected: dict[str, Verdict]) -> _Case:
        listener = await stack.enter_async_context(_listening(_context(folder, leaf, ours.key)))
        return _Case(what, listener, (ours.root,), fingerprint(leaf), expected)

    as_it_should_be = await serving("the right certificate", good, _ALL_WELL)
    silent = await stack.enter_async_context(_listening(None))
    absent = stack.enter_context(socket.socket())
    absent.bind((_HERE, 0))  # nobody listens: a connection is refused
    nowhere = Listener(kind="native", address=_HERE, port=absent.getsockname()[1])
    return (
        as_it_should_be,
        await serving("a certificate of another authority", theirs.leaf(_HERE, now + _DAY, ours.key), untrusted),
        await serving("an expired certificate", ours.leaf(_HERE, now - _DAY), untrusted),
        await serving("a certificate for another address", ours.leaf(_ELSEWHERE, now + _DAY), untrusted),
        replace(
            as_it_should_be,
            what="another leaf than intended",
            intended="0" * 64,
            expected=_ALL_WELL | {"verify.served": Verdict.FAIL},
        ),
        replace(as_it_should_be, what="a silent listener", listener=silent, expected=_NOTHING_SEEN, patience=_SILENCE),
        replace(
            as_it_should_be,
            what="a listener that is not there",
            listener=nowhere,
            expected={"verify.served": Verdict.FAIL},
        ),
    )


class _Issuer:
    """An authority of this test alone; its key signs, and is the key of all its leaves: made once."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        # Older than its leaves: an expired one is wrong for that reason alone.
        draft = self._draft(self.name, datetime.now(UTC) + _DAY, self.key, lifetime=9 * _DAY)
        self.root = draft.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(
            self.key, hashes.SHA256()
        )

    def leaf(
        self, address: str, not_after: datetime, key: ec.EllipticCurvePrivateKey | None = None
    ) -> x509.Certificate:
        """A server certificate for an address; `key`: whose it is, when not ours."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sealring self-test")])
        return (
            self._draft(subject, not_after, key or self.key)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def _draft(
        self, subject: x509.Name, not_after: datetime, key: ec.EllipticCurvePrivateKey, lifetime: timedelta = 3 * _DAY
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_after - lifetime)
            .not_valid_after(not_after)
        )


def _context(folder: Path, leaf: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> ssl.SSLContext:
    """OpenSSL takes a key from a file only: it is there, 0600 in a folder of ours, while it is read."""
    file = folder / "identity.pem"
    file.touch(mode=0o600)
    try:
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(leaf.public_bytes(Encoding.PEM) + private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
    finally:
        file.unlink()
    return context


@asynccontextmanager
async def _listening(context: ssl.SSLContext | None) -> AsyncIterator[Listener]:
    """A listener that answers the first CQL request as Cassandra does; without a context it says nothing at all."""
    server = await asyncio.start_server(_silent if context is None else _cql, _HERE, 0, ssl=context)
    async with server:
        yield Listener(kind="native", address=_HERE, port=server.sockets[0].getsockname()[1])


async def _cql(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        if await reader.read(CQL_HEADER.size):
            writer.write(CQL_HEADER.pack(0x80 | CQL_VERSION, 0, 0, CQL_SUPPORTED, 2) + b"\0\0")  # no options
    writer.close()


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        await reader.read()
    writer.close()
