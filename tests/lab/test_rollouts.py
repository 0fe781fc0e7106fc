"""Rollouts on the real ring under a client load, as an operator runs them; kill -9 in the middle of one."""

import re
import time
from collections.abc import Iterator

import pytest

from lab import faults
from lab.load import LoadProcess
from lab.ring import find, service
from lab.spec import LabSpec
from sealring.models.evidence import Verdict
from sealring.models.preflight import PreflightReport
from sealring.models.rollout import NodeState, Phase, RolloutReport
from starters.exits import Exit
from tests.lab.engine import PATIENCE, Engine, running
from tests.lab.seen import seen_by_openssl, spotless, starts, states, stores

pytestmark = [pytest.mark.ring, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def engine(ring: LabSpec) -> Iterator[Engine]:
    with running(ring) as engine:
        yield engine


@pytest.fixture
def load(whole_ring: LabSpec) -> Iterator[LoadProcess]:
    load = LoadProcess(whole_ring)
    load.start()
    yield load
    load.stop()


@pytest.mark.criterion("H13", "K5", "R1", "V3", "A4", "O1", "H17")
@pytest.mark.parametrize(("apply", "seconds"), [("reload", 120), pytest.param("restart", 300, marks=pytest.mark.long)])
def test_new_certificates_under_load_without_a_failed_query(
    engine: Engine, load: LoadProcess, apply: str, seconds: int
) -> None:
    renewed(engine, load, apply, seconds)


@pytest.mark.long
@pytest.mark.parametrize("ring", ["4.1"], indirect=True)
@pytest.mark.parametrize(("apply", "seconds"), [("reload", 120), ("restart", 300)])
def test_the_same_on_an_older_cassandra(engine: Engine, load: LoadProcess, apply: str, seconds: int) -> None:
    renewed(engine, load, apply, seconds)


def renewed(engine: Engine, load: LoadProcess, apply: str, seconds: int) -> None:
    """A delivery for every node under load: no failed query, every listener seen by everybody, by openssl too."""
    before = starts(engine.spec)
    code, report = engine.rollout("-m", str(engine.deliver()), "--apply", apply)
    spotless(load.stop())
    assert (code, report.outcome) == (Exit.DONE, Phase.DONE)
    assert set(states(report).values()) == {NodeState.SERVING}
    after = starts(engine.spec)
    assert all((before[name] == after[name]) == (apply == "reload") for name in before)
    listeners = {(str(s.listener), s.vantage) for row in report.matrix for s in row.served}
    assert len(listeners) == 3 * 2 * 3  # nodes, listeners, vantages
    assert all(row.consistent for row in report.matrix)
    assert seen_by_openssl(engine.spec) == {row.address: row.intended for row in report.matrix}
    assert all(sum(t.seconds for t in node.timings) < seconds for node in report.nodes)
    assert all(node.before for node in report.nodes)


@pytest.mark.criterion("F3", "F6", "F7", "F10")
def test_a_preflight_asks_the_java_that_runs_each_node(engine: Engine, whole_ring: LabSpec) -> None:
    before = stores(whole_ring)
    done = engine.cli("preflight", "lab", "-m", str(engine.deliver()), "--json")
    assert done.returncode == Exit.DONE, done.stdout + done.stderr
    assert stores(whole_ring) == before
    report = PreflightReport.model_validate_json(done.stdout)
    assert report.standing == ()
    asked = (
        "node.jvm-store",
        "node.jvm-algorithms",
        "node.memory",
        "node.data-space",
        "node.long-start",
        "node.repair",
    )
    for node in report.nodes:
        assert {check: node.verdict_of(check) for check in asked} == dict.fromkeys(asked, Verdict.PASS)


@pytest.mark.criterion("N3", "N6", "R6")
def test_a_certificate_that_peers_refuse_is_taken_back(engine: Engine, load: LoadProcess) -> None:
    victim = find(engine.spec, "n2").address
    before, shown = stores(engine.spec), seen_by_openssl(engine.spec)
    delivery = engine.deliver({"n2": "foreign-ca"})
    waive = ["--waive", "material.chain", "--waive", "material.trusted-by-peers", "--waive", "trust.states"]
    code, report = engine.rollout("-m", str(delivery), "--nodes", victim, *waive)
    spotless(load.stop())
    assert code == Exit.FAILED
    assert states(report) == {victim: NodeState.ROLLED_BACK}
    steps = [t.step for t in report.nodes[0].timings]
    assert steps[-4:] == ["rollback", "reload", "verify", "settle"]
    assert sum(t.seconds for t in report.nodes[0].timings[steps.index("rollback") :]) < 120
    assert stores(engine.spec) == before
    assert seen_by_openssl(engine.spec) == shown


@pytest.mark.criterion("M1", "K4", "N1", "N2", "N5", "N7", "V4")
def test_a_node_that_cannot_start_is_taken_back_by_restart(engine: Engine, load: LoadProcess) -> None:
    node = find(engine.spec, "n3")
    shown = seen_by_openssl(engine.spec)
    started = engine.cli(
        *("rollout", "start", "lab", "-m", str(engine.deliver()), "--nodes", node.address),
        *("--apply", "restart", "--no-watch"),
    )
    assert started.returncode == 0, started.stderr
    child = f"tls-node/lab/{node.address}"
    engine.begun()
    with engine.frozen("deploy"):  # the pause is in the history before the step in hand can be reported
        assert engine.temporal("workflow", "signal", "-w", child, "--name", "pause", "--input", "null").returncode == 0
    end = time.monotonic() + PATIENCE
    while not re.search(r"held before (drain|restart)", told := engine.cli("rollout", "status", "lab").stdout):
        assert time.monotonic() < end, told
    faults.corrupt(node, "keystore.p12")
    engine.temporal("workflow", "signal", "-w", child, "--name", "resume", "--input", "null")
    done = engine.cli("rollout", "watch", "lab", "--json")
    report = RolloutReport.model_validate_json(done.stdout)
    spotless(load.stop())
    assert done.returncode == Exit.FAILED
    assert states(report) == {node.address: NodeState.ROLLED_BACK}
    assert report.problem is not None
    assert report.problem.code == "start.tls"
    assert seen_by_openssl(engine.spec) == shown


@pytest.mark.long
@pytest.mark.criterion("H8", "V3")
@pytest.mark.parametrize("victim", ["deploy", "control", "temporal"])
def test_killed_in_the_middle_of_a_wave_it_goes_on_and_nothing_is_done_twice(
    engine: Engine, whole_ring: LabSpec, victim: str
) -> None:
    node = find(whole_ring, "n1")
    before = int(service(node)["NRestarts"]), starts(whole_ring)["n1"]
    begun = engine.cli(
        *("rollout", "start", "lab", "-m", str(engine.deliver()), "--nodes", node.address),
        *("--apply", "restart", "--no-watch"),
    )
    assert begun.returncode == 0, begun.stderr
    engine.until(lambda s: s["nodes"] and s["nodes"][0]["state"] == "activating")
    end = time.monotonic() + 120
    while starts(whole_ring)["n1"] == before[1] and time.monotonic() < end:
        time.sleep(0.05)
    restarted = starts(whole_ring)["n1"]
    assert restarted != before[1]
    engine.kill(victim)
    time.sleep(1)
    engine.start(victim)
    done = engine.cli("rollout", "watch", "lab", "--json")
    assert done.returncode == Exit.DONE, done.stderr + done.stdout
    assert starts(whole_ring)["n1"] == restarted
    assert int(service(node)["NRestarts"]) == before[0]
