"""`sealring preflight`: every check on every node, as a report; nothing is changed."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from temporalio.client import WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy

from sealring.errors import refuse
from sealring.models.preflight import PreflightReport, PreflightRequest
from sealring.settings import Settings
from sealring.temporal.connect import client_for
from sealring.temporal.failures import error_of
from sealring.temporal.policies import CONTROL_QUEUE
from starters.exits import Exit, tell
from starters.options import ApplyOption, Cluster, Json, Material, Nodes, Waive, answer, delivery, mistake, run, whoami
from starters.preflight_page import page
from starters.preflight_table import show_preflight

Html = Annotated[Path | None, typer.Option("--html", help="Write the report there too, as one HTML file.")]


def preflight(
    cluster: Cluster,
    material: Material,
    nodes: Nodes = None,
    apply: ApplyOption = None,
    waive: Waive = None,
    html: Html = None,
    as_json: Json = False,
) -> None:
    """Check everything that a rollout of this delivery would meet, on every node, and change nothing."""
    given = {"nodes": nodes, "apply": apply, "waive": waive}
    asked = {"cluster": cluster, "material": delivery(material), "requester": whoami()}
    try:
        request = PreflightRequest.model_validate(asked | {name: value for name, value in given.items() if value})
    except ValidationError as error:
        raise typer.Exit(tell(mistake(error), as_json=as_json)) from None
    report = run(lambda settings: _to_the_end(settings, request), as_json=as_json)
    if html is not None:
        _write(html, page(report), as_json=as_json)
    answer(report, lambda: show_preflight(report), as_json=as_json)
    raise typer.Exit(Exit.DONE if report.ready else Exit.REFUSED)


def _write(path: Path, text: str, *, as_json: bool) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        wrong = refuse("input.invalid", f"html: {path}: {error.strerror}", "name a file in a folder that is there")
        raise typer.Exit(tell(wrong, as_json=as_json)) from None


async def _to_the_end(settings: Settings, request: PreflightRequest) -> PreflightReport:
    """Start it, in place of one that may be under way for the same ring, and wait.

    Raises:
        SealringError: why there is no report: the delivery cannot be read, no node answers.
    """
    client = await client_for(settings)
    try:
        report: PreflightReport = await client.execute_workflow(
            "RingPreflight",
            request,
            id=f"tls-preflight/{request.cluster}",
            task_queue=CONTROL_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,  # it changes nothing: the newest one counts
            result_type=PreflightReport,
            static_summary=f"preflight {request.material.path} for {request.cluster}"[:200],
        )
    except WorkflowFailureError as failure:
        raise error_of(failure) from None
    return report
