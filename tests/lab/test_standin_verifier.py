"""Proof when a vantage is blind, and the backup when it is needed: the activities on real SSH, TLS, CQL and disks."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from temporalio.testing import ActivityEnvironment

from activities.activate import ActivateActivities
from activities.prepare import PrepareActivities
from activities.rings import Rings
from activities.verify import VerifyActivities
from lab.authority import Authority, pkcs12_stores
from lab.engine import configure_engine
from lab.node_config import STORES, served_stores
from lab.ring import store_password, wait_up
from lab.spec import LabSpec
from sealring.errors import SealringError
from sealring.hosts.generations import settle
from sealring.models.cluster import NodeRef
from sealring.models.evidence import Finding, Verdict
from sealring.models.node import Generation
from sealring.models.plan import Target
from sealring.models.rollout import FlipOrder, MatrixQuestion, NodeOrder, VerifyOrder
from sealring.temporal.policies import VERIFY
from tests.lab.ring_bench import install, material

pytestmark = [pytest.mark.timeout(600), pytest.mark.parametrize("ring", ["stand-in"], indirect=True)]


@dataclass(frozen=True)
class Scene:
    """A node whose certificate is kept and in force, and a peer."""

    rings: Rings
    node: NodeRef
    peer: NodeRef
    kept: Generation
    folder: Path  # of the kept generation

    def gone(self, number: int) -> NodeRef:
        """A peer that nobody can reach; another for each test, for breakers remember."""
        address = f"{self.node.address.rpartition('.')[0]}.{number}"
        return self.peer.model_copy(update={"host_id": address, "address": address})

    def order(self, *vantages: NodeRef) -> NodeOrder:
        target = Target(
            node=self.node,
            generation=self.kept.id,
            leaf_sha256=self.kept.leaf_sha256,
            apply="reload",
            may_restart=False,
            vantages=vantages,
        )
        return NodeOrder(cluster="lab", rollout="r1", target=target, before=self.kept)

    def proof(self, *vantages: NodeRef) -> VerifyOrder:
        order = self.order(*vantages)
        return VerifyOrder(order=order, generation=self.kept.id, leaf_sha256=self.kept.leaf_sha256)

    def in_force(self) -> dict[str, bytes]:
        tls = self.folder.parents[1]
        return {file.name: file.read_bytes() for file in tls.iterdir() if file.is_file()}


@pytest.fixture(scope="module")
async def scene(ring: LabSpec) -> AsyncIterator[Scene]:
    wait_up(ring)
    configure_engine(ring)
    cluster = yaml.safe_load(ring.cluster_file.read_text())
    cluster["ssh"]["breaker"] = {"failures": 1, "subnet_failures": 99}
    ring.cluster_file.write_text(yaml.safe_dump(cluster))
    rings = Rings(ring.cluster_file.parent)
    node, peer = (seen.node for seen in (await rings.view("lab")).nodes[:2])
    draft = Scene(rings, node, peer, Generation(id="0" * 64, leaf_sha256="0" * 64, not_after=datetime.now(UTC)), Path())
    kept = (await PrepareActivities(rings).backup_node(draft.order())).current
    assert kept
    async with rings.open("lab", node) as bench:
        folder = Path(bench.place.tls_dir) / "generations" / kept.id
    yield replace(draft, kept=kept, folder=folder)
    await rings.close()


def verdicts(findings: tuple[Finding, ...], check: str) -> list[Verdict]:
    return [finding.verdict for finding in findings if finding.check == check]


@pytest.mark.criterion("N19")
async def test_all_vantages_see(scene: Scene) -> None:
    proof = await VerifyActivities(scene.rings).verify_node(scene.proof(scene.peer))
    assert proof.verdict is Verdict.PASS, proof.findings
    assert verdicts(proof.findings, "verify.served") == [Verdict.PASS] * 4  # two listeners, two vantages
    (told,) = (f.message for f in proof.findings if f.check == "verify.vantages")
    assert told == f"2 of 2 vantages got an answer: worker, {scene.peer.address}"


@pytest.mark.criterion("N19", "V8")
@pytest.mark.parametrize("breaker", ["closed", "open"])
async def test_a_vantage_that_went_blind_makes_the_verdict_inconclusive_and_is_named(
    scene: Scene, breaker: str
) -> None:
    verifier, gone = VerifyActivities(scene.rings), scene.gone(251 if breaker == "open" else 250)
    if breaker == "open":  # by the first look
        await verifier.verify_node(scene.proof(gone))
    proof = await verifier.verify_node(scene.proof(gone))
    assert proof.verdict is Verdict.INCONCLUSIVE
    assert verdicts(proof.findings, "verify.served") == [Verdict.PASS] * 2, "the worker saw both listeners"
    (told,) = (f for f in proof.findings if f.check == "verify.vantages")
    assert told.verdict is Verdict.INCONCLUSIVE
    assert told.message.startswith(f"1 of 2 vantages got an answer: worker; blind: {gone.address}, no way")
    code = "ssh.circuit-open" if breaker == "open" else "ssh.connect-failed"
    assert f"[{code}]" in told.message
    blind = [s for s in proof.served if s.vantage == gone.address]
    assert len(blind) == 2
    assert all(s.leaf_sha256 == "" and code in s.problem for s in blind), "evidence of what was not seen"
    assert proof.tls_dir == str(scene.folder.parents[1]), "for a person's checklist"
    assert {Path(store).name for store in proof.stores} == set(scene.in_force())


@pytest.mark.criterion("N19")
async def test_two_vantages_that_see_do_not_outvote_the_blind_one(scene: Scene) -> None:
    proof = await VerifyActivities(scene.rings).verify_node(scene.proof(scene.peer, scene.gone(252)))
    assert proof.verdict is Verdict.INCONCLUSIVE
    (told,) = (f.message for f in proof.findings if f.check == "verify.vantages")
    assert told.startswith(f"2 of 3 vantages got an answer: worker, {scene.peer.address}; blind: ")


@pytest.mark.criterion("V8")
async def test_while_the_budget_lasts_a_blind_vantage_is_waited_for(scene: Scene) -> None:
    def attempt(begun: timedelta) -> Any:
        environment = ActivityEnvironment()
        environment.info = replace(
            environment.info,
            scheduled_time=datetime.now(UTC) - begun,
            schedule_to_close_timeout=VERIFY["schedule_to_close_timeout"],
            start_to_close_timeout=VERIFY["start_to_close_timeout"],
        )
        return environment.run(VerifyActivities(scene.rings).verify_node, scene.proof(scene.gone(253)))

    with pytest.raises(SealringError) as caught:
        await attempt(timedelta(seconds=1))
    assert caught.value.retryable
    proof = await attempt(timedelta(minutes=4))
    assert proof.verdict is Verdict.INCONCLUSIVE


@pytest.mark.criterion("N19")
async def test_a_blind_vantage_refuses_the_node_before_anything_is_touched_and_shows_in_the_matrix(
    scene: Scene,
) -> None:
    with pytest.raises(SealringError) as caught:
        await PrepareActivities(scene.rings).validate_node(scene.order(scene.gone(254)))
    assert caught.value.code == "ssh.connect-failed"
    question = MatrixQuestion(cluster="lab", targets=(scene.order(scene.peer, scene.gone(254)).target,))
    (row,) = (await VerifyActivities(scene.rings).served_matrix(question)).rows
    assert not row.consistent
    assert {s.vantage for s in row.served if s.leaf_sha256} == {"worker", scene.peer.address}


@pytest.mark.criterion("N8")
async def test_a_damaged_backup_is_made_anew_before_the_node_is_touched(scene: Scene) -> None:
    victim = scene.folder / "keystore.p12"
    good = victim.read_bytes()
    victim.write_bytes(good[:-1])
    found = await PrepareActivities(scene.rings).backup_node(scene.order())
    assert found.current
    assert (found.current.id, victim.read_bytes()) == (scene.kept.id, good)


@pytest.fixture
async def moved_on(scene: Scene, ring: LabSpec) -> AsyncIterator[Scene]:
    """The node serves another certificate by now; `kept` is the way back. All is put back at the end."""
    node = next(n for n in ring.ring if n.address == scene.node.address)
    conf = served_stores(ring, node).parent / "cassandra.yaml"
    files = [file for folder in (scene.folder, scene.folder.parents[1]) for file in folder.iterdir() if file.is_file()]
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in (conf, *files)}
    install(ring, node, material(ring, node))
    newer = (await PrepareActivities(scene.rings).backup_node(scene.order())).current
    assert newer
    assert newer.id != scene.kept.id
    yield scene
    for file, (content, changed) in before.items():
        file.write_bytes(content)
        os.utime(file, ns=(changed, changed))  # a configuration that is younger than its process counts as changed
    await PrepareActivities(scene.rings).backup_node(scene.order())


async def roll_back(scene: Scene) -> None:
    order = scene.order().model_copy(update={"rollout": "r2"})
    try:
        await ActivateActivities(scene.rings).rollback_node(FlipOrder(order=order, generation=scene.kept.id))
    finally:
        async with scene.rings.open("lab", scene.node) as bench:
            await settle(bench.host, bench.place, rollout="r2", keep=5)


@pytest.mark.criterion("N8")
async def test_a_whole_backup_is_put_back(moved_on: Scene) -> None:
    newer = moved_on.in_force()
    assert not (await PrepareActivities(moved_on.rings).preflight_node(moved_on.order())).blocking
    await roll_back(moved_on)
    assert moved_on.in_force() != newer
    assert moved_on.in_force()["keystore.p12"] == (moved_on.folder / "keystore.p12").read_bytes()


@pytest.mark.criterion("N8")
@pytest.mark.parametrize("harm", ["cut", "exchanged", "gone"])
async def test_a_rollback_to_a_damaged_backup_is_refused_before_anything_is_changed(moved_on: Scene, harm: str) -> None:
    keystore, truststore = moved_on.folder / "keystore.p12", moved_on.folder / "truststore.p12"
    newer = moved_on.in_force()
    match harm:
        case "cut":
            keystore.write_bytes(keystore.read_bytes()[:-1])
        case "exchanged":
            keystore.write_bytes(truststore.read_bytes())
        case "gone":
            keystore.unlink()
    (finding,) = (await PrepareActivities(moved_on.rings).preflight_node(moved_on.order())).blocking
    assert (finding.check, finding.verdict) == ("node.kept", Verdict.FAIL), "a rollback on request is not begun"
    with pytest.raises(SealringError) as caught:
        await roll_back(moved_on)
    error = caught.value
    assert error.code == "rollback.unusable"
    assert error.remedy == "deploy new, valid material to this node; until then it stays as it is"
    assert moved_on.in_force() == newer


@pytest.mark.criterion("N8")
async def test_a_backup_that_no_longer_opens_is_not_put_back_in_place_of_one_that_does(
    moved_on: Scene, ring: LabSpec
) -> None:
    """Somebody changed the password of the stores, and of the stores in force, after the backup."""
    node = next(n for n in ring.ring if n.address == moved_on.node.address)
    served = served_stores(ring, node)
    conf, old, new = served.parent / "cassandra.yaml", store_password(ring), "another-password"
    conf.write_text(conf.read_text().replace(old, new))
    trusted = Authority.open(ring.authority).trusted
    for name, content in zip(STORES, pkcs12_stores(material(ring, node), trusted, new), strict=True):
        (served / name).write_bytes(content)
    newer = moved_on.in_force()
    with pytest.raises(SealringError) as caught:
        await roll_back(moved_on)
    assert (caught.value.code, caught.value.node) == ("rollback.unusable", moved_on.node.address)
    assert new not in str(caught.value)
    assert moved_on.in_force() == newer
