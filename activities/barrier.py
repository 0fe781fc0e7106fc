"""Between two stages of a CA rotation: every node of the ring is looked at, nothing is changed."""

import asyncio
import ssl
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from temporalio import activity

from activities.eyes import client_certificates, look_from
from activities.rings import Bench, Rings
from sealring.cassandra.barrier import (
    CLIENTS,
    Client,
    Look,
    disk_findings,
    handshake_findings,
    left_out,
    live_clients,
    path_findings,
)
from sealring.cassandra.borrowed import borrowed_context
from sealring.cassandra.cql import Rows, conversation
from sealring.cassandra.probe import probe
from sealring.cassandra.ring_findings import ring_findings
from sealring.cassandra.vantages import judge_all
from sealring.errors import Actor, SealringError
from sealring.hosts.generations import read_disk
from sealring.models.cluster import ClusterFile, Listener, NodeRef
from sealring.models.evidence import BLOCKING, Finding, Served, Verdict
from sealring.models.rollout import BarrierQuestion, Readiness
from sealring.pki.certificates import fingerprint
from sealring.pki.rotation import Pair
from sealring.planning.plan import vantages
from sealring.sources.base import source_for

T = TypeVar("T")


@dataclass(frozen=True)
class Seen:
    """A node, and what can be presented from there; contexts hold keys, and never leave this process."""

    look: Look
    listeners: tuple[Listener, ...]
    identities: dict[str, ssl.SSLContext] = field(repr=False)


