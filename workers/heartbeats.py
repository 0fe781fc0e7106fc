"""Heartbeats for every activity that reaches a node: they tell Temporal that the worker lives.

They do not say that the node answers: every call below has its own budget (SSH commands, handshakes, CQL), so a wedged
one ends as an error that names it. A heartbeat also brings word of a cancel, which the SDK raises in the activity.
"""

import asyncio
from contextlib import suppress
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.drafts import progress

BEATS_PER_TIMEOUT = 4


class Heartbeats(Interceptor):
    """Beats while an activity runs."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See base class."""
        return _Beating(next)


class _Beating(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        timeout = activity.info().heartbeat_timeout
        if timeout is None:
            return await super().execute_activity(input)
        told: list[str] = []  # what the activity wants to be seen of its progress
        progress.set(told)
        beat = asyncio.create_task(_beat(timeout.total_seconds() / BEATS_PER_TIMEOUT, told))
        try:
            return await super().execute_activity(input)
        finally:
            beat.cancel()
            with suppress(asyncio.CancelledError):
                await beat


async def _beat(seconds: float, told: list[str]) -> None:
    while True:
        # Most steps are over by then, and each beat is a call to Temporal and a write to its database.
        await asyncio.sleep(seconds)
        activity.heartbeat(*told)
