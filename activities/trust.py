"""Trust in every state of a plan: read from the nodes what they present and believe, now and after each wave; judge."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from temporalio import activity

from activities.eyes import worker_trust
from activities.rings import Bench, Files, Rings
from sealring.cassandra.configuration import demands
from sealring.cassandra.store_blocks import Block
from sealring.errors import Actor, SealringError, refuse
from sealring.hosts.generations import read_manifest
from sealring.local_files import read_small
from sealring.models.base import Sha256
from sealring.models.cluster import ClusterFile, NodeRef
from sealring.models.evidence import Finding, Verdict
from sealring.models.plan import Plan
from sealring.models.rollout import Readiness
from sealring.models.trust import ClientTrust, Identity, NodeTrust, TrustQuestion, TrustReport, TrustStep
from sealring.pki.certificates import fingerprint, load_certificates, pem_blocks
from sealring.pki.material import Material, generation_id
from sealring.pki.simulation import simulate
from sealring.pki.stores import read_keystore
from sealring.sources.base import source_for

ENGINE = "the engine (cql.ca, cql.certificate)"
OUTBOUND: Block = "server-outbound"
NAMED = 10
"""Nodes that are named one by one when they cannot be read."""


@dataclass(frozen=True)
class _Read:
    """One node: what it has now, and each generation that the plan puts there."""

    now: NodeTrust
    planned: dict[Sha256, NodeTrust]


@dataclass
class _Collected:
    """Public parts only: a key is let go of with the material it came with."""

    certificates: dict[str, x509.Certificate] = field(default_factory=dict)
    nodes: dict[str, _Read] = field(default_factory=dict)
    unknown: dict[str, SealringError] = field(default_factory=dict)

    def keep(self, *certificates: x509.Certificate) -> tuple[str, ...]:
        """Their names."""
        named = [(fingerprint(certificate), certificate) for certificate in certificates]
        self.certificates.update(named)
        return tuple(name for name, _ in named)

    def identity(self, material: Material) -> Identity:
        """What is sent in a handshake."""
        return Identity(leaf=self.keep(material.leaf)[0], chain=self.keep(*material.chain))


class TrustActivities:
    """Reads only."""

    def __init__(self, rings: Rings) -> None:
        """`rings` to reach the nodes."""
        self.rings = rings

    @activity.defn
    async def simulate_trust(self, question: TrustQuestion) -> Readiness:
        """Could all nodes, and the engine, talk to each other in every state of the plan, from now to its end?

        The generations of the plan are on the nodes' disks, or in the delivery that the question names. A node that
        cannot be read is a finding that blocks: who it believes is not known.

        Raises:
            SealringError: `cluster.*`, `cql.credentials`.
        """
        cluster = self.rings.file(question.cluster)
        ring = question.nodes or tuple(seen.node for seen in (await self.rings.view(question.cluster)).nodes)
        collected = _Collected()
        client = _engine(cluster, collected)
        await self._read_all(cluster, ring, question, collected)
        report = await asyncio.to_thread(
            simulate,
            [collected.nodes[node.address].now for node in ring if node.address in collected.nodes],
            _steps(question.plan, collected),
            collected.certificates,
            start=datetime.now(UTC),
            end=question.until,
            clients=(client,),
        )
        unknown = {n.address: collected.unknown[n.address] for n in ring if n.address in collected.unknown}
        return Readiness(findings=(*findings(report), *_unknown(unknown)))

    async def _read_all(
        self, cluster: ClusterFile, ring: Sequence[NodeRef], question: TrustQuestion, collected: _Collected
    ) -> None:
        """Every node, so many at once as preparation has; a second time where the first ended in what may pass."""
        planned: dict[str, set[Sha256]] = {node.address: set() for node in ring}
        for target in (t for stage in question.plan.stages for t in stage.targets):
            planned.setdefault(target.node.address, set()).add(target.generation)
        at_once = asyncio.Semaphore(cluster.rollout.max_parallel)

        async def read(node: NodeRef) -> None:
            async with at_once:
                try:
                    wanted = planned[node.address]
                    collected.nodes[node.address] = await self._read(cluster, node, wanted, question, collected)
                    collected.unknown.pop(node.address, None)
                except SealringError as error:
                    collected.unknown[node.address] = error

        await asyncio.gather(*(read(node) for node in ring))
        again = [node for node in ring if (e := collected.unknown.get(node.address)) and e.retryable]
        await asyncio.gather(*(read(node) for node in again))

    async def _read(
        self, cluster: ClusterFile, node: NodeRef, planned: set[Sha256], question: TrustQuestion, collected: _Collected
    ) -> _Read:
        async with self.rings.open(cluster.name, node) as bench:
            files = await bench.files_in_force()
            held, outbound = await asyncio.to_thread(_in_force, bench, files)
            now = _trust_of(bench, held, collected, outbound)
            found = {} if outbound else {generation_id(held): now}
            for generation in planned - set(found):
                if question.material is None:
                    manifest = await read_manifest(bench.host, bench.place, generation)
                    material = await bench.kept(manifest)
                else:
                    source = source_for(question.material, self.rings.vault(cluster))
                    material = await source.load(question.material, node, generation)
                found[generation] = _trust_of(bench, material, collected)
            return _Read(now, found)


def findings(report: TrustReport) -> tuple[Finding, ...]:
    """What a report comes down to, for a node × check matrix and for people."""
    found = [_states(report)]
    told = (
        ("trust.already", report.already, "some cannot talk now, before anything is changed"),
        (
            "trust.ending",
            report.ending,
            "some can talk now and could not by the end of the forecast, if nothing were done",
        ),
    )
    for check, groups, what in told:
        if groups:
            example = groups[0].example
            message = f"{what}: {sum(group.count for group in groups)} answers (of a pair, in a role) are no; {example}"
            found.append(_warned(check, Verdict.WARN, message, example.remedy, example.presenter))
    return tuple(found)


def _states(report: TrustReport) -> Finding:
    about = f"{report.nodes} nodes and {report.clients} clients in every state of {report.waves} waves"
    if report.first is None:
        message = (
            f"{about}: {report.passed} of {report.checked} answers are yes, none is made worse "
            f"(until {report.end:%Y-%m-%d %H:%M} UTC)"
        )
        return Finding(check="trust.states", verdict=Verdict.PASS, message=message)
    more = "".join(
        f"; {group.count} more of {group.example.kind} ({group.example.listener}, {group.example.role}) in "
        f"{group.example.wave or 'what is there now'}"
        for group in report.breaks[1:]
    )
    message = f"{report.first}. Of {about}, {report.broken} of {report.checked} answers are no by our doing{more}"
    return _warned("trust.states", Verdict.FAIL, message, report.first.remedy, report.first.presenter)


def _unknown(unknown: dict[str, SealringError]) -> list[Finding]:
    named = [
        _warned(
            "trust.unknown",
            Verdict.INCONCLUSIVE,
            f"what this node presents and believes could not be read: [{error.code}] {error.message}",
            error.remedy or "bring the node back, or take it out of the ring",
            address,
        )
        for address, error in list(unknown.items())[:NAMED]
    ]
    if len(unknown) > NAMED:
        rest = f"neither could {len(unknown) - NAMED} other nodes be read"
        named.append(_warned("trust.unknown", Verdict.INCONCLUSIVE, rest, "see the nodes that are named", ""))
    return named


def _warned(check: str, verdict: Verdict, message: str, remedy: str, node: str) -> Finding:
    actor = Actor.NODE_ADMIN if check == "trust.unknown" else Actor.PKI_ADMIN
    return Finding(check=check, verdict=verdict, message=message, remedy=remedy, actor=actor, node=node)


def _steps(plan: Plan, collected: _Collected) -> list[TrustStep]:
    """The waves of a plan. A failed node stays behind where the rules let a rollout go on without it.

    It does so until the end of the change: only there, between stages of two kinds, stands a barrier.
    """
    lenient = plan.rules.failure_budget > 0 or plan.rules.on_failure == "ask"
    last = {stage.kind: stage.waves[-1] for stage in plan.stages if stage.waves}
    return [
        TrustStep(
            name=wave.name if len(plan.stages) == 1 else f"{wave.name} of {stage.name}",
            after=tuple(
                collected.nodes[target.node.address].planned[target.generation]
                for target in wave.targets
                if target.node.address in collected.nodes
            ),
            settled=not lenient or wave is last[stage.kind],
        )
        for stage in plan.stages
        for wave in stage.waves
    ]


def _in_force(bench: Bench, files: Files) -> tuple[Material, Material | None]:
    """What a node has in force; and what it shows to the peers that it dials, where that is something else.

    A rollout gives one certificate to all stores of a node, and refuses one that has two; but who is not in the plan
    may have two, and they count.

    Raises:
        SealringError: as `Bench.read_material`.
    """
    outbound = next((store for store in bench.inventory.stores if store.blocks == (OUTBOUND,)), None)
    if outbound is None:
        return bench.read_material(files), None
    held = bench.read_material({path: data for path, data in files.items() if path != outbound.path})
    if bench.holds(outbound, files[outbound.path], held):
        return held, None
    return held, read_keystore(files[outbound.path], outbound.format, bench.password(outbound), bench.where(outbound))


def _trust_of(bench: Bench, material: Material, collected: _Collected, outbound: Material | None = None) -> NodeTrust:
    asked = demands(bench.inspection.known.written)
    internode = bench.node.internode_address
    return NodeTrust(
        address=bench.node.address,
        identity=collected.identity(material),
        dialling=collected.identity(outbound) if outbound else None,
        trust=collected.keep(*material.trust),
        dialled=(internode,),
        source=(bench.node.source_address,),
        serving=(bench.node.address,),
        internode=asked.get("internode"),
        native=asked.get("native"),
    )


def _engine(cluster: ClusterFile, collected: _Collected) -> ClientTrust:
    """The client that we know: what this worker observes the ring with."""
    identity = None
    if cluster.cql.certificate is not None and cluster.cql.private_key is not None:
        where = str(cluster.cql.certificate)
        try:
            blocks = pem_blocks(read_small(cluster.cql.certificate), where)
        except OSError as error:
            raise refuse(
                "cql.credentials",
                f"cql.certificate {where} cannot be used: {error.strerror}",
                "let cql.certificate name a PEM file that the worker can read",
            ) from None
        public = b"\n".join(text for label, text in blocks if label == b"CERTIFICATE")
        leaf, *chain = load_certificates(public, where)
        identity = Identity(leaf=collected.keep(leaf)[0], chain=collected.keep(*chain))
    return ClientTrust(name=ENGINE, identity=identity, trust=collected.keep(*worker_trust(cluster)))
