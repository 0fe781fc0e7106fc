"""Deliveries: what they hold for every node, and what is wrong with them, without letting go of a key."""

import asyncio
from datetime import UTC, datetime

from temporalio import activity

from activities.issuing import require_pki
from activities.rings import Rings, generation_of
from sealring.errors import Actor, refuse
from sealring.models.evidence import Finding, Verdict
from sealring.models.material import NodeMaterial, ResolvedMaterial
from sealring.models.node import NodeView
from sealring.models.rollout import MaterialQuestion
from sealring.pki.certificates import facts
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
            require_pki(cluster, material, view.node)
            findings = lint(
                material,
                cluster.policy,
                node=view.node,
                addresses=addresses_of(view),
                clocks={"worker": datetime.now(UTC)},
                endpoint_verification=True,
                client_auth=True,
            )
            made = generation_of(material)
            facts_ = facts(material.leaf)
            return NodeMaterial(address=view.node.address, generation=made.id, leaf=facts_, trust=made.trust), findings

        looked = await asyncio.gather(*(look(view) for view in wanted))
        nodes = tuple(material for material, _ in looked)
        digest = delivery_digest({material.address: material.generation for material in nodes})
        if ref.digest not in (None, digest):
            raise refuse(
                "material.changed",
                f"{ref.path} does not hold what the reference is pinned to (digest {ref.digest}, found {digest})",
                "deliver the pinned content again, or start anew with what is there now",
                actor=Actor.PKI_ADMIN,
            )
        found = tuple(f for _, findings in looked for f in findings if f.verdict is not Verdict.PASS)
        return ResolvedMaterial(ref=ref.model_copy(update={"digest": digest}), nodes=nodes, findings=found)


def addresses_of(view: NodeView) -> tuple[str, ...]:
    """Every address that peers and clients use for a node."""
    return tuple(dict.fromkeys((view.node.internode_address, view.node.address)))
