"""The `sealring` command: look at rings and deliveries, start, follow and steer rollouts, run the processes.

Exit codes: `starters.exits`. Every command that answers has --json.
"""

import os
import sys
from typing import Literal

import typer

from sealring.settings import Settings
from starters.authorities import ca_app
from starters.exits import Exit
from starters.keys import keyring_app
from starters.looking import cluster_app, material_app
from starters.options import run
from starters.preflight import preflight
from starters.rolling import rollback, rollout_app

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help=__doc__.splitlines()[0])
worker_app = typer.Typer(no_args_is_help=True, help="Run worker processes.")
app.add_typer(cluster_app, name="cluster")
app.add_typer(material_app, name="material")
app.add_typer(rollout_app, name="rollout")
app.add_typer(ca_app, name="ca")
app.add_typer(worker_app, name="worker")
app.add_typer(keyring_app, name="keyring")
app.command("preflight")(preflight)
app.command("rollback")(rollback)


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
