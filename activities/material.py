"""Deliveries: what they hold for every node, and what is wrong with them, without letting go of a key."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from temporalio import activity

from activities.issuing import require_pki
from activities.rings import Rings, generation_of
from sealring.errors import Actor, refuse
from sealring.models.cluster import ClusterFile
from sealring.models.evidence import Finding, Verdict
from sealring.models.material import MaterialRef, NodeMaterial, ResolvedMaterial
from sealring.models.node import NodeView
from sealring.models.rollout import MaterialQuestion
from sealring.pki.certificates import facts
from sealring.pki.material import Material
from sealring.pki.policy import lint
from sealring.sources.base import delivery_digest, source_for


class MaterialActivities:
    """Needs to read deliveries; reaches no node."""

    def __init__(self, rings: Rings) -> None:
        """`rings` for the policy of each cluster."""
        self.rings = rings

    @activity.defn
    async def resolve_material(self, question: MaterialQuestion) -> ResolvedMaterial:
        """Look at a delivery. Changes nothing; the digest in the answer pins what was seen.

        Raises:
            SealringError: `material.*`; `material.changed` when the reference is pinned to other content.
        """
        cluster, ref = self.rings.file(question.view.cluster), question.ref
        wanted = [v for v in question.view.nodes if not question.nodes or v.node.address in question.nodes]
        source = source_for(ref, self.rings.vault(cluster))

        async def look(view: NodeView) -> tuple[NodeMaterial, tuple[Finding, ...]]:
            material = await source.load(ref, view.node)
            findings = judged(cluster, material, view)
            made = generation_of(material)
            facts_ = facts(material.leaf)
            return NodeMaterial(address=view.node.address, generation=made.id, leaf=facts_, trust=made.trust), findings

        looked = await asyncio.gather(*(look(view) for view in wanted))
        nodes = tuple(material for material, _ in looked)
        found = tuple(f for _, findings in looked for f in findings if f.verdict is not Verdict.PASS)
        pin = pinned(ref, {material.address: material.generation for material in nodes})
        return ResolvedMaterial(ref=pin, nodes=nodes, findings=found)


def judged(cluster: ClusterFile, material: Material, view: NodeView) -> tuple[Finding, ...]:
    """What is wrong with a node's delivered material, and what is well.

    Raises:
        SealringError: `material.no-pki`.
    """
    require_pki(cluster, material, view.node)
    return lint(
        material,
        cluster.policy,
        node=view.node,
        addresses=addresses_of(view),
        clocks={"worker": datetime.now(UTC)},
        endpoint_verification=True,
        client_auth=True,
    )


def pinned(ref: MaterialRef, generations: Mapping[str, str]) -> MaterialRef:
    """The reference with the digest of what was found, by address.

    Raises:
        SealringError: `material.changed` when it is pinned to other content.
    """
    digest = delivery_digest(generations)
    if ref.digest not in (None, digest):
        raise refuse(
            "material.changed",
            f"{ref.path} does not hold what the reference is pinned to (digest {ref.digest}, found {digest})",
            "deliver the pinned content again, or start anew with what is there now",
            actor=Actor.PKI_ADMIN,
        )
    return ref.model_copy(update={"digest": digest})


def addresses_of(view: NodeView) -> tuple[str, ...]:
    """Every address that peers and clients use for a node."""
    return tuple(dict.fromkeys((view.node.internode_address, view.node.address)))
