"""What a node is doing now, as it says itself over CQL: streams, repairs, hints owed to others, clients.

Tables of Cassandra 4.0 (clients, sstable_tasks) and 4.1/5.0 (the others); one that a version lacks, or that the login
may not read, is `unseen`. Rows 20 to 22 and 26 of the handbook, section 5.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sealring.cassandra.cql import Conversation, Rows, ours
from sealring.cassandra.judging import Judge
from sealring.errors import SealringError
from sealring.models.evidence import Finding

SETTINGS = "SELECT name, value FROM system_views.settings"
TABLES: Mapping[str, str] = {
    "streaming": "SELECT id, operation, status FROM system_views.streaming",
    "sstable_tasks": "SELECT keyspace_name, table_name, kind FROM system_views.sstable_tasks",
    "repairs": "SELECT id, keyspace_name, completed FROM system_views.repairs",
    "repair_participates": "SELECT id, completed FROM system_views.repair_participates",
    "pending_hints": "SELECT host_id, address, files, oldest FROM system_views.pending_hints",
    "clients": "SELECT * FROM system_views.clients",  # client_options only since 4.1
}

STREAMING_OVER = ("success", "failure")  # StreamingState.Status
REPAIR_TASKS = ("validation", "anticompaction")  # OperationType, in lower case: "anticompaction after repair"
HINTS_SHARE = 0.5  # of max_hint_window: the handbook's alarm


@dataclass(frozen=True)
class Work:
    """One node's word.

    Args:
        streams: operation of each stream in flight: `Repair`, `Bootstrap`, `Rebuild`, `Decommission`.
        repairs: keyspaces, or tables with the task, that are being repaired.
        hints: nodes that hints are kept for, by address, with the oldest's time (None: not told).
        clients: connections by `username, driver`, without ours; drivers' control connections count too.
        unseen: tables that were not there or not readable.
    """

    streams: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()
    hints: tuple[tuple[str, datetime | None], ...] = ()
    clients: tuple[tuple[str, int], ...] = ()
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Running:
    """What the running node told: its settings by name, and its work."""

    settings: Mapping[str, str]
    work: Work


async def read_running(asked: Conversation) -> Running:
    """Ask one node.

    Raises:
        SealringError: cql.lost.
    """
    settings = await _rows(asked, SETTINGS)
    known = {row["name"]: row["value"] for row in settings or () if row["value"] is not None}
    return Running(known, await read_work(asked))


async def read_work(asked: Conversation) -> Work:
    """Ask one node what it is doing.

    Raises:
        SealringError: cql.lost.
    """
    found = {table: await _rows(asked, statement) for table, statement in TABLES.items()}
    return parse_work({table: rows for table, rows in found.items() if rows is not None})


async def _rows(asked: Conversation, statement: str) -> Rows | None:
    try:
        return await asked.rows(statement)
    except SealringError as error:
        if error.code != "cql.unauthorized":
            raise
        return None


def parse_work(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> Work:
    """The rows of the tables that answered. Pure."""
    streams = [
        str(row["operation"] or "stream")
        for row in found.get("streaming", ())
        if str(row["status"]).lower() not in STREAMING_OVER
    ]
    repairs = [f"keyspace {row['keyspace_name']}" for row in found.get("repairs", ()) if row["completed"] is False]
    # `repairs` has those that this node coordinates; of others it is told as one that takes part.
    repairs += [f"session {row['id']}" for row in found.get("repair_participates", ()) if row["completed"] is False]
    repairs += [
        f"{row['kind']} of {row['keyspace_name']}.{row['table_name']}"
        for row in found.get("sstable_tasks", ())
        if str(row["kind"]).lower().startswith(REPAIR_TASKS)
    ]
    hints = [(str(row["address"] or row["host_id"]), _time(row["oldest"])) for row in found.get("pending_hints", ())]
    clients = Counter(
        f"{row['username'] or 'anonymous'}, {row['driver_name'] or 'unknown driver'}"
        for row in found.get("clients", ())
        if not ours(row)
    )
    return Work(
        streams=tuple(streams),
        repairs=tuple(dict.fromkeys(repairs)),
        hints=tuple(sorted(hints, key=lambda hint: hint[0])),
        clients=tuple(sorted(clients.items())),
        unseen=tuple(table for table in TABLES if table not in found),
    )


def work_findings(work: Work, judge: Judge, *, now: datetime, hint_window: timedelta) -> tuple[Finding, ...]:
    """`node.streaming`, `node.repair`, `node.hints`. Pure.

    Args:
        work: what the node told.
        judge: of this node.
        now: by the node's clock, UTC.
        hint_window: max_hint_window; zero: no hints are kept.
    """
    found = []
    if "streaming" not in work.unseen:
        found.append(streaming_finding(work, judge))
    if not {"repairs", "repair_participates", "sstable_tasks"} <= set(work.unseen):
        found.append(repair_finding(work, judge))
    if "pending_hints" not in work.unseen:
        found.append(_hints(work, judge, now, hint_window))
    return tuple(found)


def streaming_finding(work: Work, judge: Judge) -> Finding:
    """`node.streaming`."""
    if not work.streams:
        return judge.passed("node.streaming", "no stream is in flight")
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(work.streams).items()))
    return judge.before_restart(
        "node.streaming", f"streams in flight: {kinds}", "wait until they are done (nodetool netstats)"
    )


def repair_finding(work: Work, judge: Judge) -> Finding:
    """`node.repair`."""
    if not work.repairs:
        return judge.passed("node.repair", "no repair is running")
    some = ", ".join(work.repairs[:5]) + (f" and {len(work.repairs) - 5} more" if len(work.repairs) > 5 else "")
    remedy = "wait until it is done (nodetool repair_admin list); a restart fails its session"
    return judge.before_restart("node.repair", f"being repaired: {some}", remedy)


def _hints(work: Work, judge: Judge, now: datetime, window: timedelta) -> Finding:
    if not work.hints:
        return judge.passed("node.hints", "no hints are owed to other nodes")
    ages = [now - oldest for _, oldest in work.hints if oldest]
    age = max(ages, default=timedelta(0))
    owed = ", ".join(address for address, _ in work.hints[:5])
    message = f"hints are kept for {owed}, the oldest for {age.total_seconds():.0f} s"
    message += f" of the {window.total_seconds():.0f} s of max_hint_window" if window else ""
    remedy = "wait until they are handed off (nodetool listpendinghints); beyond the window a repair is needed"
    if window and age > HINTS_SHARE * window:
        return judge.before_restart("node.hints", message, remedy)
    return judge.warned("node.hints", message, remedy)


def _time(value: Any) -> datetime | None:
    """The driver gives naive times, which are UTC."""
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
