"""The simulation's answers beside those of who decides in the end: a JDK's trust manager, and OpenSSL in handshakes."""

import base64
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from itertools import permutations
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from lab import tools
from sealring.models.trust import TlsRole
from sealring.pki.acceptance import Judge
from sealring.pki.certificates import der
from sealring.pki.keys import SigningKey
from tests.unit.pki_maker import BOTH, Made, make
from tests.unit.trust_maker import Paper

NOW = datetime.now(UTC)
YESTERDAY, TOMORROW, LATER = (NOW + timedelta(days=days) for days in (-1, 1, 30))
ROLES: tuple[TlsRole, ...] = ("server", "client")
CASES = 200
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
STRICTER = ("expired at", "is not valid before", "authorities below it")
"""What counts of anchors too, here and for OpenSSL, and not for Java. Of a leaf that it trusts it looks at nothing."""
SPOILT = "TrustAnchor with subject"
"""Java gives up where a truststore has an anchor of the right name that may sign nothing, whatever else would do."""

JAVA = """
import java.io.*; import java.nio.file.*; import java.security.*; import java.security.cert.*; import java.util.*;
import javax.net.ssl.*;
class Judge {
    static X509Certificate[] read(String list) throws Exception {
        List<X509Certificate> found = new ArrayList<>();
        for (String one : list.split(",")) found.add((X509Certificate) CertificateFactory.getInstance("X.509")
            .generateCertificate(new ByteArrayInputStream(Base64.getDecoder().decode(one))));
        return found.toArray(new X509Certificate[0]);
    }
    public static void main(String[] arguments) throws Exception {
        for (String line : Files.readAllLines(Path.of(arguments[0]))) {
            String[] parts = line.split(" ");
            KeyStore store = KeyStore.getInstance("PKCS12");
            store.load(null, null);
            for (X509Certificate one : read(parts[1])) store.setCertificateEntry("c" + store.size(), one);
            TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
            factory.init(store);
            X509TrustManager manager = (X509TrustManager) factory.getTrustManagers()[0];
            try {
                if (parts[0].equals("server")) manager.checkServerTrusted(read(parts[2]), "ECDHE_ECDSA");
                else manager.checkClientTrusted(read(parts[2]), "EC");
                System.out.println("yes");
            } catch (java.security.cert.CertificateException error) {
                System.out.println("no " + error.getMessage().replace((char) 10, ' '));
            }
        }
    }
}
"""


@dataclass(frozen=True)
class Case:
    """Who shows what to whom."""

    sent: tuple[Made, ...]  # leaf first
    trust: tuple[Made, ...]

    def refusal(self, role: TlsRole, *addresses: str) -> str:
        """By the simulation; empty when accepted."""
        paper = Paper()
        identity, trust = paper.identity(*self.sent), paper.keep(*self.trust)
        soon = NOW + timedelta(hours=1)  # what is made while the test runs is valid by then, and nothing else changes
        judge = Judge(paper.certificates, soon, soon)
        found = judge.refusal(judge.identity(identity), judge.trust(trust), role, addresses)
        return found.reason if found else ""


@cache
def root_of_a_guide(folder: Path) -> Made:
    """Version 1: what `openssl req -x509` makes when the configuration names no extensions."""
    config, certificate, private = folder / "config", folder / "crt", folder / "key"
    config.write_text("[req]\ndistinguished_name = d\nprompt = no\n[d]\nCN = guide\n")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "9",
    ]
    files = ["-config", config, "-out", certificate, "-keyout", private]
    subprocess.run([*command, *map(str, files)], check=True, capture_output=True, timeout=60)
    signing = load_pem_private_key(private.read_bytes(), None)
    assert isinstance(signing, SigningKey)
    made = Made(x509.load_pem_x509_certificate(certificate.read_bytes()), signing)
    assert made.certificate.version is x509.Version.v1
    return made


def cases(folder: Path, count: int) -> list[Case]:
    """By chance, from few names and keys, so that certificates fit and nearly fit each other; the same each time."""
    chance = Random(5)
    spans = [(YESTERDAY, LATER)] * 6 + [(NOW - timedelta(days=9), YESTERDAY), (TOMORROW, LATER)]

    def authority(name: str, issuer: Made | None) -> Made:
        start, end = chance.choice(spans)
        own = chance.choice([name, name, f"{name} again"])
        is_ca, signs = chance.random() < 0.93, chance.random() < 0.93
        length = chance.choice([None, None, None, 0, 1]) if is_ca else None
        return make(name, issuer, ca=is_ca, path_length=length, start=start, end=end, own_key=own, sign=signs)

    guide = root_of_a_guide(folder)
    found = []
    for _ in range(count):
        roots = [authority("root", None), authority("other", None), guide]
        first = [authority("first", chance.choice(roots)) for _ in range(2)]
        second = [authority("second", chance.choice(first)) for _ in range(2)]
        third = authority("first", chance.choice(roots))  # another of the name: crossed, renewed or with another key
        above = [*roots, *first, *second, third]
        issuer = chance.choice(above)
        start, end = chance.choice(spans)
        usages = chance.choice(
            [BOTH, BOTH, BOTH, None, [SERVER], [CLIENT], [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]]
        )
        leaf = make("leaf", issuer, start=start, end=end, usages=usages, sign=chance.random() < 0.95)
        sent = chance.sample(above, chance.randint(0, 4))
        if chance.random() < 0.6:  # the usual: what leads upwards, in order
            sent = _upwards(issuer, above)
        trust = chance.sample([*above, leaf], chance.randint(1, 4))
        found.append(Case((leaf, *sent), tuple(trust)))
    return found


