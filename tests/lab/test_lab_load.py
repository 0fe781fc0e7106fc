"""The client load on a real ring: quiet, wrong on purpose, failing on purpose, and through the death of a node."""

import time
from collections.abc import Callable, Iterator

import pytest
from cassandra.cluster import Session

from lab.authority import Authority, client_identity
from lab.load import LoadProcess
from lab.load_client import KEYSPACE, LoadPlan, connect
from lab.ring import kill_node, wait_up
from lab.spec import NATIVE_PORT, LabSpec
from lab.tally import Second, Tally

pytestmark = [pytest.mark.long, pytest.mark.ring, pytest.mark.timeout(900)]

RATE = 100.0
REPLICATION = "ALTER KEYSPACE load WITH replication = {{'class': 'NetworkTopologyStrategy', '{}': {}}}"


@pytest.fixture
def load(ring: LabSpec) -> Iterator[LoadProcess]:
    load = LoadProcess(ring, rate=RATE)
    load.start()
    yield load
    load.stop()


@pytest.fixture
def session(ring: LabSpec) -> Iterator[Session]:
    """The hand that disturbs the load's data behind its back."""
    plan = LoadPlan(
        addresses=[node.address for node in ring.ring],
        port=NATIVE_PORT,
        datacenter=ring.ring[0].datacenter,
        replication={},
        rate=RATE,
        identity=str(client_identity(ring, Authority.open(ring.authority))),
        seconds_file="",
        summary_file="",
    )
    cluster = connect(plan, Tally())
    yield cluster.connect()
    cluster.shutdown()


def until(load: LoadProcess, holds: Callable[[Second], bool], timeout: float = 300.0) -> Second:
    """The first second from now on of which it holds."""
    told, end = len(load.seconds()), time.monotonic() + timeout
    for second in load.follow():
        if second.second >= told and holds(second):
            return second
        assert time.monotonic() < end, f"not within {timeout} s; last: {second}"
    raise AssertionError("the load ended")


def test_a_quiet_ring_fails_nothing_and_the_rate_is_kept(load: LoadProcess) -> None:
    def kept(second: Second) -> bool:  # an open loop makes up for every stall; a closed one falls behind
        return second.second >= 5 and sum(s.ok for s in load.seconds()[: second.second + 1]) >= RATE * second.second

    until(load, kept)
    summary = load.stop()
    assert (summary.failed, summary.wrong) == (0, 0)
    assert summary.queries <= RATE * (summary.seconds + 0.1) + 1, "never more than was due"
    assert summary.queries == sum(second.ok for second in load.seconds())
    assert 0 < summary.p50_ms <= summary.p99_ms <= summary.max_ms


def test_a_read_that_misses_an_acknowledged_write_is_wrong(load: LoadProcess, session: Session) -> None:
    until(load, lambda second: second.second >= 2)  # every key was written
    session.execute(f"TRUNCATE {KEYSPACE}.registers", timeout=60)
    until(load, lambda second: second.ok > RATE / 2)
    assert load.stop().wrong > 0


def test_what_the_driver_gives_up_is_told_from_what_it_tries_again(
    ring: LabSpec, load: LoadProcess, session: Session
) -> None:
    """With more replicas wanted than there are nodes, every request is tried on the next node and then given up."""
    name, size = ring.ring[0].datacenter, len(ring.ring)
    session.execute(REPLICATION.format(name, 2 * size + 1), timeout=60)
    try:
        failing = until(load, lambda second: second.ok == 0 and second.failed > RATE / 2)
        assert failing.retried > failing.failed
    finally:
        session.execute(REPLICATION.format(name, min(3, size)), timeout=60)
    until(load, lambda second: second.ok > RATE / 2 and second.failed == 0)
    summary = load.stop()
    assert sum(summary.failures.values()) == summary.failed > 0


def test_a_killed_node_costs_clients_nothing(ring: LabSpec, load: LoadProcess) -> None:
    kill_node(ring, ring.ring[1].name)
    until(load, lambda second: second.ok > RATE / 2)
    wait_up(ring)
    summary = load.stop()
    assert (summary.failed, summary.wrong) == (0, 0), summary
