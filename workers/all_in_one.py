"""Everything on one machine: Temporal server with UI, codec server, both workers. To try it, and for small rings."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sealring.settings import Settings
from sealring.temporal.attributes import SEARCH_ATTRIBUTES
from sealring.temporal.codec_server import serve_codec
from sealring.temporal.keyring import create_keyring, load_keyring
from workers.runtime import until_told_to_stop, working
from workers.temporal_server import ADDRESS, launch, temporal_program

STOP_SECONDS = 10.0


async def run_all(settings: Settings) -> None:
    """Run until SIGINT or SIGTERM.

    Raises:
        SealringError: a port is busy, the program `temporal` is missing, a key file is unreadable.
    """
    async with everything(settings) as running:
        print(f"Temporal UI  {running.temporal_ui}", flush=True)
        print(f"clusters     {running.clusters}", flush=True)
        print("stop with Ctrl-C; rollouts in progress go on at the next start", flush=True)
        await until_told_to_stop()


@asynccontextmanager
async def everything(settings: Settings) -> AsyncIterator[Settings]:
    """Start all parts, in order; stop them in reverse. Yields the settings that fit what was started."""
    keyring = settings.keyring or settings.state / "keyring.json"
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not keyring.exists():
        create_keyring(keyring)
    address = settings.temporal_address or f"{ADDRESS}:7233"
    port, ui_port = int(address.rpartition(":")[2]), int(settings.temporal_ui.rpartition(":")[2])
    own = settings.model_copy(update={"keyring": keyring, "temporal_address": address})
    async with serve_codec(load_keyring(keyring), port=settings.codec_port, ui_origin=settings.temporal_ui) as codec:
        # In this thread: the server is tied to the life of the thread that starts it.
        server = launch(
            temporal_program(),
            settings.state / "temporal",
            port=port,
            ui_port=ui_port,
            search_attributes=SEARCH_ATTRIBUTES,
            codec_endpoint=codec,
        )
        try:
            async with working(own, ("control", "deploy")):
                yield own
        finally:
            await asyncio.to_thread(_stop, server)


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
