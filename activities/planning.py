"""The plan, as an activity: what is decided stays decided, whatever version of the planner replays the rollout."""

import asyncio
from datetime import UTC, datetime

from temporalio import activity

from activities.eyes import client_certificates
from activities.rings import Rings
from sealring.cassandra.load import read_load
from sealring.cassandra.topology import read_topology
from sealring.errors import refuse
from sealring.models.cluster import ClusterFile
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
            SealringError: `plan.*`; `observe.topology-moves` (retry); `cql.credentials`.
        """
        cluster = self.rings.file(question.request.cluster)
        if question.request.goal == "renew-expired":
            _require_identity(cluster)
        aware = (question.request.strategy or cluster.rollout.strategy) == "load-aware"
        loads = await read_load(cluster, [seen.node.address for seen in question.view.nodes]) if aware else None
        topology = await read_topology(cluster, question.view, loads)
        return await asyncio.to_thread(make_plan, question, cluster.rollout, topology)  # seconds, of a large ring


def _require_identity(cluster: ClusterFile) -> None:
    """What expired in the ring may have expired here too: no listener would accept us then, and nothing be proven."""
    if cluster.cql.certificate is None:
        return
    ends = client_certificates(cluster.cql.certificate)[0].not_valid_after_utc
    if ends <= datetime.now(UTC):
        raise refuse(
            "cql.credentials",
            f"cql.certificate {cluster.cql.certificate} ended {ends:%Y-%m-%d %H:%M:%SZ}: no listener would accept it",
            "give the worker a certificate that is valid, then start again; nothing was changed",
        )
