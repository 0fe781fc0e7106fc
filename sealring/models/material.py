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


class ResolvedMaterial(Fact):
    """A delivery, looked at: what every node would get, and what is wrong with it."""

    ref: MaterialRef
    nodes: tuple[NodeMaterial, ...]
    findings: tuple[Finding, ...] = ()
