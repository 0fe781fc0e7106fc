"""A preflight alone: every check that can be made before anything is written. Nothing is changed on any node."""

import asyncio
from datetime import UTC, datetime

from temporalio import activity
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.cluster import ClusterActivities
from activities.drafts import write_store
from activities.material import MaterialActivities
from activities.node_checks import (
    Look,
    delivery_findings,
    fit_findings,
    java_finding,
    look_at,
    node_findings,
    peer_findings,
)
from activities.rings import Bench, Rings
from activities.rotation import load_planned
from sealring.cassandra.judging import Judge
from sealring.cassandra.jvm import CHECK as JVM_STORE
from sealring.cassandra.jvm import Opened
from sealring.cassandra.ring_findings import ring_findings
from sealring.errors import Actor, SealringError, refuse
from sealring.hosts.breakers import CIRCUIT_OPEN
from sealring.hosts.generations import read_disk
from sealring.models.cluster import NodeRef, RolloutSettings
from sealring.models.evidence import BLOCKING, Finding, Verdict
from sealring.models.material import ResolvedMaterial
from sealring.models.node import NodeView
from sealring.models.plan import Target
from sealring.models.preflight import PreflightRequest, PreflightSurvey
from sealring.models.rollout import ClusterQuestion, MaterialQuestion, NodeOrder, Readiness
from sealring.pki.keys import PrivateKey
from sealring.pki.material import Material
from sealring.planning.plan import vantages

_BACKUP_NEEDS = ("node.stores", "node.read-only", "node.disk-space", "node.inodes", "node.tools")


class PreflightActivities:
    """survey · preflight_alone."""

    def __init__(self, rings: Rings) -> None:
        """`rings` to reach the nodes."""
        self.rings = rings
        self._cluster, self._material = ClusterActivities(rings), MaterialActivities(rings)

    @activity.defn
    async def survey_ring(self, request: PreflightRequest) -> PreflightSurvey:
        """The ring, the delivery, and what each node would be brought to.

        Raises:
            SealringError: `cluster.*`, `material.*`, `plan.unknown-node`, `plan.no-material`; no node answers at all.
        """
        view = await self._cluster.observe_cluster(ClusterQuestion(cluster=request.cluster))
        known = {node.node.address for node in view.nodes}
        unknown = sorted(set(request.nodes) - known)
        if unknown:
            raise refuse(
                "plan.unknown-node",
                f"nodes: {', '.join(unknown)} not in cluster {request.cluster}",
                "name nodes by the address that `sealring cluster inspect` shows",
            )
        question = MaterialQuestion(view=view, ref=request.material, nodes=request.nodes)
        material = await self._material.resolve_material(question)
        rules = self.rings.file(request.cluster).rollout
        if request.apply is not None:
            rules = rules.model_copy(update={"apply": request.apply})
        ring = tuple(node.node for node in view.nodes)
        chosen = [node for node in view.nodes if not request.nodes or node.node.address in request.nodes]
        return PreflightSurvey(
            material=material.ref,
            targets=tuple(_target(node, material, rules, ring) for node in chosen),
            rules=rules,
            findings=(*ring_findings(view), await _rollout(request.cluster)),
        )

    @activity.defn
    async def preflight_alone(self, order: NodeOrder) -> Readiness:
        """All checks of one node and of its part of the delivery. What the node refuses is a finding.

        Raises:
            SealringError: of class `retry`: the node, or what it needs to be judged, is expected to be reached soon.
        """
        judge = Judge(order.node.address, restarts=order.target.apply == "restart")
        try:
            async with self.rings.open(order.cluster, order.node, running=True) as bench:
                look = await look_at(bench, order.target)
                findings = await node_findings(self.rings, look, patient=False)
                findings += (*await self._disk(look), _backup(findings, judge))
                findings += await self._delivery(order, look, judge)
        except SealringError as error:
            # An open breaker is an answer: this node was tried again and again just now.
            if error.retryable and error.code != CIRCUIT_OPEN:
                raise
            return Readiness(findings=(_refusal(error, judge),))
        return Readiness(findings=findings)

    async def _disk(self, look: Look) -> tuple[Finding, ...]:
        disk = await read_disk(look.bench.host, look.bench.place)
        if not disk.intent:
            return (look.judge.passed("node.busy", "no rollout is at work there"),)
        message = f"a rollout ({disk.intent}) left its intent in {look.bench.place.state_dir}"
        remedy = "let that rollout end; one that is over is tidied up by the next rollout"
        return (look.judge.warned("node.busy", message, remedy, Actor.OPERATOR),)

    async def _delivery(self, order: NodeOrder, look: Look, judge: Judge) -> tuple[Finding, ...]:
        bench = look.bench
        material = await load_planned(order, self.rings.vault(bench.cluster), bench.present)
        peers = (self._peer(bench, order.target, peer, material, judge) for peer in order.target.vantages)
        return (
            *delivery_findings(bench, order.node, material, look.facts.now),
            *fit_findings(look, material),
            *await asyncio.gather(*peers),
            await _java(bench, material, judge),
        )

    async def _peer(self, bench: Bench, target: Target, peer: NodeRef, material: Material, judge: Judge) -> Finding:
        """A peer that cannot be read leaves the question open; it is told of itself elsewhere."""
        alone = target.model_copy(update={"vantages": (peer,)})
        try:
            (finding,) = await peer_findings(self.rings, bench, alone, material, datetime.now(UTC))
        except SealringError as error:
            message = f"the truststore of {peer.address} could not be read: [{error.code}] {error.message}"
            return judge.failed("material.trusted-by-peers", message, error.remedy, error.actor).model_copy(
                update={"verdict": Verdict.INCONCLUSIVE}
            )
        message = f"{peer.address}: {finding.message}"
        return finding.model_copy(update={"node": judge.address, "message": message})


