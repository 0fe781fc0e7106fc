"""The rows and lines that a node answers with, as members of the ring and an opinion on each of them. Pure.

Who is up? `gossip_info` holds gossip, not the failure detector's verdict: in a ring split by a certificate that one
node does not trust, the refused node's heartbeat still arrives through third nodes. So over CQL a node is up for
an observer when its heartbeat advances *and* the observer has a connection to it: the urgent connection of a live peer
is opened when it is marked alive (ECHO) and never closed as unused (`OutboundConnections.UnusedConnectionMonitor`).
`nodetool status` prints the failure detector's verdict itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sealring.cassandra.cql import Rows
from sealring.cassandra.nodetool import Gossip, Status
from sealring.models.cluster import NodeRef

# VersionedValue.java: a node that was shut down in an orderly way says so instead of NORMAL, until it is back.
_SETTLED = ("NORMAL", "shutdown")
_GONE = ("LEFT", "removed")


@dataclass(frozen=True)
class Member:
    """A node of the ring as one observer knows it."""

    node: NodeRef
    version: str
    schema_version: str


@dataclass(frozen=True)
class Opinion:
    """One observer on one node."""

    up: bool
    normal: bool


@dataclass(frozen=True)
class Account:
    """What one observer says about the ring, itself included: members, and an opinion by internode address."""

    observer: NodeRef
    members: tuple[Member, ...]
    opinions: dict[str, Opinion] = field(default_factory=dict)

    @property
    def doubtful(self) -> bool:
        """Whether some member does not look up, or nothing is known yet."""
        return any(not self.on(member.node).up for member in self.members)

    @property
    def heard(self) -> set[str]:
        """Internode addresses of the members that it has heard since it started."""
        return {member.node.internode_address for member in self.members if member.version}

    @property
    def strangers(self) -> set[str]:
        """Those of the members that it has not."""
        return {member.node.internode_address for member in self.members} - self.heard

    def on(self, node: NodeRef) -> Opinion:
        """This observer's opinion on a node; one it does not know is neither up nor normal."""
        return self.opinions.get(node.internode_address, Opinion(up=False, normal=False))


@dataclass(frozen=True)
class Pulse:
    """What one look at `gossip_info` and `internode_outbound` tells of a node."""

    generation: int
    heartbeat: int
    status: str
    connections: int | None  # None: the observer's own row

    @property
    def connected(self) -> bool:
        """Whether the observer talks to it, so that a missing heartbeat may still come."""
        return self.connections != 0 and not self.status.startswith("shutdown")


def members_from_tables(local: Mapping[str, Any], peers: Rows) -> tuple[Member, ...]:
    """Members from the row of `system.local` and the rows of `system.peers_v2`. The observer comes first."""
    own = _member(local, internode=local["broadcast_address"], native=local["rpc_address"])
    # A row without host id is a node that the observer has not heard from since it started.
    others = (_member(row, internode=row["peer"], native=row["native_address"]) for row in peers if row["host_id"])
    return (own, *others)


def members_from_gossip(endpoints: tuple[Gossip, ...], lines: tuple[Status, ...] = ()) -> tuple[Member, ...]:
    """Members from `nodetool gossipinfo`, without those that have left.

    Args:
        endpoints: what it prints. Of a node that was not heard since the observer started, nothing but its address.
        lines: of `nodetool status`, which knows host id and place of such a node from `system.peers`.
    """
    kept = {line.address: line for line in lines}
    nobody = Status("", up=False, normal=False, host_id="", datacenter="", rack="")
    return tuple(
        Member(
            NodeRef(
                host_id=endpoint.states.get("HOST_ID") or kept.get(endpoint.address, nobody).host_id,
                address=_native_address(endpoint.states) or endpoint.address,
                internode_address=endpoint.address,
                datacenter=endpoint.states.get("DC") or kept.get(endpoint.address, nobody).datacenter,
                rack=endpoint.states.get("RACK") or kept.get(endpoint.address, nobody).rack,
            ),
            endpoint.states.get("RELEASE_VERSION", ""),
            endpoint.states.get("SCHEMA", ""),
        )
        for endpoint in endpoints
        if not _status(endpoint.states.get("STATUS_WITH_PORT") or endpoint.states.get("STATUS", "")).startswith(_GONE)
    )


def newcomers(members: tuple[Member, ...], gossip: Rows) -> tuple[Member, ...]:
    """Nodes that gossip but are not members yet: they are joining."""
    known = {member.node.host_id for member in members}
    return tuple(
        Member(
            NodeRef(
                host_id=row["host_id"],
                address=_host(row.get("native_address_and_port") or "") or row["address"],
                internode_address=row["address"],
                datacenter=row["dc"] or "",
                rack=row["rack"] or "",
            ),
            row["release_version"] or "",
            row["schema"] or "",
        )
        for row in gossip
        if row["host_id"] and row["host_id"] not in known and not _gossip_status(row).startswith(_GONE)
    )


def pulses(gossip: Rows, outbound: Rows, observer: NodeRef) -> dict[str, Pulse]:
    """By internode address."""
    connections = {row["address"]: row["active_connections"] for row in outbound}
    return {
        row["address"]: Pulse(
            generation=row["generation"] or 0,
            heartbeat=row["heartbeat"] or 0,
            status=_gossip_status(row),
            connections=None if row["address"] == observer.internode_address else connections.get(row["address"], 0),
        )
        for row in gossip
    }


def opinion(before: Pulse | None, after: Pulse | None) -> Opinion:
    """An observer's opinion on a node, from two looks that lie a heartbeat (one second) or more apart."""
    if before is None or after is None:
        return Opinion(up=False, normal=False)
    advanced = (after.generation, after.heartbeat) > (before.generation, before.heartbeat)
    settled = after.status.startswith(_SETTLED)
    return Opinion(up=advanced and after.connected, normal=settled)


def opinions_from_status(lines: tuple[Status, ...]) -> dict[str, Opinion]:
    """The failure detector's verdicts, by internode address."""
    return {line.address: Opinion(line.up, line.normal) for line in lines}


def _member(row: Mapping[str, Any], *, internode: str, native: str | None) -> Member:
    node = NodeRef(
        host_id=str(row["host_id"]),
        address=native or internode,
        internode_address=internode,
        datacenter=row["data_center"] or "",
        rack=row["rack"] or "",
    )
    return Member(node, row["release_version"] or "", str(row["schema_version"] or ""))


def _native_address(states: Mapping[str, str]) -> str:
    return _host(states.get("NATIVE_ADDRESS_AND_PORT", "")) or states.get("RPC_ADDRESS", "")


def _host(address_and_port: str) -> str:
    return address_and_port.rpartition(":")[0].strip("[]")


def _gossip_status(row: Mapping[str, Any]) -> str:
    return _status(row.get("status_with_port") or row.get("status") or "")


def _status(value: str) -> str:
    """The word before the tokens: `NORMAL,-3074457345618258603`."""
    return value.partition(",")[0]
