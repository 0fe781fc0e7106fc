"""Another authority for the stand-in's ring: the real activities on real files, with real handshakes."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from activities.barrier import BarrierActivities
from activities.rings import Rings
from lab.authority import LOOPBACK, Authority, client_identity, deliver, pkcs12_stores, write_file
from lab.node_config import STORES
from lab.ring import store_password
from lab.spec import LabSpec
from sealring.models.material import MaterialRef
from sealring.models.rollout import BarrierQuestion, Phase
from starters.exits import Exit
from tests.lab.engine import Engine, running
from tests.lab.rotations import accepted, end_of, follow, hand_over, leaves, rotate, trust
from tests.lab.seen import seen_by_openssl, stores

pytestmark = [pytest.mark.timeout(600), pytest.mark.parametrize("ring", ["stand-in"], indirect=True)]


@pytest.fixture(scope="module")
def engine(ring: LabSpec) -> Iterator[Engine]:
    with running(ring) as engine:
        yield engine


@pytest.mark.criterion("F8")
def test_a_ring_gets_another_authority_in_three_stages(engine: Engine, whole_ring: LabSpec, tmp_path: Path) -> None:
    spec, old = whole_ring, Authority.open(whole_ring.authority)
    new = Authority.open(spec.authority / "next", "next root")
    client, former = client_identity(spec, old), tmp_path / "former"
    shutil.copytree(client, former)
    both = old.trusted + new.trusted
    trust(client, both)
    cluster = yaml.safe_load(spec.cluster_file.read_text())
    pem = str(former / "tls.crt")
    cluster |= {"rollout": {"settle": 0, "ring_patience": 0}}
    spec.cluster_file.write_text(yaml.safe_dump(cluster | {"clients": [{"role": "app", "certificate": pem}]}))
    delivery = deliver(spec, new, f"rotation-{time.time_ns()}", trusted=new.trusted)
    wanted, before = leaves(delivery, spec), stores(spec)

    planned = engine.cli("ca", "plan", "lab", "-m", str(delivery))
    assert planned.returncode == Exit.DONE, planned.stdout
    assert "stage: drop the old authority" in planned.stdout
    assert stores(spec) == before

    rotate(engine, delivery, "--old-authority", "drop")
    report = end_of(engine)
    assert report.outcome is Phase.FAILED
    assert report.problem is not None
    assert report.problem.code == "barrier.client-needs-old"
    assert seen_by_openssl(spec) == wanted
    assert set(accepted(spec, former).values()) == {True}
    follow(client, new, both)
    spec.cluster_file.write_text(yaml.safe_dump(cluster))
    rotate(engine, delivery, "--old-authority", "drop")
    report = end_of(engine)
    assert report.outcome is Phase.DONE, report.problem
    assert all(row.consistent for row in report.matrix)
    assert {f.check for f in report.findings} <= {"barrier.live-client", "ring.observers"}
    assert seen_by_openssl(spec) == wanted
    assert set(accepted(spec, former).values()) == {False}
    assert set(accepted(spec, client).values()) == {True}
    hand_over(spec, new)


@pytest.mark.criterion("F8")
async def test_the_barrier_sees_what_is_on_disk_and_what_cassandra_has_not_read(whole_ring: LabSpec) -> None:
    spec, present = whole_ring, Authority.open(whole_ring.authority)
    new = Authority.open(spec.authority / "third", "third root")
    client = client_identity(spec, present)
    trust(client, present.trusted + new.trusted)
    delivery = deliver(spec, new, f"rotation-{time.time_ns()}", trusted=new.trusted)
    ref = MaterialRef(path=str(delivery))
    question = BarrierQuestion(cluster="lab", before="identity", material=ref, targets=())
    kept = {node.name: (node.tls / STORES[1]).read_bytes() for node in spec.ring}
    identity = present.issue([LOOPBACK])
    _, both = pkcs12_stores(identity, present.trusted + new.trusted, store_password(spec))
    rings = Rings(spec.cluster_file.parent)
    try:
        before = await BarrierActivities(rings).observe_barrier(question)
        assert before.blocking[0].check == "barrier.not-trusted"
        assert len([f for f in before.blocking if f.check == "barrier.not-trusted"]) == 9  # three refuse three
        for node in spec.ring:  # on the disk everybody trusts both; no Cassandra was told
            write_file(node.tls / STORES[1], both, 0o600)
        unread = await BarrierActivities(rings).observe_barrier(question)
        assert {f.check for f in unread.blocking} == {"barrier.handshake"}
        assert all("the delivered identity" in f.message for f in unread.blocking)
    finally:
        for node in spec.ring:
            write_file(node.tls / STORES[1], kept[node.name], 0o600)
        await rings.close()
