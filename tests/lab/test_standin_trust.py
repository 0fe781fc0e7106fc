"""A new authority for a whole ring, over real SSH: simulated from what lies on the disks, before anything flips."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from temporalio.testing import ActivityEnvironment

from activities.rings import Rings, generation_of
from activities.trust import ENGINE, TrustActivities
from lab.authority import Authority, deliver
from lab.engine import configure_engine
from lab.spec import LabSpec
from sealring.hosts.generations import stage_generation
from sealring.models.cluster import NodeRef
from sealring.models.evidence import Verdict
from sealring.models.material import MaterialRef
from sealring.models.plan import Plan, Stage, Target, Wave
from sealring.models.rollout import Readiness
from sealring.models.trust import TrustQuestion
from sealring.pki.stores import write_keystore, write_truststore
from sealring.sources.files import FileSource
from tests.lab.seen import stores

pytestmark = [pytest.mark.timeout(300), pytest.mark.parametrize("ring", ["stand-in"], indirect=True)]


@pytest.fixture
async def rings(whole_ring: LabSpec) -> AsyncIterator[Rings]:
    configure_engine(whole_ring)
    opened = Rings(whole_ring.cluster_file.parent)
    yield opened
    await opened.close()


async def staged(rings: Rings, nodes: tuple[NodeRef, ...], delivery: Path, name: str) -> Stage:
    """A stage that brings a delivery, node by node; it is on the disks when this returns."""
    waves = []
    for number, node in enumerate(nodes, 1):
        material = await FileSource().load(MaterialRef(path=str(delivery)), node)
        made = generation_of(material)
        async with rings.open("lab", node) as bench:
            files = {
                store.path: write_keystore(material, store.format, bench.password(store))
                if store.role == "keystore"
                else write_truststore(material.trust, store.format, bench.password(store))
                for store in bench.inventory.stores
            }
            await stage_generation(bench.host, bench.place, made, dict(files), rollout="test")
        target = Target(node=node, generation=made.id, leaf_sha256=made.leaf_sha256, apply="reload", may_restart=False)
        waves.append(Wave(name=f"wave {number}", targets=(target,), because=""))
    return Stage(name=name, waves=tuple(waves))


async def ask(rings: Rings, nodes: tuple[NodeRef, ...], *stages: Stage) -> Readiness:
    question = TrustQuestion(
        cluster="lab",
        nodes=nodes,
        plan=Plan(cluster="lab", goal="deploy", stages=stages),
        until=datetime.now(UTC) + timedelta(hours=1),
    )
    answer = await ActivityEnvironment().run(TrustActivities(rings).simulate_trust, question)
    assert isinstance(answer, Readiness)
    return answer


@pytest.mark.criterion("F8")
async def test_a_new_authority_is_refused_at_once_and_passes_in_three_stages(rings: Rings, whole_ring: LabSpec) -> None:
    spec, before = whole_ring, stores(whole_ring)
    nodes = tuple(view.node for view in (await rings.view("lab")).nodes)
    old, new = Authority.open(spec.authority), Authority.open(spec.root / "next", "next root")
    both = old.trusted + new.trusted

    async def stage(name: str, authority: Authority, trusted: bytes) -> Stage:
        return await staged(rings, nodes, deliver(spec, authority, f"trust {name}", trusted=trusted), name)

    show = await stage("show", new, both)
    (found,) = (await ask(rings, nodes, show)).findings
    assert (found.check, found.verdict, found.node) == ("trust.states", Verdict.FAIL, nodes[0].address)
    assert f"in wave 1, when {nodes[0]} has flipped: {nodes[1]}, dialling {nodes[0]}" in found.message

    stages = (await stage("trust", old, both), show, await stage("drop", new, new.trusted))
    (found,) = (await ask(rings, nodes, *stages)).findings
    assert found.verdict is Verdict.FAIL, "the engine's own cql.ca is the old authority alone"
    assert f"in wave 1 of show, when {nodes[0]} has flipped: {ENGINE}, dialling {nodes[0]} (native)" in found.message

    cluster = yaml.safe_load(spec.cluster_file.read_text())
    original = spec.cluster_file.read_text()
    try:
        (spec.root / "both.pem").write_bytes(both)
        cluster["cql"] |= {"ca": str(spec.root / "both.pem")}
        spec.cluster_file.write_text(yaml.safe_dump(cluster))
        (found,) = (await ask(rings, nodes, *stages)).findings
        assert found.verdict is Verdict.FAIL, "the engine's client certificate is of the old authority"
        assert f"dialled by {ENGINE} (native), would refuse" in found.message
        assert "in wave 1 of drop" in found.message
        (found,) = (await ask(rings, nodes, *stages[:2])).findings
        assert found.verdict is Verdict.PASS, found.message
    finally:
        spec.cluster_file.write_text(original)
    assert stores(whole_ring) == before
