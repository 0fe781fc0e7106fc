"""Certificates for keys that nodes make themselves: what is asked, and what came of it."""

from pydantic import Field, field_validator

from sealring.models.base import Address, Fact, Input, Line, Many, Sha256
from sealring.models.cluster import ClusterName, NodeRef
from sealring.models.evidence import Finding
from sealring.models.material import CertificateFacts
from sealring.models.problem import Problem


class IssueRequest(Input):
    """What a person or a service asks for; smallest: {"cluster": "lab", "path": "/deliveries/june"}."""

    cluster: ClusterName
    path: Line = Field(description="Directory on the deploy workers that becomes the delivery; it holds no keys.")
    nodes: tuple[Address, ...] = Field((), max_length=Many, description="Only these addresses; empty: all nodes.")

    @field_validator("path")
    @classmethod
    def _from_the_root(cls, path: str) -> str:
        if not path.startswith("/"):
            raise ValueError("expected an absolute path: a worker has another working directory than you")
        return path


class IssueOrder(Fact):
    """Everything an activity must know to have a certificate issued for one node."""

    cluster: ClusterName
    path: str
    node: NodeRef


class Issued(Fact):
    """A certificate beside its key on a node, and in the delivery."""

    generation: Sha256
    leaf: CertificateFacts
    anew: bool = Field(description="False: it was there, and is good.")
    key_at: str = Field(description="Folder of the key on the node, until a rollout has brought it into force.")
    findings: tuple[Finding, ...] = ()


class IssueOutcome(Fact):
    """How it ended for one node: one of the two."""

    address: str
    issued: Issued | None = None
    problem: Problem | None = None


class IssueReport(Fact):
    """The delivery that was made, node by node."""

    cluster: str
    path: str
    nodes: tuple[IssueOutcome, ...]

    @property
    def complete(self) -> bool:
        """Whether every node has its certificate."""
        return all(node.issued is not None for node in self.nodes)
