"""`sealring cluster` and `sealring material`: look at a ring, look at a delivery or have one issued."""

from typing import Annotated

import typer

from sealring.models.evidence import Verdict
from sealring.models.issuing import IssueRequest
from starters.exits import Exit
from starters.options import Cluster, Json, Material, Nodes, answer, delivery, run
from starters.show import (
    console,
    show_egress,
    show_findings,
    show_issued,
    show_view,
)

cluster_app = typer.Typer(no_args_is_help=True, help="Look at a ring.")
material_app = typer.Typer(no_args_is_help=True, help="Look at a delivery, or have one issued.")


@cluster_app.command("inspect")
def cluster_inspect(cluster: Cluster, as_json: Json = False) -> None:
    """Observe a ring and every host of it. Nothing is changed; needs no Temporal, but the way to the nodes."""
    from starters.direct import inspect

    view = run(lambda settings: inspect(settings, cluster), as_json=as_json)
    answer(view, lambda: show_view(view), as_json=as_json)
    if any(node.problem or not node.up for node in view.nodes):
        raise typer.Exit(Exit.REFUSED)


@cluster_app.command("egress")
def cluster_egress(cluster: Cluster, as_json: Json = False) -> None:
    """Print what must be open in the network: from which worker, to which host and port, and for what."""
    from starters.direct import reach

    found = run(lambda settings: reach(settings, cluster), as_json=as_json)
    answer(found, lambda: show_egress(found), as_json=as_json)
    if found.unread:
        raise typer.Exit(Exit.REFUSED)


@material_app.command("lint")
def material_lint(cluster: Cluster, material: Material, as_json: Json = False) -> None:
    """Judge a delivery for every node of a ring, without touching one."""
    from starters.direct import lint

    report = run(lambda settings: lint(settings, cluster, delivery(material)), as_json=as_json)
    answer(report, lambda: show_findings(report.findings), as_json=as_json)
    if any(finding.verdict is Verdict.FAIL for finding in report.findings):
        raise typer.Exit(Exit.REFUSED)
    if not as_json:
        console().print(f"{len(report.nodes)} nodes, nothing that blocks; digest {report.ref.digest}")


@material_app.command("issue")
def material_issue(
    cluster: Cluster,
    material: Annotated[str, typer.Option("--material", "-m", help="Directory that becomes the delivery.")],
    nodes: Nodes = None,
    as_json: Json = False,
) -> None:
    """Let every node make a key, and the vault sign its request: a delivery whose keys stay on the nodes."""
    from starters.issuing import issue

    asked = {"cluster": cluster, "path": delivery(material).path, "nodes": tuple(nodes or ())}
    report = run(lambda settings: issue(settings, IssueRequest.model_validate(asked)), as_json=as_json)
    answer(report, lambda: show_issued(report), as_json=as_json)
    if not report.complete:
        raise typer.Exit(Exit.REFUSED)
