"""Which cells there are: every fault at every step where it can matter, on the kinds of ring that can show it."""

from collections.abc import Sequence
from typing import Literal

from lab import tools
from lab.spec import NET, LabSpec
from sealring.models.node import Layout
from tests.chaos.faults import FAULTS
from tests.chaos.play import Cell
from tests.chaos.steps import STEPS

TEMPORAL_PORT = 17240 + 10 * NET  # of each ring its first node's number above this
Software = Literal["5.0", "stand-in"]

NODE = (
    "inspect",
    "back up",
    "transfer",
    "check",
    "activate",
    "reload",
    "drain",
    "restart",
    "verify",
    "settle",
    "roll back",
)
RING = ("observe", "plan", "wave start", "wave end", "continue-as-new", "report")
WRITING = ("back up", "transfer", "activate", "settle", "roll back")
REACHING = (*NODE, "observe", "wave start", "report")

WHERE: dict[str, Sequence[str]] = {
    "deploy worker killed": (*NODE, *RING),
    "control worker killed": (*NODE, *RING),
    "Temporal server killed": (*NODE, *RING),
    "Cassandra killed": REACHING,
    "SSH cut (RST)": REACHING,
    "SSH frozen": REACHING,
    "disk full": WRITING,
    "disk read-only": WRITING,
    "files of somebody else": ("back up", "transfer", "activate", "roll back"),
    "worker paused": (*NODE, "observe", "wave start", "wave end", "report"),
    "second worker takes over, first wakes": (*NODE, "observe", "wave start", "wave end", "report"),
    "worker's clock wrong": ("observe", "check", "activate", "verify", "roll back"),
    "second rollout by hand": ("observe", "activate", "wave start", "report"),
    "reload by hand": ("activate", "reload", "verify", "roll back"),
    "restart by hand": ("activate", "reload", "drain", "restart", "verify", "settle", "roll back"),
    "host key changed": ("inspect", "transfer", "activate", "reload", "verify", "settle", "roll back"),
    "another rollout's intent": ("inspect", "back up", "transfer", "activate", "settle"),
    "a file in force changed by hand": ("check", "activate", "wave start"),
    "the staged generation damaged": ("check", "activate"),
    "store password changed": ("activate", "reload", "drain"),
}

TAKES_AWAY = tuple(FAULTS)[:6]  # processes and links
ON_REAL = ("activate", "reload", "restart", "verify", "roll back")
ON_SLOTS = ("transfer", "activate", "restart", "roll back")
ON_SLOTS_FAULTS = ("deploy worker killed", "Cassandra killed", "SSH cut (RST)", "disk full", "disk read-only")

MATTER_MOST = (
    ("deploy worker killed", "restart"),
    ("control worker killed", "continue-as-new"),
    ("Temporal server killed", "activate"),
    ("Cassandra killed", "activate"),
    ("SSH cut (RST)", "activate"),
    ("SSH cut (RST)", "roll back"),
    ("second worker takes over, first wakes", "drain"),
    ("disk full", "transfer"),
    ("host key changed", "verify"),
    ("another rollout's intent", "activate"),
)
"""Played on a stand-in: by `make test`, and by `make test-ring` those of LONG."""

LONG = ("control worker killed", "second worker takes over, first wakes", "host key changed")


def rings() -> dict[str, list[LabSpec]]:
    """The rings that cells are played on, by kind; those of one kind share its cells."""

    def lab(name: str, first: int, software: Software, layout: Layout = "in-place") -> LabSpec:
        root, port = tools.cache() / "chaos" / name, TEMPORAL_PORT + first
        return LabSpec(root, cassandra=software, first=first, layout=layout, temporal_port=port)

    return {
        "stand-in": [lab("stand-in-1", 101, "stand-in"), lab("stand-in-2", 104, "stand-in")],
        "slots": [lab("slots", 107, "stand-in", "slots")],
        "real": [lab("real", 110, "5.0")],
    }


def cells() -> list[Cell]:
    """All of them; of the many, every fault once before any comes again, so that a bounded run shows most."""
    turns = [
        (turn, Cell("stand-in", fault, steps[(turn + row) % len(steps)]))
        for row, (fault, steps) in enumerate(WHERE.items())
        for turn in range(len(steps))
    ]
    stand_in = [cell for _, cell in sorted(turns, key=lambda each: each[0])]
    slots = [Cell("slots", fault, step) for step in ON_SLOTS for fault in ON_SLOTS_FAULTS if step in WHERE[fault]]
    real = [Cell("real", fault, step) for step in ON_REAL for fault in TAKES_AWAY]
    return [*stand_in, *slots, *real]


assert set(WHERE) == set(FAULTS)
assert {step for steps in WHERE.values() for step in steps} == set(STEPS)
