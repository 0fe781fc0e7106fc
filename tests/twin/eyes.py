"""The activities that only look: at the ring as a whole, at a delivery, at what a node serves."""

from collections.abc import Callable, Generator
from datetime import timedelta
from itertools import permutations
from typing import Any

from sealring.cassandra.ring_findings import ring_findings
from sealring.cassandra.vantages import judge_all
from sealring.errors import passing
from sealring.models.cluster import NodeRef, RolloutSettings
from sealring.models.evidence import Finding, Served, Verdict, Verification, worst
from sealring.models.material import CertificateFacts, NodeMaterial, ResolvedMaterial
from sealring.models.node import ClusterView, NodeView
from sealring.models.plan import Plan
from sealring.models.rollout import (
    ClusterQuestion,
    MaterialQuestion,
    MatrixQuestion,
    MatrixRow,
    MatrixRows,
    PlanQuestion,
    Readiness,
    RingAnswer,
    RingQuestion,
    VerifyOrder,
)
from sealring.models.topology import RingNode, Topology
from sealring.models.trust import TrustQuestion
from sealring.planning.plan import make_plan
from sealring.planning.proof import proven_again
from sealring.planning.remainder import departed
from tests.twin import hosts
from tests.twin.ring import Content, Node, Ring

LIFE = timedelta(days=90)


