"""Where material comes from, and what may be said about it without holding it."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from sealring.models.base import Fact, Input, Line, Sha256
from sealring.models.evidence import Finding


class MaterialRef(Input):
    """A reference to a delivery: never the material itself.

    `digest` is filled in when the reference is resolved; from then on other content at the same place is refused.
    """

    provider: Literal["files", "vault"] = "files"
    path: Line = Field(
        min_length=1,
        description="For `files`: a directory readable by the deploy workers. For `vault`: mount of a KV engine "
        "(version 2) and path in it, `kv/cassandra/prod`.",
    )
    digest: Sha256 | None = Field(None, description="SHA-256 over the generations of all nodes; pins the content.")
    take: Literal["all", "trust", "identity"] = Field(
        "all",
        description="Set by a CA rotation. trust: what a node has in force, with the delivery's authorities beside its "
        "own; identity: the delivery's leaf, chain and key, with the authorities of both.",
    )


class CertificateFacts(Fact):
    """The public facts of one certificate. Times are UTC."""

    sha256: Sha256
    subject: str
    issuer: str
    serial: str
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    key: str = Field(description="Kind and size: `EC secp256r1`, `RSA 2048`.")


class NodeMaterial(Fact):
    """What one node should serve."""

    address: str
    generation: Sha256
    leaf: CertificateFacts
    trust: tuple[Sha256, ...] = Field((), description="Fingerprints of the authorities the node shall trust.")


class NodeRotation(Fact):
    """What one node is to have in force, stage by stage of a CA rotation."""

    address: str
    trust: Sha256 = Field(description="Generation: the identity of now, the authorities of now and of the delivery.")
    identity: Sha256 = Field(description="Generation: the identity of the delivery, the authorities of both.")
    final: Sha256 = Field(description="Generation: the delivery as it is.")
    leaf_now: Sha256
    leaf_new: Sha256


class RotationMaterial(Fact):
    """A delivery of a new authority, looked at beside what the nodes have in force."""

    ref: MaterialRef
    nodes: tuple[NodeRotation, ...]
    adds: bool = Field(description="Some node would refuse a delivered leaf today: trust must come first.")
    drops: bool = Field(description="The delivery leaves out an authority, or would refuse a leaf of today.")
    authorities: tuple[str, ...] = Field((), description="Those that are left out: subject and fingerprint.")
    findings: tuple[Finding, ...] = ()


class ResolvedMaterial(Fact):
    """A delivery, looked at: what every node would get, and what is wrong with it."""

    ref: MaterialRef
    nodes: tuple[NodeMaterial, ...]
    findings: tuple[Finding, ...] = ()
