"""The `sealring` command: look at rings and deliveries, start, follow and steer rollouts, run the processes.

Exit codes: `starters.exits`. Every command that answers has --json.
"""

import asyncio
import getpass
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from rich.console import RenderableType

from sealring.errors import SealringError, refuse
from sealring.local_files import at_home
from sealring.models.evidence import Verdict
from sealring.models.issuing import IssueRequest
from sealring.models.material import MaterialRef
from sealring.models.rollout import Phase, RolloutReport, RolloutRequest
from sealring.models.steering import Command, Resolution
from sealring.settings import Settings, cluster_name, load_settings, wrong_fields
from sealring.temporal.connect import client_for
from starters import rollouts
from starters.exits import Exit, exit_for, tell
from starters.keys import keyring_app
from starters.show import (
    console,
    show_egress,
    show_findings,
    show_issued,
    show_plan,
    show_report,
    show_status,
    show_view,
)
from starters.watch import KINDS, watch

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help=__doc__.splitlines()[0])
cluster_app = typer.Typer(no_args_is_help=True, help="Look at a ring.")
material_app = typer.Typer(no_args_is_help=True, help="Look at a delivery, or have one issued.")
rollout_app = typer.Typer(no_args_is_help=True, help="Plan, start, follow and steer rollouts.")
worker_app = typer.Typer(no_args_is_help=True, help="Run worker processes.")
app.add_typer(cluster_app, name="cluster")
app.add_typer(material_app, name="material")
app.add_typer(rollout_app, name="rollout")
app.add_typer(worker_app, name="worker")
app.add_typer(keyring_app, name="keyring")


def _named(name: str) -> str:
    try:
        return cluster_name(name)
    except SealringError as error:
        raise typer.Exit(tell(error, as_json=False)) from None


Cluster = Annotated[str, typer.Argument(help="Name of the ring: its file is <clusters>/<name>.yaml.", callback=_named)]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Material = Annotated[str, typer.Option("--material", "-m", help="Directory of the delivery.")]
Nodes = Annotated[list[str] | None, typer.Option("--nodes", "-n", help="Only these addresses (repeat it).")]
Reason = Annotated[str, typer.Option("--reason", help="Kept in the report.")]
Follow = Annotated[bool, typer.Option("--watch/--no-watch", help="Follow it until its end.")]
ApplyOption = Annotated[str | None, typer.Option("--apply", help="auto, reload or restart; default: cluster file.")]
WaveOption = Annotated[str | None, typer.Option("--wave", help="node or rack; default: cluster file.")]
Budget = Annotated[int | None, typer.Option("--failure-budget", help="Nodes that may fail; default: cluster file.")]
OnFailure = Annotated[str | None, typer.Option("--on-failure", help="stop or ask; default: cluster file.")]
Waive = Annotated[
    list[str] | None,
    typer.Option("--waive", help="CODE[:until=TIME][,reason=TEXT]: a check that shall not block (repeat it)."),
]


def main() -> None:
    """Console script.

    Leaves without tearing the interpreter down: threads of the Temporal SDK may call into it meanwhile, and the process
    aborts after its work is done (1 of 25 runs of `rollout status`, temporalio 1.35, Python 3.11).
    """
    try:
        app()
        status: str | int | None = Exit.DONE
    except SystemExit as done:
        status = done.code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else Exit.DONE if status is None else Exit.ERROR)


def run(work: Callable[[Settings], Awaitable[T]], *, as_json: bool) -> T:
    """Run a command's coroutine; an error of ours becomes one clear line and an exit code."""
    try:
        return asyncio.run(_awaited(work, load_settings()))
    except SealringError as error:
        raise typer.Exit(tell(error, as_json=as_json)) from None
    except ValidationError as error:
        raise typer.Exit(tell(_mistake(error), as_json=as_json)) from None


async def _awaited(work: Callable[[Settings], Awaitable[T]], settings: Settings) -> T:
    return await work(settings)


def answer(model: BaseModel, picture: Callable[[], RenderableType], *, as_json: bool) -> None:
    """Print an answer."""
    if as_json:
        print(model.model_dump_json(indent=2))
    else:
        console().print(picture())


# -- looking


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

    report = run(lambda settings: lint(settings, cluster, _ref(material)), as_json=as_json)
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

    asked = {"cluster": cluster, "path": _ref(material).path, "nodes": tuple(nodes or ())}
    report = run(lambda settings: issue(settings, IssueRequest.model_validate(asked)), as_json=as_json)
    answer(report, lambda: show_issued(report), as_json=as_json)
    if not report.complete:
        raise typer.Exit(Exit.REFUSED)


# -- rollouts


