"""Material: leaf, chain, key and trust of one node; how it is read from a delivery, and its content address."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509

from sealring.errors import Actor, refuse
from sealring.pki._pkcs12 import open_pkcs12
from sealring.pki.certificates import Certificates, der, fingerprint, load_certificates
from sealring.pki.keys import NodeKey, PrivateKey, load_private_key
from sealring.pki.requests import read_request


@dataclass(frozen=True)
class Material:
    """What a node needs for TLS. Nothing is judged here: a key that does not match the leaf is for `policy.lint`."""

    leaf: x509.Certificate
    chain: Certificates  # intermediates in delivered order, the leaf not among them
    key: PrivateKey | NodeKey = field(repr=False)
    trust: Certificates  # authorities the node shall trust; no order


def read_pem_material(certificate: bytes, key: bytes, trust: bytes, *, chain: bytes = b"", where: str) -> Material:
    """Read a delivery of PEM (or DER) files.

    Args:
        certificate: leaf first, then its chain (the tls.crt of a Kubernetes TLS secret).
        key: private key, not encrypted.
        trust: authorities to trust.
        chain: intermediates that are kept in a file of their own.
        where: the delivery's folder, for messages.

    Raises:
        SealringError: material.not-a-certificate, material.key-exposed, material.not-a-key, material.encrypted-key.
    """
    leaf, *above = load_certificates(certificate, f"{where}/tls.crt")
    if chain:
        above += load_certificates(chain, f"{where}/chain")
    return Material(
        leaf=leaf,
        chain=tuple(above),
        key=load_private_key(key, f"{where}/tls.key"),
        trust=load_certificates(trust, f"{where}/ca.crt"),
    )


def read_issued_material(certificate: bytes, request: bytes, trust: bytes, *, where: str) -> Material:
    """Read a delivery whose key lies on its node: what was issued for the request that the node made.

    Args:
        certificate: leaf first, then its chain.
        request: the node's request (PKCS#10), which tells the public half of the key.
        trust: authorities to trust.
        where: the delivery's folder, for messages.

    Raises:
        SealringError: material.not-a-certificate, material.key-exposed, material.not-a-request.
    """
    leaf, *above = load_certificates(certificate, f"{where}/tls.crt")
    key = read_request(request, f"{where}/tls.csr").key
    return Material(leaf, tuple(above), key, load_certificates(trust, f"{where}/ca.crt"))


def read_pkcs12_material(data: bytes, password: str, trust: bytes, *, where: str) -> Material:
    """Read a delivery that is a PKCS#12 keystore and a file of authorities (PEM or DER).

    PKCS#12 keeps no order of certificates: the chain is put in the order of issuing.

    Raises:
        SealringError: store.password, store.format, material.not-a-certificate, material.key-exposed,
            material.not-a-key.
    """
    leaf, key, others = open_pkcs12(data, password, f"{where}/keystore.p12", Actor.PKI_ADMIN).identity()
    return Material(leaf, issuing_order(leaf, others), key, load_certificates(trust, f"{where}/ca.crt"))


def links(leaf: x509.Certificate, others: Sequence[x509.Certificate]) -> Certificates:
    """Those of `others` that lead upwards from the leaf, each the issuer (by name) of the one before."""
    rest = list(others)
    path = [leaf]
    while above := next((c for c in rest if c.subject == path[-1].issuer and c not in path), None):
        rest.remove(above)
        path.append(above)
    return tuple(path[1:])


def issuing_order(leaf: x509.Certificate, others: Sequence[x509.Certificate]) -> Certificates:
    """`others` with those first that lead upwards from the leaf; the rest as they were."""
    linked = links(leaf, others)
    return (*linked, *(c for c in others if c not in linked))


def generation_id(material: Material) -> str:
    """Content address of the material: SHA-256, lower-case hexadecimal.

    Over length-prefixed parts, public ones alone: leaf, number and DER of the chain, sorted fingerprints of the trust.
    The leaf names its key, so the id can be told without having it. The same material has the same id whatever files
    it came from (PEM, DER, PKCS#12, authorities in another order or twice); any other leaf, chain or trust has another.
    """
    trust = sorted({fingerprint(certificate) for certificate in material.trust})
    parts = [
        der(material.leaf),
        len(material.chain).to_bytes(4, "big"),
        *(der(certificate) for certificate in material.chain),
        "".join(trust).encode(),
    ]
    digest = hashlib.sha256(b"sealring generation v2\0")
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def require_matching_key(material: Material, where: str) -> None:
    """Refuse to go on with a key that is not the leaf's: no store may be written from it.

    Raises:
        SealringError: material.key-matches-leaf.
    """
    if not material.key.belongs_to(material.leaf.public_key()):
        raise refuse(
            "material.key-matches-leaf",
            f"{where}: the private key does not belong to the leaf {fingerprint(material.leaf)[:12]}",
            "Deliver the key that the certificate was issued for.",
            actor=Actor.PKI_ADMIN,
        )
