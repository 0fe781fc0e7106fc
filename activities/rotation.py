"""A CA rotation's material: a delivery beside what the nodes have in force, and what a stage takes of both."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from temporalio import activity

from activities.material import judged, pinned
from activities.rings import Rings, generation_of
from sealring.errors import Actor, refuse
from sealring.models.base import short
from sealring.models.evidence import Finding, Verdict
from sealring.models.material import NodeRotation, RotationMaterial
from sealring.models.node import NodeView
from sealring.models.rollout import MaterialQuestion, NodeOrder
from sealring.pki.acceptance import Presented, refusals
from sealring.pki.certificates import fingerprint, name_of
from sealring.pki.material import Material
from sealring.pki.rotation import Pair, adds, combined, dropped, drops
from sealring.sources.base import source_for
from sealring.sources.vault import Vault

MOST_NAMED = 10


class RotationActivities:
    """Reads deliveries, and of each node what it has in force."""

    def __init__(self, rings: Rings) -> None:
        """`rings` to reach the nodes."""
        self.rings = rings

    @activity.defn
    async def resolve_rotation(self, question: MaterialQuestion) -> RotationMaterial:
        """The three generations of each node, and which stages are needed at all. Changes nothing.

        Raises:
            SealringError: `material.*`; that a node cannot be opened or its stores cannot be read.
        """
        cluster, ref = self.rings.file(question.view.cluster), question.ref
        wanted = [v for v in question.view.nodes if not question.nodes or v.node.address in question.nodes]
        source = source_for(ref, self.rings.vault(cluster))
        at_once = asyncio.Semaphore(cluster.rollout.max_parallel)

        async def look(view: NodeView) -> tuple[Pair, tuple[Finding, ...]]:
            delivered = await source.load(ref, view.node)
            findings = judged(cluster, delivered, view)
            async with at_once, self.rings.open(cluster.name, view.node) as bench:
                return Pair(view.node.address, await bench.present(), delivered), findings

        looked = await asyncio.gather(*(look(view) for view in wanted))
        pairs = [pair for pair, _ in looked]
        linted = tuple(f for _, findings in looked for f in findings if f.verdict is not Verdict.PASS)
        return await asyncio.to_thread(answer_of, question, pairs, linted, datetime.now(UTC))


def answer_of(
    question: MaterialQuestion, pairs: Sequence[Pair], linted: tuple[Finding, ...], now: datetime
) -> RotationMaterial:
    """What is known of a delivery beside what is in force, without any key.

    Raises:
        SealringError: `material.changed`.
    """
    rows = []
    for pair in pairs:
        trust, identity, final = pair.generations()
        rows.append(
            NodeRotation(
                address=pair.node,
                trust=trust,
                identity=identity,
                final=final,
                leaf_now=fingerprint(pair.present.leaf),
                leaf_new=fingerprint(pair.delivered.leaf),
            )
        )
    delivered = [Presented(pair.node, pair.delivered.leaf, pair.delivered.chain) for pair in pairs]
    strangers = list(refusals(delivered, {pair.node: pair.delivered.trust for pair in pairs}, now))
    return RotationMaterial(
        ref=pinned(question.ref, {row.address: row.final for row in rows}),
        nodes=tuple(rows),
        adds=adds(pairs, now),
        drops=drops(pairs, now),
        authorities=tuple(f"{name_of(root)} ({short(fingerprint(root))})" for root in dropped(pairs)),
        findings=(*linted, *(_stranger(r.acceptor, r.presenter, r.reason) for r in strangers[:MOST_NAMED])),
    )


def _stranger(acceptor: str, presenter: str, reason: str) -> Finding:
    """With the delivery in force everywhere, the ring would be split."""
    return Finding(
        check="material.trusted-by-delivery",
        verdict=Verdict.FAIL,
        message=f"with the delivery everywhere it would refuse {presenter}: {reason}",
        remedy="deliver in every ca.crt the authorities of all delivered leaves",
        actor=Actor.PKI_ADMIN,
        node=acceptor,
    )


Present = Callable[[], Awaitable[Material]]
"""What the node has in force."""


async def load_planned(order: NodeOrder, vault: Vault | None, present: Present) -> Material:
    """The node's material from its source, as far as the order takes it; refused when it is not what was planned.

    Raises:
        SealringError: `material.*`; `material.changed`; those of reading what is in force.
    """
    assert order.material is not None
    source = source_for(order.material, vault)
    take = order.material.take
    planned = order.target.generation if take == "all" else None  # of others no source has heard
    material = await source.load(order.material, order.node, planned)
    if take != "all":
        material = combined(take, material, await present())
    found = generation_of(material).id
    if found != order.target.generation:
        now = "now holds" if take == "all" else "with what the node has in force now makes"
        raise refuse(
            "material.changed",
            f"{order.material.path} {now} generation {short(found)}, planned was {short(order.target.generation)}",
            "start the rollout anew with what is there now",
            actor=Actor.PKI_ADMIN,
            node=order.node.address,
        )
    return material
