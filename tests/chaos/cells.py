"""Which cells there are: every fault at every step where it can matter, on the kinds of ring that can show it."""

from collections.abc import Iterable

from lab import tools
from lab.spec import NET, LabSpec
from tests.chaos.faults import FAULTS
from tests.chaos.play import Cell
from tests.chaos.steps import STEPS

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

WHERE: dict[str, Iterable[str]] = {
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

ON_REAL_FAULTS = tuple(FAULTS)[:6]
ON_REAL_STEPS = ("activate", "reload", "restart", "verify", "roll back")

MATTER_MOST: tuple[tuple[str, str], ...] = ()
"""Played by `make test`."""


def rings() -> dict[str, list[LabSpec]]:
    """The rings that cells are played on, by kind; those of one kind share its cells."""
    folder, port = tools.cache() / "chaos", 17233 + 10 * NET
    return {"real": [LabSpec(folder / "real", first=51, temporal_port=port + 5)]}


def cells() -> list[Cell]:
    """All of them: those that show most first, so that a bounded run is worth most."""
    real = [Cell("real", fault, step) for step in ON_REAL_STEPS for fault in ON_REAL_FAULTS]
    rest = [Cell("real", fault, step) for fault, steps in WHERE.items() for step in steps]
    return list(dict.fromkeys(real + rest))


assert set(WHERE) == set(FAULTS)
assert {step for steps in WHERE.values() for step in steps} == set(STEPS)
