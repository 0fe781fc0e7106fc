"""Is a node that was restarted really back? Its process lives, its clients are served, its peers see it up and normal.

A service manager's word is no proof (a crash-looping unit is "active" most of the time), and an open CQL port is none
either: nodes that do not trust each other's certificates open it all the same (measured).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sealring.cassandra.members import Account
from sealring.cassandra.observe import Hosts, observer_account, settled
from sealring.cassandra.probe import client_identity, probe
from sealring.cassandra.system_log import LogMark, mark_log, of_last_start, read_log, start_failure
from sealring.errors import Actor, SealringError, refuse
from sealring.hosts.service import ServiceStatus, status
from sealring.hosts.shell import Become, Shell
from sealring.models.cluster import ClusterFile, NodeRef
from sealring.models.evidence import Finding, Verdict
from sealring.models.node import NodeInventory
from sealring.models.rollout import Applied

POLL_SECONDS = 1.0
OBSERVERS = 2


@dataclass(frozen=True)
class Return:
    """Everything that the wait for one node needs to know.

    Args:
        cluster: the cluster file; service.start_timeout is the deadline, rollout.settle how long it must stay well.
        node: the node that was started.
        inventory: what was found on its host before.
        peers: nodes to ask how they see it, the best first; two that answer are used.
        since: the log's end before the start; None when it is not known any more: then what comes from now on counts.
        become: the user who may read the log.
        joins: whether its peers can see it; False in an emergency, while their own certificates have expired.
    """

    cluster: ClusterFile
    node: NodeRef
    inventory: NodeInventory
    peers: Sequence[NodeRef]
    since: LogMark | None = None
    become: Become = ""
    joins: bool = True


async def wait_back(
    shell: Shell, hosts: Hosts, back: Return, *, progress: Callable[[str], None] = lambda _: None
) -> Applied:
    """Wait until the node serves and two of its peers and itself see each other up and normal with one schema.

    Args:
        shell: the node's host.
        hosts: opens the peers' hosts, for nodetool.
        back: what to wait for.
        progress: told what is being waited for, every second or so.

    Returns:
        Findings start.native and join.peers.

    Raises:
        SealringError: start.tls (the stores cannot be loaded), start.failed (anything else ends the start, or the
            service manager has given up), both at once when they show; start.timeout (clients are not served in time);
            join.timeout (its peers do not see it). All of class stop: a restart must not be repeated blindly.
    """
    since = back.since or await mark_log(shell, back.inventory.log_dir, become=back.become)
    loop = asyncio.get_running_loop()
    begin, limit = loop.time(), back.cluster.service.start_timeout.total_seconds()
    last = "nothing was seen yet"
    served_after: float | None = None
    well_since: float | None = None
    accounts: tuple[Account, ...] = ()
    while (now := loop.time()) < begin + limit:
        running = await status(shell, back.cluster.service.name)
        await _require_start(shell, back, running, since)
        if served_after is None:
            last = await _not_served(back)
            if not last:
                served_after = now - begin
        if served_after is not None:
            accounts = await _accounts(hosts, back) if back.joins else ()
            last = _not_joined(back, accounts) if back.joins else ""
            well_since = None if last else well_since or loop.time()
            if well_since and loop.time() >= well_since + back.cluster.rollout.settle.total_seconds():
                return _proven(back, accounts, served_after)
        progress(last or "it is well; waiting whether it stays so")
        await asyncio.sleep(POLL_SECONDS)
    if served_after is None:
        raise _gone_wrong(back, "start.timeout", f"not serving clients {limit:.0f} s after its start: {last}")
    # The last word belongs to the failure detectors: a doubt over CQL is not enough to call a restart failed.
    accounts = tuple([await settled(account, back.cluster, hosts) for account in accounts])
    last = _not_joined(back, accounts)
    if not last:
        return _proven(back, accounts, served_after)
    raise _gone_wrong(back, "join.timeout", f"it serves clients, but {limit:.0f} s after its start {last}")


async def _require_start(shell: Shell, back: Return, running: ServiceStatus, since: LogMark) -> None:
    text = await read_log(shell, back.inventory.log_dir, since, become=back.become)
    if not back.joins:  # the one before may have ended its start by itself, after the mark: nobody answered it
        text = of_last_start(text)
    failure = start_failure(text)
    if failure and failure.tls:
        raise _gone_wrong(back, "start.tls", f"Cassandra cannot load its stores: {failure.message}")
    if failure:
        raise _gone_wrong(back, "start.failed", f"Cassandra ends its start: {failure.message}")
    if not running.active and running.state.startswith(("failed", "inactive")):
        raise _gone_wrong(back, "start.failed", f"its service manager has given up ({running.state})")


async def _not_served(back: Return) -> str:
    """What is missing before clients are served; empty when nothing is."""
    identity = client_identity(back.cluster.cql)
    for listener in back.inventory.listeners:
        if listener.kind != "native":
            continue
        served = await probe(listener, identity=identity, connect_timeout=POLL_SECONDS * 5)
        # Without a certificate of ours a listener may refuse us, and serves all the same.
        if not served.leaf_sha256 or (identity and not served.accepted):
            return f"{listener}: {served.problem}"
    return ""


async def _accounts(hosts: Hosts, back: Return) -> tuple[Account, ...]:
    """The accounts of two peers that answer, and the node's own."""
    own = asyncio.create_task(observer_account(back.cluster, hosts, back.node.address, patience=0))
    others: list[Account] = []
    for peer in back.peers:
        if len(others) == OBSERVERS:
            break
        account = await observer_account(back.cluster, hosts, peer.address, patience=0)
        others += [account] if account else []
    return tuple(account for account in (await own, *others) if account)


