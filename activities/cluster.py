"""The ring as a whole: who is in it, what each host has, whether it is well enough to go on."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from temporalio import activity

from activities.eyes import look_from
from activities.others import others_at_work
from activities.rings import Bench, Rings
from sealring.cassandra.expiry import expiry
from sealring.cassandra.foreign import foreign_findings
from sealring.cassandra.inventory import restart_because
from sealring.cassandra.load import load_findings, read_load
from sealring.cassandra.ring_findings import NODE_DOWN, ring_findings
from sealring.cassandra.topology import read_topology
from sealring.errors import SealringError
from sealring.hosts.generations import read_disk
from sealring.models.evidence import Served
from sealring.models.node import ClusterView, NodeView
from sealring.models.rollout import ClusterQuestion, RingAnswer, RingQuestion
from sealring.planning.proof import proven_again
from sealring.planning.remainder import departed


class ClusterActivities:
    """Reads only."""

    def __init__(self, rings: Rings) -> None:
        """`rings` to reach the nodes."""
        self.rings = rings

    @activity.defn
    async def observe_cluster(self, question: ClusterQuestion) -> ClusterView:
        """Read the ring from at least two of its nodes, and every host. What a host refuses is in its `problem`.

        Raises:
            SealringError: `cluster.*`, or no node answers at all.
        """
        cluster = self.rings.file(question.cluster)
        view = await self.rings.view(question.cluster)
        at_once = asyncio.Semaphore(cluster.rollout.max_parallel)

        async def look(node: NodeView) -> NodeView:
            async with at_once:
                return await self._host(question.cluster, node)

        nodes = await asyncio.gather(*(look(node) for node in view.nodes))
        return view.model_copy(update={"nodes": tuple(nodes)})

    async def _host(self, cluster: str, seen: NodeView) -> NodeView:
        try:
            async with self.rings.open(cluster, seen.node) as bench:
                disk = await read_disk(bench.host, bench.place)
                served = await look_from(self.rings, bench, ())
                expired = await _expired(bench, served)
        except SealringError as error:
            return seen.model_copy(update={"problem": str(error)})
        return seen.model_copy(
            update={
                "listeners": bench.inventory.listeners,
                "layout": bench.inventory.layout,
                "current": disk.current if disk.in_force else None,
                "previous": disk.previous,
                "last": disk.last,
                "served": tuple(sorted({s.leaf_sha256 for s in served})),
                "expired": expired,
                "contact": bool({seen.node.address, seen.node.internode_address} & {*bench.cluster.contact_points}),
                "restart_because": (*restart_because(seen.version, bench.inspection), *_silent(expired, served)),
            }
        )

    @activity.defn
    async def check_ring(self, question: RingQuestion) -> RingAnswer:
        """Is every node up and normal, with one schema, for at least two observers, and may this wave begin?

        Nobody else may be at work on its nodes. Its restarts are proven again, on the replicas of now, unless the plan
        was made without a topology.

        Raises:
            SealringError: no node answers at all; `observe.topology-moves`.
        """
        cluster, view = self.rings.file(question.cluster), await self.rings.view(question.cluster)
        found = ring_findings(view)
        rules = cluster.rollout
        if rules.max_pending is not None or rules.max_p99 is not None:
            addresses = [seen.node.address for seen in view.nodes]
            found += load_findings(await read_load(cluster, addresses, latencies=rules.max_p99 is not None), rules)
        if question.rollout:
            found += await foreign_findings(cluster, question.restarts, self.rings.pool(cluster).host)
            found += await others_at_work(self.rings, cluster, question)
        counted = (NODE_DOWN,) if question.begun and question.fingerprint else ()  # by the proof
        ignored = (*question.waive, *counted)
        whole = RingAnswer(
            findings=tuple(f for f in found if f.check not in ignored), changed=departed(question.wave, view)
        )
        if whole.blocking or whole.changed or not question.fingerprint:
            return whole
        topology = await read_topology(cluster, view)
        return await asyncio.to_thread(proven_again, question, whole, topology)  # seconds, of a large ring


def _silent(expired: str, served: Sequence[Served]) -> tuple[str, ...]:
    """One that nobody answers ends its start, and is started again and again: it has opened its internode port only."""
    away = [str(s.listener) for s in served if not s.leaf_sha256]
    return (f"it has not started: {', '.join(away)} does not answer",) if expired and away else ()


async def _expired(bench: Bench, served: Sequence[Served]) -> str:
    """What of a node has expired; the stores are read only where a listener, or the lack of any, gives a reason to."""
    now = datetime.now(UTC)
    shown = [s for s in served if s.not_after]
    if shown and all(s.not_after and s.not_after > now for s in shown):
        return ""
    try:
        present = await bench.present()
    except SealringError as error:
        if error.retryable:
            raise
        return expiry(served, None, now)
    return expiry(served, present.leaf.not_valid_after_utc, now)
