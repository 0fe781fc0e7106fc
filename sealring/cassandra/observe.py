"""The ring as at least two of its nodes see it, from different racks where there are some.

Over CQL where the worker can open it (a session of its own with each observer); through `nodetool` on the nodes' hosts
where it cannot, where the version has no `system_views.gossip_info` (before 4.1), and to settle a doubt: a node that
does not look up over CQL is called down only when the observer's failure detector says so.
"""

import asyncio
import socket
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from sealring.cassandra.cql import Conversation, conversation
from sealring.cassandra.members import (
    Account,
    Member,
    Pulse,
    members_from_gossip,
    members_from_tables,
    newcomers,
    opinion,
    opinions_from_status,
    pulses,
)
from sealring.cassandra.nodetool import nodetool, parse_gossip, parse_status
from sealring.cassandra.versions import reload_support
from sealring.errors import Actor, SealringError, passing, refuse
from sealring.hosts.shell import Shell
from sealring.models.cluster import ClusterFile, NodeRef
from sealring.models.node import ClusterView, NodeView

ATTEMPTS = 4  # nodes that are asked before an observer is done without
HEARTBEAT_SECONDS = 1.2  # a node gossips once a second
PATIENCE_SECONDS = 6.0  # in a large ring a heartbeat needs some rounds to get around

LOCAL = (
    "SELECT host_id, broadcast_address, rpc_address, data_center, rack, release_version, schema_version "
    "FROM system.local"
)
PEERS = "SELECT peer, host_id, native_address, data_center, rack, release_version, schema_version FROM system.peers_v2"
GOSSIP = "SELECT * FROM system_views.gossip_info"
OUTBOUND = "SELECT address, active_connections FROM system_views.internode_outbound"

Hosts = Callable[[str], AbstractAsyncContextManager[Shell]]
"""`HostPool.host`: a host by its node's address."""


async def observe_ring(cluster: ClusterFile, hosts: Hosts, *, ask: Sequence[str] = ()) -> ClusterView:
    """Who is in the ring, and who is up and normal for every observer.

    Args:
        cluster: the cluster file.
        hosts: opens a node's host, for nodetool.
        ask: addresses to ask first, instead of the contact points.

    Returns:
        Nodes that some observer knows, in order of datacenter, rack, address; one that another does not know is down
        for that one. Of each the identity, version, schema, up, normal and how it
        reloads. What only hosts and listeners know is left at its default.

    Raises:
        SealringError: observe.nobody-answers (retry), cql.credentials (stop).
    """
    contacts = [await _resolved(address) for address in ask or cluster.contact_points]
    source: Literal["cql", "nodetool"] = "cql"
    causes: list[str] = []
    accounts = await _accounts_by_cql(cluster, hosts, contacts, causes)
    if not accounts:
        source, accounts = "nodetool", await _accounts_by_nodetool(cluster, hosts, contacts, causes)
    members = {member.node.host_id: member for account in reversed(accounts) for member in account.members}.values()
    views = tuple(
        NodeView(
            node=member.node,
            version=member.version,
            up=all(account.on(member.node).up for account in accounts),
            normal=all(account.on(member.node).normal for account in accounts),
            schema_version=member.schema_version,
            reload=reload_support(member.version),
        )
        for member in sorted(members, key=lambda m: (m.node.datacenter, m.node.rack, m.node.address))
    )
    return ClusterView(
        cluster=cluster.name,
        observed_at=datetime.now(UTC),
        observers=tuple(account.observer.address for account in accounts),
        nodes=views,
        schema_versions=tuple(sorted(_schemas(accounts, {view.node.host_id for view in views if view.up}))),
        source=source,
    )


def _schemas(accounts: Sequence[Account], up: Collection[str]) -> set[str]:
    """Of nodes that are up: each observer's word counts, for one may not have heard of a change yet."""
    members = [member for account in accounts for member in account.members]
    return {member.schema_version for member in members if member.node.host_id in up and member.schema_version}


async def account_by_cql(cluster: ClusterFile, address: str, *, patience: float = PATIENCE_SECONDS) -> Account:
    """One observer's account over CQL. Without opinions where there is no `gossip_info` (before 4.1).

    Args:
        cluster: the cluster file.
        address: the observer.
        patience: seconds to wait for heartbeats of nodes that it is connected to, beyond one interval.

    Raises:
        SealringError: those of `sealring.cassandra.cql`; observe.version-unsupported (stop) before 4.0.
    """
    async with conversation(cluster.cql, address) as asked:
        members = await _members(asked)
        observer = members[0].node
        gossip = await asked.rows(GOSSIP)
        if gossip is None:
            return Account(observer, members)
        members += newcomers(members, gossip)
        before = pulses(gossip, (), observer)
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            after = await _pulses(asked, observer)
            opinions = {address: opinion(before.get(address), pulse) for address, pulse in after.items()}
            account = Account(observer, members, opinions)
            late = any(pulse.connected and not opinions[address].up for address, pulse in after.items())
            if not late or loop.time() > end:
                return account


async def settled(account: Account, cluster: ClusterFile, hosts: Hosts) -> Account:
    """The account with its doubts settled by the observer's failure detector, where its host can be reached."""
    if not account.doubtful:
        return account
    try:
        async with hosts(account.observer.address) as shell:
            (text,) = await nodetool(shell, cluster.service, "status")
    except SealringError:
        return account
    return Account(account.observer, account.members, opinions_from_status(parse_status(text)))


