"""Rollouts on the real ring, as an operator runs them: the command line, the stock Temporal CLI, kill -9, openssl."""

import hashlib
import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from activities.cluster import ClusterActivities
from activities.rings import Rings
from activities.verify import VerifyActivities
from lab import faults, hosts
from lab.load import LoadProcess
from lab.ring import find, service
from lab.spec import NATIVE_PORT, LabSpec
from lab.tally import LoadSummary
from sealring.models.evidence import Verdict
from sealring.models.plan import Target
from sealring.models.rollout import ClusterQuestion, NodeOrder, NodeState, Phase, RolloutReport, VerifyOrder
from sealring.planning.plan import vantages
from starters.exits import Exit
from tests.lab.engine import BIN, PATIENCE, Engine, running

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


def stores(spec: LabSpec) -> dict[str, str]:
    files = [node.tls / name for node in spec.ring for name in ("keystore.p12", "truststore.p12")]
    return {str(f): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def starts(spec: LabSpec) -> dict[str, str]:
    return {node.name: service(node)["ExecMainStartTimestampMonotonic"] for node in spec.ring}


def seen_by_openssl(spec: LabSpec) -> dict[str, str]:
    """Leaf fingerprint that each native listener shows to `openssl s_client`."""
    client = str(spec.authority / "client")
    identity = ["-cert", f"{client}/tls.crt", "-key", f"{client}/tls.key", "-CAfile", f"{client}/ca.crt"]
    fingerprint = ["openssl", "x509", "-noout", "-fingerprint", "-sha256"]
    found = {}
    for node in spec.ring:
        shown = subprocess.run(
            ["openssl", "s_client", "-connect", f"{node.address}:{NATIVE_PORT}", *identity, "-verify_return_error"],
            input=b"",
            capture_output=True,
            check=False,
        )
        dumped = subprocess.run(fingerprint, input=shown.stdout, capture_output=True, check=True)
        found[node.address] = dumped.stdout.decode().strip().partition("=")[2].replace(":", "").lower()
    return found


def states(report: RolloutReport) -> dict[str, NodeState]:
    return {node.address: node.state for node in report.nodes}


def spotless(summary: LoadSummary) -> None:
    assert summary.queries > 100
    assert (summary.failed, summary.wrong) == (0, 0), summary


@pytest.mark.criterion("H13", "K5", "R1", "V3", "A4", "O1", "H17")
@pytest.mark.parametrize(("apply", "seconds"), [("reload", 120), ("restart", 300)])
def test_new_certificates_under_load_without_a_failed_query(
    engine: Engine, load: LoadProcess, apply: str, seconds: int
) -> None:
    renewed(engine, load, apply, seconds)


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


@pytest.mark.criterion("F3", "F9", "K24")
def test_a_wrong_key_is_refused_and_no_store_is_touched(engine: Engine, whole_ring: LabSpec) -> None:
    before = stores(whole_ring)
    delivery = engine.deliver({"n2": "wrong-key"})
    code, report = engine.rollout("-m", str(delivery))
    assert (code, report.outcome) == (Exit.REFUSED, Phase.REFUSED)
    assert find(whole_ring, "n2").address in str(report.problem)
    assert stores(whole_ring) == before
    told = engine.cli("rollout", "plan", "lab", "-m", str(delivery))
    assert told.returncode == Exit.REFUSED
    assert "key" in told.stdout


@pytest.mark.criterion("N3", "N6", "R6")
def test_a_certificate_that_peers_refuse_is_taken_back(engine: Engine, load: LoadProcess) -> None:
    victim = find(engine.spec, "n2").address
    before, shown = stores(engine.spec), seen_by_openssl(engine.spec)
    delivery = engine.deliver({"n2": "foreign-ca"})
    waive = ["--waive", "material.chain", "--waive", "material.trusted-by-peers"]
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


@pytest.mark.criterion("N10", "I1")
def test_the_stock_temporal_cli_is_enough(engine: Engine, whole_ring: LabSpec) -> None:
    before = seen_by_openssl(whole_ring)
    request = json.dumps({"cluster": "lab", "material": {"path": str(engine.deliver())}})
    where = ("-w", "tls-rollout/lab")
    start = ("workflow", "start", "--type", "CertificateRollout", "--task-queue", "sealring", *where, "--input")
    assert engine.temporal(*start, request).returncode == 0
    engine.begun(but=engine.begun())  # the first node is done, the second in hand
    say = ("workflow", "signal", *where, "--input", '{"reason": "a test"}', "--name")
    with engine.frozen("deploy"):
        assert engine.temporal(*say, "pause").returncode == 0
        engine.until(lambda s: s["phase"] == "Paused")
        assert engine.temporal(*say, "resume").returncode == 0
        assert engine.temporal(*say, "abort").returncode == 0
    engine.until(lambda s: s["phase"] == "Aborted")
    after = seen_by_openssl(whole_ring)
    assert 0 < len([address for address in before if before[address] != after[address]]) < 3
    assert engine.temporal(*start, '{"cluster": "lab", "goal": "rollback"}').returncode == 0
    assert engine.cli("rollout", "watch", "lab", "--json").returncode == Exit.DONE
    assert seen_by_openssl(whole_ring) == before


@pytest.mark.criterion("F4")
def test_a_node_that_cannot_be_reached_is_named_before_anything_is_touched(engine: Engine, whole_ring: LabSpec) -> None:
    before, node = stores(whole_ring), find(whole_ring, "n3")
    hosts.cut(whole_ring, node, "refuse")
    try:
        code, report = engine.rollout("-m", str(engine.deliver()))
    finally:
        hosts.restore(whole_ring, node)
    assert code == Exit.REFUSED
    assert report.problem is not None
    assert report.problem.code == "plan.ring-degraded"
    assert f"{node.address}: [ssh." in report.problem.message
    assert stores(whole_ring) == before


@pytest.mark.criterion("K25", "K5", "K6")
async def test_a_verification_can_be_asked_for_at_any_time_and_says_the_same_again(
    engine: Engine, whole_ring: LabSpec
) -> None:
    assert engine.rollout("-m", str(engine.deliver()), "--apply", "reload")[0] == Exit.DONE
    rings = Rings(whole_ring.cluster_file.parent)
    try:
        view = await ClusterActivities(rings).observe_cluster(ClusterQuestion(cluster="lab"))
        seen = view.nodes[0]
        assert seen.current is not None
        peers = vantages(seen.node, tuple(node.node for node in view.nodes), 2)
        target = Target(
            node=seen.node,
            generation=seen.current.id,
            leaf_sha256=seen.current.leaf_sha256,
            apply="reload",
            may_restart=False,
            vantages=peers,
        )
        order = NodeOrder(cluster="lab", rollout="a-test", target=target)
        good = VerifyOrder(order=order, generation=seen.current.id, leaf_sha256=seen.current.leaf_sha256)
        verify = VerifyActivities(rings).verify_node
        answers = [await verify(good), await verify(good)]
        wrong = await verify(good.model_copy(update={"leaf_sha256": "0" * 64}))
    finally:
        await rings.close()
    assert [answer.verdict for answer in answers] == [Verdict.PASS] * 2
    assert {f.check for f in answers[0].findings} == {f.check for f in answers[1].findings}
    assert wrong.verdict is Verdict.FAIL
    assert {s.vantage for s in wrong.served} == {"worker", *(peer.address for peer in peers)}


@pytest.mark.criterion("H9")
def test_failed_nodes_are_retried_with_a_plan_of_their_own(engine: Engine, whole_ring: LabSpec) -> None:
    delivery = engine.deliver({"n2": "foreign-ca"})
    waive = ["--waive", "material.chain", "--waive", "material.trusted-by-peers"]
    code, report = engine.rollout("-m", str(delivery), "--failure-budget", "1", *waive)
    failed = find(whole_ring, "n2").address
    assert (code, states(report)[failed]) == (Exit.DONE, NodeState.ROLLED_BACK)
    good = engine.deliver()
    (delivery / failed).rename(delivery / "spoilt")
    (good / failed).rename(delivery / failed)
    code, report = engine.rollout("-m", str(delivery))
    assert code == Exit.DONE
    assert states(report)[failed] is NodeState.SERVING
    assert [s for a, s in states(report).items() if a != failed] == [NodeState.UNCHANGED] * 2


def test_a_node_whose_workflow_was_terminated_is_finished_by_the_next_rollout(
    engine: Engine, whole_ring: LabSpec
) -> None:
    node, delivery = find(whole_ring, "n1"), str(engine.deliver())
    engine.cli("rollout", "start", "lab", "-m", delivery, "--no-watch")
    intent = node.tls / ".sealring" / "intent.json"
    assert engine.begun() == node.address
    engine.kill("deploy")  # the stock CLI alone takes longer than the rest of an activation
    assert engine.temporal("workflow", "terminate", "-w", f"tls-node/lab/{node.address}").returncode == 0
    engine.start("deploy")
    report = RolloutReport.model_validate_json(engine.cli("rollout", "watch", "lab", "--json").stdout)
    assert states(report)[node.address] is NodeState.BROKEN
    assert intent.exists()
    code, report = engine.rollout("-m", delivery)
    assert code == Exit.DONE, report.problem
    assert states(report)[node.address] is NodeState.SERVING
    assert not intent.exists()
    assert seen_by_openssl(whole_ring) == {row.address: row.intended for row in report.matrix}


def test_a_second_rollout_of_the_same_ring_is_told_about_the_first(engine: Engine, whole_ring: LabSpec) -> None:
    engine.cli("rollout", "start", "lab", "-m", str(engine.deliver()), "--no-watch")
    second = engine.cli("rollout", "start", "lab", "-m", str(engine.deliver()), "--no-watch")
    assert second.returncode == Exit.MISTAKE
    assert "rollout.running" in second.stderr
    engine.cli("rollout", "abort", "lab", "--reason", "only a test")
    assert engine.cli("rollout", "watch", "lab").returncode in (Exit.ABORTED, Exit.DONE)


def test_ctrl_c_in_watch_detaches_and_the_rollout_goes_on(engine: Engine, whole_ring: LabSpec, tmp_path: Path) -> None:
    engine.cli("rollout", "start", "lab", "-m", str(engine.deliver()), "--no-watch")
    watching = subprocess.Popen(
        [BIN / "sealring", "rollout", "watch", "lab"],
        env=engine.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, told = watching.communicate(timeout=60)
    assert "the rollout goes on" in told
    assert watching.returncode == 0
    assert engine.cli("rollout", "watch", "lab", "--json").returncode == Exit.DONE