def _upwards(issuer: Made, above: Sequence[Made]) -> list[Made]:
    path = [issuer]
    while over := next(
        (a for a in above if a.certificate.subject == path[-1].certificate.issuer and a not in path), None
    ):
        path.append(over)
    return path


@pytest.mark.criterion("F2", "F8")
def test_a_jdk_accepts_whatever_the_simulation_accepts(tmp_path: Path) -> None:
    """And what it accepts beyond that is what `sealring.pki.trust` is stricter about."""
    java = tools.java17() / "bin" / "java"
    if not java.with_name("javac").exists():
        pytest.skip("a JDK is needed, this is a JRE")
    asked = [(case, role) for case in cases(tmp_path, CASES) for role in ROLES]
    (tmp_path / "Judge.java").write_text(JAVA)
    lines = [f"{role} {_encoded(case.trust)} {_encoded(case.sent)}" for case, role in asked]
    (tmp_path / "cases").write_text("\n".join(lines))
    command = [str(java), str(tmp_path / "Judge.java"), str(tmp_path / "cases")]
    done = subprocess.run(command, capture_output=True, timeout=240, check=True)
    answers = done.stdout.decode().splitlines()
    assert len(answers) == len(asked)
    accepted = 0
    for (case, role), answer in zip(asked, answers, strict=True):
        ours = case.refusal(role)
        accepted += not ours
        if answer == "yes":
            assert not ours or case.sent[0] in case.trust or any(words in ours for words in STRICTER), (ours, answer)
        elif SPOILT not in answer:
            assert ours, answer
    assert CASES / 4 < accepted < CASES * 1.5, "chance made cases of one kind only"


def _encoded(certificates: Sequence[Made]) -> str:
    return ",".join(base64.b64encode(der(made.certificate)).decode() for made in certificates)


# -- real handshakes


@dataclass(frozen=True)
class Peer:
    """A node with a real context for each side."""

    address: str
    case: Case
    server: ssl.SSLContext
    client: ssl.SSLContext


def peer(folder: Path, number: int, case: Case) -> Peer:
    """Trusts as Java does: whatever is in the truststore is an anchor."""
    file = folder / f"{number}.pem"
    file.write_bytes(case.sent[0].key_pem + b"".join(made.pem for made in case.sent))
    contexts = []
    for protocol in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
        context = ssl.SSLContext(protocol)
        context.load_cert_chain(file)
        context.load_verify_locations(cadata=b"".join(der(made.certificate) for made in case.trust))
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = ssl.CERT_REQUIRED
        contexts.append(context)
    return Peer(f"10.0.0.{number}", case, *contexts)


def handshake(dialling: Peer, dialled: Peer) -> str:
    """Empty when both sides went through it and read from each other; else what OpenSSL said."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = dialling.client.wrap_bio(to_client, to_server, server_hostname=dialled.address)
    theirs = dialled.server.wrap_bio(to_server, to_client, server_side=True)
    sides = {ours: False, theirs: False}
    for _ in range(6):
        for side, done in sides.items():
            try:
                if not done:
                    side.do_handshake()
                    sides[side] = True
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                return str(error)
        if all(sides.values()):
            return ""
    raise AssertionError("a handshake did not end")


@pytest.mark.criterion("F8")
def test_real_handshakes_in_both_directions_end_as_simulated(tmp_path: Path) -> None:
    root, other = make("root", ca=True, end=LATER), make("other", ca=True, end=LATER)
    issuing, new = make("issuing", root, ca=True, end=LATER), make("new", other, ca=True, end=LATER)
    crossed = make("new", root, ca=True, end=LATER)
    dead = make("issuing", root, ca=True, end=YESTERDAY)
    guide = root_of_a_guide(tmp_path)
    made: list[tuple[Made, Sequence[Made], Sequence[Made], dict[str, object]]] = [
        (issuing, [issuing], [root], {}),
        (issuing, [issuing], [root, other], {}),
        (new, [new], [root, other], {}),
        (new, [crossed], [root, other], {}),  # both would do for Java; OpenSSL takes the first of the name and no other
        (new, [new, other], [other], {}),
        (issuing, [], [root], {}),
        (issuing, [issuing], [root, other, issuing, guide], {}),
        (issuing, [dead], [root, other], {}),
        (issuing, [issuing], [root, other], {"end": YESTERDAY}),
        (issuing, [issuing], [root, other], {"start": TOMORROW}),
        (issuing, [issuing], [root, other], {"usages": [SERVER]}),
        (issuing, [issuing], [root, other], {"usages": [CLIENT]}),
        (issuing, [issuing], [root, other], {"addresses": ["127.0.0.1"]}),
        (guide, [], [root, other, guide], {"end": NOW + timedelta(days=5)}),
    ]
    peers = []
    for number, (issuer, above, trust, how) in enumerate(made, 1):
        address = str(ip_address(f"10.0.0.{number}"))
        leaf = make(f"n{number}", issuer, **{"end": LATER, "addresses": [address], **how})  # type: ignore[arg-type]
        peers.append(peer(tmp_path, number, Case((leaf, *above), tuple(trust))))
    verdicts = []
    for dialling, dialled in permutations(peers, 2):
        # OpenSSL's server does not compare the address that a client comes from
        simulated = Case(dialled.case.sent, dialling.case.trust).refusal("server", dialled.address)
        simulated = simulated or Case(dialling.case.sent, dialled.case.trust).refusal("client")
        real = handshake(dialling, dialled)
        assert bool(simulated) == bool(real), (dialling.address, dialled.address, simulated, real)
        verdicts.append(bool(real))
    assert 20 < sum(verdicts) < len(verdicts) - 20
