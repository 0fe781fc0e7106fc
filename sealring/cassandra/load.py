"""How busy nodes are, each told by itself over CQL: what waits in its thread pools, and who is connected to it."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from sealring.cassandra.cql import Rows, conversation
from sealring.errors import Actor, SealringError
from sealring.models.base import Fact
from sealring.models.cluster import ClusterFile
from sealring.models.evidence import Finding, Verdict

POOLS = "SELECT name, active_tasks, pending_tasks FROM system_views.thread_pools"
CLIENTS = "SELECT address FROM system_views.clients"
AT_ONCE = 16
REQUESTS = ("MutationStage", "ReadStage", "CounterMutationStage", "Native-Transport-Requests")
"""The pools that clients wait for; the names are Cassandra's (`Stage`)."""


class NodeLoad(Fact):
    """One node at one moment."""

    pending: int  # requests that wait for a thread
    busy: int  # requests that wait or are worked on, and client connections


async def read_load(cluster: ClusterFile, addresses: Iterable[str]) -> dict[str, NodeLoad]:
    """By address; a node that does not tell is left out."""
    room = asyncio.Semaphore(AT_ONCE)

    async def ask(address: str) -> tuple[str, NodeLoad | None]:
        try:
            async with room, conversation(cluster.cql, address) as asked:
                pools, clients = await asked.rows(POOLS), await asked.rows(CLIENTS)
        except SealringError:
            return address, None
        return address, load_of(pools or (), clients or ())

    told = await asyncio.gather(*(ask(address) for address in addresses))
    return {address: load for address, load in told if load is not None}


def load_of(pools: Iterable[Mapping[str, Any]], clients: Rows) -> NodeLoad:
    """From the rows of `system_views.thread_pools` and `system_views.clients`."""
    requests = [row for row in pools if row["name"] in REQUESTS]
    pending = sum(row["pending_tasks"] or 0 for row in requests)
    active = sum(row["active_tasks"] or 0 for row in requests)
    return NodeLoad(pending=pending, busy=pending + active + len(clients))


def load_findings(loads: Mapping[str, NodeLoad], most_pending: int) -> tuple[Finding, ...]:
    """ring.busy: nodes in which more requests wait than a wave may begin with."""
    over = {address: load.pending for address, load in loads.items() if load.pending > most_pending}
    if not over:
        most = max((load.pending for load in loads.values()), default=0)
        message = f"at most {most} requests wait in one node, {most_pending} may"
        return (Finding(check="ring.busy", verdict=Verdict.PASS, message=message),)
    return tuple(
        Finding(
            check="ring.busy",
            verdict=Verdict.FAIL,
            message=f"{pending} requests wait, a wave begins with {most_pending} at most (rollout.max_pending)",
            remedy="wait for a quieter hour, or raise rollout.max_pending",
            actor=Actor.CASSANDRA_ADMIN,
            node=address,
        )
        for address, pending in over.items()
    )
