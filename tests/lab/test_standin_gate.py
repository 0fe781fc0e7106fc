"""Who else is at work on the nodes of a wave, as the gate sees it: real SSH, CQL and disks; a told table of rows."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from temporalio.testing import ActivityEnvironment

from activities.cluster import ClusterActivities
from activities.rings import Rings
from lab.engine import configure_engine
from lab.spec import LabSpec, NodeSpec
from sealring.models.rollout import RingAnswer, RingQuestion

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.parametrize("ring", ["stand-in"], indirect=True),
    pytest.mark.criterion("F6"),
]


@pytest.fixture
async def rings(whole_ring: LabSpec) -> AsyncIterator[Rings]:
    configure_engine(whole_ring)
    opened = Rings(whole_ring.cluster_file.parent)
    yield opened
    await opened.close()


async def standing(rings: Rings, number: int, *, restart: bool = True, **more: Any) -> dict[str, str]:
    """What stands in the way of a wave with one node: its message, by check."""
    node = (await rings.view("lab")).nodes[number].node
    restarts = (node.address,) if restart else ()
    question = RingQuestion(cluster="lab", wave=(node,), restarts=restarts, rollout="ours", **more)
    answer = await ActivityEnvironment().run(ClusterActivities(rings).check_ring, question)
    assert isinstance(answer, RingAnswer)
    assert {f.node for f in answer.blocking} <= {node.address}
    return {f.check: f.message for f in answer.blocking}


@contextmanager
def written(file: Path, text: str) -> Iterator[None]:
    there = file.parent.exists()
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    try:
        yield
    finally:
        file.unlink()
        if not there:
            file.parent.rmdir()


def rows(node: NodeSpec, **told: object) -> Any:
    return written(node.home / "rows.json", json.dumps(told))


async def test_streams_and_repairs_hold_the_restart_of_a_node_that_takes_part_and_no_other(
    rings: Rings, whole_ring: LabSpec
) -> None:
    streams = [("Bootstrap", "start"), ("Unbootstrap", "start"), ("Rebuild", "success")]
    told: dict[str, list[dict[str, Any]]] = {
        "streaming": [{"operation": operation, "status": status} for operation, status in streams],
        "repairs": [{"keyspace_name": "app", "completed": False}],
        "repair_participates": [{"completed": False}, {"completed": True}],
    }
    told = {table: [row | {"id": str(uuid4())} for row in found] for table, found in told.items()}
    with rows(whole_ring.ring[0], **told):
        found = await standing(rings, 0)
        assert found.keys() == {"node.streaming", "node.repair"}
        assert found["node.streaming"] == "streams in flight: 1 Bootstrap, 1 Unbootstrap"
        assert "keyspace app, session " in found["node.repair"]
        assert (await standing(rings, 0, waive=("node.repair",))).keys() == {"node.streaming"}
        assert await standing(rings, 0, restart=False) == {}, "a reload does not touch it"
        assert await standing(rings, 1) == {}


async def test_another_rollouts_intent_and_another_tools_file_hold_every_wave_with_the_node(
    rings: Rings, whole_ring: LabSpec
) -> None:
    cluster = yaml.safe_load(whole_ring.cluster_file.read_text())
    lock = whole_ring.ring[0].home / "a tool's.lock"
    cluster.setdefault("service", {})["hold_files"] = [str(lock), "/nowhere/at/all"]
    before = whole_ring.cluster_file.read_text()
    whole_ring.cluster_file.write_text(yaml.safe_dump(cluster))
    try:
        with written(lock, "4711"):
            found = await standing(rings, 0, restart=False)
            assert found == {"node.held": f"{lock} is there: another tool is at work"}
            assert await standing(rings, 0, restart=False, waive=("node.held",)) == {}
        node = (await rings.view("lab")).nodes[0].node
        async with rings.open("lab", node) as bench:
            state = Path(bench.place.state_dir)
        for rollout, checks in (("theirs", ["node.busy"]), ("ours", [])):
            text = json.dumps({"rollout": rollout, "step": "activate", "from": "", "previous": ""})
            with written(state / "intent.json", text):
                assert list(await standing(rings, 0, restart=False)) == checks
    finally:
        whole_ring.cluster_file.write_text(before)
