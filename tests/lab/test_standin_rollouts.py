"""Whole rollouts of the unchanged engine on the stand-in: the cheapest place where all of it works together."""

from collections.abc import Iterator

import pytest
import yaml

from lab.ring import find, service
from lab.spec import LabSpec
from sealring.models.rollout import NodeState, Phase
from starters.exits import Exit
from tests.lab.engine import Engine, running

pytestmark = [pytest.mark.timeout(600), pytest.mark.parametrize("ring", ["stand-in"], indirect=True)]


@pytest.fixture(scope="module")
def engine(ring: LabSpec) -> Iterator[Engine]:
    with running(ring) as engine:
        cluster = yaml.safe_load(ring.cluster_file.read_text())
        cluster["rollout"] = {"settle": 0}  # nothing in the stand-in needs time to settle
        ring.cluster_file.write_text(yaml.safe_dump(cluster))
        yield engine


def starts(spec: LabSpec) -> dict[str, str]:
    return {node.name: service(node)["ExecMainStartTimestampMonotonic"] for node in spec.ring}


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
    waive = ["--waive", "material.chain", "--waive", "material.trusted-by-peers"]
    code, report = engine.rollout("-m", str(delivery), "--nodes", victim.address, *waive)
    assert code == Exit.FAILED
    assert [(node.address, node.state) for node in report.nodes] == [(victim.address, NodeState.ROLLED_BACK)]
    assert (victim.tls / "keystore.p12").read_bytes() == keystore