async def observer_account(cluster: ClusterFile, hosts: Hosts, address: str, *, patience: float) -> Account | None:
    """One observer's account, doubts and all, over CQL or else through nodetool; None when neither works."""
    try:
        account = await account_by_cql(cluster, address, patience=patience)
    except SealringError:
        return await _first_by_nodetool(cluster, hosts, [address], [])
    return account if account.opinions else await settled(account, cluster, hosts)


async def _accounts_by_cql(
    cluster: ClusterFile, hosts: Hosts, ask: Sequence[str], causes: list[str]
) -> tuple[Account, ...]:
    """The accounts of the first contact point that answers and of a node in another rack; none when CQL stays shut."""
    for address in ask:
        try:
            async with conversation(cluster.cql, address) as asked:
                members = await _members(asked)
        except SealringError as error:
            if error.code in ("cql.credentials", "observe.version-unsupported"):
                raise  # the cluster file or the ring is at fault: no other node would tell anything else
            causes.append(str(error))
            continue
        own = asyncio.create_task(_settled_account(cluster, hosts, members[0].node.address))
        other = await _first_account(cluster, hosts, others_first(members[0].node, members))
        return tuple(account for account in (await own, other) if account)
    return ()


async def _first_account(cluster: ClusterFile, hosts: Hosts, candidates: Sequence[NodeRef]) -> Account | None:
    for candidate in candidates[:ATTEMPTS]:
        account = await _settled_account(cluster, hosts, candidate.address)
        if account:
            return account
    return None


async def _settled_account(cluster: ClusterFile, hosts: Hosts, address: str) -> Account | None:
    try:
        return await settled(await account_by_cql(cluster, address), cluster, hosts)
    except SealringError:
        return None  # the ring's other nodes will say what is the matter with this one


async def _accounts_by_nodetool(
    cluster: ClusterFile, hosts: Hosts, ask: Sequence[str], causes: list[str]
) -> tuple[Account, ...]:
    first = await _first_by_nodetool(cluster, hosts, ask, causes)
    if first is None:
        raise passing(
            "observe.nobody-answers",
            f"no node of {cluster.name} tells how the ring is, neither over CQL nor over SSH: {'; '.join(causes)}",
            "check contact_points and the cql and ssh sections of the cluster file, and that a node is up",
            actor=Actor.OPERATOR,
        )
    if first.strangers:
        return await _together(cluster, hosts, first, ask, causes)
    candidates = [node.address for node in others_first(first.observer, first.members) if first.on(node).up]
    second = await _first_by_nodetool(cluster, hosts, candidates[:ATTEMPTS], causes)
    return (first, second) if second else (first,)


async def _together(
    cluster: ClusterFile, hosts: Hosts, first: Account, ask: Sequence[str], causes: list[str]
) -> tuple[Account, ...]:
    """A node that has heard nobody since it started knows of the others little more than that they are there.

    So they are asked themselves, the contact points first. Who cannot be asked is known by what the first one keeps.
    """
    room = asyncio.Semaphore(cluster.rollout.max_parallel)

    async def told(address: str) -> Account | None:
        async with room:
            return await _first_by_nodetool(cluster, hosts, [address], causes)

    async def all_told(addresses: set[str]) -> list[Account]:
        found = await asyncio.gather(*(told(address) for address in sorted(addresses)))
        return [account for account in found if account]

    contacts = {*ask}
    accounts = [first, *await all_told(contacts - {first.observer.address, first.observer.internode_address})]
    left = first.strangers.difference(*(account.heard for account in accounts))
    accounts += await all_told(left - contacts)
    known = {m.node.internode_address: m for account in accounts for m in account.members if m.version}
    members = tuple(known.get(m.node.internode_address, m) for m in first.members)
    return (replace(first, members=members), *accounts[1:])


async def _first_by_nodetool(
    cluster: ClusterFile, hosts: Hosts, addresses: Sequence[str], causes: list[str]
) -> Account | None:
    for address in addresses:
        try:
            async with hosts(address) as shell:
                gossip, status = await nodetool(shell, cluster.service, "gossipinfo", "status")
        except SealringError as error:
            causes.append(str(error))
            continue
        lines = parse_status(status)
        members = members_from_gossip(parse_gossip(gossip), lines)
        observer = next((m.node for m in members if address in (m.node.address, m.node.internode_address)), None)
        if observer:
            return Account(observer, members, opinions_from_status(lines))
        causes.append(f"{address}: not among the nodes that it lists")
    return None


async def _resolved(address: str) -> str:
    """The address of a contact point that is a host name: TLS and SSH know the nodes by address."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(address, None, type=socket.SOCK_STREAM)
    except OSError:
        return address  # it will be refused with its name, where it is used
    return str(found[0][4][0])


def others_first(observer: NodeRef, members: Sequence[Member]) -> tuple[NodeRef, ...]:
    """The other nodes, those in other racks before those beside the observer."""
    place = (observer.datacenter, observer.rack)
    others = (member.node for member in members if member.node != observer)
    return tuple(sorted(others, key=lambda node: (node.datacenter, node.rack) == place))


async def _members(asked: Conversation) -> tuple[Member, ...]:
    local, peers = await asked.rows(LOCAL), await asked.rows(PEERS)
    if not local or peers is None:
        raise refuse(
            "observe.version-unsupported",
            "this node has no system.peers_v2: it is older than Cassandra 4.0",
            "upgrade the ring to 4.0 or later first",
            actor=Actor.CASSANDRA_ADMIN,
            node=asked.address,
        )
    return members_from_tables(local[0], peers)


async def _pulses(asked: Conversation, observer: NodeRef) -> dict[str, Pulse]:
    gossip, outbound = await asked.rows(GOSSIP), await asked.rows(OUTBOUND)
    return pulses(gossip or (), outbound or (), observer)
