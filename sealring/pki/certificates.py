"""Reading X.509 certificates, PEM or DER, and telling their public facts."""

import re
import warnings

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning

from sealring.errors import Actor, SealringError, refuse
from sealring.models.material import CertificateFacts

Certificates = tuple[x509.Certificate, ...]

MALFORMED = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    OverflowError,
)
"""What `cryptography` raises over bytes that are not, or not wholly, what they claim to be."""

_BEGIN = b"-----BEGIN "
_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 #]{1,40})-----")
_CERTIFICATE = b"CERTIFICATE"
_MOST = 1000  # the public web's authorities are about 150
_MOST_BYTES = 64 * 1024  # of one certificate; a whole handshake message of Java has 32 KiB (maxHandshakeMessageSize)


def load_certificates(data: bytes, where: str) -> Certificates:
    """All certificates of a file, in its order: PEM (any number, text between them is ignored) or DER (one).

    Every certificate is read whole here, so that no later look at it can fail.

    Args:
        data: the file's content.
        where: the file, for messages.

    Raises:
        SealringError: material.not-a-certificate; material.key-exposed when a private key lies among them.
    """
    if _BEGIN not in data:
        return (load_der_certificate(data, where),)
    blocks = pem_blocks(data, where)
    if any(label.endswith(b"PRIVATE KEY") for label, _ in blocks):
        raise refuse(
            "material.key-exposed",
            f"{where}: holds a private key; expected certificates only",
            f"Take the private key out of {where}; if others could read the file, replace the key.",
            actor=Actor.PKI_ADMIN,
        )
    foreign = sorted({label.decode() for label, _ in blocks if label != _CERTIFICATE})
    if foreign:
        raise not_a_certificate(where, f"found PEM blocks of type {', '.join(foreign)}")
    return tuple(_read(block, f"{where}, certificate {i}", pem=True) for i, (_, block) in enumerate(blocks, 1))


def pem_blocks(data: bytes, where: str) -> list[tuple[bytes, bytes]]:
    """Label and whole text of each PEM block, in one pass over the file.

    Raises:
        SealringError: material.not-a-certificate when there are more than 1000 blocks, or one does not end.
    """
    blocks: list[tuple[bytes, bytes]] = []
    at = 0
    while (begin := data.find(_BEGIN, at)) >= 0:
        label = _LABEL.match(data, begin)
        end = data.find(b"-----END " + label[1] + b"-----", label.end()) if label else -1
        if label is None or end < 0:
            raise not_a_certificate(where, "a PEM block does not end")
        if len(blocks) == _MOST:
            raise not_a_certificate(where, f"it has more than {_MOST} PEM blocks")
        at = end + len(label[1]) + 14
        blocks.append((label[1], data[begin:at]))
    return blocks


def load_der_certificate(data: bytes, where: str) -> x509.Certificate:
    """One certificate from its DER form.

    Raises:
        SealringError: material.not-a-certificate.
    """
    if not data.strip():
        raise not_a_certificate(where, "it is empty")
    return _read(data, where, pem=False)


def checked(certificate: x509.Certificate, where: str) -> x509.Certificate:
    """The certificate, once all its parts have been parsed (the library parses them at first use).

    Raises:
        SealringError: material.not-a-certificate.
    """
    if len(der(certificate)) > _MOST_BYTES:
        raise not_a_certificate(where, f"a certificate has more than {_MOST_BYTES} bytes")
    try:
        facts(certificate)
    except MALFORMED as error:
        raise not_a_certificate(where, f"a certificate cannot be read whole ({_brief(error)})") from None
    return certificate


def not_a_certificate(where: str, found: str) -> SealringError:
    """A file that should hold certificates does not."""
    return refuse(
        "material.not-a-certificate",
        f"{where}: {found}; expected X.509 certificates, PEM (BEGIN CERTIFICATE) or DER",
        f"Deliver {where} again; `openssl x509 -noout -subject -in FILE` must read it.",
        actor=Actor.PKI_ADMIN,
    )


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 over the DER form, lower-case hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def der(certificate: x509.Certificate) -> bytes:
    """The DER form."""
    return certificate.public_bytes(Encoding.DER)


def facts(certificate: x509.Certificate) -> CertificateFacts:
    """What may be said about a certificate in plans, findings and reports."""
    names, addresses = alternative_names(certificate)
    with warnings.catch_warnings():
        # serials that are not positive break RFC 5280 but are common in private roots, and harmless
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        serial = f"{certificate.serial_number:x}"
    return CertificateFacts(
        sha256=fingerprint(certificate),
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        serial=serial,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        names=names,
        addresses=addresses,
        key=key_kind(certificate),
    )


def key_kind(certificate: x509.Certificate) -> str:
    """Kind and size of the public key: `EC secp256r1`, `RSA 2048`, `Ed25519`."""
    match certificate.public_key():
        case rsa.RSAPublicKey(key_size=bits):
            return f"RSA {bits}"
        case ec.EllipticCurvePublicKey(curve=curve):
            return f"EC {curve.name}"
        case dsa.DSAPublicKey(key_size=bits):
            return f"DSA {bits}"
        case key:
            return type(key).__name__.removesuffix("PublicKey")


def alternative_names(certificate: x509.Certificate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """DNS names and IP addresses of the subject alternative name; the common name is not looked at (RFC 9525)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (), ()
    addresses = names.get_values_for_type(x509.IPAddress)
    return tuple(names.get_values_for_type(x509.DNSName)), tuple(str(address) for address in addresses)


def name_of(certificate: x509.Certificate) -> str:
    """Subject as a person wants it in a message."""
    return certificate.subject.rfc4514_string() or f"certificate {fingerprint(certificate)[:12]}"


def _read(data: bytes, where: str, *, pem: bool) -> x509.Certificate:
    load = x509.load_pem_x509_certificate if pem else x509.load_der_x509_certificate
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            certificate = load(data)
    except MALFORMED as error:
        raise not_a_certificate(where, f"not a certificate ({_brief(error)})") from None
    return checked(certificate, where)


def _brief(error: Exception) -> str:
    """A library's reason, one short line."""
    return " ".join(str(error).split())[:120] or type(error).__name__
