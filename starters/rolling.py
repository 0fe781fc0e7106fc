"""`sealring rollout` and `sealring rollback`: plan, start, follow and steer rollouts."""

import sys
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from sealring.errors import refuse
from sealring.models.rollout import ENDINGS, Phase, RolloutReport, RolloutRequest
from sealring.models.steering import Command, Resolution
from sealring.settings import Settings, cluster_file
from sealring.temporal.connect import client_for
from starters import rollouts
from starters.exits import exit_for, tell
from starters.offline import (
    Green,
    MaybeCluster,
    MaybeMaterial,
    Reserve,
    TopologyFile,
    plan_diff,
    plan_offline,
)
from starters.options import (
    ApplyOption,
    BatchOption,
    Budget,
    Cluster,
    Emergency,
    Follow,
    Json,
    Material,
    Nodes,
    OnFailure,
    Reason,
    StrategyOption,
    Waive,
    answer,
    delivery,
    mistake,
    run,
    whoami,
)
from starters.show import (
    console,
    show_report,
    show_status,
)
from starters.show_plans import show_plan
from starters.watch import KINDS, watch

rollout_app = typer.Typer(no_args_is_help=True, help="Plan, start, follow and steer rollouts.")


@rollout_app.command("plan")
def rollout_plan(
    cluster: MaybeCluster = None,
    material: MaybeMaterial = None,
    topology: TopologyFile = None,
    nodes: Nodes = None,
    apply: ApplyOption = None,
    strategy: StrategyOption = None,
    batch: BatchOption = None,
    reserve: Reserve = None,
    green: Green = None,
    waive: Waive = None,
    emergency: Emergency = False,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Make the plan and stop there: nothing on any node is changed. With --topology not even a ring is needed."""
    if topology is not None:
        if cluster or material or emergency:
            wrong = refuse("input.invalid", "topology: it stands alone: no RING, material, emergency", "leave them out")
            raise typer.Exit(tell(wrong, as_json=as_json))
        words = {"strategy": strategy, "batch": batch, "reserve": reserve, "green": green or None, "apply": apply}
        plan_offline(topology, words, nodes=nodes, waive=waive, as_json=as_json)
        return
    if cluster is None or material is None or reserve is not None or green:
        missing = "--reserve and --green go with --topology; with a ring they stand in the cluster file"
        if cluster is None or material is None:
            missing = "RING and --material, or --topology, are needed"
        raise typer.Exit(tell(refuse("input.invalid", missing, "see sealring rollout plan --help"), as_json=as_json))
    request = make_request(
        cluster=cluster,
        material=delivery(material),
        nodes=nodes,
        apply=apply,
        strategy=strategy,
        batch=batch,
        waive=waive,
        reason=reason,
        dry_run=True,
        **_goal(emergency),
    )
    show_dry_run(request, as_json=as_json)


rollout_app.command("plan-diff")(plan_diff)


@rollout_app.command("start")
def rollout_start(
    cluster: Cluster,
    material: Material,
    nodes: Nodes = None,
    apply: ApplyOption = None,
    strategy: StrategyOption = None,
    batch: BatchOption = None,
    failure_budget: Budget = None,
    on_failure: OnFailure = None,
    waive: Waive = None,
    emergency: Emergency = False,
    reason: Reason = "",
    follow: Follow = True,
    as_json: Json = False,
) -> None:
    """Bring a delivery to a ring."""
    request = make_request(
        cluster=cluster,
        material=delivery(material),
        nodes=nodes,
        apply=apply,
        strategy=strategy,
        batch=batch,
        failure_budget=failure_budget,
        on_failure=on_failure,
        waive=waive,
        reason=reason,
        **_goal(emergency),
    )
    begin(request, follow=follow, as_json=as_json)


def _goal(emergency: bool) -> dict[str, str]:
    return {"goal": "renew-expired"} if emergency else {}


def rollback(
    cluster: Cluster,
    nodes: Nodes = None,
    apply: ApplyOption = None,
    strategy: StrategyOption = None,
    batch: BatchOption = None,
    reason: Reason = "",
    follow: Follow = True,
    as_json: Json = False,
) -> None:
    """Bring nodes back to the generation they served before: a rollout like any other, under the same lock."""
    request = make_request(
        cluster=cluster, goal="rollback", nodes=nodes, apply=apply, strategy=strategy, batch=batch, reason=reason
    )
    begin(request, follow=follow, as_json=as_json)


@rollout_app.command("watch")
def rollout_watch(cluster: Cluster, as_json: Json = False) -> None:
    """Follow the latest rollout of a ring until its end. Ctrl-C looks away; the rollout goes on."""
    _follow(cluster, as_json=as_json)


@rollout_app.command("status")
def rollout_status(cluster: Cluster, as_json: Json = False) -> None:
    """What the latest rollout of a ring is doing, what it waits for and which command answers."""

    async def look(settings: Settings) -> Any:
        client = await client_for(settings)
        status = await rollouts.status(rollouts.rollout_of(client, cluster))
        running = [(n.address, KINDS[n.state]) for n in status.nodes if n.state in KINDS]
        steps = {a: await rollouts.node_step(client, cluster, a, kind) for a, kind in running}
        return status, {address: step for address, step in steps.items() if step}

    status, steps = run(look, as_json=as_json)
    if as_json:
        status = status.model_copy(
            update={"pending": (*status.pending, *(p for s in steps.values() for p in s.pending))}
        )
    answer(status, lambda: show_status(status, steps), as_json=as_json)


@rollout_app.command("report")
def rollout_report(cluster: Cluster, as_json: Json = False) -> None:
    """The report of the latest rollout of a ring, also while it runs."""

    async def look(settings: Settings) -> RolloutReport:
        client = await client_for(settings)
        return await rollouts.ask(rollouts.rollout_of(client, cluster), "report", RolloutReport)

    report = run(look, as_json=as_json)
    answer(report, lambda: show_report(report), as_json=as_json)
    if report.outcome in ENDINGS:
        raise typer.Exit(exit_for(report.outcome))


@rollout_app.command("abort")
def rollout_abort(cluster: Cluster, reason: Reason = "", as_json: Json = False) -> None:
    """Start nothing more; nodes in flight are finished or taken back."""
    _steer(cluster, "abort", Command, {"reason": reason}, as_json)


@rollout_app.command("pause")
def rollout_pause(cluster: Cluster, reason: Reason = "", as_json: Json = False) -> None:
    """Hold before the next step, on nodes in flight too."""
    _steer(cluster, "pause", Command, {"reason": reason}, as_json)


@rollout_app.command("resume")
def rollout_resume(cluster: Cluster, reason: Reason = "", as_json: Json = False) -> None:
    """Go on after a pause."""
    _steer(cluster, "resume", Command, {"reason": reason}, as_json)


@rollout_app.command("resolve")
def rollout_resolve(
    cluster: Cluster,
    node: Annotated[str, typer.Argument(help="Address of the node the question is about, or `ring`.")],
    action: Annotated[str, typer.Argument(help="One of those that `status` shows: retry, skip, go-on, drop or stop.")],
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Answer the decision that a rollout waits for."""
    _steer(cluster, "resolve", Resolution, {"node": node, "action": action, "reason": reason}, as_json)


def show_dry_run(request: RolloutRequest, *, as_json: bool) -> None:
    """Run a request that ends with its plan, and show the plan, or why there is none."""
    report = run(lambda settings: _to_the_end(settings, request), as_json=as_json)
    plan = report.plan
    if plan is not None and report.outcome is Phase.DONE:
        answer(plan, lambda: show_plan(plan), as_json=as_json)
    else:
        answer(report, lambda: show_report(report), as_json=as_json)
    raise typer.Exit(exit_for(report.outcome))


def make_request(**fields: Any) -> RolloutRequest:
    """A request of ours; ends the command with what is wrong with it."""
    given = {name: value for name, value in fields.items() if value not in (None, [])}
    try:
        return RolloutRequest.model_validate({**given, "requester": whoami()})
    except ValidationError as error:
        raise typer.Exit(tell(mistake(error), as_json=False)) from None


def begin(request: RolloutRequest, *, follow: bool, as_json: bool) -> None:
    """Start it, and follow it to its end."""

    async def start(settings: Settings) -> str:
        if any(settings.clusters.glob("*.yaml")):  # else they are with the workers only
            cluster_file(settings.clusters, request.cluster)
        return (await rollouts.start(await client_for(settings), request)).id

    identity = run(start, as_json=as_json)
    if follow:
        _follow(request.cluster, as_json=as_json)
    elif as_json:
        print(f'{{"workflow": "{identity}"}}')
    else:
        console().print(f"started {identity}; follow it with: sealring rollout watch {request.cluster}")


def _follow(cluster: str, *, as_json: bool) -> None:
    async def look(settings: Settings) -> RolloutReport:
        client = await client_for(settings)
        if as_json:
            return await rollouts.result(rollouts.rollout_of(client, cluster))
        return await watch(client, cluster, console())

    try:
        report = run(look, as_json=as_json)
    except KeyboardInterrupt:
        print(f"\ndetached; the rollout goes on. Look again: sealring rollout watch {cluster}", file=sys.stderr)
        return
    if as_json:
        print(report.model_dump_json(indent=2))
    raise typer.Exit(exit_for(report.outcome))


async def _to_the_end(settings: Settings, request: RolloutRequest) -> RolloutReport:
    client = await client_for(settings)
    return await rollouts.result(await rollouts.start(client, request))


def _steer(cluster: str, name: str, kind: type[Command | Resolution], word: dict[str, str], as_json: bool) -> None:
    async def say(settings: Settings) -> Any:
        said = kind.model_validate(word | {"by": whoami()})
        client = await client_for(settings)
        return await rollouts.steer(rollouts.rollout_of(client, cluster), name, said)

    status = run(say, as_json=as_json)
    answer(status, lambda: show_status(status, {}), as_json=as_json)
