"""`python -m lab`: bring a lab up, look at it, break it, take it down. Refusals are one line and exit code 2."""

import json
import shutil
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from lab import faults, hosts, lifecycle, ring, state, tools
from lab.authority import Authority, deliver
from lab.jars import RELEASES
from lab.load import RATE, LoadProcess
from lab.spec import STAND_IN, LabSpec
from sealring.errors import SealringError

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

Root = Annotated[Path, typer.Option("--root", help="Folder of the lab.")]
Name = Annotated[str, typer.Argument(help="The node: n1, n2, ... or its address.")]
DEFAULT_ROOT = tools.PROJECT / ".lab"


@app.command()
def up(
    root: Root = DEFAULT_ROOT,
    cassandra: Annotated[
        str | None, typer.Option(help="5.0, 4.1 or 4.0; stand-in for a fake of 5.0 in one process.")
    ] = None,
    nodes: Annotated[int | None, typer.Option(min=1, max=1000)] = None,
    racks: Annotated[int | None, typer.Option(min=1)] = None,
    datacenters: Annotated[int | None, typer.Option(min=1)] = None,
    first: Annotated[int | None, typer.Option(min=2, max=150, help="Last octet of the first node's address.")] = None,
    layout: Annotated[str | None, typer.Option(help="in-place or slots.")] = None,
    temporal_port: int | None = None,
    engine: Annotated[bool, typer.Option(help="Start sealring with its Temporal server too.")] = True,
) -> None:
    """Bring the lab up: the ring, its SSH servers, sealring. What runs already is left alone."""
    given = {
        "cassandra": cassandra and _one_of("--cassandra", cassandra, *RELEASES, STAND_IN),
        "nodes": nodes,
        "racks": racks,
        "datacenters": datacenters,
        "first": first,
        "layout": layout and _one_of("--layout", layout, "in-place", "slots"),
        "temporal_port": temporal_port,
    }
    chosen: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    spec = replace(_stored(root) or LabSpec(root.resolve()), **chosen)
    begun = time.monotonic()
    lifecycle.up(spec, lambda line: typer.echo(f"[{time.monotonic() - begun:5.1f} s] {line}"), engine=engine)
    typer.echo(
        f"lab up in {spec.root}: {', '.join(node.address for node in spec.ring)}; stop it with: python -m lab down"
    )


@app.command()
def down(
    root: Root = DEFAULT_ROOT, purge: Annotated[bool, typer.Option(help="Delete the lab's files too.")] = False
) -> None:
    """Take the lab down; nothing of it is left running, whatever crashed before."""
    spec = _stored(root)
    if spec is not None:
        lifecycle.down(spec)
        if purge:
            shutil.rmtree(spec.root)
    typer.echo(f"lab down{' and deleted' if purge else ''}: {spec.root}" if spec else f"no lab in {root}")


@app.command()
def status(
    root: Root = DEFAULT_ROOT, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False
) -> None:
    """Show how every node is, and what else of the lab runs."""
    spec = state.load_spec(root.resolve())
    nodes, processes = ring.status(spec), state.alive(spec.root)
    if as_json:
        content = {"cassandra": spec.cassandra, "nodes": [asdict(node) for node in nodes], "processes": processes}
        typer.echo(json.dumps(content, indent=1))
        return
    typer.echo(f"{spec.software} in {spec.root}")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("node", "address", "place", "service", "pid", "restarts", "clients", "seen"):
        table.add_column(column, no_wrap=True)
    for node in nodes:
        place, clients = f"{node.datacenter}/{node.rack}", "served" if node.native else "refused"
        row = (node.name, node.address, place, node.service, node.pid, node.restarts, clients, node.seen or "?")
        table.add_row(*map(str, row))
    Console().print(table)
    for role in ("sshd", "engine"):
        typer.echo(f"{role}: {'runs' if role in processes else 'does not run'}")


@app.command(name="start")
def start_one(node: Name, root: Root = DEFAULT_ROOT) -> None:
    """Start a stopped node."""
    ring.start_node(state.load_spec(root.resolve()), node)


@app.command(name="stop")
def stop_one(node: Name, root: Root = DEFAULT_ROOT) -> None:
    """Stop a node cleanly; it stays stopped."""
    ring.stop_node(state.load_spec(root.resolve()), node)


@app.command()
def restart(node: Name, root: Root = DEFAULT_ROOT) -> None:
    """Stop and start a node; returns when it was started, up or not."""
    ring.restart_node(state.load_spec(root.resolve()), node)


@app.command()
def kill(node: Name, root: Root = DEFAULT_ROOT) -> None:
    """kill -9 a node; its service manager brings it back."""
    ring.kill_node(state.load_spec(root.resolve()), node)


@app.command()
def corrupt(
    node: Name,
    file: Annotated[str, typer.Argument(help="keystore.p12, or a path below the node's folder.")],
    root: Root = DEFAULT_ROOT,
) -> None:
    """Flip 64 bytes in the middle of a node's file; the same again heals it."""
    spec = state.load_spec(root.resolve())
    typer.echo(f"flipped 64 bytes of {faults.corrupt(ring.find(spec, node), file)}")


@app.command()
def cut(
    node: Name,
    link: Annotated[str, typer.Argument(help="refuse, freeze, or up to mend it.")],
    root: Root = DEFAULT_ROOT,
) -> None:
    """Cut a node's SSH, or mend it."""
    spec = state.load_spec(root.resolve())
    hosts.cut(spec, ring.find(spec, node), _one_of("LINK", link, "refuse", "freeze", "up"))


@app.command()
def load(
    seconds: Annotated[int, typer.Option(min=1, help="How long.")] = 30,
    rate: Annotated[float, typer.Option(help="Requests a second.")] = RATE,
    root: Root = DEFAULT_ROOT,
) -> None:
    """Read and write at LOCAL_QUORUM over TLS, and tell what came of it; exit code 1 when a request failed."""
    client = LoadProcess(state.load_spec(root.resolve()), rate=rate)
    client.start()
    for _, second in zip(range(seconds), client.follow(), strict=False):
        typer.echo(second)
    summary = client.stop()
    typer.echo(summary)
    raise typer.Exit(1 if summary.failed else 0)


@app.command(name="deliver")
def deliver_material(
    name: Annotated[str, typer.Argument(help="The delivery's folder.")],
    fault: Annotated[
        list[str] | None,
        typer.Option(help="NODE=wrong-key|foreign-ca|expired|not-yet-valid|no-san|no-eku|missing; may be repeated."),
    ] = None,
    root: Root = DEFAULT_ROOT,
) -> None:
    """Deliver new certificates for every node, as a PKI would; some of them bad on purpose."""
    spec = state.load_spec(root.resolve())
    kinds = ("wrong-key", "foreign-ca", "expired", "not-yet-valid", "no-san", "no-eku", "missing")
    chosen: Any = {}
    for word in fault or []:
        node, _, kind = word.partition("=")
        chosen[ring.find(spec, node).address] = _one_of("--fault", kind, *kinds)
    typer.echo(deliver(spec, Authority.open(spec.authority), name, faults=chosen))


def main() -> None:
    """The program; errors of ours are one line on standard error and exit code 2."""
    try:
        app(prog_name="python -m lab")
    except SealringError as e:
        typer.echo(str(e), err=True)
        sys.exit(2)


def _stored(root: Path) -> LabSpec | None:
    try:
        return state.load_spec(root.resolve())
    except SealringError:
        return None


def _one_of(field: str, value: str, *allowed: str) -> Any:
    if value not in allowed:
        raise typer.BadParameter(f"{field} is {value!r}; choose one of {', '.join(allowed)}")
    return value