def _not_joined(back: Return, accounts: Sequence[Account]) -> str:
    """What is missing before the node is a member again; empty when nothing is."""
    node = back.node
    observers = [account for account in accounts if account.observer.host_id != node.host_id]
    if len(observers) < min(OBSERVERS, len(back.peers)):
        return f"only {len(observers)} of its peers can be asked"
    blind = [account.observer.address for account in observers if not account.on(node).up]
    if blind:
        return f"{', '.join(blind)} does not see it up"
    if not all(account.on(node).normal for account in observers):
        return "it is not NORMAL for its peers"
    own = next((account for account in accounts if account not in observers), None)
    if own is None:
        return "it does not tell how it sees the ring"
    # Only the node itself talks to everybody: whom it cannot reach, or who refuses it, shows here.
    up = [m.node for m in own.members if all(account.on(m.node).up for account in observers)]
    unseen = [other.address for other in up if not own.on(other).up]
    if unseen:
        return f"it does not see {', '.join(unseen)} up"
    schemas = {account.members[0].schema_version for account in accounts}
    return "" if len(schemas) == 1 else f"the schema differs: {', '.join(sorted(schemas))}"


def _proven(back: Return, accounts: Sequence[Account], served_after: float) -> Applied:
    observers = ", ".join(a.observer.address for a in accounts if a.observer.host_id != back.node.host_id)

    def passed(check: str, message: str) -> Finding:
        return Finding(check=check, verdict=Verdict.PASS, message=message, node=back.node.address)

    started = passed("start.native", f"serves clients {served_after:.1f} s after its start")
    if not back.joins:
        return Applied(findings=(started,))
    findings = (
        started,
        passed("join.peers", f"seen up and normal by {observers or 'nobody else, there is no other node'}; one schema"),
    )
    return Applied(findings=findings)


def _gone_wrong(back: Return, code: str, message: str) -> SealringError:
    return refuse(
        code,
        message,
        f"read {back.inventory.log_dir}/system.log on the node",
        actor=Actor.CASSANDRA_ADMIN,
        node=back.node.address,
    )
