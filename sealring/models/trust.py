"""What nodes and clients show each other in TLS and whom they believe, by reference to certificates; and what follows.

Nothing here is secret: certificates are named by their SHA-256, keys do not appear at all.
"""

from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from sealring.models.base import Fact, Sha256
from sealring.models.cluster import ClusterName, ListenerKind, NodeRef
from sealring.models.material import MaterialRef
from sealring.models.plan import Plan

TlsRole = Literal["server", "client"]
Kind = Literal["path", "usage", "address"]


class Identity(Fact):
    """What is sent in a handshake: the leaf, and the chain behind it in its order."""

    leaf: Sha256
    chain: tuple[Sha256, ...] = ()


class Demands(Fact):
    """What a block of cassandra.yaml demands. Source: Cassandra's `EncryptionOptions`."""

    client_auth: bool = Field(description="require_client_auth: who dials must show a certificate too.")
    endpoint_verification: bool = Field(
        description="require_endpoint_verification: between nodes it counts both ways, for the address that is dialled "
        "and for the one that a connection comes from (SocketFactory.newSslHandler)."
    )


class NodeTrust(Fact):
    """One node in one generation. All of its listeners show the same identity and believe the same authorities."""

    address: str = Field(description="The node's name in findings.")
    identity: Identity
    dialling: Identity | None = Field(
        None,
        description="What it shows to the peers that it dials; None: the same. Source: `outbound_keystore` of "
        "server_encryption_options (5.0, CASSANDRA-17513).",
    )
    trust: tuple[Sha256, ...] = Field(description="Everything in its truststore, intermediates and leaves included.")
    dialled: tuple[str, ...] = Field(description="Addresses that peers dial.")
    source: tuple[str, ...] = Field(description="Addresses that its own connections come from, as peers see them.")
    serving: tuple[str, ...] = Field((), description="Addresses that clients dial.")
    internode: Demands | None = Field(None, description="None: no TLS between nodes.")
    native: Demands | None = Field(None, description="None: no TLS for clients.")


class ClientTrust(Fact):
    """A client of the ring. It keeps what it has during a rollout."""

    name: str
    identity: Identity | None = Field(None, description="None: it shows no certificate.")
    trust: tuple[Sha256, ...] = Field((), description="Empty: not known, so not judged.")
    endpoint_verification: bool = True


class TrustStep(Fact):
    """A wave: its nodes, as they are when it is over. While it runs, any of them may have flipped."""

    name: str
    after: tuple[NodeTrust, ...]
    settled: bool = Field(
        True,
        description="Whether every node of this wave and of those before is observed in its generation before the "
        "next wave. False where failed nodes may stay behind (failure_budget above 0, no barrier).",
    )


class Break(Fact):
    """Two who could not talk, in the first state in which that is so."""

    wave: str = Field(description="Empty: before the rollout.")
    flipped: tuple[str, ...] = Field((), description="Of this wave and this pair; all of the waves before have.")
    presenter: str
    judge: str
    listener: ListenerKind
    role: TlsRole = Field(description="In which the certificate is shown: `client` is the side that dials.")
    kind: Kind
    reason: str
    remedy: str
    at: datetime

    def __str__(self) -> str:
        flipped = f"{' and '.join(self.flipped)} {'has' if len(self.flipped) == 1 else 'have'} flipped"
        when = f"in {self.wave}, when {flipped}" if self.wave else "before anything flips"
        how = f"dialling {self.presenter}" if self.role == "server" else f"dialled by {self.presenter}"
        return (
            f"{when}: {self.judge}, {how} ({self.listener}), would refuse its certificate at "
            f"{self.at:%Y-%m-%d %H:%M} UTC: {self.reason}"
        )


class BreakGroup(Fact):
    """Breaks of one kind in one wave."""

    count: int = Field(description="Ordered pairs and generations concerned.")
    example: Break


class TrustReport(Fact):
    """The answer of a simulation. What is counted: who shows to whom, in which role and generations of both."""

    nodes: int
    clients: int = 0
    waves: int
    start: AwareDatetime
    end: AwareDatetime
    checked: int
    passed: int
    broken: int = Field(description="By the rollout.")
    first: Break | None = Field(None, description="The first break by the rollout, in order of waves.")
    breaks: tuple[BreakGroup, ...] = Field((), description="By the rollout, in order of waves; the first few.")
    already: tuple[BreakGroup, ...] = Field((), description="Fail now, without us.")
    ending: tuple[BreakGroup, ...] = Field((), description="Work now and end before the rollout does, without us.")


class TrustQuestion(Fact):
    """Could all talk to all in every state of this plan?"""

    cluster: ClusterName
    nodes: tuple[NodeRef, ...] = Field((), description="Every node of the ring; empty: as the ring says by then.")
    plan: Plan
    until: AwareDatetime = Field(description="When the rollout is over, with margin, by its forecast.")
    material: MaterialRef | None = Field(
        None, description="A delivery that is not on the disks yet: what is planned is taken from there."
    )
