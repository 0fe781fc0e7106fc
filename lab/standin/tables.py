"""The system tables that drivers and the engine read: what a node finds there.

Rows of other nodes are made once and kept, for a ring of 1,000 is asked for often.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from lab.standin.columns import (
    CHANGING,
    CLIENTS,
    GOSSIP,
    HINTS,
    KEYSPACES,
    LOCAL,
    OF_KEYSPACE,
    OF_TABLE,
    OUTBOUND,
    PEERS,
    PEERS_V2,
)
from lab.standin.frames import BIGINT, BOOLEAN, INT, TEXT, UUID_, Column, Row, cell

if TYPE_CHECKING:
    from lab.standin.node import Node

SCHEMA = str(uuid5(NAMESPACE_URL, "the stand-in's schema"))
PARTITIONER = "org.apache.cassandra.dht.Murmur3Partitioner"
REDACTED = "<REDACTED>"


@dataclass(frozen=True)
class Table:
    """Columns, and the rows that a node finds there."""

    columns: tuple[Column, ...]
    rows: Callable[["Node"], Iterable[Row]] = lambda _: ()


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
    return [_encode(LOCAL, values)]


def _peers(node: "Node") -> Iterable[Row]:
    return [other.kept("peers", lambda o: _encode(PEERS, _peer(o))) for other in known(node) if other is not node]


def _peers_v2(node: "Node") -> Iterable[Row]:
    return [other.kept("v2", lambda o: _encode(PEERS_V2, _peer(o))) for other in known(node) if other is not node]


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
    return _encode(GOSSIP[CHANGING:], values)


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
    return _encode(OUTBOUND[CHANGING:], values)


def _clients(node: "Node") -> Iterable[Row]:
    return [_encode(CLIENTS, facts) for facts in node.clients()]


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
        _encode(KEYSPACES, {"keyspace_name": name, "durable_writes": True, "replication": replication})
        for name, replication in _REPLICATION.items()
    ]


def _told(name: str, columns: tuple[Column, ...]) -> Table:
    """A table of work in flight: what a test has written to `rows.json` in the node's folder; else nothing."""

    def rows(node: "Node") -> Iterable[Row]:
        try:
            told = json.loads((node.spec.home / "rows.json").read_text())
        except FileNotFoundError:
            return ()
        return [_encode(columns, dict.fromkeys(column for column, _ in columns) | row) for row in told.get(name, ())]

    return Table(columns, rows)


TABLES = {
    "system.local": Table(LOCAL, _local),
    "system.peers": Table(PEERS, _peers),
    "system.peers_v2": Table(PEERS_V2, _peers_v2),
    "system_views.gossip_info": Table(GOSSIP, _gossip),
    "system_views.internode_outbound": Table(OUTBOUND, _outbound),
    "system_views.clients": Table(CLIENTS, _clients),
    "system_views.settings": Table((("name", TEXT), ("value", TEXT)), _settings),
    "system_views.pending_hints": _told("pending_hints", HINTS),
    "system_views.streaming": _told("streaming", (("id", UUID_), ("operation", TEXT), ("status", TEXT))),
    "system_views.sstable_tasks": _told("sstable_tasks", (*OF_TABLE, ("task_id", UUID_), ("kind", TEXT))),
    "system_views.repairs": _told("repairs", (("id", UUID_), ("keyspace_name", TEXT), ("completed", BOOLEAN))),
    "system_views.repair_participates": _told("repair_participates", (("id", UUID_), ("completed", BOOLEAN))),
    "system_schema.keyspaces": Table(KEYSPACES, _keyspaces),
    "system_schema.functions": Table((*OF_KEYSPACE, ("function_name", TEXT))),
    "system_schema.aggregates": Table((*OF_KEYSPACE, ("aggregate_name", TEXT))),
    "system_schema.types": Table((*OF_KEYSPACE, ("type_name", TEXT))),
    **{f"system_schema.{name}": Table(OF_TABLE) for name in ("tables", "columns", "indexes", "triggers")},
    "system_schema.views": Table((*OF_KEYSPACE, ("view_name", TEXT))),
    "system_virtual_schema.keyspaces": Table(OF_KEYSPACE),
    "system_virtual_schema.tables": Table(OF_TABLE),
    "system_virtual_schema.columns": Table((*OF_TABLE, ("column_name", TEXT))),
}
