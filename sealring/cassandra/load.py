"""How busy nodes are, each told by itself over CQL: what waits in its thread pools, and who is connected to it."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from sealring.cassandra.cql import Rows, conversation
from sealring.errors import Actor, SealringError
from sealring.models.base import Fact
from sealring.models.cluster import ClusterFile, RolloutSettings
from sealring.models.evidence import Finding, Verdict

POOLS = "SELECT name, active_tasks, pending_tasks FROM system_views.thread_pools"
CLIENTS = "SELECT address FROM system_views.clients"
LATENCIES = (
    "SELECT keyspace_name, count, p99th_ms FROM system_views.coordinator_read_latency",
    "SELECT keyspace_name, count, p99th_ms FROM system_views.coordinator_write_latency",
)
"""Since 4.0 (`TableMetricTables`); what is some minutes old fades (`DecayingEstimatedHistogramReservoir`)."""

AT_ONCE = 16
REQUESTS = ("MutationStage", "ReadStage", "CounterMutationStage", "Native-Transport-Requests")
"""The pools that clients wait for; the names are Cassandra's (`Stage`)."""


class NodeLoad(Fact):
    """One node at one moment."""

    pending: int  # requests that wait for a thread
    busy: int  # requests that wait or are worked on, and client connections
    p99_ms: float = 0.0  # of the slowest table, as coordinator; 0: not asked, or nobody asked it for anything


async def read_load(cluster: ClusterFile, addresses: Iterable[str], *, latencies: bool = False) -> dict[str, NodeLoad]:
    """By address; a node that does not tell is left out."""
    room = asyncio.Semaphore(AT_ONCE)

    async def ask(address: str) -> tuple[str, NodeLoad | None]:
        try:
            async with room, conversation(cluster.cql, address) as asked:
                pools, clients = await asked.rows(POOLS), await asked.rows(CLIENTS)
                slow = [row for table in LATENCIES if latencies for row in await asked.rows(table) or ()]
        except SealringError:
            return address, None
        return address, load_of(pools or (), clients or (), slow)

    told = await asyncio.gather(*(ask(address) for address in addresses))
    return {address: load for address, load in told if load is not None}


def load_of(pools: Iterable[Mapping[str, Any]], clients: Rows, latencies: Iterable[Mapping[str, Any]] = ()) -> NodeLoad:
    """From the rows of `thread_pools`, `clients` and `coordinator_*_latency`, without those of system keyspaces."""
    requests = [row for row in pools if row["name"] in REQUESTS]
    pending = sum(row["pending_tasks"] or 0 for row in requests)
    active = sum(row["active_tasks"] or 0 for row in requests)
    slowest = max(
        (row["p99th_ms"] or 0.0 for row in latencies if row["count"] and not row["keyspace_name"].startswith("system")),
        default=0.0,
    )
    return NodeLoad(pending=pending, busy=pending + active + len(clients), p99_ms=slowest)


def load_findings(loads: Mapping[str, NodeLoad], rules: RolloutSettings) -> tuple[Finding, ...]:
    """ring.busy: nodes that are busier than a wave may begin with (max_pending, max_p99). No answer is no pass."""
    if not loads:
        remedy = (
            "let cql.username read system_views.thread_pools and its like (docs/security.md), or leave the rule out"
        )
        return (_busy("", "no node told how busy it is", remedy, Verdict.INCONCLUSIVE, Actor.OPERATOR),)
    found = []
    for address, load in loads.items():
        told = []
        if rules.max_pending is not None and load.pending > rules.max_pending:
            most = f"a wave begins with {rules.max_pending} at most (rollout.max_pending)"
            told.append(f"{load.pending} requests wait, {most}")
        if rules.max_p99 is not None and load.p99_ms > rules.max_p99.total_seconds() * 1000:
            most = f"a wave begins with {rules.max_p99.total_seconds() * 1000:.0f} ms at most (rollout.max_p99)"
            told.append(f"one request of a hundred takes {load.p99_ms:.0f} ms, {most}")
        if told:
            found.append(_busy(address, "; ".join(told), "wait for a quieter hour, or raise what is allowed"))
    if found:
        return tuple(found)
    pending, slow = max(load.pending for load in loads.values()), max(load.p99_ms for load in loads.values())
    message = f"at most {pending} requests wait in one node, and one of a hundred takes at most {slow:.0f} ms"
    return (Finding(check="ring.busy", verdict=Verdict.PASS, message=message),)


def _busy(
    node: str, message: str, remedy: str, verdict: Verdict = Verdict.FAIL, actor: Actor = Actor.CASSANDRA_ADMIN
) -> Finding:
    return Finding(check="ring.busy", verdict=verdict, message=message, remedy=remedy, actor=actor, node=node)
