"""What a listener serves: one new TLS handshake, from any vantage, looked at and then judged.

The handshake runs over any stream (`Connector`): a socket of this process, or a channel that a peer's SSH server opened
for us (`Host.forward`), so that a node is seen as its peers see it. Nothing is resumed: every probe is a new session.
"""

import asyncio
import ssl
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import asyncssh
from cryptography import x509

from sealring.cassandra.tls import Connector, TlsClient, direct, no_password
from sealring.errors import Actor, SealringError, refuse
from sealring.local_files import read_small
from sealring.models.base import short
from sealring.models.cluster import CqlSettings, Listener
from sealring.models.evidence import Finding, Served, Verdict
from sealring.pki.certificates import fingerprint
from sealring.pki.trust import explain_path

ATTEMPTS = 2
PARTING_SECONDS = 3.0
CQL_VERSION = 4  # every Cassandra since 2.2 speaks it
CQL_OPTIONS, CQL_ERROR, CQL_SUPPORTED = 0x05, 0x00, 0x06  # native_protocol_v4.spec, 2.4
CQL_HEADER = struct.Struct(">BBhBi")  # version, flags, stream, opcode, length


@dataclass(frozen=True)
class ClientIdentity:
    """The client certificate that a probe presents where a listener asks for one (PEM files, key not encrypted)."""

    certificate: Path
    private_key: Path


def client_identity(settings: CqlSettings) -> ClientIdentity | None:
    """The one that the cql section names; None when it names none."""
    if settings.certificate is None or settings.private_key is None:
        return None
    return ClientIdentity(settings.certificate, settings.private_key)


async def probe(
    listener: Listener,
    *,
    vantage: str = "worker",
    open: Connector = direct,
    identity: ClientIdentity | ssl.SSLContext | None = None,
    roots: Sequence[x509.Certificate] = (),
    at: datetime | None = None,
    connect_timeout: float = 10.0,
    handshake_timeout: float = 20.0,
) -> Served:
    """Complete a new TLS handshake with a listener and report what was seen.

    Args:
        listener: where to go; its address is also the one that the certificate must carry.
        vantage: whose eyes these are: `worker`, or the address of the peer that `open` goes through.
        open: makes the stream, given host and port.
        identity: presented when the listener asks for a client certificate; or what `client_context` made of it, for
            several probes.
        roots: the authorities that the vantage trusts; empty: `trusted` stays None.
        at: the moment at which validity is judged (UTC); default: now.
        connect_timeout: seconds until the stream stands.
        handshake_timeout: seconds for the handshake and the exchange after it.

    Returns:
        What was served. Faults of the network and refusals never raise: they are in `problem`. `accepted` is False when
        the other side said no (an alert, a refused connection), None when it said nothing.

    Raises:
        SealringError: probe.identity, when the client identity cannot be read.
    """
    context = identity if isinstance(identity, ssl.SSLContext) else client_context(identity)
    for attempt in range(ATTEMPTS):
        seen = await _look(context, listener, open, connect_timeout, handshake_timeout)
        if not seen.reset:
            break
        # A refusing server may close before it has read all we sent; its reset then overtakes the alert that says why.
        # Once may be the network, twice is an answer.
        seen.accepted = False if attempt + 1 == ATTEMPTS else None
    if seen.chain and roots:
        moment = at or datetime.now(UTC)
        reason = explain_path(seen.chain[0], seen.chain[1:], roots, at=moment, address=listener.address)
        seen.trusted, seen.problem = not reason, "; ".join(filter(None, (reason, seen.problem)))
    return _served(listener, vantage, seen)


def judge(served: Served, *, intended: str) -> tuple[Finding, ...]:
    """What one observation proves: verify.served, verify.trusted, verify.accepted.

    Args:
        served: what a probe reported.
        intended: SHA-256 of the leaf that should be served.

    Returns:
        One finding per check. A listener that could not be reached, or did not say whether it accepts us, is
        inconclusive; a wrong leaf, a broken handshake or a refusal is a failure.
    """
    place = f"{served.listener.kind} {served.listener.port} seen from {served.vantage}"

    def finding(check: str, verdict: Verdict, message: str, remedy: str = "") -> Finding:
        actor = Actor.NOBODY if verdict is Verdict.PASS else Actor.CASSANDRA_ADMIN
        return Finding(
            check=f"verify.{check}",
            verdict=verdict,
            message=f"{place}: {message}",
            remedy=remedy,
            actor=actor,
            node=served.listener.address,
        )

    if not served.leaf_sha256:
        verdict = Verdict.FAIL if served.accepted is False else Verdict.INCONCLUSIVE
        return (
            finding("served", verdict, f"no certificate was seen, {served.problem}", "look at the node's system.log"),
        )
    if served.leaf_sha256 == intended:
        first = finding("served", Verdict.PASS, f"serves the intended leaf {short(intended)} ({served.protocol})")
    else:
        message = f"serves {short(served.leaf_sha256)}, intended is {short(intended)}"
        first = finding("served", Verdict.FAIL, message, "reload or restart the node")
    return (first, _trust_finding(finding, served), _accept_finding(finding, served))


# ssl.SSLError is an OSError; a certificate that cannot be parsed is a ValueError.
_FAULTS = (OSError, EOFError, ValueError, SealringError, asyncssh.Error)

_MakeFinding = Callable[..., Finding]


