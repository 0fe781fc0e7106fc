"""Activating one node: flip, reload or drain and restart, settle; and the way back."""

import asyncio
from datetime import UTC, datetime

from temporalio import activity

from activities.rings import Bench, Rings
from sealring.cassandra.back import Return, wait_back
from sealring.cassandra.operate import drain, reload_tls, restart
from sealring.cassandra.ring_findings import ring_findings
from sealring.errors import Actor, SealringError, refuse
from sealring.hosts.generations import flip, read_manifest, settle
from sealring.hosts.manifest import Manifest
from sealring.models.base import short
from sealring.models.evidence import Finding, Verdict
from sealring.models.rollout import Activated, Applied, Drained, FlipOrder, NodeOrder, Readiness, RestartOrder


class ActivateActivities:
    """activate · reload | drain + restart · settle · rollback."""

    def __init__(self, rings: Rings) -> None:
        """`rings` to reach the nodes."""
        self.rings = rings

    @activity.defn
    async def activate_generation(self, order: FlipOrder) -> Activated:
        """Put a generation in force with one rename. Repeated, it finds it in force.

        Raises:
            SealringError: `node.*`; `node.busy` when the node belongs to another rollout.
        """
        async with self.rings.open(order.order.cluster, order.order.node, anew=True) as bench:
            return await flip(bench.host, bench.place, order.generation, rollout=order.order.rollout, step="activate")

    @activity.defn
    async def rollback_node(self, order: FlipOrder) -> Activated:
        """Put the generation back that was in force before; refuses one that has expired meanwhile or cannot be used.

        Nothing is changed before it was tried: its digests, and whether it opens.

        Raises:
            SealringError: `node.*`, `rollback.expired`, `rollback.unusable`.
        """
        node = order.order.node
        async with self.rings.open(order.order.cluster, node, anew=True) as bench:
            kept = await read_manifest(bench.host, bench.place, order.generation)
            if kept.not_after <= datetime.now(UTC):
                raise _unusable(
                    "rollback.expired",
                    f"the generation before expired on {kept.not_after:%Y-%m-%d}: no peer would accept it",
                    node.address,
                )
            await _try(bench, kept)
            return await flip(bench.host, bench.place, order.generation, rollout=order.order.rollout, step="rollback")

    @activity.defn
    async def reload_tls(self, order: NodeOrder) -> Applied:
        """Ask Cassandra to read its stores again. Harmless to repeat; proves nothing, `verify_node` does.

        Raises:
            SealringError: nodetool could not be run.
        """
        async with self.rings.open(order.cluster, order.node) as bench:
            applied = await reload_tls(bench.host, bench.cluster, bench.inventory, become=bench.place.become)
            return Applied(findings=tuple(map(bench.discreet, applied.findings)))

    @activity.defn
    async def drain_node(self, order: NodeOrder) -> Drained:
        """Note which process runs, then drain it within a bound. Repeated after a restart it drains the new process.

        Raises:
            SealringError: the host cannot be reached. A drain that does not end in time is a finding, not an error.
        """
        async with self.rings.open(order.cluster, order.node, anew=True) as bench:
            if not bench.inventory.pid:
                return Drained(started_at="")
            finding = await drain(bench.host, bench.cluster, become=bench.place.become)
            return Drained(started_at=bench.inventory.started_at, findings=(bench.discreet(finding),))

    @activity.defn
    async def restart_node(self, order: RestartOrder) -> Applied:
        """Restart the service unless a younger process runs already, then wait until the node is back.

        Raises:
            SealringError: `start.*`, `join.*`: it does not come back, and why.
        """
        node = order.order.node
        async with self.rings.open(order.order.cluster, node, anew=True) as bench:
            since = None
            if bench.inventory.started_at == order.started_at or not bench.inventory.pid:
                since = await restart(bench.host, bench.cluster, bench.inventory, become=bench.place.become)
                self.rings.forget(bench.cluster.name, node)
            back = Return(
                cluster=bench.cluster,
                node=node,
                inventory=bench.inventory,
                peers=order.order.target.vantages,
                since=since,
                become=bench.place.become,
                joins=not order.order.alone,
            )
            return await wait_back(bench.host, self.rings.pool(bench.cluster).host, back)

    @activity.defn
    async def settle_node(self, order: NodeOrder) -> Readiness:
        """Look whether the ring still sees the node well some seconds later; if so, tidy up: intent, old generations.

        A node that is not well keeps its intent: it says what the way back is.

        Raises:
            SealringError: the host cannot be reached.
        """
        findings = await self._stays_well(order)
        if findings:
            return Readiness(findings=findings)
        async with self.rings.open(order.cluster, order.node) as bench:
            keep = bench.cluster.service.keep_generations
            await settle(bench.host, bench.place, rollout=order.rollout, keep=keep)
        return Readiness()

    async def _stays_well(self, order: NodeOrder) -> tuple[Finding, ...]:
        if order.alone or not order.rules.settle:
            return ()  # it was seen well a moment ago, when it was verified; alone, nobody else can see it yet
        await asyncio.sleep(order.rules.settle.total_seconds())
        view = await self.rings.view(order.cluster)
        about = [f for f in ring_findings(view) if f.node in ("", order.node.address)]
        return tuple(f for f in about if f.verdict is Verdict.FAIL)


async def _try(bench: Bench, kept: Manifest) -> None:
    """Would it do? A restart with stores that do not open is an outage.

    When what is in force does not open either (somebody changed the passwords of cassandra.yaml), going back makes
    nothing worse: the process that runs knows the old ones.
    """
    try:
        await bench.kept(kept)
    except SealringError as error:
        if error.retryable:
            raise
        opening = error.code.startswith("store.")
        if opening and not await _opens(bench):
            return
        message = f"the generation before, {short(kept.id)}, cannot be put back: {error.message}"
        raise _unusable("rollback.unusable", message, bench.node.address) from error


async def _opens(bench: Bench) -> bool:
    """Whether the files in force open with the passwords of cassandra.yaml."""
    try:
        bench.read_material(await bench.files_in_force())
    except SealringError as error:
        if error.retryable:
            raise
        return False
    return True


def _unusable(code: str, message: str, node: str) -> SealringError:
    remedy = "deploy new, valid material to this node; until then it stays as it is"
    return refuse(code, message, remedy, actor=Actor.PKI_ADMIN, node=node)
