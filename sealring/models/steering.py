"""Steering a running rollout: what people may say to it, what it asks them, and what it shows."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from sealring.models.base import Address, Fact, Input, Line
from sealring.models.plan import Goal
from sealring.models.problem import Problem
from sealring.models.rollout import NodeState, Phase, Timing


class Command(Input):
    """A word from a person or a service to a running rollout: abort, pause, resume."""

    reason: Line = ""
    by: Line = ""


RING = "ring"
"""In place of a node's address: the question is about the ring as a whole."""


class Resolution(Input):
    """The answer to a decision about one node, or about the ring."""

    node: Address = Field(description="Address of the node the question is about, or `ring`.")
    action: Literal["retry", "skip", "go-on", "drop", "stop"] = Field(
        description="One of those that the question has. What cannot be taken back has a word of its own, so that an "
        "answer to another question does not do it."
    )
    reason: Line = ""
    by: Line = ""


class Decision(Fact):
    """A question the engine asks: what to do about one node, or about the ring."""

    node: str = Field(description="Its address, or `ring`.")
    problem: Problem
    options: tuple[str, ...] = ("retry", "skip", "stop")
    default: str = "stop"
    deadline: datetime


class PendingStep(Fact):
    """A step that a worker has in hand or that waits to be tried again. Temporal knows it, not the workflow: it is
    filled in by whoever asks."""

    step: str
    node: str = ""
    attempt: int = 1
    problem: Problem | None = Field(None, description="What the attempt before ended with.")
    next_at: datetime | None = Field(None, description="When it is tried again; None: it is at work.")
    progress: str = Field("", description="What the attempt said last: bytes sent.")

    def __str__(self) -> str:
        if self.problem is None:
            return self.progress
        code = f"{self.problem.code}: {self.problem.message}"
        if self.next_at is None:
            return f"attempt {self.attempt} {self.progress} (before: {code})".replace("  ", " ")
        return f"waiting: {code} (attempt {self.attempt} at {self.next_at:%H:%M:%SZ})"


class NodeStatus(Fact):
    """One line of the status page."""

    address: str
    state: NodeState
    problem: str = ""


class RolloutStatus(Fact):
    """What a rollout is doing now; answers the `status` query and feeds the page in the Temporal UI."""

    cluster: str
    goal: Goal
    phase: Phase
    waiting_for: str = Field("", description="What must happen next, in words.")
    commands: tuple[str, ...] = Field((), description="Commands that steer it from here.")
    stage: str = Field("", description="Name of the stage in hand, where there are several.")
    wave: int = Field(0, description="Number of the wave in hand, from 1; 0 before the first.")
    waves: int = 0
    nodes: tuple[NodeStatus, ...] = ()
    percent: int = 0
    seconds_left: float | None = Field(None, description="Estimate from the nodes done so far; None before the first.")
    decision: Decision | None = None
    problem: Problem | None = None
    plan_digest: str = ""
    by_hand: tuple[str, ...] = Field((), description="Checklist for a person, line by line: see the report's.")
    waived: tuple[str, ...] = Field((), description="Waivers of the request: check, end, reason.")
    started_at: datetime
    pending: tuple[PendingStep, ...] = ()


class NodeStep(Fact):
    """What a node's workflow is doing; answers its `status` query."""

    step: str
    paused: bool = False
    timings: tuple[Timing, ...] = ()
    remark: str = Field("", description="A signal that was ignored, and why.")
    pending: tuple[PendingStep, ...] = ()