class BarrierActivities:
    """Reads only."""

    def __init__(self, rings: Rings) -> None:
        """`rings` to reach the nodes."""
        self.rings = rings

    @activity.defn
    async def observe_barrier(self, question: BarrierQuestion) -> Readiness:
        """Whether what the stages so far were for holds on every node; what speaks against it comes first.

        Raises:
            SealringError: `cluster.*`, `material.*`, or no node answers at all.
        """
        cluster = self.rings.file(question.cluster)
        view = await self.rings.view(question.cluster)
        ring = tuple(node.node for node in view.nodes)
        findings = list(ring_findings(view))
        at_once = asyncio.Semaphore(cluster.rollout.max_parallel)
        looked = await self._all((self._look(cluster, question, node, at_once) for node in ring), findings)
        seen = {each.look.node.address: each for each in looked}
        looks = [each.look for each in looked]
        targets = {target.node.address: target for target in question.targets}
        clients = _clients(cluster)
        now = datetime.now(UTC)
        findings += disk_findings(looks, targets)
        findings += await asyncio.to_thread(lambda: list(path_findings(looks, clients, question.before, now)))
        connected = (self._connections(cluster, each, seen, ring, at_once) for each in looked)
        for found in await self._all(connected, findings):
            findings += found
        if question.before == "drop":
            findings.append(left_out(looks))
            findings += await self._live_clients(cluster, ring, at_once)
        if any(not each.identities for each in looked):
            findings.append(_keys_stay())
        told = [f for f in findings if f.verdict is not Verdict.PASS or f.check.startswith("barrier.")]
        return Readiness(findings=tuple(sorted(dict.fromkeys(told), key=lambda f: f.verdict not in BLOCKING)))

    async def _all(self, asked: Iterable[Awaitable[T]], findings: list[Finding]) -> list[T]:
        """The answers that came; who could not be asked fails the barrier."""
        answers = []
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, SealringError):
                findings.append(_unread(answer))
            elif isinstance(answer, BaseException):
                raise answer
            else:
                answers.append(answer)
        return answers

    async def _look(
        self, cluster: ClusterFile, question: BarrierQuestion, node: NodeRef, at_once: asyncio.Semaphore
    ) -> Seen:
        try:
            source = source_for(question.material, self.rings.vault(cluster))
            delivered = await source.load(question.material, node)
            async with at_once, self.rings.open(cluster.name, node, anew=True) as bench:
                pair = Pair(node.address, await bench.present(), delivered)
                disk = await read_disk(bench.host, bench.place)
                inventory = bench.inventory
        except SealringError as error:
            error.node = error.node or node.address
            raise
        look = Look(node, disk, pair, inventory.client_auth, inventory.endpoint_verification)
        chosen = {"the identity in force": pair.present}
        if question.before == "identity" and fingerprint(pair.present.leaf) != fingerprint(delivered.leaf):
            chosen["the delivered identity"] = delivered
        contexts = {name: borrowed_context(material) for name, material in chosen.items()}
        return Seen(look, inventory.listeners, {name: made for name, made in contexts.items() if made})

    async def _connections(
        self,
        cluster: ClusterFile,
        seen: Seen,
        ring: dict[str, Seen],
        nodes: Sequence[NodeRef],
        at_once: asyncio.Semaphore,
    ) -> list[Finding]:
        """New connections to one node: from the worker and through peers, also with the peers' own identities."""
        node, leaf = seen.look.node, fingerprint(seen.look.pair.present.leaf)
        peers = vantages(node, tuple(nodes), cluster.rollout.vantages)
        async with at_once, self.rings.open(cluster.name, node) as bench:
            served = await look_from(self.rings, bench, peers)
            findings = list(judge_all(served, intended=leaf, node=node.address))
            for peer in peers:
                if peer.address in ring:
                    findings += await self._as_peer(bench, seen, ring[peer.address])
        return findings

    async def _as_peer(self, bench: Bench, seen: Seen, peer: Seen) -> list[Finding]:
        findings: list[Finding] = []
        address, roots = peer.look.node.address, peer.look.pair.present.trust
        async with self.rings.pool(bench.cluster).host(address) as host:
            for whose, context in peer.identities.items():
                served: list[Served] = []
                for listener in seen.listeners:
                    served.append(
                        await probe(listener, vantage=address, open=host.forward, identity=context, roots=roots)
                    )
                findings += handshake_findings(served, whose)
        return findings

    async def _live_clients(
        self, cluster: ClusterFile, ring: Sequence[NodeRef], at_once: asyncio.Semaphore
    ) -> list[Finding]:
        async def ask(node: NodeRef) -> Rows | Finding:
            try:
                async with at_once, conversation(cluster.cql, node.address) as cql:
                    return await cql.rows(CLIENTS) or ()
            except SealringError as error:
                message = f"its clients are not known: {error.message}"
                return _told("barrier.live-client", message, node.address)

        answers = await asyncio.gather(*map(ask, ring))
        asked = zip(ring, answers, strict=True)
        rows = {node.address: answer for node, answer in asked if not isinstance(answer, Finding)}
        return [*live_clients(rows, cluster.clients), *(a for a in answers if isinstance(a, Finding))]


def _clients(cluster: ClusterFile) -> list[Client]:
    """Clients whose certificates the cluster file names.

    Raises:
        SealringError: cql.credentials.
    """
    named = {"the client of cql.certificate": cluster.cql.certificate}
    named |= {f"the client of role {client.role}": client.certificate for client in cluster.clients}
    return [Client(name, client_certificates(path)) for name, path in named.items() if path is not None]


def _unread(error: SealringError) -> Finding:
    return Finding(
        check="barrier.unread",
        verdict=Verdict.INCONCLUSIVE,
        message=f"[{error.code}] {error.message}",
        remedy=error.remedy or "bring the node back: what holds is to be seen on every node",
        actor=error.actor,
        node=error.node,
    )


def _keys_stay() -> Finding:
    message = "keys stay on the nodes: no new connection was made with a node's own identity; files and paths were seen"
    return _told("barrier.key-on-node", message)


def _told(check: str, message: str, node: str = "") -> Finding:
    return Finding(check=check, verdict=Verdict.WARN, message=message, actor=Actor.OPERATOR, node=node)
