"""Record the gallery: `python -m tests.histories.record` plays rollouts against the ring in memory and keeps their
histories. Run it only when a change of the workflows is meant to break old histories; say so in the commit.
"""

import asyncio
import re
from pathlib import Path

from temporalio.client import Client, WorkflowFailureError
from temporalio.testing import WorkflowEnvironment

from sealring.models.steering import RING, Resolution
from sealring.temporal.attributes import register_search_attributes
from sealring.temporal.plugin import sealring_plugin
from tests.conftest import STARTING, installed_program
from tests.workflow.authorities import RotatingRing
from tests.workflow.fakes import FakeRing, dead, distrusted
from tests.workflow.story import deploy, serving, start, until
from tests.workflow.test_issuing import FakePki, issue
from tests.workflow.test_issuing import serving as issuing
from tests.workflow.test_preflight import FakeLooks, preflight, target

FOLDER = Path(__file__).parent


async def main() -> None:
    """Record all."""
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=installed_program("temporal"),
        dev_server_startup_timeout=STARTING,
        plugins=[sealring_plugin(None)],
    )
    async with environment:
        await register_search_attributes(environment.client)
        by_reload, rolled_back, by_restart = FakeRing(), FakeRing(), FakeRing(nodes=1)
        rolled_back.fail("verify_node", "127.0.0.2", distrusted("127.0.0.2"))
        by_restart.fail("restart_node", "127.0.0.1", dead("127.0.0.1"))
        for name, ring, more in (
            ("by-reload", by_reload, {}),
            ("rolled-back", rolled_back, {"failure_budget": 1}),
            ("by-restart", by_restart, {"apply": "restart"}),
        ):
            async with serving(environment, ring):
                handle = await start(environment, deploy(name, **more))
                try:
                    await handle.result()
                except WorkflowFailureError as error:
                    print(f"{name} ended: {error.cause}")
                for kind, identity in (
                    ("rollout", f"tls-rollout/{name}"),
                    ("preparation", f"tls-prepare/{name}/127.0.0.1"),
                    ("activation", f"tls-node/{name}/127.0.0.{2 if name == 'rolled-back' else 1}"),
                ):
                    await keep(environment.client, identity, f"{name}.{kind}")
        await rotation(environment)
        async with issuing(environment, FakeRing(), FakePki("127.0.0.2")):
            await issue(environment, {"cluster": "by-node", "path": "/d/june"}, identity="tls-issue/by-node")
            await keep(environment.client, "tls-issue/by-node", "by-node.issue")
        await look(environment)


async def look(environment: WorkflowEnvironment) -> None:
    """A preflight, with a node that is away."""
    await preflight(environment, FakeLooks(3, target(1).node.address), "looked-at")
    await keep(environment.client, "tls-preflight/looked-at", "looked-at.preflight")


async def rotation(environment: WorkflowEnvironment) -> None:
    """All three stages, with a person's yes before the last."""
    request = {"cluster": "rotated", "goal": "rotate-ca", "material": {"path": "b"}}
    async with serving(environment, RotatingRing(nodes=2)):
        handle = await start(environment, request)
        await until(handle, lambda status: status.decision is not None)
        await handle.execute_update("resolve", Resolution(node=RING, action="drop"))
        await handle.result()
        await keep(environment.client, handle.id, "rotated.rollout")


async def keep(client: Client, identity: str, name: str) -> None:
    """Write a history down."""
    history = await client.get_workflow_handle(identity).fetch_history()
    # Who and where are nobody's business in a repository, and play no part in replay.
    text = re.sub(r'"identity": "[^"]*"', '"identity": "recorder"', history.to_json())
    (FOLDER / f"{name}.json").write_text(text)


if __name__ == "__main__":
    asyncio.run(main())
