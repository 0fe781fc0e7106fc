"""An expired ring on the stand-in: who is refused, and the way out, by the unchanged engine on real files and TLS."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from lab.authority import LOOPBACK, Authority, Fault, client_identity, write_identity
from lab.ring import find, stop_node
from lab.spec import LabSpec
from sealring.models.rollout import NodeState, Phase, RolloutReport
from starters.exits import Exit
from tests.lab.engine import Engine, running
from tests.lab.expiring import serve_until
from tests.lab.rotations import leaves
from tests.lab.seen import seen_by_openssl, starts, states, stores

pytestmark = [pytest.mark.timeout(600), pytest.mark.parametrize("ring", ["stand-in"], indirect=True)]

EMERGENCY = ("--emergency-expired", "--reason", "nobody renewed")


@pytest.fixture(scope="module")
def engine(ring: LabSpec) -> Iterator[Engine]:
    with running(ring) as engine:
        cluster = yaml.safe_load(ring.cluster_file.read_text())
        cluster["rollout"] = {"settle": 0, "ring_patience": 0}
        ring.cluster_file.write_text(yaml.safe_dump(cluster))
        yield engine


@pytest.fixture
def expired_ring(whole_ring: LabSpec) -> LabSpec:
    """Every node shows a leaf that ended an hour ago."""
    serve_until(whole_ring, datetime.now(UTC) - timedelta(hours=1))
    return whole_ring


def refused(engine: Engine, *words: str) -> tuple[str, RolloutReport]:
    """The code of a refusal that left every store as it was."""
    before = stores(engine.spec)
    code, report = engine.rollout(*words)
    assert (code, report.outcome) == (Exit.REFUSED, Phase.REFUSED), report
    assert report.problem is not None
    assert stores(engine.spec) == before
    return report.problem.code, report


def test_a_ring_whose_leaves_are_good_is_no_emergency(engine: Engine, whole_ring: LabSpec) -> None:
    assert refused(engine, "-m", str(engine.deliver()), *EMERGENCY)[0] == "plan.not-expired"


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("wrong-key", "material.key-matches-leaf"),
        ("foreign-ca", "material.trusted-by-peers"),
    ],
)
def test_what_is_delivered_must_be_as_good_as_ever(
    engine: Engine, expired_ring: LabSpec, fault: Fault, check: str
) -> None:
    waived = ["--waive", "material.chain"] if fault == "foreign-ca" else []  # ca.crt is that of the ring
    _, report = refused(engine, "-m", str(engine.deliver({"n2": fault})), *EMERGENCY, *waived)
    assert check in report.model_dump_json()


def test_an_engine_whose_own_certificate_is_over_is_told_so(
    engine: Engine, expired_ring: LabSpec, tmp_path: Path
) -> None:
    authority = Authority.open(expired_ring.authority)
    client, good = client_identity(expired_ring, authority), tmp_path / "good"
    shutil.copytree(client, good)
    hour = timedelta(hours=1)
    over = authority.issue([LOOPBACK], not_before=datetime.now(UTC) - 2 * hour, not_after=datetime.now(UTC) - hour)
    write_identity(client, over, authority.trusted)
    try:
        code, report = refused(engine, "-m", str(engine.deliver()), *EMERGENCY)
    finally:
        shutil.copytree(good, client, dirs_exist_ok=True)
    assert code == "cql.credentials"
    assert "no listener would accept it" in str(report.problem)


def test_an_expired_ring_is_renewed_and_seen_whole(engine: Engine, expired_ring: LabSpec) -> None:
    spec, began = expired_ring, starts(expired_ring)
    stopped = find(spec, "n3")
    stop_node(spec, stopped.name)  # as one that ended its start, because nobody answered it
    delivery = engine.deliver()
    assert refused(engine, "-m", str(delivery))[0] == "plan.ring-degraded"

    code, report = engine.rollout("-m", str(delivery), *EMERGENCY)
    assert (code, report.outcome) == (Exit.DONE, Phase.DONE), report.problem
    assert set(states(report).values()) == {NodeState.SERVING}
    assert {node.address: node.method for node in report.nodes} == {
        node.address: "restart" if node is stopped else "reload" for node in spec.ring
    }
    assert all(row.consistent for row in report.matrix)
    assert report.plan is not None
    assert any(risk.startswith("EMERGENCY (nobody renewed): no quorum is proven") for risk in report.plan.risks)
    assert (report.goal, report.reason) == ("renew-expired", "nobody renewed")
    assert {waiver.code for waiver in report.waived} >= {"node.expired", "ring.node-down"}
    assert seen_by_openssl(spec) == leaves(delivery, spec)
    after = starts(spec)
    assert [name for name in began if began[name] != after[name]] == [stopped.name]

    back = engine.cli("rollback", "lab", "--json")
    assert RolloutReport.model_validate_json(back.stdout).problem is not None
    assert "plan.previous-expired" in back.stdout
