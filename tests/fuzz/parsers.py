"""Every parser of ours with inputs to throw at it.

A target is a strategy and a function that reads one input. It may return a value or refuse with an error of ours (or
with pydantic's, where that is mapped to one); anything else that comes out of it is a bug.
"""

import asyncio
import base64
import json
import string
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncssh
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PublicFormat, pkcs12
from hypothesis import strategies as st
from pydantic import ValidationError
from temporalio.api.common.v1 import Payload

from sealring.cassandra.configuration import address_drift, listeners, parse_configuration, settings_drift
from sealring.cassandra.host_look import config_candidates
from sealring.cassandra.members import members_from_gossip, members_from_tables, newcomers, opinions_from_status, pulses
from sealring.cassandra.nodetool import parse_gossip, parse_status
from sealring.cassandra.probe import probe
from sealring.cassandra.system_log import reload_outcome, start_failure
from sealring.cassandra.versions import reload_support
from sealring.errors import SealringError
from sealring.hosts.condition import parse_condition
from sealring.hosts.generations import _intent
from sealring.hosts.identity import load_identity
from sealring.hosts.manifest import parse_manifest
from sealring.hosts.privileges import allows_without_password
from sealring.hosts.routes import endpoint
from sealring.hosts.trust import KnownHosts
from sealring.models.cluster import Listener, MaterialPolicy, NodeRef, SshSettings
from sealring.models.material import MaterialRef
from sealring.models.node import Generation, StoreFormat
from sealring.models.rollout import NodeOrder, RolloutRun
from sealring.models.steering import Command, Resolution
from sealring.pki.certificates import facts, load_certificates
from sealring.pki.keys import load_private_key
from sealring.pki.policy import lint, trusted_by
from sealring.pki.requests import read_request
from sealring.pki.stores import detect_format, read_keystore, read_truststore, write_truststore
from sealring.pki.views import View, read_view
from sealring.planning.steering import Steering, reduce
from sealring.settings import read_cluster
from sealring.sources.files import FileSource
from sealring.temporal.codec import EncryptionCodec
from sealring.temporal.codec_server import _payloads
from sealring.temporal.converter import SealringPayloadConverter
from sealring.temporal.failures import problem_of, redact
from sealring.temporal.keyring import Keyring, load_keyring
from sealring.topology_file import read_topology
from tests.unit.pki_maker import ADDRESS, GOOD, ISSUING, LEAF, NODE, NOW, ROOT, make

Target = tuple[st.SearchStrategy[Any], Callable[[Any], object]]
REFUSALS = (SealringError, ValidationError)

# -- inputs


@st.composite
def damaged(draw: st.DrawFn, good: bytes, most: int = 6) -> bytes:
    """A good file with a few bytes changed, cut, doubled or put in."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.integers(0, 4)):
            case 0 if data:
                data[at] = draw(st.integers(0, 255))
            case 1:
                del data[at:]
            case 2:
                del data[at : at + draw(st.integers(1, 40))]
            case 3:
                data[at:at] = data[at : at + draw(st.integers(1, 400))]
            case _:
                data[at:at] = draw(st.binary(max_size=20))
    return bytes(data)


def bytes_like(*good: bytes) -> st.SearchStrategy[bytes]:
    """Bytes of no meaning, and damaged good ones."""
    return st.one_of(st.binary(max_size=400), *(damaged(each) for each in good))


def text_like(*good: str) -> st.SearchStrategy[str]:
    """The same as text; what is not UTF-8 is replaced as when it comes from a node."""
    changed = [damaged(each.encode()).map(lambda data: data.decode(errors="replace")) for each in good]
    return st.one_of(st.text(max_size=400), *changed)


_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), st.datetimes().map(str), st.just("\0")
)


def json_like(*good: object) -> st.SearchStrategy[Any]:
    """Documents of any shape, and good ones with values of any shape in them."""
    anything = st.recursive(
        _scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    )
    changed = [
        st.fixed_dictionaries({}, optional={key: st.just(value) | anything for key, value in each.items()})
        for each in good
        if isinstance(each, dict)
    ]
    return st.one_of(anything, *changed)


def dumped(value: object) -> bytes:
    return json.dumps(value, default=str).encode(errors="surrogatepass")


# -- good ones to start from

CLUSTER = """name: lab
contact_points: [127.0.0.1, node-1.example]
ssh: &s {port: 22, connect_timeout: PT30S, hosts: {127.0.0.1: {port: 2222}}}
cql: {ca: pki/ca.crt, port: 9042}
service: {name: cassandra, start_timeout: 300}
policy: {min_rsa_bits: 2048, min_remaining: P1D}
rollout: {strategy: zone-aware, batch: 20%, max_parallel: 3, settle: 3}
"""
TOPOLOGY = """name: lab
nodes: [{address: 10.0.0.1, tokens: [-5, 7], rack: a}, {address: 10.0.0.2, tokens: [1], state: down}]
keyspaces: [{name: k, replication: {class: NetworkTopologyStrategy, dc1: 2}, consistency: [ONE]}]
"""
CONFIGURATION = """listen_address: 10.1.0.1
native_transport_port: 9142
server_encryption_options:
  internode_encryption: all
  keystore: /etc/cassandra/tls/server.p12
  keystore_password: one
  outbound_keystore: /etc/cassandra/tls/outbound.p12
  truststore: &t /etc/cassandra/tls/trust.p12
  store_type: PKCS12
