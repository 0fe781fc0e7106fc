"""The ring in memory, with authorities: whom a node trusts, and whose leaf it presents, on its disk and in service.

At every change it is written down when some node would refuse another: trust must come before identity.
"""

import hashlib
from collections.abc import Callable
from itertools import permutations
from typing import Any, NamedTuple

from temporalio import activity

from sealring.errors import Actor, refuse
from sealring.models.evidence import Finding, Verdict
from sealring.models.material import MaterialRef, NodeRotation, RotationMaterial
from sealring.models.node import Change, ClusterView, Generation
from sealring.models.rollout import (
    Activated,
    Applied,
    BarrierQuestion,
    ClusterQuestion,
    FlipOrder,
    MaterialQuestion,
    NodeOrder,
    Readiness,
    RestartOrder,
    RingAnswer,
    RingQuestion,
    Transferred,
)
from tests.workflow.fakes import FAR_OFF, LONG_AGO, FakeRing, blocking


class Made(NamedTuple):
    """What a made-up generation holds."""

    issuer: str  # of the leaf: one letter
    trust: frozenset[str]
    node: int


def digest(*words: object) -> str:
    return hashlib.sha256("\0".join(map(str, words)).encode()).hexdigest()


class RotatingRing(FakeRing):
    """A delivery at "b" holds leaves of authority b and trusts b alone; at "b+a" it trusts both."""

    def __init__(self, nodes: int = 3, **more: Any) -> None:
        super().__init__(nodes, **more)
        self.known: dict[str, Made] = {}
        for address, i in self.nodes.items():
            self.on_disk[address] = self.serving[address] = self.make("a", {"a"}, i)
        self.down: set[str] = set()
        self.clients_need: set[str] = set()  # authorities that a known client's certificate needs
        self.intents: dict[str, tuple[str, str]] = {}  # token, generation before
        self.last: dict[str, Change] = {}
        self.violations: list[str] = []
        self.stamps = 0
        self.looks = 0  # at the ring, before waves
        self.changes: frozenset[int] = frozenset()  # looks that find another topology

    def make(self, issuer: str, trust: set[str] | frozenset[str], node: int) -> str:
        made = Made(issuer, frozenset(trust), node)
        identity = digest("generation", issuer, *sorted(trust), node)
        self.known[identity] = made
        return identity

    def leaf(self, generation: str) -> str:
        made = self.known[generation]
        return digest("leaf", made.issuer, made.node)

    def holds(self) -> set[tuple[str, str]]:
        """Issuer of the leaf and authorities trusted, of every node, in service."""
        return {(m.issuer, "".join(sorted(m.trust))) for m in map(self.known.__getitem__, self.serving.values())}

    def _generation(self, identity: str | None) -> Generation | None:
        if identity is None:
            return None
        return Generation(id=identity, leaf_sha256=self.leaf(identity), not_after=FAR_OFF)

    def _check(self, why: str) -> None:
        """An idle Cassandra may read new files before anybody asks it to: disk and service both count."""
        for a, b in permutations(self.nodes, 2):
            shown = {self.known[self.on_disk[a]].issuer, self.known[self.serving[a]].issuer}
            accepted = self.known[self.on_disk[b]].trust & self.known[self.serving[b]].trust
            if shown - accepted:
                self.violations.append(f"{why}: {b} would refuse {a}")

    def _taken(self, ref: MaterialRef, address: str) -> str:
        """The generation that a delivery makes of what a node has in force."""
        issuer, trust = ref.path[0], set(ref.path.split("+"))
        now, node = self.known[self.on_disk[address]], self.nodes[address]
        match ref.take:
            case "trust":
                return self.make(now.issuer, now.trust | trust, node)
            case "identity":
                return self.make(issuer, now.trust | trust, node)
            case _:
                return self.make(issuer, trust, node)

    @activity.defn
    async def observe_cluster(self, question: ClusterQuestion) -> ClusterView:
        view = await super().observe_cluster(question)
        nodes = [n.model_copy(update={"last": self.last.get(n.node.address)}) for n in view.nodes]
        for i, node in enumerate(nodes):
            if node.last is None and node.current is not None:  # never touched: as its first backup will keep it
                nodes[i] = node.model_copy(update={"current": node.current.model_copy(update={"adopted": True})})
        return view.model_copy(update={"nodes": tuple(nodes)})

    @activity.defn
    async def resolve_rotation(self, question: MaterialQuestion) -> RotationMaterial:
        await self._enter("resolve_rotation", "")
        ref = question.ref
        delivered = set(ref.path.split("+"))
        rows = []
        for address in self.nodes:
            takes = [self._taken(ref.model_copy(update={"take": t}), address) for t in ("trust", "identity", "all")]
            now, new = self.leaf(self.on_disk[address]), self.leaf(takes[1])
            rows.append(
                NodeRotation(
                    address=address,
                    trust=takes[0],
                    identity=takes[1],
                    final=takes[2],
                    leaf_now=now,
                    leaf_new=new,
                )
            )
        trusts = [self.known[generation].trust for generation in self.on_disk.values()]
        adds = any(ref.path[0] not in trust for trust in trusts)
        drops = any(trust - delivered for trust in trusts)
        return RotationMaterial(ref=ref, nodes=tuple(rows), adds=adds, drops=drops)

    @activity.defn
    async def observe_barrier(self, question: BarrierQuestion) -> Readiness:
        answer = await self._enter("observe_barrier", question.before)
        if answer is not None:
            return Readiness.model_validate(answer.model_dump())
        delivered = set(question.material.path.split("+"))
        given = {t.node.address: t.generation for t in question.targets}
        findings = [f for address in sorted(self.down) for f in blocking("ring.node-down", address).findings]
        presented = {self.known[self.serving[a]].issuer for a in self.nodes} | {question.material.path[0]}
        for address in self.nodes:
            on_disk, serving = self.on_disk[address], self.serving[address]
            if on_disk != serving or on_disk != given.get(address, on_disk):
                findings += blocking("barrier.generation", address).findings
            if presented - self.known[serving].trust:
                findings += blocking("barrier.not-trusted", address).findings
        if question.before == "drop":
            if presented - delivered:
                findings += blocking("barrier.old-presented", "").findings
            if self.clients_need - delivered:
                findings += blocking("barrier.client-needs-old", "").findings
            message = "role app, owner team-app: DataStax Java driver 4 at 192.0.2.9, 3 connections"
            findings.append(Finding(check="barrier.live-client", verdict=Verdict.WARN, message=message))
        return Readiness(findings=tuple(findings))

    @activity.defn
    async def check_ring(self, question: RingQuestion) -> RingAnswer:
        self.looks += 1
        if self.looks in self.changes:
            self.calls.append(("check_ring", "changed"))
            return RingAnswer(changed=True)
        return await super().check_ring(question)

    @activity.defn
    async def transfer_material(self, order: NodeOrder) -> Transferred:
        await self._enter("transfer_material", order.node.address)
        assert order.material is not None
        if self._taken(order.material, order.node.address) != order.target.generation:
            raise refuse("material.changed", "it is another", "start anew", actor=Actor.PKI_ADMIN)
        return Transferred(generation=order.target.generation)

    @activity.defn
    async def preflight_node(self, order: NodeOrder) -> Readiness:
        said = await self._enter("preflight_node", order.node.address)
        issuer = self.known[order.target.generation].issuer
        if any(issuer not in self.known[generation].trust for generation in self.on_disk.values()):
            return blocking("material.trusted-by-peers", order.node.address)
        return said or Readiness()

    @activity.defn
    async def activate_generation(self, flip: FlipOrder) -> Activated:
        return await super().activate_generation(flip)

    @activity.defn
    async def rollback_node(self, flip: FlipOrder) -> Activated:
        return await super().rollback_node(flip)

    def _flip(self, flip: FlipOrder) -> Activated:
        address, token = flip.order.node.address, flip.order.rollout
        if self.intents.get(address, ("", ""))[0] != token:
            self.intents[address] = token, self.on_disk[address]
        done = super()._flip(flip)
        self.previous[address] = self.intents[address][1]
        self._check(f"flip of {address}")
        return done

    @activity.defn
    async def reload_tls(self, order: NodeOrder) -> Applied:
        answer = await super().reload_tls(order)
        self._check(f"reload of {order.node.address}")
        return answer

    @activity.defn
    async def restart_node(self, order: RestartOrder) -> Applied:
        answer = await super().restart_node(order)
        self._check(f"restart of {order.order.node.address}")
        return answer

    @activity.defn
    async def settle_node(self, order: NodeOrder) -> Readiness:
        answer = await super().settle_node(order)
        address = order.node.address
        if not answer.blocking and address in self.intents:
            token, before = self.intents.pop(address)
            self.stamps += 1
            at = LONG_AGO.replace(microsecond=self.stamps)
            self.last[address] = Change(rollout=token, before=before, after=self.on_disk[address], at=at)
        return answer

    @property
    def activities(self) -> list[Callable[..., Any]]:
        """All of them, for a worker."""
        return [*super().activities, self.resolve_rotation, self.observe_barrier]
