"""Which nodes of a ring are worked on together, in which order, and why that is safe: the planner's answer as data.

Made from a `Topology` alone, so that a plan can be judged without a ring (`sealring rollout plan --topology`). The
plan of a rollout (`models.plan`) carries the same proofs.
"""

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, Field

from sealring.models.base import Fact
from sealring.models.cluster import Strategy

Way = Literal["reload", "restart"]


def digest_of(model: BaseModel) -> str:
    """SHA-256 over the canonical JSON form (sorted keys, no spaces)."""
    canonical = json.dumps(model.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


class Proof(Fact):
    """One replica set of a promise while a wave is worked on."""

    keyspaces: tuple[str, ...] = Field(
        description="Those whose ranges it holds; all of them have the same replication."
    )
    others: int = Field(0, description="More keyspaces of the same replication and consistency levels, not named here.")
    consistency: str
    datacenter: str = Field("", description="Where the replicas are counted; empty: everywhere.")
    replicas: tuple[str, ...] = Field(description="Addresses.")
    away: tuple[str, ...] = Field(description="Of the replicas: those of the wave, and those that are down or suspect.")
    remain: int
    required: int = Field(
        description="Replicas that must stay: as the consistency level needs by the configured factor; where that is "
        "waived for this keyspace, all of them but one."
    )


class Blocked(Fact):
    """Nodes that cannot be worked on now without breaking a promise."""

    nodes: tuple[str, ...]
    kind: Literal["never", "wait"] = Field(description="never: not as the ring is configured; wait: replicas are away.")
    because: str
    keyspaces: tuple[str, ...] = ()
    ways_out: tuple[str, ...] = ()


class Pace(Fact):
    """Seconds that one node takes, from the flip to its proof: usual, least, most."""

    reload: tuple[float, float, float]
    restart: tuple[float, float, float]
    settle: tuple[float, float, float] = Field(description="After a wave.")
    beside: float = Field(description="For each further node of a wave: the workers' share.")
    source: str


MEASURED = Pace(
    reload=(3.2, 3.0, 3.3),
    restart=(21.8, 19.2, 24.5),
    settle=(5.9, 4.7, 5.9),
    beside=0.6,
    source="docs/performance.md: three small nodes, 100 hosts; nodes with much data take longer to drain and to start",
)
"""`make bench RING=1` (activation, settle) and `make bench FLEET=100` (60 s for 100 hosts)."""


class Forecast(Fact):
    """How long all waves take together, without holds, windows and preparation. Seconds."""

    seconds: float
    least: float
    most: float
    source: str = ""


class ScheduledWave(Fact):
    """Nodes that are worked on together."""

    name: str
    way: Way
    nodes: tuple[str, ...] = Field(description="Addresses, in the order they are begun.")
    because: str = Field(description="Why it is safe.")
    may_restart: bool = Field(
        False, description="By reload: a restart may follow where that does not convince. Alone, and no promise breaks."
    )
    unsafe_if: str = ""
    proof: tuple[Proof, ...] = Field((), description="The tightest replica sets; the fewest spare replicas first.")


class ScheduledStage(Fact):
    """Waves with one aim."""

    name: str
    waves: tuple[ScheduledWave, ...]
    hold: bool = Field(False, description="After it a person looks, and resumes.")


class Schedule(Fact):
    """Waves for a ring."""

    cluster: str
    topology: str = Field(description="Fingerprint of the topology that was proven against.")
    strategy: Strategy
    reserve: int
    infeasible: tuple[Blocked, ...] = Field((), description="Nodes that are in no wave, and the ways out.")
    stages: tuple[ScheduledStage, ...]
    lower_bound: int = Field(
        description="No way to restart these nodes that keeps promises and reserve has fewer waves. 0: none is."
    )
    forecast: Forecast
    risks: tuple[str, ...] = ()

    @property
    def waves(self) -> tuple[ScheduledWave, ...]:
        """All waves in order."""
        return tuple(wave for stage in self.stages for wave in stage.waves)

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON form."""
        return digest_of(self)
