"""TLS probes against real TLS servers of Python's, and against peers that misbehave. Cassandra's own: tests/lab."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from lab.authority import Authority, Identity, write_identity
from sealring.cassandra.probe import CQL_SUPPORTED, ClientIdentity, judge, probe
from sealring.errors import SealringError, passing
from sealring.models.cluster import Listener, ListenerKind
from sealring.models.evidence import Served, Verdict
from sealring.pki.certificates import fingerprint, load_certificates

ADDRESS = "127.0.0.1"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.open(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server_identity(authority: Authority) -> Identity:
    return authority.issue([ADDRESS])


@pytest.fixture(scope="module")
def client(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> ClientIdentity:
    folder = tmp_path_factory.mktemp("client")
    write_identity(folder, authority.issue([ADDRESS]), authority.trusted)
    return ClientIdentity(folder / "tls.crt", folder / "tls.key")


@pytest.fixture(scope="module")
def roots(authority: Authority) -> tuple[x509.Certificate, ...]:
    return load_certificates(authority.trusted, "ca.crt")


def server_context(identity: Identity, authority: Authority, folder: Path, *, mutual: bool) -> ssl.SSLContext:
    write_identity(folder, identity, authority.trusted)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    if mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "ca.crt")
    return context


@asynccontextmanager
async def listening(handler: Handler, context: ssl.SSLContext | None, kind: ListenerKind) -> AsyncIterator[Listener]:
    server = await asyncio.start_server(handler, ADDRESS, 0, ssl=context)
    async with server:
        yield Listener(kind=kind, address=ADDRESS, port=server.sockets[0].getsockname()[1])


async def speaks_cql(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if await reader.read(9):
        writer.write(bytes([0x84, 0, 0, 0, CQL_SUPPORTED, 0, 0, 0, 2, 0, 0]))
    writer.close()


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(65536)
    writer.close()


async def answers_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    linger(writer)  # a reset even when this comes before the client's hello
    writer.transport.abort()


def linger(writer: asyncio.StreamWriter) -> None:
    """Make the close a reset."""
    plain: Any = writer.get_extra_info("socket")
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("kind", ["native", "internode"])
async def test_an_accepting_listener(
    kind: ListenerKind,
    authority: Authority,
    server_identity: Identity,
    client: ClientIdentity,
    roots: tuple[x509.Certificate, ...],
    tmp_path: Path,
) -> None:
    context = server_context(server_identity, authority, tmp_path, mutual=True)
    handler = speaks_cql if kind == "native" else says_nothing
    async with listening(handler, context, kind) as listener:
        served = await probe(listener, identity=client, roots=roots)
    leaf = x509.load_pem_x509_certificate(server_identity.certificate)
    assert served.leaf_sha256 == fingerprint(leaf)
    assert served.not_after == leaf.not_valid_after_utc
    assert (served.trusted, served.accepted, served.problem) == (True, True, "")
    assert served.protocol == "TLSv1.3"
    assert served.milliseconds > 0
    verdicts = {finding.check: finding.verdict for finding in judge(served, intended=fingerprint(leaf))}
    assert verdicts == dict.fromkeys(("verify.served", "verify.trusted", "verify.accepted"), Verdict.PASS)


@pytest.mark.parametrize("kind", ["native", "internode"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_listener_that_refuses_our_certificate(
    kind: ListenerKind, version: ssl.TLSVersion, authority: Authority, server_identity: Identity, tmp_path: Path
) -> None:
    context = server_context(server_identity, authority, tmp_path, mutual=True)
    context.maximum_version = version
    async with listening(speaks_cql, context, kind) as listener:
        served = await probe(listener)
    if version is ssl.TLSVersion.TLSv1_2:
        assert served.accepted is False
    else:
        # asyncio's server ends a TLS 1.3 connection without an alert, how depends on Python's patch release: then it is
        # only known that nobody went on with us. Cassandra sends its alert (tests/lab/test_cassandra_ring.py).
        assert served.accepted in (None, False)
    checks = {finding.check: finding.verdict for finding in judge(served, intended=served.leaf_sha256)}
    if version is ssl.TLSVersion.TLSv1_3:  # in 1.2 the refusal comes before the handshake is done
        assert served.leaf_sha256
        assert checks["verify.accepted"] in (Verdict.INCONCLUSIVE, Verdict.FAIL)
    else:
        assert checks == {"verify.served": Verdict.FAIL}


async def test_the_whole_chain_is_reported(authority: Authority, tmp_path: Path) -> None:
    intermediate = authority.intermediate("probe intermediate")
    identity = intermediate.issue([ADDRESS])
    context = server_context(identity, authority, tmp_path, mutual=False)
    async with listening(speaks_cql, context, "native") as listener:
        served = await probe(listener, roots=load_certificates(authority.trusted, "ca"))
    assert served.chain == tuple(
        fingerprint(certificate) for certificate in load_certificates(identity.certificate + identity.chain, "chain")
    )
    assert len(served.chain) == 2
    assert served.trusted


async def test_what_is_not_trusted_is_seen_all_the_same(
    authority: Authority, server_identity: Identity, tmp_path: Path
) -> None:
    strangers = load_certificates(Authority.open(tmp_path / "other", "other").trusted, "ca")
    ours = load_certificates(authority.trusted, "ca")
    context = server_context(server_identity, authority, tmp_path, mutual=False)
    async with listening(speaks_cql, context, "native") as listener:
        foreign = await probe(listener, roots=strangers)
        later = await probe(listener, roots=ours, at=datetime.now(UTC) + timedelta(days=400))
        unjudged = await probe(listener)
    for served in (foreign, later):
        assert served.leaf_sha256
        assert served.trusted is False
        assert served.problem
        assert Verdict.FAIL in {finding.verdict for finding in judge(served, intended=served.leaf_sha256)}
    assert unjudged.trusted is None


async def test_the_wrong_address_is_not_trusted(authority: Authority, tmp_path: Path) -> None:
    context = server_context(authority.issue(["127.0.0.9"]), authority, tmp_path, mutual=False)
    async with listening(speaks_cql, context, "native") as listener:
        served = await probe(listener, roots=load_certificates(authority.trusted, "ca"))
    assert served.trusted is False
    assert "127.0.0.9" in served.problem


@pytest.mark.parametrize(
    ("handler", "accepted", "patience"),
    [(hangs_up, False, 60), (answers_http, False, 60), (resets, None, 60), (says_nothing, None, 0.3)],
)
async def test_peers_that_misbehave_never_raise(handler: Handler, accepted: bool | None, patience: float) -> None:
    async with listening(handler, None, "native") as listener:
        served = await probe(listener, handshake_timeout=patience)
    assert served.leaf_sha256 == ""
    assert served.accepted is accepted
    assert served.problem.startswith("in the handshake: ")
    (finding,) = judge(served, intended="0" * 64)
    assert finding.verdict is (Verdict.FAIL if accepted is False else Verdict.INCONCLUSIVE)


@pytest.mark.parametrize("handler", [answers_http, resets])
async def test_native_listeners_must_speak_cql(
    handler: Handler, authority: Authority, server_identity: Identity, tmp_path: Path
) -> None:
    context = server_context(server_identity, authority, tmp_path, mutual=False)
    async with listening(handler, context, "native") as listener:
        served = await probe(listener)
    assert served.leaf_sha256
    assert served.accepted is not True
    assert served.problem.startswith("after the handshake: ")


async def test_two_resets_after_the_handshake_are_a_refusal(
    authority: Authority, server_identity: Identity, tmp_path: Path
) -> None:
    tries = 0

    async def resets_after_reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        await reader.read(1)
        linger(writer)
        writer.transport.abort()

    context = server_context(server_identity, authority, tmp_path, mutual=False)
    async with listening(resets_after_reading, context, "native") as listener:
        served = await probe(listener)
    assert (served.accepted, tries) == (False, 2)


async def test_nothing_listens_there() -> None:
    async with listening(says_nothing, None, "native") as listener:
        pass
    served = await probe(listener)
    assert (served.accepted, served.leaf_sha256) == (False, "")
    assert served.problem.startswith("no connection: ")


async def test_a_link_that_never_answers_or_breaks_is_inconclusive() -> None:
    async def never(host: str, port: int) -> Any:
        await asyncio.Event().wait()

    async def broken(host: str, port: int) -> Any:
        raise passing("ssh.forward-refused", "nothing answers there")

    listener = Listener(kind="native", address=ADDRESS, port=1)
    for link in (never, broken):
        served = await probe(listener, vantage="127.0.0.7", open=link, connect_timeout=0.1)
        assert served.accepted is None
        assert served.vantage == "127.0.0.7"
        (finding,) = judge(served, intended="0" * 64)
        assert finding.verdict is Verdict.INCONCLUSIVE


async def test_another_leaf_than_intended_fails(
    authority: Authority, server_identity: Identity, tmp_path: Path
) -> None:
    context = server_context(server_identity, authority, tmp_path, mutual=False)
    async with listening(speaks_cql, context, "native") as listener:
        served = await probe(listener)
    first, *_ = judge(served, intended="0" * 64)
    assert (first.check, first.verdict) == ("verify.served", Verdict.FAIL)
    assert served.leaf_sha256[:12] in first.message


async def test_an_unusable_client_identity_is_the_operators_mistake(tmp_path: Path) -> None:
    listener = Listener(kind="native", address=ADDRESS, port=1)
    with pytest.raises(SealringError) as caught:
        await probe(listener, identity=ClientIdentity(tmp_path / "no.crt", tmp_path / "no.key"))
    assert caught.value.code == "probe.identity"
    assert not caught.value.retryable


def test_silence_after_the_handshake_is_inconclusive() -> None:
    listener = Listener(kind="internode", address=ADDRESS, port=7000)
    served = Served(listener=listener, vantage="worker", leaf_sha256="a" * 64, trusted=True)
    verdicts = {finding.check: finding.verdict for finding in judge(served, intended="a" * 64)}
    assert verdicts["verify.accepted"] is Verdict.INCONCLUSIVE
