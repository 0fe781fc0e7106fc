"""The checks of one open node, for the preparation of a rollout and for a preflight alone: nothing is changed."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from posixpath import dirname

from activities.eyes import look_from
from activities.rings import Bench, Files, Rings, generation_of
from sealring.cassandra.fitness import file_findings, fitness_findings
from sealring.cassandra.judging import Judge
from sealring.cassandra.jvm import Opened, opened_by_java
from sealring.cassandra.suitability import Node, client_finding, suitability_findings
from sealring.cassandra.work import work_findings
from sealring.errors import Actor
from sealring.hosts.condition import Asked, Condition, read_condition
from sealring.hosts.facts import HostFacts, read_facts, room_findings
from sealring.hosts.manifest import names
from sealring.hosts.privileges import prove
from sealring.models.base import short
from sealring.models.cluster import NodeRef
from sealring.models.evidence import Finding, Served
from sealring.models.plan import Target
from sealring.pki.material import Material
from sealring.pki.policy import lint, trusted_by


@dataclass(frozen=True)
class Look:
    """What was seen of one node, once, for all of its checks."""

    bench: Bench
    target: Target
    facts: HostFacts
    condition: Condition
    files: Files = field(repr=False)
    current: Material = field(repr=False)

    @property
    def judge(self) -> Judge:
        """Of this node. A restart that is only a second resort warns."""
        return Judge(self.target.node.address, restarts=self.target.apply == "restart")


async def look_at(bench: Bench, target: Target) -> Look:
    """Facts, condition and the stores in force of an open node.

    Raises:
        SealringError: those of the scripts; `store.*` and `node.stores-differ`, when the stores in force do not open.
    """
    facts = await read_facts(bench.host, bench.place, become=bench.place.become)
    condition, files = await asyncio.gather(
        read_condition(bench.host, _asked(bench), become=bench.place.become), bench.files_in_force()
    )
    return Look(bench, target, facts, condition, files, bench.read_material(files))


def _asked(bench: Bench) -> Asked:
    known, inventory = bench.inspection.known, bench.inventory
    storage = known.process.property("cassandra.storagedir")
    data, commitlog = known.written.others.folders(storage or dirname(dirname(known.path)))
    return Asked(
        stores=tuple(bench.place.roles),
        config=known.path,
        pid=inventory.pid,
        unit=bench.cluster.service.name,
        data=data,
        commitlog=commitlog,
        log_dir=inventory.log_dir,
    )


async def node_findings(rings: Rings, look: Look, *, patient: bool = True, alone: bool = False) -> tuple[Finding, ...]:
    """The node as it is: can it be worked on, would it come back, who else has a hand on it, what is it doing?

    With `alone`, in an emergency, it may show nothing at all: a node that nobody answers ends its start.

    Raises:
        SealringError: with `patient`, when a vantage is away that is expected back; those of probing and of sudo.
    """
    bench, judge = look.bench, look.judge
    room = sum(map(len, look.files.values()))
    known = bench.inspection.known
    started = datetime.fromtimestamp(known.process.started, UTC) if known.process.started else None
    leaf = short(generation_of(look.current).leaf_sha256)
    return (
        judge.passed("node.reachable", f"as {bench.host.user}; configured in {bench.inventory.config_path}"),
        judge.passed("node.stores", f"the stores in force open and hold leaf {leaf}"),
        *room_findings(look.facts, address=judge.address, needed_bytes=room, needed_files=len(look.files)),
        _service(look),
        *_passwords(look),
        _drift(look),
        await _sudo(look),
        *fitness_findings(
            look.condition,
            known.process.arguments,
            judge,
            started=started,
            now=look.facts.now,
            start_timeout=bench.cluster.service.start_timeout,
        ),
        *file_findings(look.condition, bench.inventory, judge),
        *_work(look),
        *await _vantages(rings, look, patient=patient, alone=alone),
    )


def fit_findings(look: Look, material: Material) -> tuple[Finding, ...]:
    """The delivered material, as far as this node's configuration, Java and clients have a say in it."""
    inspection = look.bench.inspection
    known = inspection.known
    node = Node(known.process.arguments, known.written.others, look.condition.disabled, inspection.jmx_stores)
    found = suitability_findings(node, material, look.current, look.judge)
    running = inspection.running
    if running is None or "clients" in running.work.unseen:
        return found
    return (*found, client_finding(running.work, material, look.current, look.judge))


def delivery_findings(bench: Bench, node: NodeRef, material: Material, clock: datetime) -> tuple[Finding, ...]:
    """The delivery, judged at the clocks of worker and node."""
    return lint(
        material,
        bench.cluster.policy,
        node=node,
        addresses=tuple(dict.fromkeys((node.internode_address, node.address))),
        clocks={"worker": datetime.now(UTC), node.address: clock},
        endpoint_verification=bench.inventory.endpoint_verification,
        client_auth=bench.inventory.client_auth,
    )


async def peer_findings(rings: Rings, bench: Bench, target: Target, material: Material, now: datetime) -> list[Finding]:
    """Would the peers accept the leaf, with the authorities in their truststores now?"""
    address = target.node.internode_address if bench.inventory.endpoint_verification else None
    return [
        trusted_by(material, peer.address, await rings.trust_of(bench.cluster.name, peer), at=now, address=address)
        for peer in target.vantages
    ]