client_encryption_options:
  enabled: true
  ssl_context_factory: {class_name: a.PEMBasedSslContextFactory, parameters: {private_key_password: two}}
  keystore: /etc/cassandra/tls/tls.pem
  truststore: *t
  require_client_auth: true
"""
GOSSIP = (
    "/127.0.0.1\n  generation:1700000000\n  heartbeat:77\n  STATUS_WITH_PORT:19:NORMAL,-3\n  DC:9:dc1\n  HOST_ID:2:a\n"
)
STATUS = """Datacenter: dc1
==============
--  Address    Load       Tokens  Owns   Host ID                               Rack
UN  127.0.0.1  104.3 KiB  16      66.7%  5f0d9a52-0000-4000-8000-000000000001  rack1
"""
_digest = "a" * 64
GENERATION = {"id": _digest, "leaf_sha256": _digest, "not_after": "2030-01-01T00:00:00Z", "trust": [_digest]}
MANIFEST = {
    **GENERATION,
    "files": [{"name": "k", "path": "/k", "role": "keystore", "sha256": _digest, "mode": "0600"}],
}
REQUEST = {"cluster": "lab", "material": {"path": "/d"}, "nodes": ["10.0.0.1"], "waive": ["material.chain"]}
_secret = BestAvailableEncryption(b"secret")
PKCS12 = pkcs12.serialize_key_and_certificates(b"x", LEAF.key, LEAF.certificate, [ISSUING.certificate], _secret)
TRUSTSTORE = write_truststore((ROOT.certificate, ISSUING.certificate), "PKCS12", "secret")
WIDE = make("wide", ISSUING, names=["*.example", "node"], addresses=["10.0.0.1", "::1"]).certificate
DER = WIDE.public_bytes(Encoding.DER)
PUBLIC = LEAF.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
CSR = (
    x509.CertificateSigningRequestBuilder()
    .subject_name(LEAF.certificate.subject)
    .add_extension(x509.SubjectAlternativeName([x509.DNSName("node"), x509.IPAddress(ip_address("::1"))]), False)
    .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    .public_bytes(Encoding.PEM)
)
KEYS = Keyring("k1", {"k1": bytes(32)})
SSH_KEY = asyncssh.generate_private_key("ssh-ed25519")
SSH_CERTIFICATE = SSH_KEY.generate_user_certificate(SSH_KEY, "x", principals=["deploy"]).export_certificate()
LOG = "ERROR [main] Exception encountered during startup\njava.lang.RuntimeException: x\nCaused by: y\nINFO next\n"
TOLD = "1:2 1 /a 2026-11-21 20:00:00 Configuration location: 4096 8192 /data jdk.tls.disabledAlgorithms=SSLv3"
SUDO = (
    "Defaults\n!authenticate\nSudoers entry:\n    RunAsUsers: root\n    Options: !authenticate\n    Commands:\n\tALL\n"
)

# -- readers


def in_file(read: Callable[[Path], object], name: str = "lab.yaml") -> Callable[[bytes], object]:
    def with_file(content: bytes) -> object:
        with TemporaryDirectory() as folder:
            file = Path(folder, name)
            file.write_bytes(content)
            file.chmod(0o600)
            return read(file)

    return with_file


def configuration(text: str) -> None:
    found = parse_configuration(text)
    node = NodeRef(host_id="", address=text[:9], internode_address="10.0.0.1", datacenter="", rack="")
    address_drift(found, node)
    listeners(found, NODE)
    settings_drift(found, dict.fromkeys(found.settings, ""))


def certificates(data: bytes) -> None:
    for certificate in load_certificates(data, "tls.crt"):
        facts(certificate)
        trusted_by(GOOD, "peer", [certificate], at=NOW, address="node.example")
        lint(
            replace(GOOD, leaf=certificate, chain=(certificate, ISSUING.certificate)),
            MaterialPolicy(),
            node=NODE,
            addresses=(ADDRESS,),
            clocks={"worker": NOW},
            endpoint_verification=True,
            client_auth=True,
        )


STORES: tuple[tuple[StoreFormat, str], ...] = (("PKCS12", "secret"), ("PEM", "secret"), ("PEM", ""))


def stores(data: bytes) -> None:
    for read in (read_keystore, read_truststore):
        for form, password in STORES:
            try:
                read(data, form, password, "store")
            except SealringError:
                continue
    detect_format(data)


def delivery(files: tuple[bytes, bytes, bytes]) -> None:
    with TemporaryDirectory() as folder:
        Path(folder, ADDRESS).mkdir()
        for name, content in zip(("tls.crt", "tls.key", "ca.crt"), files, strict=True):
            Path(folder, ADDRESS, name).write_bytes(content)
            Path(folder, ADDRESS, name).chmod(0o600)
        asyncio.run(FileSource().load(MaterialRef(path=folder), NODE))


def gossip(text: str) -> None:
    members_from_gossip(parse_gossip(text))
    opinions_from_status(parse_status(text))


_cell = (
    st.none() | st.text(max_size=20) | st.sampled_from(["10.0.0.1:7000", "NORMAL,-1", "shutdown,true", "[::1]:9042"])
)
_number = st.none() | st.integers(-(2**31), 2**31 - 1)
ROW = st.fixed_dictionaries(
    {
        **{name: st.text(max_size=10) for name in ("peer", "broadcast_address", "address")},
        **dict.fromkeys(
            (
                *("host_id", "rpc_address", "native_address", "data_center", "rack", "release_version"),
                *("schema_version", "native_address_and_port", "dc", "schema", "status", "status_with_port"),
            ),
            _cell,
        ),
        **dict.fromkeys(("generation", "heartbeat", "active_connections"), _number),
    }
)


def rows(found: list[dict[str, Any]]) -> None:
    members = members_from_tables(found[0], tuple(found[1:]))
    newcomers(members, tuple(found))
    for pulse in pulses(tuple(found), tuple(found), members[0].node).values():
        assert pulse.connected in (True, False)


def identity(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        key, certificate = Path(folder, "key"), Path(folder, "key-cert.pub")
        key.write_bytes(content)
        key.chmod(0o600)
        certificate.write_bytes(content)
        for own in (key, Path(folder, "good")):
            if own.name == "good":
                own.write_bytes(SSH_KEY.export_private_key())
                own.chmod(0o600)
            try:
                settings = SshSettings(private_key=own, certificate=certificate)
                load_identity(endpoint(settings, "10.0.0.1").identity)
            except SealringError:
                continue


def known_hosts(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder, "known_hosts")
        file.write_bytes(content)
        KnownHosts(file).load().match("10.0.0.1", "", None)


def decoded(parts: tuple[bytes, bytes, bytes]) -> None:
    encoding, key, data = parts
    payload = Payload(metadata={"encoding": encoding, "encryption-key-id": key}, data=data)
    asyncio.run(EncryptionCodec(KEYS).decode([payload]))


def converted(parts: tuple[bytes, bytes]) -> None:
    encoding, data = parts
    for kind in (RolloutRun, Command, Resolution, NodeOrder):
        try:
            SealringPayloadConverter().from_payloads([Payload(metadata={"encoding": encoding}, data=data)], [kind])
        except REFUSALS as error:
            problem_of(error)


class Peer:
    """A stream that says what it says, and then nothing more."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    async def read(self, n: int, /) -> bytes:
        said, self.content = self.content[:n], self.content[n:]
        return said

    def write(self, data: bytes, /) -> None:
        """Not heard."""

    async def drain(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing to end."""


def listener(content: bytes) -> None:
    async def connect(host: str, port: int) -> tuple[Peer, Peer]:
        return Peer(content), Peer(b"")

    async def look() -> None:
        for kind in ("native", "internode"):
            where = Listener.model_validate({"kind": kind, "address": "10.0.0.1", "port": 9042})
            assert (await probe(where, open=connect)).problem

    asyncio.run(look())


def steering(said: tuple[str, Any]) -> None:
    name, word = said
    for kind in (Command, Resolution):
        try:
            reduce(Steering(), name, kind.model_validate(word))
        except REFUSALS:
            continue


_encodings = st.sampled_from([b"json/plain", b"binary/plain", b"binary/null", b"json/protobuf", b"x"]) | st.binary(
    max_size=9
)

_HELLO = bytes.fromhex("160303003a020000360303") + bytes(32) + bytes.fromhex("00130200000e002b000203040033000600180002")

TARGETS: dict[str, Target] = {
    "listener": (
        bytes_like(_HELLO, b"\x84\x00\x00\x00\x06\x00\x00\x00\x00", b"\x15\x03\x03\x00\x02\x02\x28"),
        listener,
    ),
    "cluster file": (bytes_like(CLUSTER.encode()), in_file(read_cluster)),
    "cluster document": (
        json_like({"name": "lab", "contact_points": ["a"], "ssh": {}, "rollout": {}}).map(dumped),
        in_file(read_cluster),
    ),
    "topology file": (
        bytes_like(TOPOLOGY.encode()) | json_like(yaml.safe_load(TOPOLOGY)).map(dumped),
        in_file(read_topology, "ring.yaml"),
    ),
    "keyring": (
        json_like({"active": "a", "keys": {"a": base64.b64encode(bytes(32)).decode()}}).map(dumped) | st.binary(),
        in_file(load_keyring),
    ),
    "cassandra.yaml": (text_like(CONFIGURATION), configuration),
    "cassandra.yaml document": (
        json_like({"server_encryption_options": {"internode_encryption": "all"}, "storage_port": "7000"})
        .map(dumped)
        .map(lambda data: data.decode(errors="replace")),
        configuration,
    ),
    "class path": (st.lists(st.text(max_size=30) | st.just("-cp")), lambda words: config_candidates(words, None)),
    "nodetool": (text_like(GOSSIP, STATUS), gossip),
    "rows": (st.lists(ROW, min_size=1, max_size=4), rows),
    "versions": (text_like("5.0.9", "4.1-beta1"), reload_support),
    "system.log": (text_like(LOG), lambda text: (reload_outcome(text), start_failure(text))),
    "condition of a host": (
        st.lists(st.tuples(st.sampled_from(["real", "inode", "room", "start", "memory", "disabled"]), text_like(TOLD))),
        lambda pairs: parse_condition(pairs, ["/a", "/b"]),
    ),
    "sudo -ll": (text_like(SUDO), lambda text: allows_without_password(text, "/bin/sh -s")),
    "manifest": (
        json_like(MANIFEST).map(dumped) | st.binary(max_size=200),
        lambda data: parse_manifest(data, "here", "10.0.0.1").generation.not_after > datetime.now(UTC),
    ),
    "generation": (json_like(GENERATION), Generation.model_validate),
    "intent": (
        (json_like({"rollout": "r", "step": "s", "to": "", "from": ""}).map(dumped) | st.binary(max_size=200)).map(
            lambda data: base64.b64encode(data).decode()
        )
        | st.text(alphabet=string.printable),
        lambda text: _intent(text, "intent.json", "10.0.0.1"),
    ),
    "certificates": (
        bytes_like(LEAF.pem + ISSUING.pem, DER, ISSUING.certificate.public_bytes(Encoding.DER)),
        certificates,
    ),
    "private key": (bytes_like(LEAF.key_pem), lambda data: load_private_key(data, "tls.key", password="x")),
    "stores": (bytes_like(PKCS12, TRUSTSTORE, LEAF.key_pem + LEAF.pem), stores),
    "request of a node": (bytes_like(CSR), lambda data: read_request(data, "tls.csr")),
    "view of a keystore": (
        bytes_like(PUBLIC + LEAF.pem + ISSUING.pem),
        lambda data: [read_view(View("0" * 64, len(data), data), form, "store") for form in ("PKCS12", "PEM")],
    ),
    "delivery": (
        st.tuples(bytes_like(LEAF.pem), bytes_like(LEAF.key_pem) | st.just(LEAF.key_pem), bytes_like(ROOT.pem)),
        delivery,
    ),
    "ssh identity": (bytes_like(SSH_KEY.export_private_key(), SSH_CERTIFICATE), identity),
    "known_hosts": (
        bytes_like(b"@cert-authority * " + SSH_KEY.export_public_key(), b"|1|a=|b= ssh-rsa AAAA\n"),
        known_hosts,
    ),
    "codec": (
        st.tuples(st.just(b"binary/encrypted") | st.binary(), st.just(b"k1") | st.binary(), st.binary(max_size=60)),
        decoded,
    ),
    "codec server": (json_like({"payloads": [{"metadata": {}, "data": "AA=="}]}).map(dumped) | st.binary(), _payloads),
    "payloads": (st.tuples(_encodings, json_like(REQUEST).map(dumped) | st.binary(max_size=60)), converted),
    "requests": (json_like(REQUEST), RolloutRun.model_validate),
    "steering": (
        st.tuples(st.text(max_size=9) | st.sampled_from(["abort", "resolve"]), json_like({"node": "n"})),
        steering,
    ),
    "redaction": (text_like(f"keystore_password: {'x' * 30} -----BEGIN A-----"), redact),
}
