"""What a planner must know of a ring, read over CQL: tokens, replication, and what was promised of each keyspace.

Asked of one observer; `observe.observe_ring` says who is up. Pure but for `read_topology`.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from sealring.cassandra.cql import Rows, conversation
from sealring.cassandra.load import NodeLoad
from sealring.errors import Actor, SealringError, passing
from sealring.models.cluster import ClusterFile, ConsistencyLevel
from sealring.models.node import ClusterView
from sealring.models.topology import LOCAL_KEYSPACES, SYSTEM_PROMISES, Keyspace, RingNode, Topology

LOCAL = "SELECT host_id, tokens FROM system.local"
PEERS = "SELECT host_id, tokens FROM system.peers_v2"
KEYSPACES = "SELECT keyspace_name, replication FROM system_schema.keyspaces"
TABLES = "SELECT id, keyspace_name FROM system_schema.tables"
PAXOS = "SELECT cf_id FROM system.paxos LIMIT 1000"
LOGINS = "SELECT value FROM system_views.settings WHERE name = 'authenticator'"

AUTH = "system_auth"
_LOCAL_STRATEGY = "LocalStrategy"


async def read_topology(
    cluster: ClusterFile, view: ClusterView, loads: Mapping[str, NodeLoad] | None = None
) -> Topology | None:
    """The ring that was observed, with tokens and keyspaces; None when CQL tells it nowhere.

    Args:
        cluster: says what is promised of keyspaces.
        view: who is in the ring, and who can be asked.
        loads: by address, where the order of nodes depends on it.

    Raises:
        SealringError: `observe.topology-moves` (retry): a member has no tokens yet, or is not known everywhere.
    """
    for observer in view.observers if view.source == "cql" else ():
        try:
            async with conversation(cluster.cql, observer) as asked:
                local, peers = await asked.rows(LOCAL) or (), await asked.rows(PEERS) or ()
                keyspaces, tables = await asked.rows(KEYSPACES) or (), await asked.rows(TABLES) or ()
                paxos = await _rows_or_none(asked.rows(PAXOS))
                logins = await _rows_or_none(asked.rows(LOGINS))
        except SealringError as error:
            if error.retryable:
                continue  # another observer may answer
            return None
        serial = _serial(paxos, tables)
        holders = (*local, *peers)
        return topology_of(cluster, view, holders, keyspaces, serial=serial, logins=_logins(logins), loads=loads or {})
    return None


def topology_of(
    cluster: ClusterFile,
    view: ClusterView,
    holders: Iterable[Mapping[str, Any]],
    keyspaces: Rows,
    *,
    serial: frozenset[str] = frozenset(),
    logins: bool = True,
    loads: Mapping[str, NodeLoad] = MappingProxyType({}),
) -> Topology:
    """The topology from rows.

    Args:
        cluster: says what is promised of keyspaces.
        view: who is in the ring, and who is up.
        holders: rows of `system.local` and `system.peers_v2`: host id and tokens.
        keyspaces: rows of `system_schema.keyspaces`.
        serial: keyspaces in which lightweight transactions were seen.
        logins: whether anybody has to log in: else nothing reads system_auth.
        loads: by address.

    Raises:
        SealringError: `observe.topology-moves`.
    """
    tokens = {str(row["host_id"]): tuple(sorted(int(t) for t in row["tokens"] or ())) for row in holders}
    without = [seen.node.address for seen in view.nodes if not tokens.get(seen.node.host_id)]
    if without:
        raise passing(
            "observe.topology-moves",
            f"{', '.join(without[:5])}: no tokens are known for it: it is joining or leaving",
            "wait until the topology change is over (nodetool netstats)",
            actor=Actor.CASSANDRA_ADMIN,
        )
    return Topology(
        name=cluster.name,
        nodes=tuple(
            RingNode(
                address=seen.node.address,
                datacenter=seen.node.datacenter,
                rack=seen.node.rack,
                tokens=tokens[seen.node.host_id],
                state="down" if not seen.up else "up" if seen.normal else "suspect",
                host_id=seen.node.host_id,
                seed=seen.node.address in cluster.contact_points,
                version=seen.version,
                load=loads[seen.node.address].busy if seen.node.address in loads else 0,
            )
            for seen in view.nodes
        ),
        keyspaces=tuple(
            Keyspace(name=name, replication=replication, consistency=_promised(cluster, name, name in serial))
            for name, replication in sorted((row["keyspace_name"], _plain(row["replication"])) for row in keyspaces)
            if name not in LOCAL_KEYSPACES
            and not str(replication["class"]).endswith(_LOCAL_STRATEGY)
            and (name != AUTH or logins)
        ),
    )


def _promised(cluster: ClusterFile, keyspace: str, serial: bool) -> tuple[ConsistencyLevel, ...]:
    said = cluster.consistency
    if keyspace in said.keyspaces:
        return said.keyspaces[keyspace]
    levels = SYSTEM_PROMISES.get(keyspace, said.default)
    return (*levels, "SERIAL") if serial and "SERIAL" not in levels else levels


def _plain(replication: Mapping[str, Any]) -> dict[str, int | str]:
    """Cassandra keeps all options as text; the class may be given with its package."""
    return {
        str(name): str(value).rpartition(".")[2] if name == "class" else int(value) if str(value).isdigit() else value
        for name, value in replication.items()
    }


async def _rows_or_none(asking: Any) -> Rows | None:
    """What may be refused to our role: the answer without it is more careful, not wrong."""
    try:
        rows: Rows | None = await asking
        return rows
    except SealringError as error:
        if error.retryable:
            raise
        return None


def _serial(paxos: Rows | None, tables: Rows) -> frozenset[str]:
    """Keyspaces of tables in which this node has lately voted on a lightweight transaction (`system.paxos`)."""
    voted = {str(row["cf_id"]) for row in paxos or ()}
    return frozenset(row["keyspace_name"] for row in tables if str(row["id"]) in voted)


def _logins(rows: Rows | None) -> bool:
    return not (rows and all(str(row["value"]).endswith("AllowAllAuthenticator") for row in rows))
