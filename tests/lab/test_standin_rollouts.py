"""Whole rollouts of the unchanged engine on the stand-in, as an operator runs and steers them."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from activities.cluster import ClusterActivities
from activities.rings import Rings
from activities.verify import VerifyActivities
from lab import hosts
from lab.ring import find
from lab.spec import LabSpec
from sealring.models.evidence import Verdict
from sealring.models.plan import Target
from sealring.models.rollout import ClusterQuestion, NodeOrder, NodeState, Phase, RolloutReport, VerifyOrder
from sealring.planning.plan import vantages
from starters.exits import Exit
from tests.lab.engine import BIN, Engine, running
from tests.lab.seen import seen_by_openssl, starts, states, stores

pytestmark = [pytest.mark.timeout(600), pytest.mark.parametrize("ring", ["stand-in"], indirect=True)]


@pytest.fixture(scope="module")
def engine(ring: LabSpec) -> Iterator[Engine]:
    with running(ring) as engine:
        cluster = yaml.safe_load(ring.cluster_file.read_text())
        cluster["rollout"] = {"settle": 0}  # nothing in the stand-in needs time to settle
        ring.cluster_file.write_text(yaml.safe_dump(cluster))
        yield engine


@pytest.mark.parametrize("apply", ["reload", "restart"])
def test_all_nodes_get_new_certificates(engine: Engine, whole_ring: LabSpec, apply: str) -> None:
    before = starts(whole_ring)
    code, report = engine.rollout("-m", str(engine.deliver()), "--apply", apply)
    assert (code, report.outcome) == (Exit.DONE, Phase.DONE), report.problem
    assert {node.state for node in report.nodes} == {NodeState.SERVING}
    listeners = {(str(s.listener), s.vantage) for row in report.matrix for s in row.served}
    assert len(listeners) == 3 * 2 * 3  # nodes, listeners, vantages
    assert all(row.consistent for row in report.matrix)
    after = starts(whole_ring)
    assert all((before[name] == after[name]) == (apply == "reload") for name in before)


def test_a_certificate_that_peers_refuse_is_taken_back(engine: Engine, whole_ring: LabSpec) -> None:
    victim = find(whole_ring, "n2")
    keystore = (victim.tls / "keystore.p12").read_bytes()
    delivery = engine.deliver({"n2": "foreign-ca"})
    waive = ["--waive", "material.chain", "--waive", "material.trusted-by-peers", "--waive", "trust.states"]
    code, report = engine.rollout("-m", str(delivery), "--nodes", victim.address, *waive)
    assert code == Exit.FAILED
    assert [(node.address, node.state) for node in report.nodes] == [(victim.address, NodeState.ROLLED_BACK)]
    assert (victim.tls / "keystore.p12").read_bytes() == keystore


@pytest.mark.criterion("F3", "F9", "K24")
def test_a_wrong_key_is_refused_and_no_store_is_touched(engine: Engine, whole_ring: LabSpec) -> None:
    before = stores(whole_ring)
    delivery = engine.deliver({"n2": "wrong-key"})
    code, report = engine.rollout("-m", str(delivery))
    assert (code, report.outcome) == (Exit.REFUSED, Phase.REFUSED)
    assert find(whole_ring, "n2").address in str(report.problem)
    assert engine.cli("rollout", "report", "lab").returncode == Exit.REFUSED
    assert stores(whole_ring) == before
    told = engine.cli("rollout", "plan", "lab", "-m", str(delivery))
    assert told.returncode == Exit.REFUSED
    assert "key" in told.stdout


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
    waive = ["--waive", "material.chain", "--waive", "material.trusted-by-peers", "--waive", "trust.states"]
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


def _hear_ctrl_c() -> None:
    """What is run in the background of a shell inherits deafness to it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_in_watch_detaches_and_the_rollout_goes_on(engine: Engine, whole_ring: LabSpec, tmp_path: Path) -> None:
    engine.cli("rollout", "start", "lab", "-m", str(engine.deliver()), "--no-watch")
    assert engine.cli("rollout", "pause", "lab").returncode == 0  # else it may be over before anybody looks
    watching = subprocess.Popen(
        [BIN / "sealring", "rollout", "watch", "lab"],
        env=engine.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_ctrl_c,
    )
    assert watching.stdout is not None
    watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, told = watching.communicate(timeout=60)
    assert "the rollout goes on" in told
    assert watching.returncode == 0
    assert engine.cli("rollout", "resume", "lab").returncode == 0
    assert engine.cli("rollout", "watch", "lab", "--json").returncode == Exit.DONE
