"""What a rollout will do, as data: stages of waves of nodes, with the reasons, under one digest."""

from typing import Literal

from pydantic import Field

from sealring.models.base import Fact, Sha256
from sealring.models.cluster import NodeRef, RolloutSettings
from sealring.models.material import MaterialRef
from sealring.models.schedule import Forecast, Proof, Way, digest_of

Goal = Literal["deploy", "rollback", "rotate-ca", "renew-expired"]
"""renew-expired: a deployment to a ring that its expired leaves have broken (docs/emergency.md)."""

StageKind = Literal["deploy", "trust", "identity", "drop"]
"""deploy: the whole change at once. The others are those of a CA rotation, in this order: trust both authorities,
present the new leaf, drop the old authority."""


class Target(Fact):
    """What one node shall serve, and how it is brought there."""

    node: NodeRef
    generation: Sha256
    leaf_sha256: Sha256
    apply: Way
    may_restart: bool = Field(description="Whether a reload that does not convince may be followed by a restart.")
    because: str = Field("", description="Why reload or restart.")
    vantages: tuple[NodeRef, ...] = Field((), description="Peers to probe through, and whose trust counts.")


class Wave(Fact):
    """Nodes that are activated together."""

    name: str
    targets: tuple[Target, ...]
    because: str = Field(description="Why it is safe.")
    unsafe_if: str = ""
    proof: tuple[Proof, ...] = Field((), description="The tightest replica sets; the fewest spare replicas first.")


class Stage(Fact):
    """Waves with one aim; at its end a barrier is observed."""

    name: str
    waves: tuple[Wave, ...]
    hold: bool = Field(False, description="After it a person looks, and resumes.")
    kind: StageKind = "deploy"
    material: MaterialRef | None = Field(None, description="What its nodes take of the delivery; None: as the plan's.")

    @property
    def targets(self) -> tuple[Target, ...]:
        """In order of activation."""
        return tuple(target for wave in self.waves for target in wave.targets)


class Plan(Fact):
    """The whole rollout, printable and comparable."""

    cluster: str
    goal: Goal
    material: MaterialRef | None = None
    stages: tuple[Stage, ...]
    unchanged: tuple[str, ...] = Field((), description="Addresses of nodes that already serve their generation.")
    risks: tuple[str, ...] = ()
    rules: RolloutSettings = Field(RolloutSettings(), description="Of the cluster file, with the request's overrides.")
    topology: str = Field("", description="Fingerprint of the topology that was proven against; empty: nothing was.")
    lower_bound: int = Field(0, description="No safe way to restart these nodes has fewer waves; 0: none is restarted.")
    forecast: Forecast | None = None

    @property
    def waves(self) -> tuple[Wave, ...]:
        """All waves in order."""
        return tuple(wave for stage in self.stages for wave in stage.waves)

    @property
    def targets(self) -> tuple[Target, ...]:
        """What each node shall serve in the end, in order of the nodes' first activation."""
        return tuple({target.node.address: target for stage in self.stages for target in stage.targets}.values())

    @property
    def takes_away(self) -> bool:
        """Whether some node is restarted, or may be."""
        return any(t.apply == "restart" or t.may_restart for stage in self.stages for t in stage.targets)

    def stage_of(self, wave: int) -> Stage:
        """The stage that a wave belongs to; waves are counted from 0 through all stages."""
        return [stage for stage in self.stages for _ in stage.waves][wave]

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON form (sorted keys, no spaces)."""
        return digest_of(self)
