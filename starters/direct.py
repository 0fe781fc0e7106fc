"""What needs no workflow: looking at a ring and at a delivery, with the activities called directly."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from activities.cluster import ClusterActivities
from activities.material import MaterialActivities
from activities.rings import Rings
from sealring.hosts.egress import egress
from sealring.models.egress import Egress
from sealring.models.material import MaterialRef, ResolvedMaterial
from sealring.models.node import ClusterView
from sealring.models.rollout import ClusterQuestion, MaterialQuestion
from sealring.settings import Settings
from sealring.temporal.connect import address_for


@asynccontextmanager
async def _rings(settings: Settings) -> AsyncIterator[Rings]:
    rings = Rings(settings.clusters)
    try:
        yield rings
    finally:
        await rings.close()


async def inspect(settings: Settings, cluster: str) -> ClusterView:
    """Observe a ring from here.

    Raises:
        SealringError: `cluster.*`, or no node answers.
    """
    async with _rings(settings) as rings:
        return await ClusterActivities(rings).observe_cluster(ClusterQuestion(cluster=cluster))


async def reach(settings: Settings, cluster: str) -> Egress:
    """What must be open in the network for a ring.

    Raises:
        SealringError: `cluster.*`, `temporal.profile`, or no node answers.
    """
    async with _rings(settings) as rings:
        view = await ClusterActivities(rings).observe_cluster(ClusterQuestion(cluster=cluster))
        return egress(rings.file(cluster), view, temporal=address_for(settings))


async def lint(settings: Settings, cluster: str, ref: MaterialRef) -> ResolvedMaterial:
    """Judge a delivery for the nodes of a ring.

    Raises:
        SealringError: `cluster.*`, `material.*`, or no node answers.
    """
    async with _rings(settings) as rings:
        view = await ClusterActivities(rings).observe_cluster(ClusterQuestion(cluster=cluster))
        return await MaterialActivities(rings).resolve_material(MaterialQuestion(view=view, ref=ref))
