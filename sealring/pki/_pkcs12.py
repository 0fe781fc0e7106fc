"""Opening PKCS#12, with one clear error for each way it may be closed to us."""

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import pkcs12

from sealring.errors import Actor, SealringError, refuse
from sealring.pki._rounds import MAX_KEY_BYTES, MAX_ROUNDS, cost
from sealring.pki.certificates import MALFORMED, Certificates, checked
from sealring.pki.keys import PrivateKey, SigningKey, not_a_key, wrong_password

_MOST = 1000  # the public web's authorities are about 150


@dataclass(frozen=True)
class Opened:
    """The content of a PKCS#12 file."""

    leaf: x509.Certificate | None  # the certificate that belongs to the key
    key: PrivateKey | None
    others: Certificates
    where: str

    def identity(self) -> tuple[x509.Certificate, PrivateKey, Certificates]:
        """Leaf, key and the other certificates.

        Raises:
            SealringError: material.not-a-key when a key, or the certificate of the key, is missing.
        """
        if self.key is None or self.leaf is None:
            raise not_a_key(self.where, "the store has no private key with its certificate")
        return self.leaf, self.key, self.others


def looks_like_pkcs12(data: bytes) -> bool:
    """Whether `data` is one whole DER sequence that starts with version 3 (RFC 7292, PFX)."""
    content = _sequence(data)
    return content is not None and content.startswith(b"\x02\x01\x03")


def open_pkcs12(data: bytes, password: str, where: str, actor: Actor) -> Opened:
    """Open a PKCS#12 store.

    Args:
        data: the file's content.
        password: of store and key, which are one in Cassandra.
        where: the file, for messages.
        actor: who looks after that file.

    Raises:
        SealringError: store.format, store.password, material.not-a-key, material.not-a-certificate.
    """
    if not looks_like_pkcs12(data):
        raise bad_format(where, "it is not a whole PKCS#12 file", actor)
    rounds, key_bytes = cost(data)
    if rounds > MAX_ROUNDS:
        raise bad_format(where, f"its password is derived in {rounds} rounds, Java stops at {MAX_ROUNDS}", actor)
    if key_bytes > MAX_KEY_BYTES:
        raise not_a_key(where, "its private key is larger than RSA 8192")
    try:
        store = pkcs12.load_pkcs12(data, password.encode())
    except UnsupportedAlgorithm:
        raise bad_format(where, "it is encrypted in a way that is not supported", actor) from None
    except MALFORMED:  # a message of the library about a secret is not for logs
        raise wrong_password(where, "the PKCS#12 store", actor) from None
    if store.key is not None and not isinstance(store.key, SigningKey):
        raise not_a_key(where, "its key cannot sign, so it cannot serve TLS")
    if len(store.additional_certs) > _MOST:
        raise bad_format(where, f"it has more than {_MOST} certificates", actor)
    return Opened(
        leaf=checked(store.cert.certificate, where) if store.cert else None,
        key=PrivateKey(store.key) if store.key else None,
        others=tuple(checked(entry.certificate, where) for entry in store.additional_certs),
        where=where,
    )


def bad_format(where: str, found: str, actor: Actor) -> SealringError:
    """A store is not in the format that was expected."""
    return refuse(
        "store.format",
        f"{where}: {found}; expected a PKCS#12 store with AES or 3DES, or PEM where cassandra.yaml uses PEM",
        f"Look at {where} with `keytool -list -keystore {where}` and write it again as PKCS#12.",
        actor=actor,
    )


def _sequence(data: bytes) -> bytes | None:
    """Content of the DER sequence that fills all of `data`; None when there is no such thing."""
    if len(data) < 2 or data[0] != 0x30:
        return None
    if data[1] < 0x80:
        size, header = data[1], 2
    else:
        count = data[1] & 0x7F
        size, header = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
    return data[header:] if header >= 1 and header + size == len(data) else None
