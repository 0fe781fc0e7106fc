"""Heartbeats: of steps that last, and only of these."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ExecuteActivityInput

from workers.heartbeats import BEATS_PER_TIMEOUT, Heartbeats


class _Next:
    """What the interceptor calls: an activity that lasts so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def execute_activity(self, _: ExecuteActivityInput) -> Any:
        await asyncio.sleep(self.seconds)
        return activity.info().activity_type


async def beats(seconds: float, timeout: float) -> int:
    environment = ActivityEnvironment()
    environment.info = replace(ActivityEnvironment.default_info(), heartbeat_timeout=timedelta(seconds=timeout))
    heard = list[Any]()
    environment.on_heartbeat = lambda *told: heard.append(told)
    following: Any = _Next(seconds)
    nothing: Any = None
    beating = Heartbeats().intercept_activity(following)
    await environment.run(beating.execute_activity, nothing)
    return len(heard)


async def test_a_step_that_is_over_soon_costs_temporal_no_heartbeat() -> None:
    assert await beats(0.05, timeout=60) == 0


async def test_a_step_that_lasts_beats_several_times_within_the_timeout() -> None:
    timeout = 0.8
    assert await beats(1.5 * timeout, timeout) >= BEATS_PER_TIMEOUT - 1
