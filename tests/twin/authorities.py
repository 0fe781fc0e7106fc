"""What a CA rotation looks at: a delivery beside what is in force, and between two stages every node of the ring.

Worked out on names of authorities, by the promises of `activities/rotation.py` and `activities/barrier.py`: files are
read over SSH, new connections reach what the process has read.
"""

from collections.abc import Generator, Iterator
from typing import Any

from sealring.cassandra.ring_findings import ring_findings
from sealring.cassandra.vantages import judge_all
from sealring.models.evidence import Finding, Verdict
from sealring.models.material import NodeRotation, RotationMaterial
from sealring.models.rollout import BarrierQuestion, MaterialQuestion, Readiness
from sealring.planning.plan import vantages
from tests.twin import hosts
from tests.twin.eyes import Eyes
from tests.twin.ring import Content, Node


class Authorities(Eyes):
    """The two activities that only a rotation has."""

    def resolve_rotation(self, question: MaterialQuestion) -> Generator[Any, None, Any]:
        yield self.world.between(0.5, 4)
        delivered = self.deliveries[question.ref.path]
        wanted = [n for a, n in self.ring.nodes.items() if not question.nodes or a in question.nodes]
        rows = []
        for node in wanted:
            hosts.linked(self.world, node)
            trust, identity, final = (
                hosts.combined(take, delivered[node.address], node.disk) for take in ("trust", "identity", "all")
            )
            rows.append(
                NodeRotation(
                    address=node.address,
                    trust=trust.id,
                    identity=identity.id,
                    final=final.id,
                    leaf_now=node.disk_key.leaf,
                    leaf_new=final.key.leaf,
                )
            )
        shown = {node.disk_key.issuer for node in wanted}
        coming = {delivered[node.address].key.issuer for node in wanted}
        trusted = [set(node.disk_trust) for node in wanted]
        kept = [set(delivered[node.address].trust) for node in wanted]
        left_out = set().union(*trusted) - set().union(*kept)
        return RotationMaterial(
            ref=question.ref,
            nodes=tuple(rows),
            adds=any(coming - trust for trust in trusted),
            drops=bool(left_out) or any(shown - trust for trust in kept),
            authorities=tuple(sorted(left_out)),
        )

    def observe_barrier(self, question: BarrierQuestion) -> Generator[Any, None, Any]:
        yield self.world.between(1, 4)
        findings = list(ring_findings(self.view(question.cluster)))
        yield self.world.between(1, 5)
        away = [node for node in self.ring.nodes.values() if node.ssh_until > self.world.now]
        seen = [node for node in self.ring.nodes.values() if node not in away]
        findings += [_found("barrier.unread", Verdict.INCONCLUSIVE, node, "no way to it") for node in away]
        delivered = self.deliveries[question.material.path]
        for target in question.targets:
            node = self.ring.nodes[target.node.address]
            if node in seen and not (node.in_force and node.current == target.generation):
                findings.append(_found("barrier.generation", Verdict.FAIL, node, "another one is in force"))
        findings += self._paths(seen, delivered, question.before)
        yield self.world.between(1, 5)
        for node in seen:
            findings += self._connections(node, seen, delivered, question.before)
        told = (f for f in findings if f.verdict is not Verdict.PASS or f.check.startswith("barrier."))
        return Readiness(findings=tuple(told))

    def _paths(self, seen: list[Node], delivered: dict[str, Content], before: str) -> Iterator[Finding]:
        """Would each trust in force accept each leaf, in force and to come? And each trust to come, each of now?"""
        now = {node.disk_key.issuer for node in seen}
        coming = {delivered[node.address].key.issuer for node in seen}
        for node in seen:
            if (now | coming) - set(node.disk_trust):
                yield _found("barrier.not-trusted", Verdict.FAIL, node, "it would refuse a peer")
            if before == "drop" and now - set(delivered[node.address].trust):
                yield _found("barrier.old-presented", Verdict.FAIL, node, "what is shown needs what it will not trust")
            if before == "drop" and self.ring.clients - set(delivered[node.address].trust):
                yield _found("barrier.client-needs-old", Verdict.FAIL, node, "a client needs the old authority")

    def _connections(
        self, node: Node, seen: list[Node], delivered: dict[str, Content], before: str
    ) -> Iterator[Finding]:
        """New connections to a node from the worker and through peers, which show their own certificates to it."""
        peers = vantages(node.ref, tuple(n.ref for n in self.ring.nodes.values()), self.settings.vantages)
        served = self.look(node, peers)
        yield from judge_all(served, intended=node.disk_key.leaf, node=node.address)
        for peer in (self.ring.nodes[ref.address] for ref in peers):
            if peer not in seen:
                continue
            shown = {peer.disk_key.issuer}
            if before == "identity":
                shown.add(delivered[peer.address].key.issuer)
            if not node.up or node.serving is None or peer.ssh_until > self.world.now:
                yield _found("barrier.handshake", Verdict.INCONCLUSIVE, node, f"no answer to {peer.address}")
            elif shown - set(node.serving.trust) or node.serving.key.issuer not in peer.disk_trust:
                yield _found("barrier.handshake", Verdict.FAIL, node, f"it and {peer.address} refuse each other")


def _found(check: str, verdict: Verdict, node: Node, message: str) -> Finding:
    return Finding(check=check, verdict=verdict, message=message, node=node.address)
