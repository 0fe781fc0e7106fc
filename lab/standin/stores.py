"""The stores of one encryption block, read as Cassandra reads them, and made into what a listener serves."""

import hashlib
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID

from lab.authority import LOOPBACK

BLOCKS = {"internode": "server_encryption_options", "native": "client_encryption_options"}
_CACHED = 64  # truststores: all nodes of a fleet start with the same one


class StoreError(Exception):
    """A store cannot be loaded; the message is the tail of Cassandra's stack trace, causes only."""


@dataclass(frozen=True)
class Block:
    """server_encryption_options or client_encryption_options of a cassandra.yaml."""

    keystore: Path
    truststore: Path
    client_auth: bool
    endpoint_verification: bool = field(compare=False)  # for the connection to judge: the stores are the same
    keystore_password: str = field(repr=False)
    truststore_password: str = field(repr=False)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Block":
        """The block as the configuration has it."""
        return cls(
            keystore=Path(options["keystore"]),
            truststore=Path(options["truststore"]),
            client_auth=bool(options.get("require_client_auth")),
            endpoint_verification=bool(options.get("require_endpoint_verification")),
            keystore_password=str(options["keystore_password"]),
            truststore_password=str(options["truststore_password"]),
        )


@dataclass(frozen=True, eq=False)
class Served:
    """What a listener serves and whom it trusts, from one reading of the stores."""

    context: ssl.SSLContext
    leaf: str  # SHA-256 of leaf and chain
    trusted: bytes  # DER of all trusted certificates
    trust: str  # SHA-256 of that
    client_for_peers: bool  # whether peers that verify endpoints accept the leaf as a client's


def load(block: Block) -> Served:
    """Read both stores.

    Raises:
        StoreError: a file is missing or broken, or the password is wrong.
    """
    store = _open(block.keystore, block.keystore_password, "key manager")
    if store.key is None or store.cert is None:
        raise StoreError(_trace("key manager", "java.io.IOException: no key entry in the keystore"))
    trusted = _trusted(block)
    leaf, chain = store.cert.certificate, [entry.certificate for entry in store.additional_certs]
    key_pem = store.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain_pem = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in (leaf, *chain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.num_tickets = 0  # nobody resumes a session here, and each ticket costs
    try:
        _use(context, key_pem + chain_pem)
        context.load_verify_locations(cadata=trusted)
    except ssl.SSLError as error:
        raise StoreError(_trace("key manager", f"java.security.KeyStoreException: {error.reason}")) from None
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # Java: whatever is in a truststore is an anchor
    context.verify_mode = ssl.CERT_REQUIRED if block.client_auth else ssl.CERT_NONE
    return Served(
        context=context,
        leaf=hashlib.sha256(chain_pem).hexdigest(),
        trusted=trusted,
        trust=hashlib.sha256(trusted).hexdigest(),
        client_for_peers=_client_for_peers(leaf),
    )


class Files:
    """Stores by block: read once for each state that the files are in, however many listeners ask."""

    def __init__(self) -> None:
        self._read: dict[Block, tuple[object, Served]] = {}

    def load(self, block: Block) -> Served:
        """`load`, or what it gave when the files are the same still."""
        state = _state(block)
        before, served = self._read.get(block, (None, None))
        if served is None or state is None or state != before:
            served = load(block)
            self._read[block] = state, served
        return served


def _state(block: Block) -> object:
    try:
        found = [os.stat(path) for path in (block.keystore, block.truststore)]
    except OSError:
        return None
    return [(file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns) for file in found]


def trusts(truster: Served, other: Served, address: str) -> bool:
    """Whether a peer with the truststore of `truster` accepts `other` as the server at `address`, as OpenSSL judges."""
    client, server = _verifier(truster.trusted), other.context
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=address)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        try:
            ours.do_handshake()
        except ssl.SSLWantReadError:
            try:
                theirs.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return False
        except ssl.SSLError:
            return False
        else:
            return True  # the server may still refuse us, who have no certificate: that is another question
    return False


@lru_cache(_CACHED)
def _verifier(trusted: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=trusted)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _trusted(block: Block) -> bytes:
    try:
        data = block.truststore.read_bytes()
    except OSError:
        raise StoreError(_missing(block.truststore, "trust manager")) from None
    return _truststore(data, block.truststore_password)


@lru_cache(_CACHED)
def _truststore(data: bytes, password: str) -> bytes:
    store = _parse(data, password, "trust manager")
    certificates = sorted(entry.certificate.public_bytes(Encoding.DER) for entry in store.additional_certs)
    if not certificates:
        raise StoreError(
            _trace("trust manager", "java.security.InvalidAlgorithmParameterException: the trustAnchors is empty")
        )
    return b"".join(certificates)


def _open(path: Path, password: str, what: str) -> pkcs12.PKCS12KeyAndCertificates:
    try:
        data = path.read_bytes()
    except OSError:
        raise StoreError(_missing(path, what)) from None
    return _parse(data, password, what)


def _parse(data: bytes, password: str, what: str) -> pkcs12.PKCS12KeyAndCertificates:
    if not _whole(data):
        raise StoreError(_trace(what, "java.io.EOFException: null"))
    try:
        return pkcs12.load_pkcs12(data, password.encode())
    except ValueError:
        raise StoreError(_trace(what, "java.io.IOException: keystore password was incorrect")) from None


def _whole(data: bytes) -> bool:
    """Whether it is one DER sequence with all of its content (X.690, 8.1.3)."""
    if len(data) < 2 or data[0] != 0x30:
        return False
    count = data[1] & 0x7F if data[1] & 0x80 else 0
    length = int.from_bytes(data[2 : 2 + count]) if count else data[1]
    return len(data) >= 2 + count + length


def _missing(path: Path, what: str) -> str:
    return _trace(what, f"java.nio.file.NoSuchFileException: {path}")


def _trace(what: str, cause: str) -> str:
    return (
        f"Caused by: javax.net.ssl.SSLException: failed to build {what} store for secure connections\n"
        f"Caused by: {cause}"
    )


def _use(context: ssl.SSLContext, pem: bytes) -> None:
    """`load_cert_chain` wants a file: one in memory, so that the key is on no disk but where the node has it."""
    descriptor = os.memfd_create("identity")
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=lambda: b"")
    finally:
        os.close(descriptor)


def _client_for_peers(leaf: x509.Certificate) -> bool:
    """Valid now, good for a client, and with the address that every connection here comes from."""
    if not leaf.not_valid_before_utc <= datetime.now(UTC) <= leaf.not_valid_after_utc:
        return False
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        pass
    else:
        if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
            return False
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return ip_address(LOOPBACK) in names.get_values_for_type(x509.IPAddress)
