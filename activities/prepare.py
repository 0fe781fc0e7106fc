"""Preparing one node: everything that can be done and known before anything in force is changed."""

from datetime import UTC, datetime

from temporalio import activity
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.drafts import Drafts, tell_sent
from activities.eyes import look_from
from activities.issuing import assembled
from activities.rings import Bench, Rings, generation_of
from sealring.errors import Actor, SealringError, refuse
from sealring.hosts.facts import HostFacts, read_facts, room_findings
from sealring.hosts.generations import adopt, read_disk, read_manifest, settle, stage_generation
from sealring.hosts.privileges import prove
from sealring.models.base import short
from sealring.models.evidence import Finding, Verdict
from sealring.models.rollout import NodeOrder, Readiness, Transferred
from sealring.pki.material import Material
from sealring.pki.policy import lint, trusted_by
from sealring.sources.base import source_for
from sealring.sources.vault import Vault


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
            facts = await read_facts(bench.host, bench.place, become=bench.place.become)
            disk = await read_disk(bench.host, bench.place)
            if disk.intent not in ("", order.rollout):
                await self._inherit(order, bench, disk.intent)
            files = await bench.files_in_force()
            room = sum(map(len, files.values()))
            leaf = generation_of(bench.read_material(files)).leaf_sha256
            findings = (
                _passed(order, "node.reachable", f"as {bench.host.user}; configured in {bench.inventory.config_path}"),
                _passed(order, "node.stores", f"the stores in force open and hold leaf {short(leaf)}"),
                *room_findings(facts, address=order.node.address, needed_bytes=room, needed_files=len(files)),
                self._service(order, bench),
                *_passwords(order, bench),
                _drift(order, bench),
                await self._sudo(order, bench),
                *await self._vantages(order, bench),
            )
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
            material = await _load(order, self.rings.vault(bench.cluster))
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
            material = await _load(order, self.rings.vault(bench.cluster))
            findings = [await self._staged(order, bench, material)]
            now = datetime.now(UTC)
            findings += lint(
                material,
                bench.cluster.policy,
                node=order.node,
                addresses=tuple(dict.fromkeys((order.node.internode_address, order.node.address))),
                clocks={"worker": now, order.node.address: facts.now},
                endpoint_verification=bench.inventory.endpoint_verification,
                client_auth=bench.inventory.client_auth,
            )
            findings += await self._peers(order, bench, material, now)
            return Readiness(findings=tuple(findings))

    async def _inherit(self, order: NodeOrder, bench: Bench, intent: str) -> None:
        """An intent whose rollout is over, terminated perhaps, has nobody left who would come back to it.

        Ours are known by their run; the node's own workflow must have ended too. Any other intent is left alone.
        """
        ring, node = f"tls-rollout/{order.cluster}", f"tls-node/{order.cluster}/{order.node.address}"
        if await _ended(ring, intent) and await _ended(node):
            keep = bench.cluster.service.keep_generations
            await settle(bench.host, bench.place, rollout=intent, keep=keep)
            return
        raise refuse(
            "node.busy",
            f"another rollout ({intent}) left its intent in {bench.place.state_dir}",
            "let that rollout end; if it belongs to no engine any more, remove intent.json there",
            node=order.node.address,
        )

    def _service(self, order: NodeOrder, bench: Bench) -> Finding:
        unit = bench.cluster.service.name
        found = bench.inspection.known.process.service
        if found.active:
            return _passed(order, "node.service", f"{unit} runs as {bench.inventory.service_user}")
        remedy = "start it and wait until its peers see it up"
        return _failed(order, "node.service", f"{unit} is {found.state}", remedy, Actor.CASSANDRA_ADMIN)

    async def _sudo(self, order: NodeOrder, bench: Bench) -> Finding:
        """The right to restart is asked for only where a restart may come, and where sudo may be used for it."""
        restarts = order.target.apply == "restart" or order.target.may_restart
        unit = bench.cluster.service.name if restarts and bench.cluster.service.sudo == "auto" else ""
        return await prove(bench.host, bench.place.become, login=bench.host.user, service=unit)

    async def _vantages(self, order: NodeOrder, bench: Bench) -> list[Finding]:
        """A vantage that sees nothing now could prove nothing later."""
        seen = await look_from(self.rings, bench, order.target.vantages, patient=True)
        blind = [s for s in seen if not s.leaf_sha256]
        found = [
            _failed(
                order,
                "node.vantage",
                f"{s.listener} seen from {s.vantage}: {s.problem}",
                "open the way; for a peer: AllowTcpForwarding and PermitOpen in its sshd_config (docs/security.md)",
                Actor.NODE_ADMIN,
            )
            for s in blind
        ]
        return found or [
            _passed(order, "node.vantage", f"{len(seen)} handshakes seen, all listeners from all vantages")
        ]

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
        return (*findings, *await self._peers(order, bench, material, now))

    async def _peers(self, order: NodeOrder, bench: Bench, material: Material, now: datetime) -> list[Finding]:
        """Would the peers accept the leaf, with the authorities in their truststores now?"""
        address = order.node.internode_address if bench.inventory.endpoint_verification else None
        return [
            trusted_by(material, peer.address, await self.rings.trust_of(order.cluster, peer), at=now, address=address)
            for peer in order.target.vantages
        ]


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


async def _load(order: NodeOrder, vault: Vault | None) -> Material:
    """The node's material from its source; refused when it is not what the plan decided on."""
    assert order.material is not None
    source = source_for(order.material, vault)
    material = await source.load(order.material, order.node, order.target.generation)
    found = generation_of(material).id
    if found != order.target.generation:
        raise refuse(
            "material.changed",
            f"{order.material.path} now holds generation {short(found)}, planned was {short(order.target.generation)}",
            "start the rollout anew with what is there now",
            actor=Actor.PKI_ADMIN,
            node=order.node.address,
        )
    return material


def _passwords(order: NodeOrder, bench: Bench) -> list[Finding]:
    """A login by password is told wherever people look: it can be guessed, shared and seen by the server."""
    return [
        Finding(
            check="node.password-login",
            verdict=Verdict.WARN,
            message=f"logged in with a password: {server}",
            remedy="give the deploy user a key or a certificate there, then take password_file out of the cluster file",
            actor=Actor.NODE_ADMIN,
            node=order.node.address,
        )
        for server in bench.host.passwords
    ]


def _drift(order: NodeOrder, bench: Bench) -> Finding:
    """A reload does not read cassandra.yaml; a restart would bring every difference into force."""
    drift = bench.inventory.drift
    if not drift:
        return _passed(order, "node.drift", "the node runs with what cassandra.yaml says")
    remedy = "make cassandra.yaml say what runs, or restart the node on purpose first"
    finding = _failed(order, "node.drift", "; ".join(drift), remedy, Actor.CASSANDRA_ADMIN)
    return finding if order.target.apply == "restart" else finding.model_copy(update={"verdict": Verdict.WARN})


def _passed(order: NodeOrder, check: str, message: str) -> Finding:
    return Finding(check=check, verdict=Verdict.PASS, message=message, node=order.node.address)


def _failed(order: NodeOrder, check: str, message: str, remedy: str, actor: Actor = Actor.OPERATOR) -> Finding:
    return Finding(
        check=check, verdict=Verdict.FAIL, message=message, remedy=remedy, actor=actor, node=order.node.address
    )
