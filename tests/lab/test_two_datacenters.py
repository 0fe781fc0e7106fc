"""Six real nodes in two datacenters: waves that are proven, and a gate that holds the next one."""

import asyncio
import time
from collections.abc import Iterator

import pytest
import yaml

from lab import lifecycle, tools
from lab.load import LoadProcess
from lab.ring import start_node, stop_node, wait_up
from lab.spec import NET, LabSpec
from sealring.cassandra.cql import conversation
from sealring.errors import SealringError
from sealring.models.rollout import NodeState, Phase, RolloutReport
from sealring.settings import load_cluster
from starters.exits import Exit
from tests.lab.conftest import TEMPORAL_PORT, fresh, processes_below
from tests.lab.engine import PATIENCE, Engine, running
from tests.lab.seen import spotless, starts, states

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

EVERYWHERE = "{'class': 'NetworkTopologyStrategy', 'dc1': 3, 'dc2': 3}"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    root = tools.cache() / f"test-two-dcs-{NET}"
    spec = LabSpec(root, nodes=6, datacenters=2, first=131, temporal_port=TEMPORAL_PORT + 5)
    fresh(spec)
    lifecycle.up(spec, print, engine=False)
    try:
        with running(spec) as engine:
            settings = yaml.safe_load(spec.cluster_file.read_text())
            settings["consistency"] = {"keyspaces": {"billing": ["EACH_QUORUM"]}}
            settings.setdefault("rollout", {})["ring_patience"] = PATIENCE
            spec.cluster_file.write_text(yaml.safe_dump(settings, sort_keys=False))
            asyncio.run(_keyspaces(spec))
            yield engine
    finally:
        lifecycle.down(spec)
    assert processes_below(spec.root) == []


async def _keyspaces(spec: LabSpec) -> None:
    cluster = load_cluster(spec.cluster_file.parent, "lab")
    for left in reversed(range(6)):  # six nodes that have just started answer slowly on two cores
        try:
            async with conversation(cluster.cql, spec.ring[0].address) as asked:
                await asked.rows(f"CREATE KEYSPACE IF NOT EXISTS billing WITH replication = {EVERYWHERE}")
            return
        except SealringError as error:
            if not (left and error.retryable):
                raise


@pytest.mark.criterion("D4", "D6", "D8", "H1")
def test_a_node_that_goes_down_during_a_wave_holds_the_next_one(engine: Engine) -> None:
    spec, before = engine.spec, starts(engine.spec)
    load = LoadProcess(spec)  # LOCAL_QUORUM in dc1
    load.start()
    try:
        begun = engine.cli(
            *("rollout", "start", "lab", "-m", str(engine.deliver())),
            *("--apply", "restart", "--strategy", "fastest", "--no-watch"),
        )
        assert begun.returncode == 0, begun.stderr
        status = engine.until(lambda s: any(node["state"] == "activating" for node in s["nodes"]))
        assert status["waves"] == 3, "a rack of each datacenter at a time"
        first = {node["address"] for node in status["nodes"] if node["state"] == "activating"}
        victim = next(n for n in spec.ring if n.address not in first and n.datacenter == "dc2")
        stop_node(spec, victim.name)
        # The first wave may itself be held back by its own look at the ring: it settles when the node is back.
        time.sleep(20)  # for the next wave to begin, if nothing held it
        held = engine.status()
        touched = {node["address"] for node in held["nodes"] if node["state"] not in ("waiting", "prepared")}
        assert touched == first, "no node of the next wave was begun"
        start_node(spec, victim.name)
        wait_up(spec)
        done = engine.cli("rollout", "watch", "lab", "--json")
    finally:
        summary = load.stop()
    report = RolloutReport.model_validate_json(done.stdout)
    assert (done.returncode, report.outcome) == (Exit.DONE, Phase.DONE), report.problem
    assert set(states(report).values()) == {NodeState.SERVING}
    assert all(before[name] != after for name, after in starts(spec).items())
    spotless(summary)
