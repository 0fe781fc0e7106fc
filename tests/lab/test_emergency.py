"""A real ring whose leaves really expire: cut apart by one lost process, and renewed by the unchanged engine."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from lab.load import LoadProcess
from lab.ring import kill_node, stop_node, view
from lab.spec import NATIVE_PORT, LabSpec, NodeSpec
from sealring.models.rollout import NodeState, Phase
from starters.exits import Exit
from tests.lab.engine import PATIENCE, Engine, running
from tests.lab.expiring import serve_until, wait_until_over
from tests.lab.rotations import leaves
from tests.lab.seen import seen_by_openssl, spotless, starts, states

pytestmark = [pytest.mark.ring, pytest.mark.long, pytest.mark.timeout(1800)]

LIFE = timedelta(seconds=20)  # of the leaves, from when they are made: three nodes are reloaded meanwhile


@pytest.fixture(scope="module")
def engine(ring: LabSpec) -> Iterator[Engine]:
    with running(ring) as engine:
        yield engine


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.5)


def listens(node: NodeSpec) -> bool:
    with suppress(OSError), socket.create_connection((node.address, NATIVE_PORT), timeout=5):
        return True
    return False


def test_an_expired_ring_that_fell_apart_is_renewed_and_whole_again(engine: Engine, whole_ring: LabSpec) -> None:
    spec = whole_ring
    end = datetime.now(UTC) + LIFE
    serve_until(spec, end)
    wait_until_over(end)
    lost, other, stopped = spec.ring
    kill_node(spec, lost.name)  # its service manager starts it again, and nobody talks to it
    stop_node(spec, stopped.name)
    until(lambda: view(lost).get(other.address) == "DN", "it still sees its peers")
    until(lambda: set(view(other).values()) == {"UN", "DN"}, "it still sees its peers")
    until(lambda: listens(lost), "a node that listens can be reloaded, one that still starts is restarted")
    began, delivery = starts(spec), engine.deliver()

    code, report = engine.rollout("-m", str(delivery), "--emergency-expired", "--reason", "nobody renewed")
    assert (code, report.outcome) == (Exit.DONE, Phase.DONE), report.problem
    assert set(states(report).values()) == {NodeState.SERVING}
    assert {node.address: node.method for node in report.nodes} == {
        lost.address: "reload",
        other.address: "reload",
        stopped.address: "restart",
    }
    assert all(row.consistent for row in report.matrix)
    for node in spec.ring:
        assert view(node) == {each.address: "UN" for each in spec.ring}
    assert seen_by_openssl(spec) == leaves(delivery, spec)
    after = starts(spec)
    assert [name for name in began if began[name] != after[name]] == [stopped.name]
    load = LoadProcess(spec)
    load.start()
    time.sleep(5)
    spotless(load.stop())