class Eyes:
    """Those that change nothing."""

    def __init__(
        self,
        ring: Ring,
        settings: RolloutSettings,
        deliveries: dict[str, dict[str, Content]],
    ) -> None:
        self.ring, self.world, self.settings, self.deliveries = ring, ring.world, settings, deliveries
        self.on_look: Callable[[], None] = lambda: None
        self.on_proof: Callable[[Node, str], None] = lambda node, generation: None

    # -- the ring

    def view(self, cluster: str) -> ClusterView:
        """The ring, as two of its nodes see it."""
        self.ring.meet()
        nodes = list(self.ring.nodes.values())
        observers = [node for node in nodes if node.up][:2]
        if not observers:
            raise passing("observe.nobody-answers", "no node answers")
        views = tuple(
            NodeView(
                node=node.ref,
                version=node.version,
                up=all(self.ring.sees(observer, node) for observer in observers),
                normal=node.normal,
                reload=node.reload,
            )
            for node in nodes
        )
        return ClusterView(
            cluster=cluster,
            observed_at=self.world.time(),
            observers=tuple(observer.address for observer in observers),
            nodes=tuple(sorted(views, key=lambda v: (v.node.datacenter, v.node.rack, v.node.address))),
            schema_versions=tuple(f"schema-{i}" for i in range(self.ring.schemas)),
        )

    def observe_cluster(self, question: ClusterQuestion) -> Generator[Any, None, Any]:
        yield self.world.between(2, 8)
        view = self.view(question.cluster)
        return view.model_copy(update={"nodes": tuple(map(self._host, view.nodes))})

    def _host(self, seen: NodeView) -> NodeView:
        node = self.ring.nodes[seen.node.address]
        if node.ssh_until > self.world.now:
            return seen.model_copy(update={"problem": "[ssh.connect-timeout] no answer"})
        kept = {
            name: node.kept[g].generation.model_copy(update={"adopted": g in node.adopted})
            for name, g in (("current", node.current), ("previous", node.previous))
            if g
        }
        served = (node.serving.key.leaf,) if node.up and node.serving else ()
        return seen.model_copy(
            update={
                "layout": "slots" if node.slots else "in-place",
                "listeners": node.listeners,
                "current": kept.get("current") if node.in_force else None,
                "previous": kept.get("previous"),
                "last": node.last,
                "served": served,
            }
        )

    def resolve_material(self, question: MaterialQuestion) -> Generator[Any, None, Any]:
        yield self.world.between(0.1, 1)
        delivered = self.deliveries[question.ref.path]
        nodes = tuple(
            NodeMaterial(address=address, generation=c.id, leaf=self._facts(c), trust=c.generation.trust)
            for address, c in delivered.items()
        )
        return ResolvedMaterial(ref=question.ref, nodes=nodes)

    def _facts(self, content: Content) -> CertificateFacts:
        return CertificateFacts(
            sha256=content.key.leaf,
            subject="CN=node",
            issuer=content.key.issuer,
            serial="1",
            not_before=content.key.not_after - LIFE,
            not_after=content.key.not_after,
            key="EC secp256r1",
        )

    def make_plan(self, question: PlanQuestion) -> Generator[Any, None, Any]:
        yield self.world.between(0.01, 0.1)
        plan: Plan = make_plan(question, self.settings, self.topology(question.view))
        return plan

    def topology(self, view: ClusterView) -> Topology:
        """What CQL tells of the ring that was seen."""
        return Topology(
            name=view.cluster,
            nodes=tuple(
                RingNode(
                    address=seen.node.address,
                    datacenter=seen.node.datacenter,
                    rack=seen.node.rack,
                    tokens=self.ring.nodes[seen.node.address].tokens,
                    state="down" if not seen.up else "up" if seen.normal else "suspect",
                    host_id=seen.node.host_id,
                    version=seen.version,
                )
                for seen in view.nodes
            ),
            keyspaces=self.ring.keyspaces,
        )

    def check_ring(self, question: RingQuestion) -> Generator[Any, None, Any]:
        yield self.world.between(1, 4)
        self.on_look()
        view = self.view(question.cluster)
        counted = ("ring.node-down",) if question.begun and question.fingerprint else ()
        ignored = (*question.waive, *counted)
        findings = tuple(f for f in ring_findings(view) if f.check not in ignored)
        whole = RingAnswer(findings=findings, changed=departed(question.wave, view))
        stands = whole.blocking or whole.changed or not question.fingerprint
        answer = whole if stands else proven_again(question, whole, self.topology(view))
        yield self.world.between(0.05, 0.5)
        return answer

    def simulate_trust(self, question: TrustQuestion) -> Generator[Any, None, Any]:
        """All pairs, in all states of the plan that they can meet in."""
        yield self.world.between(1, 10)
        last = len(question.plan.waves) + 1
        wave = {t.node.address: i for i, w in enumerate(question.plan.waves, 1) for t in w.targets}
        now = {address: node.disk for address, node in self.ring.nodes.items()}
        after = {t.node.address: self.ring.nodes[t.node.address].kept[t.generation] for t in question.plan.targets}
        for mine, other in permutations(now, 2):
            first, second = wave.get(mine, last), wave.get(other, last)
            states = [(now[mine], now[other])]
            states += [(after[mine], now[other])] if mine in after and first <= second else []
            states += [(now[mine], after[other])] if other in after and second <= first else []
            states += [(after[mine], after[other])] if mine in after and other in after else []
            talks = [shown.key.issuer in believed.trust for shown, believed in states]
            if talks[0] and not all(talks):
                broken = Finding(
                    check="trust.states", verdict=Verdict.FAIL, message=f"{other} would refuse {mine}", node=mine
                )
                return Readiness(findings=(broken,))
        return Readiness()

    def served_matrix(self, question: MatrixQuestion) -> Generator[Any, None, Any]:
        yield self.world.between(1, 5)
        rows = []
        for target in question.targets:
            node = self.ring.nodes[target.node.address]
            if node.ssh_until > self.world.now:
                rows.append(
                    MatrixRow(address=node.address, intended=target.leaf_sha256, on_disk="unknown: ssh.lost", served=())
                )
                continue
            on_disk = node.disk_key.leaf if node.in_force else ""
            served = self.look(node, target.vantages)
            rows.append(MatrixRow(address=node.address, intended=target.leaf_sha256, on_disk=on_disk, served=served))
        return MatrixRows(rows=tuple(rows))

    # -- looking at one node

    def look(self, node: Node, peers: tuple[NodeRef, ...]) -> tuple[Served, ...]:
        """A handshake with every listener from the worker and through each peer, whose trust then counts."""
        seen = []
        for vantage in ("worker", *(peer.address for peer in peers)):
            peer = self.ring.nodes.get(vantage)
            for listener in node.listeners:
                if peer is not None and peer.ssh_until > self.world.now:
                    seen.append(Served(listener=listener, vantage=vantage, problem="no way through it"))
                elif not node.up or node.serving is None:
                    seen.append(Served(listener=listener, vantage=vantage, problem="connection refused"))
                else:
                    trust = peer.disk_trust if peer else node.disk_trust
                    seen.append(
                        Served(
                            listener=listener,
                            vantage=vantage,
                            leaf_sha256=node.serving.key.leaf,
                            trusted=node.serving.key.issuer in trust,
                            accepted=True,
                        )
                    )
        return tuple(seen)

    def verify_node(self, order: VerifyOrder) -> Generator[Any, None, Any]:
        node = self.ring.nodes[order.order.node.address]
        yield from hosts.reach(self.world, node)
        yield self.world.between(0.3, 3)
        peers = [self.ring.nodes[peer.address] for peer in order.order.target.vantages]
        blind = [peer for peer in peers if peer.ssh_until > self.world.now]
        if blind and self.world.chance(0.7):  # the step's budget has room for another attempt
            raise passing("ssh.circuit-open", "not tried", node=blind[0].address)
        good = node.in_force and node.current == order.generation
        integrity = Finding(
            check="verify.integrity",
            verdict=Verdict.PASS if good else Verdict.FAIL,
            message="files compared",
            node=node.address,
        )
        served = self.look(node, order.order.target.vantages)
        judged = judge_all(served, intended=order.leaf_sha256, node=node.address)
        about = tuple(f for f in ring_findings(self.view(order.order.cluster)) if f.node in ("", node.address))
        findings = (integrity, *judged, *about)
        verdict = worst(findings)
        if verdict in (Verdict.PASS, Verdict.WARN):
            self.on_proof(node, order.generation)
        yield self.world.between(0.05, 0.2)
        return Verification(verdict=verdict, findings=findings, served=served)

    def finding(self, node: Node, check: str, good: bool, message: str) -> Finding:
        return Finding(check=check, verdict=Verdict.PASS if good else Verdict.FAIL, message=message, node=node.address)
