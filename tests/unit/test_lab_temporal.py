"""The lab's Temporal server, for real: what it knows when it is up, and what outlives it."""

import asyncio
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from lab import state
from lab.spec import LabSpec
from lab.temporal import ROLE, UI_ABOVE, start_temporal, stop_temporal
from lab.tools import temporal
from sealring.errors import SealringError

CLUSTER, COUNT = SearchAttributeKey.for_keyword("LabCluster"), SearchAttributeKey.for_int("LabCount")


@pytest.fixture
def spec(tmp_path: Path) -> Iterator[LabSpec]:
    spec = LabSpec(tmp_path, temporal_port=free_pair())
    yield spec
    stop_temporal(spec)


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


async def client(spec: LabSpec) -> Client:
    return await Client.connect(f"127.0.0.1:{spec.temporal_port}")


async def begin(spec: LabSpec, name: str, *pairs: "SearchAttributePair[str] | SearchAttributePair[int]") -> None:
    attributes = TypedSearchAttributes(list(pairs))
    await (await client(spec)).start_workflow("Any", id=name, task_queue="none", search_attributes=attributes)


async def test_state_and_attributes_outlive_a_restart_and_new_attributes_are_added(spec: LabSpec) -> None:
    await asyncio.to_thread(start_temporal, spec, temporal(), search_attributes={"LabCluster": "Keyword"})
    await begin(spec, "first", SearchAttributePair(CLUSTER, "ring"))
    await asyncio.to_thread(stop_temporal, spec)
    assert not state.alive(spec.root)

    both = {"LabCluster": "Keyword", "LabCount": "Int"}
    await asyncio.to_thread(start_temporal, spec, temporal(), search_attributes=both)
    await begin(spec, "second", SearchAttributePair(CLUSTER, "ring"), SearchAttributePair(COUNT, 3))
    described = await (await client(spec)).get_workflow_handle("first").describe()
    assert described.typed_search_attributes[CLUSTER] == "ring"


async def test_the_ui_is_up_and_knows_the_codec_server(spec: LabSpec) -> None:
    await asyncio.to_thread(start_temporal, spec, temporal(), codec_endpoint="http://127.0.0.1:1/codec")
    reader, writer = await asyncio.open_connection("127.0.0.1", spec.temporal_port + UI_ABOVE)
    writer.write(b"GET /api/v1/settings HTTP/1.0\r\nHost: localhost\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert b" 200 " in answer.splitlines()[0]
    assert b"http://127.0.0.1:1/codec" in answer


async def test_a_busy_port_is_one_clear_line(spec: LabSpec) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", spec.temporal_port))
        taken.listen()
        with pytest.raises(SealringError, match=rf"127\.0\.0\.1:{spec.temporal_port}") as busy:
            start_temporal(spec, temporal())
    assert busy.value.code == "temporal.port-busy"


async def test_a_server_that_cannot_start_says_why_and_is_gone(spec: LabSpec) -> None:
    (spec.root / "temporal").mkdir()
    (spec.root / "temporal" / "temporal.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(SealringError, match="not a database") as failed:
        await asyncio.to_thread(start_temporal, spec, temporal())
    assert failed.value.code == "temporal.not-up"
    assert ROLE not in state.alive(spec.root)


async def test_an_attribute_of_no_known_type_is_refused_and_nothing_runs(spec: LabSpec) -> None:
    with pytest.raises(SealringError, match="LabOdd=Odd") as refused:
        await asyncio.to_thread(start_temporal, spec, temporal(), search_attributes={"LabOdd": "Odd"})
    assert refused.value.code == "temporal.attribute-refused"
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", spec.temporal_port)) != 0


def test_a_killed_server_loses_nothing(spec: LabSpec) -> None:
    start_temporal(spec, temporal())
    asyncio.run(begin(spec, "survivor"))
    os.kill(state.alive(spec.root)[ROLE], 9)
    stop_temporal(spec)
    start_temporal(spec, temporal())

    async def described() -> str:
        return (await (await client(spec)).get_workflow_handle("survivor").describe()).id

    assert asyncio.run(described()) == "survivor"
