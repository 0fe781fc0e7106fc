"""Plans without a ring: from a topology file; and the difference of two. No Temporal, no host, no cluster file."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from sealring.errors import SealringError, refuse
from sealring.local_files import read_small
from sealring.models.base import Many
from sealring.models.cluster import RolloutSettings
from sealring.models.plan import Plan
from sealring.models.rollout import RolloutRequest
from sealring.models.schedule import Schedule, Way
from sealring.planning.difference import plan_difference
from sealring.planning.schedule import schedule
from sealring.planning.waivers import in_force, refuse_expired, refuse_needless, waived_keyspaces
from sealring.settings import cluster_name, wrong_fields
from sealring.topology_file import LARGEST, read_topology
from starters.exits import Exit, tell
from starters.options import Json, answer, mistake
from starters.show_plans import show_difference, show_schedule


def _named(name: str | None) -> str | None:
    try:
        return None if name is None else cluster_name(name)
    except SealringError as error:
        raise typer.Exit(tell(error, as_json=False)) from None


MaybeCluster = Annotated[
    str | None, typer.Argument(help="Name of the ring: its file is <clusters>/<name>.yaml.", callback=_named)
]
MaybeMaterial = Annotated[str | None, typer.Option("--material", "-m", help="Directory of the delivery.")]
TopologyFile = Annotated[
    Path | None, typer.Option("--topology", help="Plan for the ring in this file (YAML or JSON) instead of a real one.")
]
Reserve = Annotated[
    int | None, typer.Option("--reserve", help="With --topology: replicas kept back where two or more can be spared.")
]
Green = Annotated[
    list[str] | None,
    typer.Option("--green", help="With --topology and blue-green: DATACENTER or DATACENTER/RACK that goes first."),
]


def plan_offline(
    file: Path, words: Mapping[str, Any], *, nodes: list[str] | None, waive: list[str] | None, as_json: bool
) -> None:
    """Print the schedule for a topology file; exit 3 when a node is in no wave.

    Args:
        file: the topology.
        words: what was said of the rules; by default restarts, as few waves as possible, of any size.
        nodes: only these addresses.
        waive: `plan.quorum.KEYSPACE`.
        as_json: for programs.
    """
    said = {name: value for name, value in words.items() if value is not None}
    try:
        rules = RolloutSettings.model_validate({"strategy": "fastest", "apply": "restart", "max_parallel": Many} | said)
        asked = RolloutRequest.model_validate({"cluster": "c", "goal": "rollback", "waive": waive or ()})
        topology = read_topology(file)
        chosen = _chosen(nodes, [node.address for node in topology.nodes])
        way: Way = "reload" if rules.apply == "reload" else "restart"
        now = datetime.now(UTC)
        refuse_expired(asked.waive, now)
        codes = in_force(asked.waive, now)
        refuse_needless(codes, topology)
        waived = waived_keyspaces(codes)
        made = schedule(topology, dict.fromkeys(chosen, way), rules, waived=waived)
    except ValidationError as error:
        raise typer.Exit(tell(mistake(error), as_json=as_json)) from None
    except SealringError as error:
        raise typer.Exit(tell(error, as_json=as_json)) from None
    answer(made, lambda: show_schedule(made), as_json=as_json)
    raise typer.Exit(Exit.REFUSED if made.infeasible else Exit.DONE)


def _chosen(nodes: list[str] | None, known: list[str]) -> list[str]:
    unknown = [address for address in nodes or () if address not in known]
    if unknown:
        raise refuse("plan.unknown-node", f"nodes: {unknown[0][:100]}: not in the topology", "name its addresses")
    return nodes or known


def plan_diff(
    old: Annotated[Path, typer.Argument(help="A plan, as --json prints it.")],
    new: Annotated[Path, typer.Argument(help="Another one.")],
    as_json: Json = False,
) -> None:
    """What changed between two plans, and whether the new one is only smaller or more careful."""
    try:
        before, after = _read(old), _read(new)
        if type(before) is not type(after):
            raise refuse(
                "input.invalid", "one is a plan of a ring, the other of a topology file", "compare two of one kind"
            )
    except SealringError as error:
        raise typer.Exit(tell(error, as_json=as_json)) from None
    found = plan_difference(before, after)
    answer(found, lambda: show_difference(found), as_json=as_json)


def _read(file: Path) -> Plan | Schedule:
    try:
        text = read_small(file, LARGEST)
    except OSError as error:
        raise refuse("input.invalid", f"{str(file)!r:.300}: {error.strerror}", "name a plan's file") from None
    try:
        return Plan.model_validate_json(text) if b'"goal"' in text else Schedule.model_validate_json(text)
    except ValidationError as error:
        raise refuse(
            "input.invalid",
            f"{str(file)!r:.300}: {wrong_fields(error)[:500]}",
            "save what `sealring rollout plan --json` prints",
        ) from None
