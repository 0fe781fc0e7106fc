"""Requests, orders to one node, and outcomes: what travels between starters, workflows and activities."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from pydantic import Field, field_validator, model_validator

from sealring.models.base import Address, Fact, Input, Line, Many, Sha256
from sealring.models.checks import EMERGENCY, objection_to
from sealring.models.cluster import Apply, Batch, ClusterName, NodeRef, RolloutSettings, Strategy, formerly_wave
from sealring.models.evidence import BLOCKING, Finding, Served, Verification
from sealring.models.material import MaterialRef, ResolvedMaterial, RotationMaterial
from sealring.models.node import ClusterView, Generation
from sealring.models.plan import Goal, Plan, StageKind, Target
from sealring.models.problem import Problem
from sealring.models.waiver import Waive, Waiver, implied


class RolloutRequest(Input):
    """What a person or a service asks for; smallest: {"cluster": "lab", "material": {"path": "/deliveries/may"}}."""

    cluster: ClusterName
    goal: Goal = "deploy"
    material: MaterialRef | None = Field(None, description="Needed to deploy and to rotate; a rollback takes none.")
    nodes: tuple[Address, ...] = Field((), max_length=Many, description="Only these addresses; empty: all nodes.")
    dry_run: bool = Field(False, description="Stop after the plan; nothing on any node changes.")
    apply: Apply | None = Field(None, description="Overrides the cluster file.")
    strategy: Strategy | None = Field(None, description="Overrides the cluster file.")
    batch: Batch | None = Field(None, description="Overrides the cluster file.")
    failure_budget: int | None = Field(None, ge=0, le=Many, description="Overrides the cluster file.")
    on_failure: Literal["stop", "ask"] | None = Field(None, description="Overrides the cluster file.")
    waive: tuple[Waive, ...] = Field(
        (),
        max_length=100,
        description="Checks whose failure shall not block: `material.trusted-by-peers`; none that is a blocker "
        "(docs/checks.md). Kept in the report.",
    )
    old_authority: Literal["ask", "drop", "keep"] = Field(
        "ask",
        description="Of rotate-ca, when every node serves the new leaf. ask: a person decides whether the old "
        "authority is dropped; drop: it is, once nothing is seen to need it; keep: both stay trusted.",
    )
    requester: Line = ""
    reason: Line = Field("", description="Needed to renew what has expired.")

    _formerly = model_validator(mode="before")(formerly_wave)

    @field_validator("nodes")
    @classmethod
    def _no_node_twice(cls, nodes: tuple[str, ...]) -> tuple[str, ...]:
        twice = next((node for node in nodes if nodes.count(node) > 1), None) if len(set(nodes)) < len(nodes) else None
        if twice:
            raise ValueError(f"{twice} stands twice: was another node meant?")
        return nodes

    @field_validator("waive")
    @classmethod
    def _may_be_waived(cls, waive: tuple[Waiver, ...]) -> tuple[Waiver, ...]:
        if objection := objection_to(waiver.code for waiver in waive):
            raise ValueError(objection)
        return waive

    @model_validator(mode="after")
    def _material_goes_with_deploy(self) -> "RolloutRequest":
        if (self.material is None) != (self.goal == "rollback"):
            raise ValueError("material: needed unless goal is rollback, and only then")
        if self.material is not None and self.material.take != "all":
            raise ValueError("material.take: leave it out, a CA rotation sets it")
        return self

    @model_validator(mode="after")
    def _an_emergency_is_meant(self) -> "RolloutRequest":
        if self.goal == "renew-expired" and not self.reason:
            raise ValueError("reason: an emergency is kept in the report with its reason")
        if self.goal == "renew-expired" and (self.strategy or self.batch):
            raise ValueError("strategy, batch: leave them out, an emergency has waves of its own")
        return self

    @property
    def waivers(self) -> tuple[Waiver, ...]:
        """What was waived, and what follows from the goal: a broken ring cannot be seen whole before it is mended."""
        if self.goal != "renew-expired":
            return self.waive
        return (*self.waive, *implied(EMERGENCY, f"expired-ring emergency: {self.reason}"))


class NodeOrder(Fact):
    """Everything an activity must know about the node it works on."""

    cluster: ClusterName
    rollout: str = Field(
        description="Token of intents on the node: the run id; in a CA rotation with `/` and the kind of its stage."
    )
    target: Target
    material: MaterialRef | None = Field(None, description="None in a rollback: the generation is on the node.")
    waive: tuple[Waive, ...] = ()
    rules: RolloutSettings = RolloutSettings()
    start_timeout: timedelta = Field(timedelta(minutes=5), description="Of the cluster file: until the node is back.")
    before: Generation | None = Field(None, description="In force before the rollout: the way back.")
    topology: str = Field("", description="Fingerprint of the topology that the plan was proven against, or empty.")
    looked_at: datetime | None = Field(
        None, description="The ring was looked at then, for all of the wave; None: nobody looked for this activation."
    )
    beside: tuple[str, ...] = Field((), description="Addresses of the wave's other nodes that may be restarted now.")
    alone: bool = Field(
        False,
        description="In an emergency: peers that are still to be worked on cannot see the node. Its listeners are "
        "proven; how the ring sees it is proven when the last node is done.",
    )

    @property
    def node(self) -> NodeRef:
        """The node the order is for."""
        return self.target.node


class Readiness(Fact):
    """The answer of one step of preparation: findings, and what was found on the node."""

    findings: tuple[Finding, ...] = ()
    current: Generation | None = None

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """Findings that forbid going on: failures, and checks that gave no answer."""
        return tuple(f for f in self.findings if f.verdict in BLOCKING)


class Transferred(Fact):
    """A generation that is on the node's disk, not yet in force."""

    generation: Sha256
    bytes_sent: int = 0
    skipped: bool = Field(False, description="It was there already, with the right digests.")


