"""A new authority beside an old one: what a node has in force and a delivery, and what of both a rotation takes. Pure.

Whatever a node has in force of the three generations of a rotation, combining it with the same delivery again gives the
same three, or those that are left: so a rotation that was stopped anywhere goes on from what it finds.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealring.pki.acceptance import Presented, refusals
from sealring.pki.certificates import Certificates, fingerprint
from sealring.pki.material import Material, generation_id

Take = Literal["all", "trust", "identity"]


def combined(take: Take, delivered: Material, present: Material) -> Material:
    """What a node gets of a delivery.

    Args:
        take: as `MaterialRef.take` says.
        delivered: the node's material in the delivery.
        present: what the node has in force.
    """
    if take == "all":
        return delivered
    trust = union(present.trust, delivered.trust)
    return replace(present if take == "trust" else delivered, trust=trust)


def union(*sets: Iterable[x509.Certificate]) -> Certificates:
    """Each certificate once, in the order of first sight."""
    return tuple({fingerprint(certificate): certificate for each in sets for certificate in each}.values())


@dataclass(frozen=True)
class Pair:
    """One node's material: in force, and delivered."""

    node: str
    present: Material
    delivered: Material

    def generations(self) -> tuple[str, str, str]:
        """The ids of the generations of a rotation, in their order."""
        takes: tuple[Take, ...] = ("trust", "identity", "all")
        trust, identity, final = (generation_id(combined(take, self.delivered, self.present)) for take in takes)
        return trust, identity, final


def adds(pairs: Sequence[Pair], at: datetime) -> bool:
    """Whether some node would refuse a delivered leaf today: then trust must come before identity."""
    delivered = [Presented(pair.node, pair.delivered.leaf, pair.delivered.chain) for pair in pairs]
    return any(refusals(delivered, {pair.node: pair.present.trust for pair in pairs}, at))


def dropped(pairs: Sequence[Pair]) -> Certificates:
    """Authorities in force that a node would not trust any more; a renewal with the same name and key drops nothing."""
    return union(*(_left_out(pair) for pair in pairs))


def _left_out(pair: Pair) -> Iterator[x509.Certificate]:
    kept = {_authority(root) for root in pair.delivered.trust}
    return (root for root in pair.present.trust if _authority(root) not in kept)


def drops(pairs: Sequence[Pair], at: datetime) -> bool:
    """Whether the delivered trust leaves an authority out, or would refuse a leaf of today."""
    present = [Presented(pair.node, pair.present.leaf, pair.present.chain) for pair in pairs]
    return bool(dropped(pairs)) or any(refusals(present, {pair.node: pair.delivered.trust for pair in pairs}, at))


def _authority(certificate: x509.Certificate) -> tuple[bytes, bytes]:
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return certificate.subject.public_bytes(), key
