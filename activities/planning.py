"""The plan, as an activity: what is decided stays decided, whatever version of the planner replays the rollout."""

import asyncio

from temporalio import activity

from activities.rings import Rings
from sealring.cassandra.load import read_load
from sealring.cassandra.topology import read_topology
from sealring.models.plan import Plan
from sealring.models.rollout import PlanQuestion
from sealring.planning.plan import make_plan


class PlanningActivities:
    """Reads tokens and keyspaces of the ring; reaches no host."""

    def __init__(self, rings: Rings) -> None:
        """`rings` for each cluster's file."""
        self.rings = rings

    @activity.defn
    async def make_plan(self, question: PlanQuestion) -> Plan:
        """Decide, on the replicas of now. A ring whose CQL is shut is planned without a topology.

        Raises:
            SealringError: `plan.*`; `observe.topology-moves` (retry).
        """
        cluster = self.rings.file(question.request.cluster)
        aware = (question.request.strategy or cluster.rollout.strategy) == "load-aware"
        loads = await read_load(cluster, [seen.node.address for seen in question.view.nodes]) if aware else None
        topology = await read_topology(cluster, question.view, loads)
        return await asyncio.to_thread(make_plan, question, cluster.rollout, topology)  # seconds, of a large ring