class Activated(Fact):
    """After the flip: what is in force and what was before."""

    current: Sha256
    previous: Sha256 | None
    changed: bool = Field(True, description="False: it was in force already.")


class Applied(Fact):
    """After a reload or a restart."""

    findings: tuple[Finding, ...] = ()


class Drained(Fact):
    """After a drain: which process is about to be replaced, so that a restart is never repeated."""

    started_at: str = Field(description="Start of the process before the restart (clock ticks since boot).")
    findings: tuple[Finding, ...] = ()


class RestartOrder(Fact):
    """Restart Cassandra on this node unless a process younger than `started_at` runs already."""

    order: NodeOrder
    started_at: str


class FlipOrder(Fact):
    """Put a generation that is on the node's disk in force."""

    order: NodeOrder
    generation: Sha256


class VerifyOrder(Fact):
    """Prove that this generation is in force on a node and that every listener serves its leaf."""

    order: NodeOrder
    generation: Sha256
    leaf_sha256: Sha256


class Phase(StrEnum):
    """Where a rollout is."""

    OBSERVING = "Observing"
    PLANNING = "Planning"
    PREPARING = "Preparing"
    ACTIVATING = "Activating"
    PAUSED = "Paused"
    NEEDS_DECISION = "NeedsDecision"
    REPORTING = "Reporting"
    DONE = "Done"
    REFUSED = "Refused"
    FAILED = "Failed"
    ABORTED = "Aborted"


ENDINGS = frozenset({Phase.DONE, Phase.REFUSED, Phase.FAILED, Phase.ABORTED})
"""Phases that a rollout does not leave."""


class NodeState(StrEnum):
    """Where one node is."""

    WAITING = "waiting"
    PREPARING = "preparing"
    PREPARED = "prepared"
    REFUSED = "refused"
    ACTIVATING = "activating"
    SERVING = "serving"  # the intended generation, proven
    UNCHANGED = "unchanged"  # served it before we came
    ROLLED_BACK = "rolled-back"  # the previous generation, proven
    UNTOUCHED = "untouched"  # stopped before anything in force was changed
    BROKEN = "broken"  # neither could be proven: a person must look


class Timing(Fact):
    """How long one step took, in seconds of wall time."""

    step: str
    seconds: float


class NodeOutcome(Fact):
    """How it ended on one node."""

    address: str
    state: NodeState
    generation: str = Field("", description="The generation in force now, where the rollout changed it.")
    before: Generation | None = Field(None, description="The generation in force when the node was backed up.")
    method: str = Field("", description="`reload`, `restart`, or `reload+restart`.")
    problem: Problem | None = None
    verification: Verification | None = None
    findings: tuple[Finding, ...] = ()
    timings: tuple[Timing, ...] = ()