async def java_finding(bench: Bench, judge: Judge, stores: Sequence[Opened]) -> Finding:
    """Whether the service's own Java opens these stores."""
    process = bench.inspection.known.process
    program = process.arguments[0] if process.arguments else ""
    finding = await opened_by_java(
        bench.host, stores, judge, pid=bench.inventory.pid, program=program, become=bench.place.become
    )
    return bench.discreet(finding)


def staged_stores(bench: Bench, generation: str) -> list[Opened]:
    """The stores of a generation on the node's disk, as its Java is asked about them."""
    folder, wanted = f"{bench.place.tls_dir}/generations/{generation}", names(bench.place, bench.node.address)
    stores = bench.inventory.stores
    return [Opened(store, bench.password(store), at=f"{folder}/{wanted[store.path]}") for store in stores]


def _service(look: Look) -> Finding:
    unit, found = look.bench.cluster.service.name, look.bench.inspection.known.process.service
    if found.active:
        return look.judge.passed("node.service", f"{unit} runs as {look.bench.inventory.service_user}")
    return look.judge.failed("node.service", f"{unit} is {found.state}", "start it and wait until its peers see it up")


def _passwords(look: Look) -> list[Finding]:
    """A login by password is told wherever people look: it can be guessed, shared and seen by the server."""
    remedy = "give the deploy user a key or a certificate there, then take password_file out of the cluster file"
    return [
        look.judge.warned("node.password-login", f"logged in with a password: {server}", remedy, Actor.NODE_ADMIN)
        for server in look.bench.host.passwords
    ]


def _drift(look: Look) -> Finding:
    """A reload does not read cassandra.yaml; a restart would bring every difference into force."""
    drift = look.bench.inventory.drift
    if not drift:
        return look.judge.passed("node.drift", "the node runs with what cassandra.yaml says")
    remedy = "make cassandra.yaml say what runs, or restart the node on purpose first"
    return look.judge.before_restart("node.drift", "; ".join(drift), remedy)


async def _sudo(look: Look) -> Finding:
    """The right to restart is asked for only where a restart may come, and where sudo may be used for it."""
    service = look.bench.cluster.service
    restarts = look.target.apply == "restart" or look.target.may_restart
    unit = service.name if restarts and service.sudo == "auto" else ""
    return await prove(look.bench.host, look.bench.place.become, login=look.bench.host.user, service=unit)


def _work(look: Look) -> tuple[Finding, ...]:
    inspection, judge = look.bench.inspection, look.judge
    if inspection.running is None:
        why = inspection.silence or "it does not run"
        remedy = "check the cql section of the cluster file; what the node is doing, and runs with, was not seen"
        return (judge.warned("node.cql", why, remedy, Actor.OPERATOR),)
    work = inspection.running.work
    window = inspection.known.written.others.hint_window
    found = work_findings(work, judge, now=look.facts.now, hint_window=window)
    unseen = [table for table in work.unseen if table != "repairs" or "streaming" not in work.unseen]
    said = f"; not seen: {', '.join(unseen)} (no such table, or no right to read it)" if unseen else ""
    return (judge.passed("node.cql", f"it tells its settings and its work{said}"), *found)


async def _vantages(rings: Rings, look: Look, *, patient: bool, alone: bool) -> list[Finding]:
    """A vantage that sees nothing now could prove nothing later."""
    seen = await look_from(rings, look.bench, look.target.vantages, patient=patient)
    dark = {str(s.listener) for s in seen} - {str(s.listener) for s in seen if s.leaf_sha256}
    if alone and dark:
        away = f"{', '.join(sorted(dark))} answers nobody: whether the vantages see it shows when it was restarted"
        return [look.judge.warned("node.vantage", away, "nothing: it is restarted", Actor.NOBODY)]
    remedy = "open the way; for a peer: AllowTcpForwarding and PermitOpen in its sshd_config (docs/security.md)"
    found = [
        look.judge.failed("node.vantage", f"{s.listener} seen from {s.vantage}: {s.problem}", remedy, Actor.NODE_ADMIN)
        for s in seen
        if not s.leaf_sha256
    ]
    good = look.judge.passed("node.vantage", f"{len(seen)} handshakes seen, all listeners from all vantages")
    return [*(found or [good]), _expired(seen, look)]


def _expired(seen: Sequence[Served], look: Look) -> Finding:
    """Row 29: with an expired certificate in force every lost connection stays lost."""
    now = datetime.now(UTC)
    over = {f"{s.listener} ({s.not_after:%Y-%m-%d})" for s in seen if s.not_after and s.not_after <= now}
    if over:
        return look.judge.failed(
            "node.expired",
            f"serves an expired certificate: {', '.join(sorted(over))}; a connection that is lost stays lost",
            "this ring is in an emergency: restart nothing, see docs/emergency.md",
            Actor.OPERATOR,
        )
    ends = min((s.not_after for s in seen if s.not_after), default=None)
    return look.judge.passed("node.expired", f"what is served ends {ends:%Y-%m-%d}" if ends else "nothing was served")
