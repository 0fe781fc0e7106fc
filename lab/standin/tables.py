"""The system tables that drivers and the engine read, and the one kind of statement that is answered: a plain SELECT.

Columns are those of Cassandra 5.0.9, most of them; what nobody fills is left out. Rows of other nodes are made once
and kept, for a ring of 1,000 is asked for often.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from lab.standin.frames import (
    BIGINT,
    BOOLEAN,
    INET,
    INT,
    INVALID,
    SYNTAX_ERROR,
    TEXT,
    TEXT_MAP,
    TEXTS,
    TIMESTAMP,
    UUID_,
    Column,
    Row,
    cell,
    error,
    rows,
)

if TYPE_CHECKING:
    from lab.standin.node import Node

SCHEMA = str(uuid5(NAMESPACE_URL, "the stand-in's schema"))
PARTITIONER = "org.apache.cassandra.dht.Murmur3Partitioner"
REDACTED = "<REDACTED>"

_SELECT = re.compile(
    r"\s*SELECT\s+(?P<columns>\*|[\w\s,]+?)\s+FROM\s+(?P<table>\w+\.\w+)"
    r"(?:\s+WHERE\s+(?P<where>\w+)\s*=\s*'(?P<value>[^']*)')?"
    r"(?:\s+LIMIT\s+(?P<limit>\d+))?(?:\s+ALLOW FILTERING)?\s*;?\s*",
    re.IGNORECASE,
)


class Unanswerable(Exception):
    """The answer is an ERROR."""

    def __init__(self, code: int, message: str, more: bytes = b"") -> None:
        super().__init__(message)
        self.body = error(code, message, more)


@dataclass(frozen=True)
class Table:
    """Columns, and the rows that a node finds there."""

    columns: tuple[Column, ...]
    rows: Callable[["Node"], Iterable[Row]] = lambda _: ()


@dataclass(frozen=True)
class Select:
    """A statement that was understood: a table, columns by number, at most one cell that must be so."""

    table: str
    columns: tuple[int, ...]
    where: tuple[int, bytes] | None
    limit: int | None


@lru_cache(256)
def select(statement: str) -> Select:
    """Understand a statement.

    Raises:
        Unanswerable: it is not a plain SELECT, or there is no such table or column.
    """
    found = _SELECT.fullmatch(statement)
    if found is None:
        raise Unanswerable(SYNTAX_ERROR, "The stand-in answers SELECTs on system tables only")
    name = found["table"].lower()
    if name not in TABLES:
        keyspace, _, table = name.partition(".")
        known = any(other.startswith(f"{keyspace}.") for other in TABLES)
        raise Unanswerable(INVALID, f"table {table} does not exist" if known else f"keyspace {keyspace} does not exist")
    columns = TABLES[name].columns
    names = [column for column, _ in columns]

    def number(word: str) -> int:
        if word not in names:
            raise Unanswerable(INVALID, f"Undefined column name {word} in table {name}")
        return names.index(word)

    words = names if found["columns"] == "*" else [w.strip().lower() for w in found["columns"].split(",")]
    where = None
    if found["where"]:
        at = number(found["where"].lower())
        where = at, cell(columns[at][1], found["value"])
    return Select(name, tuple(map(number, words)), where, int(found["limit"]) if found["limit"] else None)


def answer(node: "Node", chosen: Select) -> bytes:
    """The body of the RESULT."""
    table = TABLES[chosen.table]
    keyspace, _, name = chosen.table.partition(".")
    found = table.rows(node)
    if chosen.where:
        at, wanted = chosen.where
        found = (row for row in found if row[at] == wanted)
    content = [b"".join([row[i] for i in chosen.columns]) for row in found]
    return rows(keyspace, name, [table.columns[i] for i in chosen.columns], content[: chosen.limit])


def status_with_port(node: "Node") -> str:
    """The state that a node gossips."""
    return "shutdown,true" if node.shut_down else f"NORMAL,{node.token}"


def known(node: "Node") -> list["Node"]:
    """The nodes that a node has heard of: all that ever ran."""
    return [other for other in node.cluster.values() if other.generation]


def _encode(columns: Sequence[Column], values: dict[str, Any]) -> Row:
    return tuple(cell(kind, values[name]) for name, kind in columns)


def _ring(node: "Node") -> dict[str, Any]:
    """What is the same in all tables about a node."""
    return {
        "host_id": node.host_id,
        "data_center": node.spec.datacenter,
        "rack": node.spec.rack,
        "release_version": node.version,
        "schema_version": SCHEMA,
        "tokens": [node.token],
    }


_IDENTITY: tuple[Column, ...] = (
    ("data_center", TEXT),
    ("rack", TEXT),
    ("host_id", UUID_),
    ("release_version", TEXT),
    ("schema_version", UUID_),
    ("tokens", TEXTS),
)
_LOCAL: tuple[Column, ...] = (
    ("key", TEXT),
    ("bootstrapped", TEXT),
    ("broadcast_address", INET),
    ("broadcast_port", INT),
    ("cluster_name", TEXT),
    ("cql_version", TEXT),
    ("gossip_generation", INT),
    ("listen_address", INET),
    ("listen_port", INT),
    ("native_protocol_version", TEXT),
    ("partitioner", TEXT),
    ("rpc_address", INET),
    ("rpc_port", INT),
    *_IDENTITY,
)
_PEERS: tuple[Column, ...] = (
    ("peer", INET),
    ("rpc_address", INET),
    *_IDENTITY,
)
_PEERS_V2: tuple[Column, ...] = (
    ("peer", INET),
    ("peer_port", INT),
    ("native_address", INET),
    ("native_port", INT),
    ("preferred_ip", INET),
    ("preferred_port", INT),
    *_IDENTITY,
)
_GOSSIP: tuple[Column, ...] = (
    ("generation", INT),
    ("heartbeat", INT),
    ("status_with_port", TEXT),
    ("address", INET),
    ("port", INT),
    ("hostname", TEXT),
    ("dc", TEXT),
    ("rack", TEXT),
    ("host_id", TEXT),
    ("internal_address_and_port", TEXT),
    ("load", TEXT),
    ("native_address_and_port", TEXT),
    ("release_version", TEXT),
    ("rpc_ready", TEXT),
    ("schema", TEXT),
    ("severity", TEXT),
    ("tokens", TEXT),
)
_CHANGING = 3  # columns of _GOSSIP
_OUTBOUND: tuple[Column, ...] = (
    ("active_connections", BIGINT),
    ("connection_attempts", BIGINT),
    ("successful_connection_attempts", BIGINT),
    ("address", INET),
    ("port", INT),
    ("dc", TEXT),
    ("rack", TEXT),
    ("error_count", BIGINT),
    ("pending_count", BIGINT),
    ("sent_count", BIGINT),
)
_CLIENTS: tuple[Column, ...] = (
    ("address", INET),
    ("port", INT),
    ("hostname", TEXT),
    ("username", TEXT),
    ("connection_stage", TEXT),
    ("client_options", TEXT_MAP),
    ("driver_name", TEXT),
    ("driver_version", TEXT),
    ("keyspace_name", TEXT),
    ("protocol_version", INT),
    ("request_count", BIGINT),
    ("ssl_cipher_suite", TEXT),
    ("ssl_enabled", BOOLEAN),
    ("ssl_protocol", TEXT),
)
_HINTS: tuple[Column, ...] = (
    ("host_id", UUID_),
    ("address", INET),
    ("dc", TEXT),
    ("rack", TEXT),
    ("files", INT),
    ("newest", TIMESTAMP),
    ("oldest", TIMESTAMP),
    ("status", TEXT),
)
_KEYSPACES: tuple[Column, ...] = (("keyspace_name", TEXT), ("durable_writes", BOOLEAN), ("replication", TEXT_MAP))
_LOCATOR = "org.apache.cassandra.locator."
_REPLICATION = {
    "system": {"class": f"{_LOCATOR}LocalStrategy"},
    "system_schema": {"class": f"{_LOCATOR}LocalStrategy"},
    "system_auth": {"class": f"{_LOCATOR}SimpleStrategy", "replication_factor": "1"},
    "system_distributed": {"class": f"{_LOCATOR}SimpleStrategy", "replication_factor": "3"},
    "system_traces": {"class": f"{_LOCATOR}SimpleStrategy", "replication_factor": "2"},
}


def _local(node: "Node") -> Iterable[Row]:
    own = node.spec.address
    internode, native = node.settings["storage_port"], node.settings["native_transport_port"]
    values = _ring(node) | {
        "key": "local",
        "bootstrapped": "COMPLETED",
        "broadcast_address": own,
        "broadcast_port": internode,
        "cluster_name": node.settings["cluster_name"],
        "cql_version": "3.4.7",
        "gossip_generation": node.generation,
        "listen_address": own,
        "listen_port": internode,
        "native_protocol_version": "5",
        "partitioner": PARTITIONER,
        "rpc_address": own,
        "rpc_port": native,
    }
    return [_encode(_LOCAL, values)]


def _peers(node: "Node") -> Iterable[Row]:
    return [other.kept("peers", lambda o: _encode(_PEERS, _peer(o))) for other in known(node) if other is not node]


def _peers_v2(node: "Node") -> Iterable[Row]:
    return [other.kept("v2", lambda o: _encode(_PEERS_V2, _peer(o))) for other in known(node) if other is not node]


def _peer(node: "Node") -> dict[str, Any]:
    return _ring(node) | {
        "peer": node.spec.address,
        "peer_port": node.settings["storage_port"],
        "rpc_address": node.spec.address,
        "native_address": node.spec.address,
        "native_port": node.settings["native_transport_port"],
        "preferred_ip": None,
        "preferred_port": None,
    }


def _gossip(node: "Node") -> Iterable[Row]:
    return [
        (
            cell(INT, other.generation),
            cell(INT, other.heartbeat),
            cell(TEXT, status_with_port(other)),
            *other.kept("gossip", _gossip_facts),
        )
        for other in known(node)
    ]


def _gossip_facts(node: "Node") -> Row:
    address = node.spec.address
    values = {
        "address": address,
        "port": node.settings["storage_port"],
        "hostname": address,
        "dc": node.spec.datacenter,
        "rack": node.spec.rack,
        "host_id": node.host_id,
        "internal_address_and_port": f"{address}:{node.settings['storage_port']}",
        "load": "100000.0",
        "native_address_and_port": f"{address}:{node.settings['native_transport_port']}",
        "release_version": node.version,
        "rpc_ready": "true",
        "schema": SCHEMA,
        "severity": "0.0",
        "tokens": None,
    }
    return _encode(_GOSSIP[_CHANGING:], values)


def _outbound(node: "Node") -> Iterable[Row]:
    # Three connections to each peer: urgent, small and large messages (OutboundConnections).
    up, down = tuple(cell(BIGINT, 3) for _ in range(3)), (cell(BIGINT, 0), cell(BIGINT, 9), cell(BIGINT, 0))
    return [
        (*(up if node.sees(other) else down), *other.kept("outbound", _outbound_facts))
        for other in known(node)
        if other is not node
    ]


def _outbound_facts(node: "Node") -> Row:
    values = {
        "address": node.spec.address,
        "port": node.settings["storage_port"],
        "dc": node.spec.datacenter,
        "rack": node.spec.rack,
        "error_count": 0,  # measured: it stays 0 whatever fails
        "pending_count": 0,
        "sent_count": 0,
    }
    return _encode(_OUTBOUND[_CHANGING:], values)


def _clients(node: "Node") -> Iterable[Row]:
    return [_encode(_CLIENTS, facts) for facts in node.clients()]


def _settings(node: "Node") -> Iterable[Row]:
    return [(cell(TEXT, name), cell(TEXT, value)) for name, value in _flat(node.settings)]


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif any(secret in name for secret in ("password", "keystore", "truststore")):
            yield f"{prefix}{name}", REDACTED
        else:
            yield f"{prefix}{name}", str(value).lower() if isinstance(value, bool) else str(value)


def _keyspaces(_: "Node") -> Iterable[Row]:
    return [
        _encode(_KEYSPACES, {"keyspace_name": name, "durable_writes": True, "replication": replication})
        for name, replication in _REPLICATION.items()
    ]


_OF_KEYSPACE: tuple[Column, ...] = (("keyspace_name", TEXT),)
_OF_TABLE: tuple[Column, ...] = (*_OF_KEYSPACE, ("table_name", TEXT))
TABLES = {
    "system.local": Table(_LOCAL, _local),
    "system.peers": Table(_PEERS, _peers),
    "system.peers_v2": Table(_PEERS_V2, _peers_v2),
    "system_views.gossip_info": Table(_GOSSIP, _gossip),
    "system_views.internode_outbound": Table(_OUTBOUND, _outbound),
    "system_views.clients": Table(_CLIENTS, _clients),
    "system_views.settings": Table((("name", TEXT), ("value", TEXT)), _settings),
    "system_views.pending_hints": Table(_HINTS),
    "system_views.streaming": Table((("id", UUID_), ("status", TEXT))),
    "system_views.sstable_tasks": Table((*_OF_TABLE, ("task_id", UUID_), ("kind", TEXT))),
    "system_schema.keyspaces": Table(_KEYSPACES, _keyspaces),
    "system_schema.functions": Table((*_OF_KEYSPACE, ("function_name", TEXT))),
    "system_schema.aggregates": Table((*_OF_KEYSPACE, ("aggregate_name", TEXT))),
    "system_schema.types": Table((*_OF_KEYSPACE, ("type_name", TEXT))),
    **{f"system_schema.{name}": Table(_OF_TABLE) for name in ("tables", "columns", "indexes", "triggers")},
    "system_schema.views": Table((*_OF_KEYSPACE, ("view_name", TEXT))),
    "system_virtual_schema.keyspaces": Table(_OF_KEYSPACE),
    "system_virtual_schema.tables": Table(_OF_TABLE),
    "system_virtual_schema.columns": Table((*_OF_TABLE, ("column_name", TEXT))),
}
