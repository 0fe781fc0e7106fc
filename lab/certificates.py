"""The parts that the lab's certificates are made of."""

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_SHA256_RSA = bytes.fromhex("06092a864886f70d01010b")
_SHA1_RSA = bytes.fromhex("06092a864886f70d010105")


def new_key(kind: str) -> PrivateKey:
    """A private key of the kind: "ec-p256", "ec-p384", "rsa-<bits>".

    Raises:
        ValueError: the kind is unknown.
    """
    match kind.partition("-"):
        case ("ec", _, "p256"):
            return ec.generate_private_key(ec.SECP256R1())
        case ("ec", _, "p384"):
            return ec.generate_private_key(ec.SECP384R1())
        case ("rsa", _, bits) if bits.isdigit():
            return rsa.generate_private_key(public_exponent=65537, key_size=int(bits))
    raise ValueError(f"unknown kind of key {kind!r}: expected ec-p256, ec-p384 or rsa-<bits>")


def common_name(text: str) -> x509.Name:
    """A distinguished name of nothing but a common name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def builder(
    subject: str, issuer: x509.Name, key: PrivateKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    """What every certificate of ours has: names, key, serial, validity and the identifier of its key."""
    return (
        x509.CertificateBuilder()
        .subject_name(common_name(subject))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def issued_by(key: PrivateKey) -> x509.AuthorityKeyIdentifier:
    """The extension that points at the issuer's key."""
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def key_usage(*, leaf: bool, encipher: bool) -> x509.KeyUsage:
    """What a leaf's or an authority's key may do; `encipher` is for RSA keys of servers."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=encipher,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not leaf,
        crl_sign=not leaf,
        encipher_only=False,
        decipher_only=False,
    )


def private_pem(key: PrivateKey) -> bytes:
    """PKCS#8, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def weaken(certificate: x509.Certificate, key: PrivateKey) -> x509.Certificate:
    """The same certificate signed with SHA-1, which `cryptography` no longer does: both algorithm ids are as long."""
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("a SHA-1 signature needs an authority with an RSA key")
    signed = certificate.tbs_certificate_bytes.replace(_SHA256_RSA, _SHA1_RSA)
    der = certificate.public_bytes(Encoding.DER).replace(_SHA256_RSA, _SHA1_RSA)
    signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303  weak on purpose
    return x509.load_der_x509_certificate(der[: -len(signature)] + signature)
