"""What all commands of `sealring` share: their options, running a coroutine, printing an answer."""

import asyncio
import getpass
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from rich.console import RenderableType

from sealring.errors import SealringError, refuse
from sealring.local_files import at_home
from sealring.models.material import MaterialRef
from sealring.settings import Settings, cluster_name, load_settings, wrong_fields
from starters.exits import tell
from starters.show import (
    console,
)

T = TypeVar("T")


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
Emergency = Annotated[
    bool,
    typer.Option(
        "--emergency-expired",
        help="The leaves of the ring have expired: nothing of replicas is proven. Needs --reason (docs/emergency.md).",
    ),
]
Follow = Annotated[bool, typer.Option("--watch/--no-watch", help="Follow it until its end.")]
ApplyOption = Annotated[str | None, typer.Option("--apply", help="auto, reload or restart; default: cluster file.")]
StrategyOption = Annotated[
    str | None,
    typer.Option(
        "--strategy", help="rolling, canary, zone-aware, load-aware, blue-green or fastest; default: cluster file."
    ),
]
BatchOption = Annotated[
    str | None, typer.Option("--batch", help="Most nodes in a wave: 5, or 20%; default: cluster file.")
]
Budget = Annotated[int | None, typer.Option("--failure-budget", help="Nodes that may fail; default: cluster file.")]
OnFailure = Annotated[str | None, typer.Option("--on-failure", help="stop or ask; default: cluster file.")]
Waive = Annotated[
    list[str] | None,
    typer.Option("--waive", help="CODE[:until=TIME][,reason=TEXT]: a check that shall not block (repeat it)."),
]


def run(work: Callable[[Settings], Awaitable[T]], *, as_json: bool) -> T:
    """Run a command's coroutine; an error of ours becomes one clear line and an exit code."""
    try:
        return asyncio.run(_awaited(work, load_settings()))
    except SealringError as error:
        raise typer.Exit(tell(error, as_json=as_json)) from None
    except ValidationError as error:
        raise typer.Exit(tell(mistake(error), as_json=as_json)) from None


async def _awaited(work: Callable[[Settings], Awaitable[T]], settings: Settings) -> T:
    return await work(settings)


def answer(model: BaseModel, picture: Callable[[], RenderableType], *, as_json: bool) -> None:
    """Print an answer."""
    if as_json:
        print(model.model_dump_json(indent=2))
    else:
        console().print(picture())


def mistake(error: ValidationError) -> SealringError:
    """A wrong option, in words."""
    return refuse("input.invalid", wrong_fields(error), "correct the named option")


def delivery(path: str) -> MaterialRef:
    """The delivery that an option names."""
    try:
        if not path:
            raise refuse("input.invalid", "material: it is empty", "name the delivery's directory; . is this one")
        return MaterialRef(path=str(at_home(Path(path)).absolute()))
    except OSError as error:
        wrong = refuse("input.invalid", f"material: {error.strerror}", "give the path from the root")
        raise typer.Exit(tell(wrong, as_json=False)) from None
    except ValidationError as error:
        raise typer.Exit(tell(mistake(error), as_json=False)) from None
    except SealringError as error:
        raise typer.Exit(tell(error, as_json=False)) from None


def whoami() -> str:
    """Who asks, for the report."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