@rollout_app.command("plan")
def rollout_plan(
    cluster: Cluster,
    material: Material,
    nodes: Nodes = None,
    apply: ApplyOption = None,
    wave: WaveOption = None,
    waive: Waive = None,
    as_json: Json = False,
) -> None:
    """Make the plan and stop there: nothing on any node is changed."""
    request = _request(
        cluster=cluster, material=_ref(material), nodes=nodes, apply=apply, wave=wave, waive=waive, dry_run=True
    )
    report = run(lambda settings: _to_the_end(settings, request), as_json=as_json)
    plan = report.plan
    if plan is not None and report.outcome is Phase.DONE:
        answer(plan, lambda: show_plan(plan), as_json=as_json)
    else:
        answer(report, lambda: show_report(report), as_json=as_json)
    raise typer.Exit(exit_for(report.outcome))


@rollout_app.command("start")
def rollout_start(
    cluster: Cluster,
    material: Material,
    nodes: Nodes = None,
    apply: ApplyOption = None,
    wave: WaveOption = None,
    failure_budget: Budget = None,
    on_failure: OnFailure = None,
    waive: Waive = None,
    reason: Reason = "",
    follow: Follow = True,
    as_json: Json = False,
) -> None:
    """Bring a delivery to a ring."""
    request = _request(
        cluster=cluster,
        material=_ref(material),
        nodes=nodes,
        apply=apply,
        wave=wave,
        failure_budget=failure_budget,
        on_failure=on_failure,
        waive=waive,
        reason=reason,
    )
    _start(request, follow=follow, as_json=as_json)


@app.command("rollback")
def rollback(
    cluster: Cluster,
    nodes: Nodes = None,
    apply: ApplyOption = None,
    wave: WaveOption = None,
    reason: Reason = "",
    follow: Follow = True,
    as_json: Json = False,
) -> None:
    """Bring nodes back to the generation they served before: a rollout like any other, under the same lock."""
    request = _request(cluster=cluster, goal="rollback", nodes=nodes, apply=apply, wave=wave, reason=reason)
    _start(request, follow=follow, as_json=as_json)


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
    if report.finished_at is not None:
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
    node: Annotated[str, typer.Argument(help="Address of the node the question is about.")],
    action: Annotated[str, typer.Argument(help="retry, skip or stop.")],
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Answer the decision that a rollout waits for."""
    _steer(cluster, "resolve", Resolution, {"node": node, "action": action, "reason": reason}, as_json)


# -- processes


@app.command("up")
def up() -> None:
    """Run everything on this machine: Temporal server with its UI, codec server, both workers."""
    from workers.all_in_one import run_all

    run(run_all, as_json=False)


@worker_app.command("control")
def worker_control() -> None:
    """Run the workflows. Needs the Temporal server and the cluster files, no way to the nodes."""
    _work("control")


@worker_app.command("deploy")
def worker_deploy() -> None:
    """Run the activities that reach nodes. Run it where SSH and CQL get through."""
    _work("deploy")


@app.command("lab", context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def lab(context: typer.Context) -> None:
    """A real Cassandra ring on this computer: up, down, status, load and faults (needs the extra `lab`)."""
    import subprocess

    raise typer.Exit(subprocess.call([sys.executable, "-m", "lab", *context.args]))


def _work(kind: Literal["control", "deploy"]) -> None:
    from workers.runtime import until_told_to_stop, working

    async def work(settings: Settings) -> None:
        async with working(settings, (kind,)) as client:
            print(f"{kind} worker polls namespace {client.namespace}; stop it with Ctrl-C", flush=True)
            await until_told_to_stop()

    run(work, as_json=False)


def _request(**fields: Any) -> RolloutRequest:
    given = {name: value for name, value in fields.items() if value not in (None, [])}
    try:
        return RolloutRequest.model_validate({**given, "requester": _whoami()})
    except ValidationError as error:
        raise typer.Exit(tell(_mistake(error), as_json=False)) from None


def _mistake(error: ValidationError) -> SealringError:
    return refuse("input.invalid", wrong_fields(error), "correct the named option")


def _ref(path: str) -> MaterialRef:
    try:
        if not path:
            raise refuse("input.invalid", "material: it is empty", "name the delivery's directory; . is this one")
        return MaterialRef(path=str(at_home(Path(path)).absolute()))
    except OSError as error:
        wrong = refuse("input.invalid", f"material: {error.strerror}", "give the path from the root")
        raise typer.Exit(tell(wrong, as_json=False)) from None
    except ValidationError as error:
        raise typer.Exit(tell(_mistake(error), as_json=False)) from None
    except SealringError as error:
        raise typer.Exit(tell(error, as_json=False)) from None


def _whoami() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"


def _start(request: RolloutRequest, *, follow: bool, as_json: bool) -> None:
    async def begin(settings: Settings) -> str:
        return (await rollouts.start(await client_for(settings), request)).id

    identity = run(begin, as_json=as_json)
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
        said = kind.model_validate(word | {"by": _whoami()})
        client = await client_for(settings)
        return await rollouts.steer(rollouts.rollout_of(client, cluster), name, said)

    status = run(say, as_json=as_json)
    answer(status, lambda: show_status(status, {}), as_json=as_json)
