"""What a node shows of a keystore whose key it keeps: its certificates and the public half of the key."""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sealring.errors import Actor
from sealring.models.base import Sha256
from sealring.models.node import StoreFormat
from sealring.pki.certificates import MALFORMED, load_certificates, pem_blocks
from sealring.pki.keys import NodeKey, not_a_key, wrong_password
from sealring.pki.material import Material, issuing_order


@dataclass(frozen=True)
class View:
    """A keystore on a node, without its key."""

    sha256: Sha256  # of the file on the node
    size: int  # of the file on the node, in bytes
    shown: bytes = field(repr=False)  # PEM: public key and certificates; empty when the node could not open the store

    def __len__(self) -> int:
        """Bytes of the file on the node."""
        return self.size


def read_view(view: View, store_format: StoreFormat, where: str) -> Material:
    """The identity in a keystore, its key known by its public half; `trust` is empty.

    As with whole stores, PEM keeps the order of the chain; PKCS#12 has none and gets the order of issuing.

    Raises:
        SealringError: store.password, material.not-a-key, material.not-a-certificate.
    """
    if not view.shown:
        raise wrong_password(where, "the keystore", Actor.CASSANDRA_ADMIN)
    blocks = pem_blocks(view.shown, where)
    try:
        (public,) = (load_pem_public_key(text) for label, text in blocks if label == b"PUBLIC KEY")
    except MALFORMED:
        raise not_a_key(where, "the store has no private key that can be used") from None
    certificates = load_certificates(b"\n".join(text for label, text in blocks if label == b"CERTIFICATE"), where)
    key = NodeKey(public)
    leaf = next((certificate for certificate in certificates if key.belongs_to(certificate.public_key())), None)
    if leaf is None:
        raise not_a_key(where, "the store has no private key with its certificate")
    others = tuple(certificate for certificate in certificates if certificate != leaf)
    return Material(leaf, others if store_format == "PEM" else issuing_order(leaf, others), key, ())
