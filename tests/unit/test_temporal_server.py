"""The Temporal server of `sealring up`, for real: what it knows when it is up, and what outlives it."""

import asyncio
import random
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from sealring.errors import SealringError
from workers.temporal_server import launch, temporal_program

CLUSTER, COUNT = SearchAttributeKey.for_keyword("LabCluster"), SearchAttributeKey.for_int("LabCount")
UI_ABOVE = 1000
Process = subprocess.Popen[bytes]


class Server:
    """A folder, a port, and at most one process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_pair()
        self.process: Process | None = None

    def start(self, attributes: Mapping[str, str] = {}, codec: str | None = None) -> None:
        self.process = launch(
            temporal_program(),
            self.folder,
            port=self.port,
            ui_port=self.port + UI_ABOVE,
            search_attributes=attributes,
            codec_endpoint=codec,
        )

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(120)
            self.process = None

    async def client(self) -> Client:
        return await Client.connect(f"127.0.0.1:{self.port}")

    async def begin(self, name: str, *pairs: "SearchAttributePair[str] | SearchAttributePair[int]") -> None:
        attributes = TypedSearchAttributes(list(pairs))
        await (await self.client()).start_workflow("Any", id=name, task_queue="none", search_attributes=attributes)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "temporal")
    yield server
    server.stop()


def free_pair() -> int:
    """A port that is free, as is the UI's above it, and that the kernel gives to no client."""
    for port in random.sample(range(20_000, 30_000), 50):
        with socket.socket() as one, socket.socket() as two:
            try:
                one.bind(("127.0.0.1", port))
                two.bind(("127.0.0.1", port + UI_ABOVE))
            except OSError:
                continue
            return port
    raise AssertionError("no free pair of ports")


async def test_state_and_attributes_outlive_a_restart_and_new_attributes_are_added(server: Server) -> None:
    server.start({"LabCluster": "Keyword"})
    await server.begin("first", SearchAttributePair(CLUSTER, "ring"))
    server.stop()
    server.start({"LabCluster": "Keyword", "LabCount": "Int"})
    await server.begin("second", SearchAttributePair(CLUSTER, "ring"), SearchAttributePair(COUNT, 3))
    described = await (await server.client()).get_workflow_handle("first").describe()
    assert described.typed_search_attributes[CLUSTER] == "ring"


async def test_the_ui_is_up_and_knows_the_codec_server(server: Server) -> None:
    server.start(codec="http://127.0.0.1:1/codec")
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port + UI_ABOVE)
    writer.write(b"GET /api/v1/settings HTTP/1.0\r\nHost: localhost\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    assert b" 200 " in answer.splitlines()[0]
    assert b"http://127.0.0.1:1/codec" in answer


def test_a_busy_port_is_one_clear_line(server: Server) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", server.port))
        taken.listen()
        with pytest.raises(SealringError, match=rf"127\.0\.0\.1:{server.port}") as busy:
            server.start()
    assert busy.value.code == "temporal.port-busy"


def test_a_server_that_cannot_start_says_why(server: Server) -> None:
    server.folder.mkdir()
    (server.folder / "temporal.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(SealringError, match="not a database") as failed:
        server.start()
    assert failed.value.code == "temporal.not-up"


def test_an_attribute_of_no_known_type_is_refused_and_nothing_runs(server: Server) -> None:
    with pytest.raises(SealringError, match="LabOdd=Odd") as refused:
        server.start({"LabOdd": "Odd"})
    assert refused.value.code == "temporal.attribute-refused"
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) != 0


async def test_a_killed_server_loses_nothing(server: Server) -> None:
    server.start()
    await server.begin("survivor")
    server.stop(signal.SIGKILL)
    server.start()
    assert (await (await server.client()).get_workflow_handle("survivor").describe()).id == "survivor"
