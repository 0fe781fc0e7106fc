"""What stands between two stages of a CA rotation, from what was seen of every node. Pure.

Three layers, each for every node of the ring: the files in force are the generation of the stage (disk); everybody's
trust in force accepts what everybody presents, now and in the stage to come (paths: all ordered pairs); and new
connections work, with the nodes' own identities, as far as they can be made from peers (handshakes).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import filterfalse
from typing import Any, Literal

from sealring.cassandra.cql import ours
from sealring.errors import Actor
from sealring.models.base import short
from sealring.models.cluster import KnownClient, NodeRef
from sealring.models.evidence import Finding, Served, Verdict
from sealring.models.node import DiskState
from sealring.models.plan import Target
from sealring.pki.acceptance import Presented, Refused, refusals
from sealring.pki.certificates import Certificates, fingerprint, name_of
from sealring.pki.material import Material
from sealring.pki.rotation import Pair, dropped

Before = Literal["deploy", "trust", "identity", "drop", "end"]

MOST_NAMED = 10
CLIENTS = "SELECT * FROM system_views.clients"  # client_options only since 4.1
"""The table has neither a certificate nor a time: which connection is older than the new trust cannot
be seen there (measured)."""


@dataclass(frozen=True)
class Look:
    """What was read of one node."""

    node: NodeRef
    disk: DiskState
    pair: Pair
    client_auth: bool
    endpoint_verification: bool


@dataclass(frozen=True)
class Client:
    """A client whose certificate is known."""

    name: str
    certificate: Certificates  # leaf first


def disk_findings(looks: Iterable[Look], targets: Mapping[str, Target]) -> Iterator[Finding]:
    """Whether the files in force are those of the generation that the node was given; of others: that they are kept."""
    for look in looks:
        address, current = look.node.address, look.disk.current
        target = targets.get(address)
        right = target is None or (current is not None and current.id == target.generation)
        if target is not None and not (right and look.disk.in_force and look.disk.whole):
            found = short(current.id) if current else "none"
            yield _failed(
                "barrier.generation",
                f"generation {found} is in force{'' if look.disk.in_force else ' but its files are others'}, "
                f"expected is {short(target.generation)}",
                "find out who else writes these files; then start the rotation again",
                Actor.NODE_ADMIN,
                address,
            )


def path_findings(looks: Sequence[Look], clients: Sequence[Client], before: Before, at: datetime) -> Iterator[Finding]:
    """Whether every trust accepts every leaf that it may meet before the next barrier."""
    if not looks:
        return
    verifying = any(look.endpoint_verification for look in looks)
    now = [_presented(look.node, look.pair.present, verifying) for look in looks]
    new = [_presented(look.node, look.pair.delivered, verifying) for look in looks]
    known = [Presented(c.name, c.certificate[0], c.certificate[1:], role="client") for c in clients]
    in_force = {look.node.address: look.pair.present.trust for look in looks}
    asking = {look.node.address: look.pair.present.trust for look in looks if look.client_auth}
    yield from _refused("barrier.not-trusted", refusals([*now, *new], in_force, at), Actor.PKI_ADMIN)
    yield from _refused("barrier.client-not-trusted", refusals(known, asking, at), Actor.OPERATOR)
    if before == "drop":
        left = {look.node.address: look.pair.delivered.trust for look in looks}
        left_asking = {name: left[name] for name in asking}
        yield from _refused("barrier.old-presented", refusals(now, left, at), Actor.PKI_ADMIN)
        yield from _refused("barrier.client-needs-old", refusals(known, left_asking, at), Actor.OPERATOR)


REMEDIES = {
    "barrier.not-trusted": "every node must trust the authorities of both leaves: look at its truststore and the "
    "delivery's ca.crt",
    "barrier.client-not-trusted": "give this client a certificate of an authority that the nodes trust",
    "barrier.old-presented": "bring the new leaf there first: start the rotation again",
    "barrier.client-needs-old": "give this client a certificate of the new authority, then answer retry",
}


def handshake_findings(served: Iterable[Served], whose: str) -> Iterator[Finding]:
    """Whether listeners went on talking to a peer that presented its own identity.

    Args:
        served: probes through that peer.
        whose: the identity, for the message.
    """
    for seen in served:
        if seen.accepted and seen.trusted is not False:
            continue
        verdict = Verdict.FAIL if seen.accepted is False or seen.trusted is False else Verdict.INCONCLUSIVE
        yield Finding(
            check="barrier.handshake",
            verdict=verdict,
            message=f"{seen.listener.kind} {seen.listener.port}, a new connection from {seen.vantage} with {whose}: "
            f"{seen.problem or 'no answer'}",
            remedy="reload or restart the node; look at its truststore and system.log",
            actor=Actor.CASSANDRA_ADMIN,
            node=seen.listener.address,
        )


def left_out(looks: Sequence[Look]) -> Finding:
    """What is about to be dropped, by name."""
    roots = dropped([look.pair for look in looks])
    named = ", ".join(f"{name_of(root)} ({short(fingerprint(root))})" for root in roots) or "no authority"
    return Finding(check="barrier.old-authority", verdict=Verdict.PASS, message=f"the delivery leaves out {named}")


def live_clients(rows: Mapping[str, Sequence[Mapping[str, Any]]], known: Sequence[KnownClient]) -> Iterator[Finding]:
    """Who is connected now, for a person to judge: the table tells no certificates.

    Args:
        rows: of `CLIENTS`, by the node that told them.
        known: whose clients they are, by role.
    """
    owners = {client.role: client.owner for client in known}
    counted: Counter[tuple[str, str, str]] = Counter()
    for told in rows.values():
        for row in filterfalse(ours, told):
            driver = " ".join(filter(None, (row.get("driver_name"), row.get("driver_version")))) or "unknown driver"
            tls = "" if row.get("ssl_enabled") else ", no TLS"
            counted[str(row.get("username") or "?"), driver + tls, str(row.get("address"))] += 1
    for (role, driver, address), count in sorted(counted.items())[: 3 * MOST_NAMED]:
        owner = f", owner {owners[role]}" if owners.get(role) else ""
        yield Finding(
            check="barrier.live-client",
            verdict=Verdict.WARN,
            message=f"role {role}{owner}: {driver} at {address}, {count} connections",
            actor=Actor.OPERATOR,
        )
    if len(counted) > 3 * MOST_NAMED:
        more = f"and {len(counted) - 3 * MOST_NAMED} more roles, drivers and addresses"
        yield Finding(check="barrier.live-client", verdict=Verdict.WARN, message=more, actor=Actor.OPERATOR)


def _presented(node: NodeRef, material: Material, verifying: bool) -> Presented:
    address = node.internode_address if verifying else None
    return Presented(node.address, material.leaf, material.chain, address)


def _refused(check: str, found: Iterator[Refused], actor: Actor) -> Iterator[Finding]:
    for number, each in enumerate(found):
        if number == MOST_NAMED:
            return
        message = f"it would refuse {each.presenter}: {each.reason}"
        yield _failed(check, message, REMEDIES[check], actor, each.acceptor)


def _failed(check: str, message: str, remedy: str, actor: Actor, node: str) -> Finding:
    return Finding(check=check, verdict=Verdict.FAIL, message=message, remedy=remedy, actor=actor, node=node)
