"""Proof: new handshakes with every listener, files compared, the ring asked; and the matrix of it for a report."""

import asyncio
from datetime import UTC, datetime

from temporalio import activity

from activities.eyes import LONGEST_PAUSE, look_from
from activities.rings import Bench, Rings
from sealring.cassandra.ring_findings import OBSERVERS, ring_findings
from sealring.cassandra.vantages import judge_all
from sealring.errors import Actor, SealringError
from sealring.hosts.generations import read_disk
from sealring.models.base import short
from sealring.models.evidence import BLOCKING, Finding, Verdict, Verification, worst
from sealring.models.plan import Target
from sealring.models.rollout import MatrixQuestion, MatrixRow, MatrixRows, VerifyOrder

RING_PAUSES = (2.0, 5.0)
"""Seconds between looks at the ring that too few observers answered."""


class VerifyActivities:
    """Reads only, so it may be repeated and asked by anybody."""

    def __init__(self, rings: Rings) -> None:
        """`rings` to reach the nodes."""
        self.rings = rings

    @activity.defn
    async def verify_node(self, order: VerifyOrder) -> Verification:
        """Is this generation in force, served by every listener to every vantage, and is the node well in its ring?

        A vantage that is blind for now is waited for while the step's budget lasts; in the end the verdict is
        inconclusive and says which vantages are left.

        Raises:
            SealringError: the host cannot be reached: no verdict then.
        """
        node = order.order.node
        async with self.rings.open(order.order.cluster, node, anew=True) as bench:
            integrity, served, ring = await asyncio.gather(
                self._integrity(bench, order.generation),
                look_from(self.rings, bench, order.order.target.vantages, patient=_again(datetime.now(UTC))),
                self._ring(bench, alone=order.order.alone),
            )
        judged = judge_all(served, intended=order.leaf_sha256, node=node.address)
        findings = (integrity, *judged, *ring)
        proof = Verification(verdict=worst(findings), findings=findings, served=served)
        if proof.verdict not in BLOCKING:
            return proof
        return proof.model_copy(update={"tls_dir": bench.place.tls_dir, "stores": tuple(bench.place.roles)})

    @activity.defn
    async def served_matrix(self, question: MatrixQuestion) -> MatrixRows:
        """Intended, on disk, served: for every node. A node that cannot be reached has an empty row.

        Raises:
            SealringError: `cluster.*`.
        """
        at_once = asyncio.Semaphore(self.rings.file(question.cluster).rollout.max_parallel)

        async def row(target: Target) -> MatrixRow:
            async with at_once:
                return await self._row(question.cluster, target)

        return MatrixRows(rows=tuple(await asyncio.gather(*(row(target) for target in question.targets))))

    async def _row(self, cluster: str, target: Target) -> MatrixRow:
        address, intended = target.node.address, target.leaf_sha256
        try:
            async with self.rings.open(cluster, target.node) as bench:
                disk = await read_disk(bench.host, bench.place)
                on_disk = disk.current.leaf_sha256 if disk.current and disk.in_force else ""
                served = await look_from(self.rings, bench, target.vantages)
        except SealringError as error:
            return MatrixRow(address=address, intended=intended, on_disk=f"unknown: {error.code}", served=())
        return MatrixRow(address=address, intended=intended, on_disk=on_disk, served=served)

    async def _integrity(self, bench: Bench, generation: str) -> Finding:
        """SHA-256 of the files in force against the manifest of the generation."""
        disk = await read_disk(bench.host, bench.place)
        current = disk.current.id if disk.current else ""
        good = disk.in_force and current == generation
        message = f"the files in force are those of generation {short(generation)}"
        if not good:
            state = "in force" if disk.in_force else "current, but the files in force are others"
            message = f"generation {short(current) or 'none'} is {state}, intended is {short(generation)}"
        return Finding(
            check="verify.integrity",
            verdict=Verdict.PASS if good else Verdict.FAIL,
            message=message,
            remedy="" if good else "find out who else writes these files (configuration management?)",
            actor=Actor.NOBODY if good else Actor.NODE_ADMIN,
            node=bench.node.address,
        )

    async def _ring(self, bench: Bench, *, alone: bool = False) -> tuple[Finding, ...]:
        """An observer that is slow to answer once is no reason to take a good node back: it is asked again."""
        if alone:
            return ()  # its peers cannot see it before it is their turn; the barrier at the end looks
        for pause in (*RING_PAUSES, None):
            view = await self.rings.view(bench.cluster.name)
            findings = tuple(f for f in ring_findings(view) if f.node in ("", bench.node.address))
            if pause is None or not any(f.check == OBSERVERS and f.verdict is Verdict.FAIL for f in findings):
                break
            await asyncio.sleep(pause)
        return findings


def _again(now: datetime) -> bool:
    """Whether the step's budget has room for another attempt, so that a vantage that is blind may see by then.

    In the last attempt what was not seen is told, as evidence, instead of being waited for.
    """
    if not activity.in_activity():
        return False
    told = activity.info()
    if told.schedule_to_close_timeout is None or told.start_to_close_timeout is None:
        return False
    left = told.scheduled_time + told.schedule_to_close_timeout - now
    return left > told.start_to_close_timeout + LONGEST_PAUSE
