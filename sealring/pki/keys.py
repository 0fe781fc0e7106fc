"""Private keys, held so that they cannot slip out: not in a repr, a log, a pickle, a payload or an error.

And keys that are not held at all: what is known of one that lies on its node.
"""

import base64
import hashlib
import hmac
from typing import Any, NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)

from sealring.errors import Actor, SealringError, refuse
from sealring.pki._rounds import MAX_KEY_BYTES, MAX_ROUNDS, cost

SigningKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | dsa.DSAPrivateKey
)

_SEAL = b"sealring key v1\0"
_EXPECTED = "expected one private key, PKCS#8 (BEGIN PRIVATE KEY), not encrypted"


class PrivateKey:
    """A private key that can be used but not seen.

    `repr` hides it; copying, pickling and pydantic are refused. Two are equal when they hold the same key.
    """

    __slots__ = ("_key",)

    def __init__(self, key: SigningKey) -> None:
        self._key = key

    def use(self) -> SigningKey:
        """The key itself: for the one call that needs it, never to be kept."""
        return self._key

    @property
    def sealed_digest(self) -> bytes:
        """32 bytes that name the key and do not tell it: SHA-256 over a prefix and its PKCS#8 DER form."""
        der = self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return hashlib.sha256(_SEAL + der).digest()

    def belongs_to(self, public_key: PublicKeyTypes) -> bool:
        """Whether this is the private half of `public_key`."""
        return _public_der(self._key.public_key()) == _public_der(public_key)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PrivateKey):
            return NotImplemented
        return hmac.compare_digest(self.sealed_digest, other.sealed_digest)

    def __hash__(self) -> int:
        return hash(self.sealed_digest)

    def __repr__(self) -> str:
        return "PrivateKey(hidden)"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a private key is never copied or serialised")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> NoReturn:
        raise TypeError("a private key is never part of a model")


class NodeKey:
    """The public half of a private key that was made on its node and stays there."""

    __slots__ = ("_public",)

    def __init__(self, public: PublicKeyTypes) -> None:
        self._public = public

    @property
    def digest(self) -> str:
        """Names the key on its node: SHA-256 over the public key's DER form, lower-case hexadecimal."""
        return hashlib.sha256(_public_der(self._public)).hexdigest()

    def belongs_to(self, public_key: PublicKeyTypes) -> bool:
        """Whether this is the key of a certificate that has `public_key`."""
        return _public_der(self._public) == _public_der(public_key)

    def __repr__(self) -> str:
        return f"NodeKey({self.digest[:12]})"


def load_private_key(data: bytes, where: str, *, password: str | None = None) -> PrivateKey:
    """Read one private key: PEM (PKCS#8, or the older PKCS#1 and SEC 1) or DER.

    Args:
        data: the content of a key file.
        where: the file, for the message.
        password: of an encrypted key; None when it must not be encrypted.

    Raises:
        SealringError: material.encrypted-key, material.not-a-key, store.password.
    """
    pem = b"-----BEGIN" in data
    if pem and data.count(b"PRIVATE KEY-----") != 2:
        raise not_a_key(where, "it does not hold exactly one whole private key")
    der = _der_of(data) if pem else data
    if len(der) > MAX_KEY_BYTES:
        raise not_a_key(where, "its private key is larger than RSA 8192")
    if cost(der)[0] > MAX_ROUNDS:
        raise not_a_key(where, f"its password is derived in more than {MAX_ROUNDS} rounds")
    encrypted = pem and (b"ENCRYPTED PRIVATE KEY" in data or b"Proc-Type: 4,ENCRYPTED" in data)
    if encrypted and password is None:
        raise _encrypted(where)
    load = load_pem_private_key if pem else load_der_private_key
    try:
        key = load(data, password.encode() if encrypted and password is not None else None)
    except TypeError:  # the library's word for "encrypted, and no password"; only DER comes here
        raise _encrypted(where) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        # `from None`: a library's message about a key is not for logs
        if encrypted:
            raise wrong_password(where, "its private key", Actor.CASSANDRA_ADMIN) from None
        kind = "an unsupported kind of key" if isinstance(error, UnsupportedAlgorithm) else "no readable private key"
        raise not_a_key(where, f"it holds {kind}") from None
    if not isinstance(key, SigningKey):
        raise not_a_key(where, "its key cannot sign, so it cannot serve TLS")
    return PrivateKey(key)


def _der_of(pem: bytes) -> bytes:
    """What the first PEM block holds; cut short where it is no base64."""
    body = pem.partition(b"-----BEGIN")[2].partition(b"-----")[2].partition(b"-----")[0]
    text = body.rpartition(b"\n\n")[2]  # RFC 1421 headers end with an empty line
    try:
        return base64.b64decode(text)
    except ValueError:
        return text


def not_a_key(where: str, found: str) -> SealringError:
    """A file that should hold a private key does not."""
    return refuse(
        "material.not-a-key",
        f"{where}: {found}; {_EXPECTED}",
        f"Deliver the key of the leaf in {where} as PKCS#8 PEM: `openssl pkcs8 -topk8 -nocrypt -in KEY`.",
        actor=Actor.PKI_ADMIN,
    )


def wrong_password(where: str, what: str, actor: Actor) -> SealringError:
    """A store or key does not open; the library does not tell a wrong password from a damaged file."""
    return refuse(
        "store.password",
        f"{where}: {what} does not open with the given password (or is damaged)",
        f"Compare the password with the one that {where} was written with, e.g. `keytool -list -keystore {where}`.",
        actor=actor,
    )


def _encrypted(where: str) -> SealringError:
    return refuse(
        "material.encrypted-key",
        f"{where}: the private key is encrypted; {_EXPECTED}",
        f"Deliver {where} decrypted with mode 0600 (`openssl pkcs8 -topk8`), or keystore.p12 with its password.",
        actor=Actor.PKI_ADMIN,
    )


def _public_der(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
