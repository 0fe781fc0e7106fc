"""The columns of the table: the steps of a rollout, and where exactly a fault meets each. Names of activities and
scripts stand here and nowhere else in `tests.chaos`: when they change, change this table."""

from dataclasses import dataclass
from typing import Literal

from tests.chaos.gates import Gate

Story = Literal["reload", "restart", "rollback", "ring", "long"]
"""What rollout is run. `reload`, `restart`: one node. `rollback`: one node, whose peers refuse what it is given.
`ring`: every node by reload, one by one. `long`: the same with a history that is cut after every wave."""


@dataclass(frozen=True)
class Step:
    """One column.

    Args:
        name: the column's head.
        gate: where the fault meets it.
        story: in which rollout.
        early: the same step before it began on the node; for faults that a step must find when it begins.
        anew: the node is made one that sealring has never touched; else there is nothing to back up.
    """

    name: str
    gate: Gate
    story: Story = "reload"
    early: Gate | None = None
    anew: bool = False


def _activity(name: str, moment: str = "before", skip: int = 0) -> Gate:
    return Gate("worker", rf" {name}$", moment, skip)


def _script(first_words: str, moment: str) -> Gate:
    return Gate("node", first_words, moment)


_FLIP = r"(?m)^# Put a generation in force\."
_KEY_NEXT = r"mv:keystore|\.current\."  # in place: the truststore is new, the keystore old; slots: just before the flip
_STAGE = r"(?m)^# Write a generation beside"
_ADOPT = r"(?m)^# Keep what is in force as a generation"
_RESTART = r"(?m)^# Restart a unit;"
_RELOAD = r'"\$nodetool" reloadssl'
_DRAIN = r"(?m)^\"\$@\" drain"
_SETTLE = r"(?m)^# The rollout is done with this node:"

STEPS = {
    step.name: step
    for step in (
        Step("observe", _activity("observe_cluster"), "ring"),
        Step("plan", _activity("make_plan"), "ring"),
        Step("inspect", _activity("validate_node")),
        Step("back up", _script(_ADOPT, r"mv:\.incoming"), early=_script(_ADOPT, "before"), anew=True),
        Step("transfer", _script(_STAGE, r"mv:\.incoming"), early=_script(_STAGE, "before")),
        Step("check", _activity("preflight_node")),
        Step("wave start", _activity("check_ring", skip=1), "ring"),
        Step("activate", _script(_FLIP, _KEY_NEXT), early=_script(_FLIP, "before")),
        Step("reload", _script(_RELOAD, "before")),
        Step("drain", _script(_DRAIN, "after"), "restart", early=_script(_DRAIN, "before")),
        Step("restart", _script(_RESTART, "after"), "restart", early=_script(_RESTART, "before")),
        Step("verify", _activity("verify_node")),
        Step("settle", _script(_SETTLE, "before")),
        Step(
            "roll back",
            _script(rf"(?s)step=rollback.*{_FLIP.removeprefix('(?m)^')}", _KEY_NEXT),
            "rollback",
            early=_script(r"step=rollback", "before"),
        ),
        Step("wave end", _activity("settle_node", "after"), "ring"),
        Step("continue-as-new", _activity("check_ring", skip=1), "long"),
        Step("report", _activity("served_matrix"), "ring"),
    )
}