def _target(view: NodeView, material: ResolvedMaterial, rules: RolloutSettings, ring: tuple[NodeRef, ...]) -> Target:
    """What the rollout's plan would say of this node; unlike a plan it is made for a degraded ring too."""
    delivered = next((found for found in material.nodes if found.address == view.node.address), None)
    if delivered is None:
        raise refuse(
            "plan.no-material",
            f"{material.ref.path} holds nothing for {view.node.address}",
            f"deliver {material.ref.path}/{view.node.address} or name the nodes to work on",
            actor=Actor.PKI_ADMIN,
            node=view.node.address,
        )
    because = ("this Cassandra has no hot reload",) if view.reload == "none" else view.restart_because
    restart = rules.apply == "restart" or (rules.apply == "auto" and bool(because))
    return Target(
        node=view.node,
        generation=delivered.generation,
        leaf_sha256=delivered.leaf.sha256,
        apply="restart" if restart else "reload",
        may_restart=rules.allow_restart and rules.apply == "auto" and not restart,
        because="; ".join(because),
        vantages=vantages(view.node, ring, rules.vantages),
    )


def _backup(findings: tuple[Finding, ...], judge: Judge) -> Finding:
    """Whether what is in force could be kept: who may write there was settled when the node was opened."""
    missing = [f for f in findings if f.check in _BACKUP_NEEDS and f.verdict in BLOCKING]
    if not missing:
        return judge.passed("node.backup", "what is in force opens, and there is room and the right to keep it")
    return judge.failed("node.backup", "; ".join(f.message for f in missing), missing[0].remedy, missing[0].actor)


async def _java(bench: Bench, material: Material, judge: Judge) -> Finding:
    """The stores that the node would get, opened by its own Java; where keys stay on the node, the truststores."""
    made: dict[tuple[str, str, str], bytes] = {}
    drafts = []
    try:
        for store in bench.inventory.stores:
            if store.role == "keystore" and not isinstance(material.key, PrivateKey):
                continue
            kind = store.role, store.format, bench.password(store)
            if kind not in made:
                made[kind] = write_store(material, *kind)
                drafts.append(Opened(store, kind[2], draft=made[kind]))
    except SealringError as error:
        if error.code.startswith("material."):  # told by the delivery's own checks
            return judge.warned(JVM_STORE, f"its Java was not asked: {error.message}", error.remedy, error.actor)
        return judge.failed(JVM_STORE, f"[{error.code}] {error.message}", error.remedy, error.actor)
    return await java_finding(bench, judge, drafts)


def _refusal(error: SealringError, judge: Judge) -> Finding:
    """What kept the node from being looked at."""
    area = error.code.partition(".")[0]
    checks = {"ssh": "node.reachable", "store": "node.stores"}
    special = {"node.privileges": "node.backup", "node.stores-differ": "node.stores", "node.no-stores": "node.stores"}
    check = special.get(error.code) or checks.get(area, "node.configuration")
    return judge.failed(check, f"[{error.code}] {error.message}", error.remedy, error.actor)


async def _rollout(cluster: str) -> Finding:
    """Whether a rollout of the ring is in progress: a preflight does not take its lock."""
    check, lock = "ring.rollout-running", f"tls-rollout/{cluster}"
    idle = Finding(check=check, verdict=Verdict.PASS, message="no rollout of this ring is in progress")
    try:
        description = await activity.client().get_workflow_handle(lock).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return idle
        raise
    if description.status is not WorkflowExecutionStatus.RUNNING:
        return idle
    return Finding(
        check=check,
        verdict=Verdict.WARN,
        message=f"{lock} is in progress: nodes may change while they are looked at",
        remedy="wait for its end, then look again",
        actor=Actor.OPERATOR,
    )
