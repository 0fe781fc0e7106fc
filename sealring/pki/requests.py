"""Certificate signing requests (PKCS#10, RFC 2986) that nodes make for keys which stay with them."""

from dataclasses import dataclass
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealring.errors import Actor, SealringError, refuse
from sealring.pki.certificates import MALFORMED
from sealring.pki.keys import NodeKey

MAX_BYTES = 1 << 16  # an RSA 8192 request has 3 KiB


@dataclass(frozen=True)
class Request:
    """A request that proves the possession of its key."""

    key: NodeKey
    names: frozenset[str]  # DNS names and IP addresses that it asks for, addresses in their shortest form
    pem: str


def read_request(data: bytes, where: str) -> Request:
    """Read one request: PEM; its signature must be that of its own key.

    Raises:
        SealringError: material.not-a-request.
    """
    if len(data) > MAX_BYTES:
        raise _refused(where, f"it is larger than {MAX_BYTES} bytes")
    try:
        request = x509.load_pem_x509_csr(data)
        if not request.is_signature_valid:
            raise _refused(where, "it is not signed with the key that it asks a certificate for")
        asked = [extension.value for extension in request.extensions]
        key = NodeKey(request.public_key())
    except MALFORMED:
        raise _refused(where, "it cannot be read") from None
    names = frozenset(n for value in asked if isinstance(value, x509.SubjectAlternativeName) for n in names_in(value))
    return Request(key, names, request.public_bytes(Encoding.PEM).decode())


def names_in(value: x509.SubjectAlternativeName) -> frozenset[str]:
    """DNS names in lower case, and IP addresses in their shortest form; names of other kinds with their kind."""
    return frozenset(
        str(name.value)
        if isinstance(name, x509.IPAddress)
        else name.value.lower()
        if isinstance(name, x509.DNSName)
        else f"{type(name).__name__}:{name.value}"
        for name in value
    )


def plain(name: str) -> str:
    """A name as `names_in` writes it."""
    try:
        return str(ip_address(name))
    except ValueError:
        return name.lower()


def _refused(where: str, found: str) -> SealringError:
    return refuse(
        "material.not-a-request",
        f"{where}: {found}; expected one PKCS#10 request in PEM (BEGIN CERTIFICATE REQUEST)",
        "ask the node again: sealring material issue, with another directory",
        actor=Actor.NODE_ADMIN,
    )
