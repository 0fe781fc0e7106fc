"""A ring that lives in memory, behind the same activity names: for the logic of the workflows only.

It proves nothing about Cassandra or SSH; tests/lab does that with the real parts.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from temporalio import activity

from sealring.errors import Actor, SealringError, refuse
from sealring.models.cluster import Listener, NodeRef, RolloutSettings
from sealring.models.evidence import Finding, Served, Verdict, Verification
from sealring.models.material import CertificateFacts, NodeMaterial, ResolvedMaterial
from sealring.models.node import ClusterView, Generation, NodeView
from sealring.models.plan import Plan
from sealring.models.rollout import (
    Activated,
    Applied,
    ClusterQuestion,
    Drained,
    FlipOrder,
    MaterialQuestion,
    MatrixQuestion,
    MatrixRow,
    MatrixRows,
    NodeOrder,
    PlanQuestion,
    Readiness,
    RestartOrder,
    RingAnswer,
    RingQuestion,
    Transferred,
    VerifyOrder,
)
from sealring.models.topology import Topology
from sealring.models.trust import TrustQuestion
from sealring.planning.plan import make_plan
from sealring.planning.proof import proven_again
from sealring.planning.remainder import departed

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
FAR_OFF = datetime(2036, 1, 1, tzinfo=UTC)


def leaf_of(generation: str) -> str:
    """The leaf fingerprint that belongs to a made-up generation id."""
    return generation[::-1]


def generation(letter: str, number: int = 0) -> Generation:
    """A made-up generation: 62 times a hexadecimal letter and two digits of the node."""
    identity = letter * 62 + f"{number:02x}"
    return Generation(id=identity, leaf_sha256=leaf_of(identity), not_after=FAR_OFF)


class FakeRing:
    """Nodes with a generation on disk and one in service; every call is written down."""

    def __init__(self, nodes: int = 3, rules: RolloutSettings | None = None) -> None:
        self.rules = rules or RolloutSettings()
        self.nodes = {f"127.0.0.{i + 1}": i for i in range(nodes)}
        self.on_disk = {address: generation("a", i).id for address, i in self.nodes.items()}
        self.serving = dict(self.on_disk)
        self.previous: dict[str, str] = {}
        self.calls: list[tuple[str, str]] = []
        self.faults: dict[tuple[str, str], list[object]] = {}
        self.reload_works = True
        self.topology: Topology | None = None
        self.hold: dict[tuple[str, str], asyncio.Event] = {}
        self.held: dict[tuple[str, str], asyncio.Event] = {}

    # -- what tests say

    def fail(self, step: str, address: str, *errors: SealringError | Readiness | Verification) -> None:
        """The next calls of a step on a node end like this, in order."""
        self.faults.setdefault((step, address), []).extend(errors)

    def hold_at(self, step: str, address: str) -> tuple[asyncio.Event, asyncio.Event]:
        """(set when the step is reached, set it to let it go on)."""
        self.held[step, address] = asyncio.Event()
        self.hold[step, address] = asyncio.Event()
        return self.held[step, address], self.hold[step, address]

    def join(self, address: str) -> None:
        """A further node, with a generation of its own."""
        self.nodes[address] = max(self.nodes.values()) + 1
        self.on_disk[address] = self.serving[address] = generation("a", self.nodes[address]).id

    def steps(self, address: str) -> list[str]:
        """What was done to a node, in order."""
        return [step for step, where in self.calls if where == address]

    def leaf(self, generation: str) -> str:
        """The leaf's fingerprint of a generation."""
        return leaf_of(generation)

    # -- the parts

    async def _enter(self, step: str, address: str) -> Any:
        self.calls.append((step, address))
        if (step, address) in self.hold:
            self.held[step, address].set()
            await self.hold[step, address].wait()
        planned = self.faults.get((step, address))
        answer = planned.pop(0) if planned else None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _ref(self, address: str) -> NodeRef:
        number = self.nodes[address]
        return NodeRef(
            host_id=f"host-{number}",
            address=address,
            internode_address=address,
            datacenter="dc1",
            rack=f"rack{number % 3 + 1}",
        )

    def _generation(self, identity: str | None) -> Generation | None:
        return Generation(id=identity, leaf_sha256=self.leaf(identity), not_after=FAR_OFF) if identity else None

    @activity.defn
    async def observe_cluster(self, question: ClusterQuestion) -> ClusterView:
        await self._enter("observe_cluster", "")
        return self.view(question.cluster)

    def view(self, cluster: str) -> ClusterView:
        """The ring now."""
        views = tuple(
            NodeView(
                node=self._ref(address),
                version="5.0.9",
                up=True,
                normal=True,
                current=self._generation(self.on_disk[address]),
                previous=self._generation(self.previous.get(address)),
                served=(self.leaf(self.serving[address]),),
                reload="forced",
            )
            for address in self.nodes
        )
        return ClusterView(
            cluster=cluster,
            observed_at=LONG_AGO,
            observers=tuple(self.nodes)[:2],
            nodes=views,
            schema_versions=("s",),
        )

    @activity.defn
    async def resolve_material(self, question: MaterialQuestion) -> ResolvedMaterial:
        answer = await self._enter("resolve_material", "")
        materials = tuple(
            NodeMaterial(
                address=address,
                generation=(g := generation(question.ref.path, i)).id,
                leaf=CertificateFacts(
                    sha256=g.leaf_sha256,
                    subject="CN=n",
                    issuer="CN=ca",
                    serial="1",
                    not_before=LONG_AGO,
                    not_after=FAR_OFF,
                    key="EC secp256r1",
                ),
            )
            for address, i in self.nodes.items()
        )
        findings = answer.findings if isinstance(answer, Readiness) else ()
        return ResolvedMaterial(ref=question.ref, nodes=materials, findings=findings)

    @activity.defn
    async def make_plan(self, question: PlanQuestion) -> Plan:
        await self._enter("make_plan", "")
        return make_plan(question, self.rules, self.topology)

    @activity.defn
    async def check_ring(self, question: RingQuestion) -> RingAnswer:
        said = await self._enter("check_ring", "") or Readiness()
        answer = RingAnswer(findings=said.findings, changed=departed(question.wave, self.view(question.cluster)))
        stands = answer.blocking or answer.changed or not question.fingerprint
        return answer if stands else proven_again(question, answer, self.topology)

    @activity.defn
    async def simulate_trust(self, question: TrustQuestion) -> Readiness:
        return await self._enter("simulate_trust", "") or Readiness()

    @activity.defn
    async def served_matrix(self, question: MatrixQuestion) -> MatrixRows:
        await self._enter("served_matrix", "")
        rows = tuple(
            MatrixRow(
                address=t.node.address,
                intended=t.leaf_sha256,
                on_disk=self.leaf(self.on_disk[t.node.address]),
                served=(self._served(t.node.address),),
            )
            for t in question.targets
        )
        return MatrixRows(rows=rows)

    def _served(self, address: str) -> Served:
        listener = Listener(kind="native", address=address, port=9042)
        return Served(listener=listener, vantage="worker", leaf_sha256=self.leaf(self.serving[address]))

    @activity.defn
    async def validate_node(self, order: NodeOrder) -> Readiness:
        return await self._enter("validate_node", order.node.address) or Readiness()

    @activity.defn
    async def backup_node(self, order: NodeOrder) -> Readiness:
        found = await self._enter("backup_node", order.node.address)
        return found or Readiness(current=self._generation(self.on_disk[order.node.address]))

    @activity.defn
    async def transfer_material(self, order: NodeOrder) -> Transferred:
        await self._enter("transfer_material", order.node.address)
        return Transferred(generation=order.target.generation)

    @activity.defn
    async def preflight_node(self, order: NodeOrder) -> Readiness:
        return await self._enter("preflight_node", order.node.address) or Readiness()

    @activity.defn
    async def activate_generation(self, flip: FlipOrder) -> Activated:
        await self._enter("activate_generation", flip.order.node.address)
        return self._flip(flip)

    @activity.defn
    async def rollback_node(self, flip: FlipOrder) -> Activated:
        await self._enter("rollback_node", flip.order.node.address)
        return self._flip(flip)

    def _flip(self, flip: FlipOrder) -> Activated:
        address = flip.order.node.address
        before, self.on_disk[address] = self.on_disk[address], flip.generation
        self.previous[address] = before
        return Activated(current=flip.generation, previous=before)

    @activity.defn
    async def reload_tls(self, order: NodeOrder) -> Applied:
        answer = await self._enter("reload_tls", order.node.address)
        if self.reload_works and answer is None:
            self.serving[order.node.address] = self.on_disk[order.node.address]
        return Applied(findings=answer.findings if isinstance(answer, Readiness) else ())

    @activity.defn
    async def drain_node(self, order: NodeOrder) -> Drained:
        await self._enter("drain_node", order.node.address)
        return Drained(started_at="1")

    @activity.defn
    async def restart_node(self, order: RestartOrder) -> Applied:
        await self._enter("restart_node", order.order.node.address)
        self.serving[order.order.node.address] = self.on_disk[order.order.node.address]
        return Applied()

    @activity.defn
    async def verify_node(self, order: VerifyOrder) -> Verification:
        address = order.order.node.address
        answer = await self._enter("verify_node", address)
        if isinstance(answer, Verification):
            return answer
        good = self.leaf(self.serving[address]) == order.leaf_sha256
        verdict = Verdict.PASS if good else Verdict.FAIL
        finding = Finding(check="verify.served", verdict=verdict, message="leaf compared", node=address)
        return Verification(verdict=verdict, findings=(finding,), served=(self._served(address),))

    @activity.defn
    async def settle_node(self, order: NodeOrder) -> Readiness:
        return await self._enter("settle_node", order.node.address) or Readiness()

    @property
    def activities(self) -> list[Callable[..., Any]]:
        """All of them, for a worker."""
        names = (
            "observe_cluster resolve_material make_plan check_ring simulate_trust served_matrix validate_node "
            "backup_node transfer_material preflight_node activate_generation rollback_node reload_tls drain_node "
            "restart_node verify_node settle_node"
        )
        return [getattr(self, name) for name in names.split()]


def blocking(check: str, address: str) -> Readiness:
    """A readiness that blocks."""
    finding = Finding(
        check=check, verdict=Verdict.FAIL, message="not good", node=address, remedy="mend it", actor=Actor.NODE_ADMIN
    )
    return Readiness(findings=(finding,))


def distrusted(address: str) -> Verification:
    """Served, but a peer would not accept it."""
    finding = Finding(check="verify.trusted", verdict=Verdict.FAIL, message="unknown authority", node=address)
    return Verification(verdict=Verdict.FAIL, findings=(finding,))


def dead(address: str) -> SealringError:
    """An error that repeating does not mend."""
    return refuse("start.failed", "the service crash-loops", "look at the log", node=address)
