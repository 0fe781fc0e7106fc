"""Read by Python at the start of a worker that `tests.chaos` runs (PYTHONPATH): the product itself is not changed.

Three things, all told by files in $SEALRING_CHAOS: a gate around activities (want.json, reached, release: as on a node,
see `tests.chaos.gate`), the clock of the worker (`clock`: seconds by which it is wrong), and a heartbeat timeout
(`heartbeat`: seconds), so that a killed worker is noticed in seconds and not in a minute.
"""

import asyncio
import json
import os
import re
import sys
import time
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("SEALRING_CHAOS", "/nonexistent"))
real_time = time.time


def shift() -> float:
    """By how many seconds the clock is wrong now."""
    try:
        return float((FOLDER / "clock").read_text())
    except (OSError, ValueError):
        return 0.0


class WrongClock(datetime):
    """`datetime` whose `now` is wrong; everything it returns is an ordinary datetime."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        """See class."""
        return datetime.now(tz) + timedelta(seconds=shift())


def set_clock_wrong() -> None:
    """In the engine's modules, and time.time for SSH certificates. Models keep the true class: pydantic knows it."""
    time.time = lambda: real_time() + shift()
    for name, module in list(sys.modules.items()):
        ours = name.startswith(("sealring.", "activities.")) and not name.startswith("sealring.models")
        if ours and getattr(module, "datetime", None) is datetime:
            module.datetime = WrongClock  # type: ignore[attr-defined]


async def hold(moment: str, label: str) -> None:
    """Hold an activity when a test wants that; whoever comes later passes."""
    try:
        want = json.loads((FOLDER / "want.json").read_text())
    except (OSError, ValueError):
        return
    if want["moment"] != moment or not re.search(want["pattern"], label):
        return
    hit = 0
    while True:  # which match this is, across processes
        try:
            (FOLDER / f"hit-{hit}").mkdir()
            break
        except FileExistsError:
            hit += 1
        except OSError:
            return
    if hit != want["skip"]:
        return
    (FOLDER / "reached").mkdir()
    while FOLDER.is_dir() and not (FOLDER / "release").exists():  # noqa: ASYNC110, ASYNC240  another process makes it
        await asyncio.sleep(0.02)


def install() -> None:
    """Into this process, before the worker's own modules are used."""
    from temporalio import activity
    from temporalio import worker as workers
    from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

    from sealring.temporal import policies

    class Held(ActivityInboundInterceptor):
        async def execute_activity(self, input: ExecuteActivityInput) -> Any:
            info = activity.info()
            label = f"{info.workflow_id} {info.activity_type}"
            await hold("before", label)
            try:
                return await super().execute_activity(input)
            finally:
                await hold("after", label)

    class Gate(Interceptor):
        def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
            return Held(next)

    plain = workers.Worker.__init__

    def with_gate(self: Any, *arguments: Any, **options: Any) -> None:
        set_clock_wrong()
        options["interceptors"] = [*options.get("interceptors", ()), Gate()]
        plain(self, *arguments, **options)

    workers.Worker.__init__ = with_gate  # type: ignore[method-assign]

    if (FOLDER / "heartbeat").exists():
        heartbeat = timedelta(seconds=float((FOLDER / "heartbeat").read_text()))
        policies.HEARTBEAT = heartbeat
        for config in vars(policies).values():
            if isinstance(config, dict) and "heartbeat_timeout" in config:
                config["heartbeat_timeout"] = heartbeat


if FOLDER.is_dir():
    install()
