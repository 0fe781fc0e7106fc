"""Preparing one node: everything that can be done and known before anything in force is changed."""

from datetime import UTC, datetime

from temporalio import activity
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.drafts import Drafts, tell_sent
from activities.issuing import assembled
from activities.node_checks import (
    delivery_findings,
    fit_findings,
    java_finding,
    look_at,
    node_findings,
    peer_findings,
    staged_stores,
)
from activities.rings import Bench, Rings, generation_of
from activities.rotation import load_planned
from sealring.cassandra.judging import Judge
from sealring.errors import Actor, SealringError, refuse
from sealring.hosts.facts import HostFacts, read_facts
from sealring.hosts.generations import adopt, read_disk, read_manifest, settle, stage_generation
from sealring.models.base import short
from sealring.models.evidence import BLOCKING, Finding, Verdict
from sealring.models.rollout import NodeOrder, Readiness, Transferred
from sealring.pki.material import Material


class PrepareActivities:
    """validate · backup · transfer · preflight."""

    def __init__(self, rings: Rings) -> None:
        """`rings` to reach the nodes."""
        self.rings = rings
        self._drafts = Drafts()

    @activity.defn
    async def validate_node(self, order: NodeOrder) -> Readiness:
        """Can the node be worked on? Reads only, but for an intent that is inherited.

        Raises:
            SealringError: the host cannot be reached, or its configuration is not understood; `node.busy` when
                another rollout is at work there.
        """
        async with self.rings.open(order.cluster, order.node, running=True) as bench:
            look = await look_at(bench, order.target)
            disk = await read_disk(bench.host, bench.place)
            if disk.intent not in ("", order.rollout):
                await self._inherit(order, bench, disk.intent)
            findings = await node_findings(self.rings, look, alone=order.alone)
            if order.material is not None:
                material = await load_planned(order, self.rings.vault(bench.cluster), bench.present)
                findings += fit_findings(look, material)
            return Readiness(findings=findings, current=disk.current)

    @activity.defn
    async def backup_node(self, order: NodeOrder) -> Readiness:
        """Keep what is in force as a generation. Repeated, it finds it kept, whole; a damaged copy is made anew.

        What is kept has the digests of what opened here or in `validate_node`: a backup that would not open stops the
        preparation of the node.

        Raises:
            SealringError: `node.*`, `store.*`.
        """
        async with self.rings.open(order.cluster, order.node, anew=True) as bench:
            disk = await read_disk(bench.host, bench.place)
            if disk.current is not None and disk.in_force and disk.whole:
                return Readiness(current=disk.current)
            files = await bench.files_in_force()
            generation = generation_of(bench.read_material(files))
            await adopt(bench.host, bench.place, generation, files, rollout=order.rollout)
            return Readiness(current=generation)

    @activity.defn
    async def transfer_material(self, order: NodeOrder) -> Transferred:
        """Write the target generation beside the one in force, unless it is there and opens.

        Raises:
            SealringError: `material.*`, `store.*`, `node.*`.
        """
        async with self.rings.open(order.cluster, order.node) as bench:
            material = await load_planned(order, self.rings.vault(bench.cluster), bench.present)
            disk = await read_disk(bench.host, bench.place)
            there = order.target.generation in disk.generations
            if there and not await self._objections(order, bench, material):
                return Transferred(generation=order.target.generation, skipped=True)
            key = (order.cluster, order.node.address, order.target.generation)
            files = await assembled(bench, material) or self._drafts.stores(key, bench, material)
            generation = generation_of(material)
            transferred = await stage_generation(
                bench.host,
                bench.place,
                generation,
                files,
                rollout=order.rollout,
                anew=there,
                progress=tell_sent,
            )
            self._drafts.forget(key)
            return transferred

    @activity.defn
    async def preflight_node(self, order: NodeOrder) -> Readiness:
        """Check the generation as it lies on the node, at the node's clock, against what the peers trust now.

        Raises:
            SealringError: `node.*`, `material.*`.
        """
        async with self.rings.open(order.cluster, order.node, anew=True) as bench:
            facts = await read_facts(bench.host, bench.place, become=bench.place.become)
            if order.material is None:
                return Readiness(findings=await self._kept(order, bench, facts))
            material = await load_planned(order, self.rings.vault(bench.cluster), bench.present)
            findings = [await self._staged(order, bench, material)]
            now = datetime.now(UTC)
            linted = delivery_findings(bench, order.node, material, facts.now)
            findings += linted if order.material.take != "trust" else map(as_warning, linted)
            findings += await peer_findings(self.rings, bench, order.target, material, now)
            judge = Judge(order.node.address, restarts=False)
            java = await java_finding(bench, judge, staged_stores(bench, order.target.generation))
            findings += [java] if java.verdict is Verdict.FAIL else []  # not to be asked is no news for a rollout
            return Readiness(findings=tuple(findings))

    async def _inherit(self, order: NodeOrder, bench: Bench, intent: str) -> None:
        """An intent whose rollout is over, terminated perhaps, has nobody left who would come back to it.

        Ours are known by their run; the node's own workflow must have ended too. Any other intent is left alone.
        """
        ring, node = f"tls-rollout/{order.cluster}", f"tls-node/{order.cluster}/{order.node.address}"
        run = intent.partition("/")[0]
        ours = run == order.rollout.partition("/")[0]  # of an earlier stage
        if (ours or await _ended(ring, run)) and await _ended(node):
            keep = bench.cluster.service.keep_generations
            await settle(bench.host, bench.place, rollout=intent, keep=keep)
            return
        raise refuse(
            "node.busy",
            f"another rollout ({intent}) left its intent in {bench.place.state_dir}",
            "let that rollout end; if it belongs to no engine any more, remove intent.json there",
            node=order.node.address,
        )

    async def _objections(self, order: NodeOrder, bench: Bench, material: Material) -> str:
        """Why the generation on the disk is not this material; empty when it is."""
        manifest = await read_manifest(bench.host, bench.place, order.target.generation)
        names = {file.path: file.name for file in manifest.files}
        if set(names) != set(bench.place.roles):
            return "its files are for other stores than cassandra.yaml names now"
        files = await bench.files_of(order.target.generation, names)
        wrong = [store.path for store in bench.differing(files, material)]
        return (
            f"not the delivered content, or not with the password of cassandra.yaml: {', '.join(wrong)}"
            if wrong
            else ""
        )

    async def _staged(self, order: NodeOrder, bench: Bench, material: Material) -> Finding:
        objections = await self._objections(order, bench, material)
        if objections:
            return _failed(
                order, "node.staged", objections, "transfer it again: start the rollout anew", Actor.NODE_ADMIN
            )
        return _passed(order, "node.staged", f"generation {short(order.target.generation)} is on the disk and opens")

    async def _kept(self, order: NodeOrder, bench: Bench, facts: HostFacts) -> tuple[Finding, ...]:
        """In a rollback: is the kept generation whole, does it open, is it still valid at the node's clock?"""
        manifest = await read_manifest(bench.host, bench.place, order.target.generation)
        try:
            material = await bench.kept(manifest)
        except SealringError as error:
            if error.retryable:
                raise
            return (_failed(order, "node.kept", error.message, "deploy known good material instead", error.actor),)
        now = facts.now
        kept = f"generation {short(order.target.generation)} is on the disk and opens"
        findings = [_passed(order, "node.kept", kept)]
        if material.leaf.not_valid_after_utc <= now:
            findings.append(
                _failed(
                    order,
                    "node.kept-expired",
                    f"it expired on {material.leaf.not_valid_after_utc:%Y-%m-%d}",
                    "deploy new material instead",
                    Actor.PKI_ADMIN,
                )
            )
        return (*findings, *await peer_findings(self.rings, bench, order.target, material, now))


async def _ended(workflow: str, run: str | None = None) -> bool:
    """Whether a workflow that our Temporal service knows is over."""
    try:
        description = await activity.client().get_workflow_handle(workflow, run_id=run).describe()
    except RPCError as error:
        # A wrong run id is refused as invalid or not found: it is not ours.
        if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
            return run is None
        raise
    return description.status is not WorkflowExecutionStatus.RUNNING


def as_warning(finding: Finding) -> Finding:
    """Of what is in force already: to refuse the trust that is added would mend nothing."""
    return finding.model_copy(update={"verdict": Verdict.WARN}) if finding.verdict in BLOCKING else finding


def _passed(order: NodeOrder, check: str, message: str) -> Finding:
    return Finding(check=check, verdict=Verdict.PASS, message=message, node=order.node.address)


def _failed(order: NodeOrder, check: str, message: str, remedy: str, actor: Actor = Actor.OPERATOR) -> Finding:
    return Finding(
        check=check, verdict=Verdict.FAIL, message=message, remedy=remedy, actor=actor, node=order.node.address
    )