def _trust_finding(finding: _MakeFinding, served: Served) -> Finding:
    if served.trusted is None:
        return finding("trusted", Verdict.INCONCLUSIVE, "it is not known what this vantage trusts")
    if served.trusted:
        return finding("trusted", Verdict.PASS, "chain and address are trusted there")
    remedy = "give this vantage the issuing authority first, or deliver a certificate that it trusts"
    return finding("trusted", Verdict.FAIL, f"not trusted there: {served.problem}", remedy)


def _accept_finding(finding: _MakeFinding, served: Served) -> Finding:
    if served.accepted:
        return finding("accepted", Verdict.PASS, "went on talking to us after the handshake")
    if served.accepted is None:
        return finding("accepted", Verdict.INCONCLUSIVE, "did not say whether it accepts our client certificate")
    remedy = "check the node's truststore, and the client certificate of the cql section"
    return finding("accepted", Verdict.FAIL, f"refused us: {served.problem}", remedy)


@dataclass
class _Seen:
    """Filled in as the conversation goes, so that what was seen before a fault is kept."""

    chain: tuple[x509.Certificate, ...] = ()
    protocol: str = ""
    trusted: bool | None = None
    accepted: bool | None = None
    problem: str = ""
    reset: bool = False  # the connection was reset after the handshake
    milliseconds: float = 0.0


def client_context(identity: ClientIdentity | None) -> ssl.SSLContext:
    """What the handshakes of probes are made with.

    Raises:
        SealringError: probe.identity.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The probe is there to see what is served, good or bad, so the handshake must not end at a bad certificate. It
    # judges the chain itself (`explain_path`), and before that sends nothing but a CQL OPTIONS frame, which is public.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if identity is None:
        return context
    try:
        for file in (identity.certificate, identity.private_key):
            read_small(file)  # OpenSSL would wait for a named pipe
        context.load_cert_chain(identity.certificate, identity.private_key, no_password)
    except (OSError, ValueError) as error:
        raise refuse(
            "probe.identity",
            f"cql.certificate {identity.certificate} and cql.private_key {identity.private_key} are no usable pair: "
            f"{_explain(error)}",
            "name a PEM certificate and its unencrypted PEM key, both readable by the worker",
        ) from error
    return context


async def _look(
    context: ssl.SSLContext, listener: Listener, connect: Connector, connect_timeout: float, handshake_timeout: float
) -> _Seen:
    """One attempt. All that can go wrong on the way is in the result."""
    seen, started = _Seen(), perf_counter()
    try:
        async with asyncio.timeout(connect_timeout):
            reader, writer = await connect(listener.address, listener.port)
    except _FAULTS as error:
        seen.problem, seen.accepted = f"no connection: {_explain(error)}", _refusal(error)
        return seen
    try:
        async with asyncio.timeout(handshake_timeout):
            await _converse(TlsClient(context, listener.address, reader, writer), listener, seen, started)
    except _FAULTS as error:
        phase = "after the handshake" if seen.chain else "in the handshake"
        seen.problem, seen.accepted = f"{phase}: {_explain(error)}", _refusal(error)
        seen.reset = bool(seen.chain) and isinstance(error, ConnectionError)
    finally:
        with suppress(*_FAULTS):
            writer.close()
    return seen


async def _converse(tls: TlsClient, listener: Listener, seen: _Seen, started: float) -> None:
    await tls.run(tls.session.do_handshake)
    seen.milliseconds = (perf_counter() - started) * 1000
    seen.protocol = tls.session.version() or ""
    seen.chain = tls.chain()
    if listener.kind == "native":
        await _ask_options(tls)
        seen.accepted = True
    else:
        seen.accepted = await _part(tls)


async def _ask_options(tls: TlsClient) -> None:
    """The one CQL request that needs no login: whoever answers it took our client certificate."""
    await tls.run(lambda: tls.session.write(CQL_HEADER.pack(CQL_VERSION, 0, 0, CQL_OPTIONS, 0)))
    version, _, _, opcode, _ = CQL_HEADER.unpack(await tls.read_exactly(CQL_HEADER.size))
    if not version & 0x80 or opcode not in (CQL_SUPPORTED, CQL_ERROR):
        raise EOFError(f"what answers is not CQL (opcode {opcode:#x})")


async def _part(tls: TlsClient) -> bool | None:
    """Say goodbye and see how it is taken.

    With TLS 1.3 our handshake ends before the server has looked at our certificate, and an accepting server then stays
    silent. It reads our close_notify after that, so it answers with its own (we were accepted) or has sent an alert (we
    were not). Nothing of the internode protocol is spoken: the node would remember an invented peer.
    """
    try:
        async with asyncio.timeout(PARTING_SECONDS):
            await tls.close_notify()
            await tls.read_exactly(1)
    except ssl.SSLZeroReturnError:
        return True
    except (TimeoutError, ssl.SSLEOFError):
        return None
    return True


def _served(listener: Listener, vantage: str, seen: _Seen) -> Served:
    return Served(
        listener=listener,
        vantage=vantage,
        leaf_sha256=fingerprint(seen.chain[0]) if seen.chain else "",
        not_after=seen.chain[0].not_valid_after_utc if seen.chain else None,
        protocol=seen.protocol,
        chain=tuple(fingerprint(certificate) for certificate in seen.chain),
        trusted=seen.trusted,
        accepted=seen.accepted,
        problem=seen.problem,
        milliseconds=round(seen.milliseconds, 1),
    )


def _refusal(error: BaseException) -> bool | None:
    """False when the other side said no; None when the network may have said it."""
    return False if isinstance(error, ssl.SSLError | ConnectionRefusedError) else None


def _explain(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return str(error) or type(error).__name__