class MatrixRow(Fact):
    """Intended, on disk, served: one node of the served-certificate matrix (fingerprints of leaves)."""

    address: str
    intended: str
    on_disk: str
    served: tuple[Served, ...]

    @property
    def consistent(self) -> bool:
        """Whether disk and every listener at every vantage show the intended leaf."""
        return self.on_disk == self.intended and all(s.leaf_sha256 == self.intended for s in self.served)


class MatrixRows(Fact):
    """The served-certificate matrix."""

    rows: tuple[MatrixRow, ...]


class RolloutReport(Fact):
    """The result of a rollout."""

    cluster: str
    goal: Goal
    outcome: Phase
    plan: Plan | None = None
    plan_digest: str = ""
    nodes: tuple[NodeOutcome, ...] = ()
    matrix: tuple[MatrixRow, ...] = ()
    findings: tuple[Finding, ...] = Field((), description="Of the delivery and the ring as a whole.")
    waived: tuple[Waive, ...] = ()
    by_hand: tuple[str, ...] = Field((), description="Checklist for nodes that could not be proven, line by line.")
    problem: Problem | None = None
    started_at: datetime
    finished_at: datetime | None = None
    requester: str = ""
    reason: str = ""


class Carried(Fact):
    """What a rollout hands to itself when it continues as new, between two waves."""

    plan: Plan
    waves_done: int
    nodes: tuple[NodeOutcome, ...]
    skipped: tuple[str, ...] = Field((), description="Failed nodes that a person decided to leave as they are.")
    findings: tuple[Finding, ...] = ()
    started_at: datetime
    paused: bool = False
    width: int | None = Field(None, description="Most nodes at once, after the ring was too busy; None: as planned.")


class RolloutRun(RolloutRequest):
    """The workflow's argument: a request, and after continue-as-new what was carried over."""

    carried: Carried | None = Field(None, description="Set by the engine itself; leave it out.")


# What activities take, beside NodeOrder.


class ClusterQuestion(Fact):
    """Look at a ring: all of it, or these nodes' hosts only."""

    cluster: ClusterName
    nodes: tuple[str, ...] = ()


class MaterialQuestion(Fact):
    """Resolve a delivery for the nodes of a ring and lint it."""

    view: ClusterView
    ref: MaterialRef
    nodes: tuple[str, ...] = ()


class PlanQuestion(Fact):
    """Make a plan from what was observed."""

    request: RolloutRequest
    view: ClusterView
    material: ResolvedMaterial | None = None
    rotation: RotationMaterial | None = None
    again: bool = Field(
        False, description="For what remains of a rollout: a waiver that the ring no longer needs is no mistake."
    )


class BarrierQuestion(Fact):
    """Does what a stage of a CA rotation was for hold on every node of the ring, as far as it can be seen?"""

    cluster: ClusterName
    before: StageKind | Literal["end"] = Field(description="The stage that may begin when it holds; end: none is left.")
    material: MaterialRef
    targets: tuple[Target, ...] = Field(description="What nodes are to have in force now, those that were worked on.")


class RingQuestion(Fact):
    """Is the ring well enough to begin a wave: nodes up and normal for their peers, and the proof still true?"""

    cluster: ClusterName
    waive: tuple[str, ...] = Field((), description="Codes that are waived now.")
    fingerprint: str = Field("", description="Of the topology that was planned for; empty: the plan had none.")
    restarts: tuple[str, ...] = Field((), description="Addresses that the wave restarts together.")
    fallbacks: tuple[str, ...] = Field((), description="Addresses that are restarted if a reload does not convince.")
    beside: tuple[str, ...] = Field((), description="Addresses that may be away meanwhile, by the same wave's doing.")
    begun: bool = Field(False, description="The wave has begun: its own nodes may be down, so the proof alone counts.")
    wave: tuple[NodeRef, ...] = Field((), description="Its nodes: one that is no longer in the ring changes the plan.")
    rollout: str = Field("", description="Token of our own intents on nodes; empty: nobody asks for others at work.")


class RingAnswer(Readiness):
    """Findings about the ring, and what they mean for the wave that was asked about."""

    changed: bool = Field(False, description="The ring is not the one that was planned for.")
    unproven: tuple[str, ...] = Field((), description="Of `fallbacks`: nodes whose restart would not be safe now.")


class MatrixQuestion(Fact):
    """Build the served-certificate matrix for these targets."""

    cluster: ClusterName
    targets: tuple[Target, ...]
