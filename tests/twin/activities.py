"""The activities, by their names in workflows/calls.py, against the simulated ring.

Each is a generator: a yield is a stretch of time, after which the world may be another, or the worker dead. What is
done between two yields is done at once. They look first, act where something is missing, and look again.
"""

from collections.abc import Callable, Generator
from typing import Any

from sealring.cassandra.ring_findings import ring_findings
from sealring.errors import passing, refuse
from sealring.models.cluster import RolloutSettings
from sealring.models.evidence import Finding, Verdict
from sealring.models.rollout import (
    Activated,
    Applied,
    Drained,
    FlipOrder,
    NodeOrder,
    Readiness,
    RestartOrder,
    Transferred,
)
from tests.twin import hosts
from tests.twin.authorities import Authorities
from tests.twin.eyes import LIFE
from tests.twin.ring import Content, Node, Ring

NAMES = (
    *("observe_cluster", "resolve_material", "make_plan", "check_ring", "simulate_trust", "served_matrix"),
    *("resolve_rotation", "observe_barrier"),
    *("validate_node", "backup_node", "transfer_material", "preflight_node"),
    *("activate_generation", "reload_tls", "drain_node", "restart_node", "verify_node", "settle_node", "rollback_node"),
)
"""Those that a rollout calls."""


class Activities(Authorities):
    """All of them."""

    def __init__(
        self,
        ring: Ring,
        settings: RolloutSettings,
        deliveries: dict[str, dict[str, Content]],
        ended: Callable[[str, str], bool],
    ) -> None:
        """`ended` says whether a node's workflow is over, and with it a rollout, by its run id where there is one."""
        super().__init__(ring, settings, deliveries)
        self.ended = ended

    def by_name(self) -> dict[str, Callable[[Any], Generator[Any, None, Any]]]:
        """For the server."""
        return {name: getattr(self, name) for name in NAMES}

    # -- preparation

    def validate_node(self, order: NodeOrder) -> Generator[Any, None, Any]:
        node = self.ring.nodes[order.node.address]
        yield from hosts.reach(self.world, node)
        yield self.world.between(0.2, 2)
        if node.intent is not None and node.intent.rollout != order.rollout:
            run = node.intent.rollout.partition("/")[0]
            ours = run == order.rollout.partition("/")[0]  # of an earlier stage
            if not self.ended("" if ours else run, f"tls-node/{order.cluster}/{node.address}"):
                hosts.guard(node, order.rollout)
            hosts.settle(self.world, node, node.intent.rollout)
        findings = [self.finding(node, "node.service", node.up, "the service runs")]
        for served in self.look(node, order.target.vantages):
            if not served.leaf_sha256:
                peer = self.ring.nodes.get(served.vantage)
                if peer is not None and peer.ssh_until > self.world.now:
                    raise passing("ssh.circuit-open", "not tried", node=peer.address)
                findings.append(self.finding(node, "node.vantage", False, served.problem))
        return Readiness(findings=tuple(findings), current=node.kept[node.current].generation if node.current else None)

    def backup_node(self, order: NodeOrder) -> Generator[Any, None, Any]:
        node = self.ring.nodes[order.node.address]
        yield from hosts.reach(self.world, node)
        hosts.room(node)
        hosts.guard(node, order.rollout)
        if not node.in_force:
            hosts.adopt(node, order.rollout)
        yield self.world.between(0.1, 0.5)
        return Readiness(current=node.disk.generation)

    def transfer_material(self, order: NodeOrder) -> Generator[Any, None, Any]:
        node = self.ring.nodes[order.node.address]
        yield from hosts.reach(self.world, node)
        hosts.guard(node, order.rollout)
        content = hosts.target_content(node, order, self.deliveries)
        skipped = content.id in node.kept
        if not skipped:
            hosts.room(node)
            yield self.world.between(0.1, 4)
            hosts.linked(self.world, node)
            node.kept[content.id] = content
        yield self.world.between(0.02, 0.2)
        return Transferred(generation=content.id, skipped=skipped)

    def preflight_node(self, order: NodeOrder) -> Generator[Any, None, Any]:
        node = self.ring.nodes[order.node.address]
        yield from hosts.reach(self.world, node)
        yield self.world.between(0.2, 2)
        there = order.target.generation in node.kept
        findings = [self.finding(node, "node.staged", there, "the generation is on the disk")]
        if there:
            mine = node.kept[order.target.generation]
            early = self.world.time(self.world.now + node.skew) < mine.key.not_after - LIFE
            findings.append(self.finding(node, "material.not-yet-valid", not early, "the node's clock is compared"))
            for peer in self.ring.nodes.values():
                if peer is not node:
                    findings.append(
                        self.finding(node, "material.trusted-by-peers", self._fits(mine, peer, order), peer.address)
                    )
        return Readiness(findings=tuple(findings))

    def _fits(self, mine: Content, peer: Node, order: NodeOrder) -> bool:
        """Whether the node could talk to a peer by what is on its disk, and will be, in both directions."""
        states = [peer.disk]
        if order.material is not None and "/" not in order.rollout:  # of a rotation, others will take stages too
            states.append(self.deliveries[order.material.path][peer.address])
        return all(mine.key.issuer in other.trust and other.key.issuer in mine.trust for other in states)

    # -- activation

    def activate_generation(self, order: FlipOrder) -> Generator[Any, None, Any]:
        node = self.ring.nodes[order.order.node.address]
        yield from hosts.reach(self.world, node)
        answer: Activated = yield from hosts.flip(self.world, node, order.generation, order.order.rollout)
        yield self.world.between(0.05, 0.3)
        return answer

    def rollback_node(self, order: FlipOrder) -> Generator[Any, None, Any]:
        node = self.ring.nodes[order.order.node.address]
        yield from hosts.reach(self.world, node)
        kept = node.kept.get(order.generation)
        if kept is not None and kept.key.not_after <= self.world.time():
            raise refuse("rollback.expired", "the generation before expired", "deploy new material", node=node.address)
        answer: Activated = yield from hosts.flip(self.world, node, order.generation, order.order.rollout)
        yield self.world.between(0.05, 0.3)
        return answer

    def reload_tls(self, order: NodeOrder) -> Generator[Any, None, Any]:
        node = self.ring.nodes[order.node.address]
        yield from hosts.reach(self.world, node)
        yield self.world.between(0.5, 5)
        if node.state not in ("up", "drained"):
            raise passing("nodetool.unreachable", "connection refused", node=node.address)
        idle = node.reload == "none" or (node.reload == "by-mtime" and not node.fresh)
        if node.deaf_until > self.world.now:
            idle, node.hand = True, self.world.now  # its report says that it serves what it has not read
        good = idle or self.ring.read(node)
        yield self.world.between(0.05, 0.3)
        verdict = Verdict.PASS if good else self.world.dice.choice((Verdict.FAIL, Verdict.INCONCLUSIVE))
        return Applied(findings=(Finding(check="apply.reload", verdict=verdict, message="the log", node=node.address),))

    def drain_node(self, order: NodeOrder) -> Generator[Any, None, Any]:
        node = self.ring.nodes[order.node.address]
        yield from hosts.reach(self.world, node)
        if node.state == "down":
            return Drained(started_at="")
        started = str(node.started)
        if node.state == "up":
            self.ring.on_taking(node)
            self.ring.out(node, "us", "drained")
        yield self.world.between(1, 30)
        return Drained(started_at=started)

    def restart_node(self, order: RestartOrder) -> Generator[Any, None, Any]:
        node = self.ring.nodes[order.order.node.address]
        yield from hosts.reach(self.world, node)
        if str(node.started) == order.started_at or node.state == "down":
            if node.state != "down":
                if node.state == "up":
                    self.ring.on_taking(node)
                self.ring.on_restart(node, order.started_at)
            self.ring.out(node, "us", "stopped")
            self.ring.launch(node)
        begun = self.world.now
        last = ""
        while self.world.now < begun + order.order.start_timeout.total_seconds():
            yield 5.0
            hosts.linked(self.world, node)
            if node.state == "down":
                raise hosts.gone_wrong(
                    node, "start.tls" if not node.disk_key.loads else "start.failed", "it does not start"
                )
            last = self._not_joined(node, order) if node.up else "not serving clients"
            if not last:
                return Applied()
        code = "join.timeout" if node.up else "start.timeout"
        raise hosts.gone_wrong(node, code, last)

    def _not_joined(self, node: Node, order: RestartOrder) -> str:
        self.ring.meet()
        peers = [self.ring.nodes[peer.address] for peer in order.order.target.vantages]
        if not all(self.ring.sees(peer, node) for peer in peers if peer.up):
            return "its peers do not see it"
        unseen = [other.address for other in self.ring.nodes.values() if other.up and not self.ring.sees(node, other)]
        return f"it does not see {unseen[0]} up" if unseen else ""

    def settle_node(self, order: NodeOrder) -> Generator[Any, None, Any]:
        node = self.ring.nodes[order.node.address]
        if order.rules.settle:
            yield order.rules.settle.total_seconds()
            about = [f for f in ring_findings(self.view(order.cluster)) if f.node in ("", node.address)]
            bad = tuple(f for f in about if f.verdict is Verdict.FAIL)
            if bad:
                return Readiness(findings=bad)
        yield from hosts.reach(self.world, node)
        hosts.settle(self.world, node, order.rollout)
        yield self.world.between(0.05, 0.3)
        return Readiness()
