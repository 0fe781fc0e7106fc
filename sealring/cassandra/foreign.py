"""What others are doing on the nodes of a wave: streams and repairs, of nodes that are to be restarted.

Their own word over CQL; where a version lacks the tables (before 4.1), or CQL is shut, that of nodetool. A stream or a
repair session is seen on every node that takes part in it, so no other node need be asked.
"""

import asyncio
import re
from collections.abc import Collection, Sequence

from sealring.cassandra.cql import conversation
from sealring.cassandra.judging import Judge
from sealring.cassandra.nodetool import nodetool
from sealring.cassandra.observe import Hosts
from sealring.cassandra.work import Work, read_work, repair_finding, streaming_finding
from sealring.errors import SealringError
from sealring.models.cluster import ClusterFile
from sealring.models.evidence import Finding

AT_ONCE = 16
FORMER = frozenset({"streaming", "repairs"})
"""Tables of `system_views` that Cassandra 4.0 does not have."""

_STREAM = re.compile(r"^(\S.*) [0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_SESSION = re.compile(r"^\s*([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\s*\|\s*([A-Z_]+)\s*\|")
_OVER = ("FINALIZED", "FAILED")  # ConsistentSession.State


def parse_netstats(text: str) -> tuple[str, ...]:
    """The operation of each stream in flight: `Repair`, `Bootstrap`, `Unbootstrap`.

    Source: `org.apache.cassandra.tools.nodetool.NetStats`: a line `OPERATION PLAN-ID` for each stream, before the
    sessions of it, which are indented. The operations are those of `StreamOperation.getDescription`.
    """
    return tuple(found[1] for line in text.splitlines() if (found := _STREAM.match(line.rstrip())))


def parse_repair_sessions(text: str) -> tuple[str, ...]:
    """Sessions of incremental repairs that are not over: `session ID (STATE)`.

    Source: `org.apache.cassandra.tools.nodetool.RepairAdmin.ListCmd`: a table of `id | state | last activity |
    coordinator | participants | participants_wp`, or `no sessions`. Full repairs are not in it: they are seen by their
    validations and streams.
    """
    found = [match for line in text.splitlines() if (match := _SESSION.match(line))]
    return tuple(f"session {match[1]} ({match[2]})" for match in found if match[2] not in _OVER)


async def foreign_findings(cluster: ClusterFile, restarts: Collection[str], hosts: Hosts) -> tuple[Finding, ...]:
    """`node.streaming` and `node.repair` of nodes that are to be restarted; a node that tells nothing is left out.

    Args:
        cluster: the cluster file.
        restarts: addresses.
        hosts: opens a node's host, for nodetool.
    """
    room = asyncio.Semaphore(AT_ONCE)

    async def ask(address: str) -> Sequence[Finding]:
        async with room:
            work = await _work(cluster, address, hosts)
        judge = Judge(address, restarts=True)
        told = [] if "streaming" in work.unseen else [streaming_finding(work, judge)]
        return told if "repairs" in work.unseen else [*told, repair_finding(work, judge)]

    return tuple(finding for told in await asyncio.gather(*map(ask, restarts)) for finding in told)


async def _work(cluster: ClusterFile, address: str, hosts: Hosts) -> Work:
    work = Work(unseen=tuple(FORMER))
    try:
        async with conversation(cluster.cql, address) as asked:
            work = await read_work(asked)
    except SealringError:
        pass  # the look at the ring says so where it matters
    if not FORMER & set(work.unseen):
        return work
    try:
        async with hosts(address) as shell:
            streams, sessions = await nodetool(shell, cluster.service, "netstats", "repair_admin list")
    except SealringError:
        return work
    return Work(streams=parse_netstats(streams), repairs=(*work.repairs, *parse_repair_sessions(sessions)))
