"""What worker processes share: connect, poll until somebody says stop, end in good order."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from temporalio.client import Client

from activities.rings import Rings
from sealring.cassandra.self_test import self_test
from sealring.settings import Settings
from sealring.temporal.attributes import register_search_attributes
from sealring.temporal.connect import client_for
from workers.control import control_worker
from workers.deploy import deploy_worker


@asynccontextmanager
async def working(settings: Settings, kinds: Sequence[str]) -> AsyncIterator[Client]:
    """Workers of these kinds, polling. One that judges nodes must first show that it can: `self_test`.

    Raises:
        SealringError: `verifier.self-test`, `temporal.*`, `keyring.*`.
    """
    if "deploy" in kinds:
        await self_test()
    client = await client_for(settings)
    await register_search_attributes(client)
    async with AsyncExitStack() as stack:
        if "control" in kinds:
            await stack.enter_async_context(control_worker(client))
        if "deploy" in kinds:
            rings = Rings(settings.clusters)
            stack.push_async_callback(rings.close)
            await stack.enter_async_context(deploy_worker(client, rings))
        yield client


async def until_told_to_stop() -> None:
    """Wait for SIGINT or SIGTERM."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    await told.wait()
