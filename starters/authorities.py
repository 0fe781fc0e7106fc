"""`sealring ca`: give a ring another certificate authority."""

from typing import Annotated

import typer

from starters.options import (
    ApplyOption,
    BatchOption,
    Budget,
    Cluster,
    Follow,
    Json,
    Material,
    OnFailure,
    Reason,
    StrategyOption,
    Waive,
    delivery,
)
from starters.rolling import begin, make_request, show_dry_run

ca_app = typer.Typer(no_args_is_help=True, help="Give a ring another certificate authority (docs/ca-rotation.md).")

OldAuthority = Annotated[
    str,
    typer.Option(
        "--old-authority",
        help="ask: a person decides before the old one is dropped; drop: it is, once nothing is seen to need it; "
        "keep: both stay trusted.",
    ),
]


@ca_app.command("plan")
def ca_plan(
    cluster: Cluster,
    material: Material,
    apply: ApplyOption = None,
    strategy: StrategyOption = None,
    batch: BatchOption = None,
    waive: Waive = None,
    as_json: Json = False,
) -> None:
    """Make the plan of a rotation, with the stages that are left, and stop there: nothing on any node is changed."""
    request = make_request(
        cluster=cluster,
        goal="rotate-ca",
        material=delivery(material),
        apply=apply,
        strategy=strategy,
        batch=batch,
        waive=waive,
        dry_run=True,
    )
    show_dry_run(request, as_json=as_json)


@ca_app.command("rotate")
def ca_rotate(
    cluster: Cluster,
    material: Material,
    old_authority: OldAuthority = "ask",
    apply: ApplyOption = None,
    strategy: StrategyOption = None,
    batch: BatchOption = None,
    failure_budget: Budget = None,
    on_failure: OnFailure = None,
    waive: Waive = None,
    reason: Reason = "",
    follow: Follow = True,
    as_json: Json = False,
) -> None:
    """Trust both authorities everywhere, then present the new leaf, then drop the old authority.

    Stopped anywhere, the same command goes on with what is left.
    """
    request = make_request(
        cluster=cluster,
        goal="rotate-ca",
        material=delivery(material),
        old_authority=old_authority,
        apply=apply,
        strategy=strategy,
        batch=batch,
        failure_budget=failure_budget,
        on_failure=on_failure,
        waive=waive,
        reason=reason,
    )
    begin(request, follow=follow, as_json=as_json)
