"""What must hold: at every instant, at rest, and between what the report says and what is true."""

from dataclasses import dataclass, field
from datetime import timedelta

from sealring.models.rollout import ENDINGS, NodeOutcome, NodeState, Phase, RolloutReport
from tests.twin.ring import Content, Node, Ring
from tests.twin.server import Server

LONGEST = timedelta(days=7).total_seconds()
"""A rollout of these rings is over by then: what it waits for longest is COMPENSATE, twelve hours a node."""

STALE = 900.0
"""Seconds: a gate whose look is older than the node's workflow by more than this is no gate."""


@dataclass
class Watch:
    """Looks at everything that happens to the ring."""

    ring: Ring
    server: Server
    looked: float = -1e9  # the last look of a gate
    late: int = 0  # replicas taken though another had died since the gate looked: nobody could know at the gate
    away: set[str] = field(default_factory=set)  # not well when the rollout began
    hand_made: set[str] = field(default_factory=set)  # whose stores somebody put there by hand
    waived: frozenset[str] = frozenset()  # keyspaces that may become unavailable

    def __post_init__(self) -> None:
        self.ring.on_taking = self.taking
        self.ring.on_serving = self.serving
        self.ring.on_restart = self.restart
        for node in self.ring.nodes.values():
            node.written = self.written

    def look(self) -> None:
        """A gate looked at the ring."""
        self.looked = self.ring.world.now

    # -- at every instant

    def taking(self, node: Node) -> None:
        """We are about to take a replica away: is one too many gone, and could our gate know?"""
        world = self.ring.world
        known = max(self.looked, self._child_started(node) - STALE)
        for need in self.ring.needs_of[node.address]:
            live = self.ring.live(need) - {node.address}
            if len(live) >= need.required or need.keyspace in self.waived:
                continue
            if len(need.replicas) == need.required:
                world.violate(f"quorum: {node.address} is taken, and {need.keyspace} can lose no replica at all")
                return
            others = [self.ring.nodes[a] for a in sorted(need.replicas - live - {node.address})]
            ours = [other.address for other in others if other.out_by == "us"]
            old = [other.address for other in others if other.out_by != "us" and other.out_since < known]
            if ours or old:
                world.violate(
                    f"quorum: {node.address} is taken while {', '.join(ours + old)} is away: {need.keyspace} needs "
                    f"{need.required} of {', '.join(sorted(need.replicas))}"
                )
            else:
                self.late += 1
                dead = ", ".join(other.address for other in others)
                world.tell(
                    f"late: {node.address} is taken, {dead} died after the look {world.now - self.looked:.0f} s ago"
                )
            return

    def _child_started(self, node: Node) -> float:
        run = next(
            (r for i, r in self.server.open.items() if i.startswith("tls-node/") and i.endswith(f"/{node.address}")),
            None,
        )
        return run.started if run else self.ring.world.now

    def serving(self, node: Node) -> None:
        """A process has read its stores: can every two processes still open a new connection?"""
        if node.address in self.hand_made or node.serving is None:
            return
        for other in self.ring.nodes.values():
            if other is node or other.address in self.hand_made or other.serving is None:
                continue
            if not self.ring.trust_each_other(node, other):
                pair = " and ".join(
                    f"{n.address} ({n.serving.key.issuer}, trusts {', '.join(n.serving.trust)})"
                    for n in (node, other)
                    if n.serving
                )
                self.ring.world.violate(f"trust: {pair} can open no new connection")
                return

    def written(self, node: Node, before: tuple[str, ...]) -> None:
        """We changed files in force, which an idle process may read by itself: do nodes that are down fit too?

        No leaf is on a disk before every other node trusts its issuer, and no authority leaves one while another node
        presents its leaves, or while a client that is known needs it.
        """
        for other in self.ring.nodes.values():
            if other is node or {other.address, node.address} & self.hand_made:
                continue
            for mine, theirs in ((node, other), (other, node)):
                strangers = _shown(mine) - _accepted(theirs)
                if strangers:
                    self.ring.world.violate(
                        f"trust: {mine.address} may present a leaf of {', '.join(sorted(strangers))}, which "
                        f"{theirs.address} may not trust; written was {node.address}"
                    )
                    return
        cut_off = (set(before) - set(node.disk_trust)) & self.ring.clients
        if cut_off and "new" in node.disk_trust:  # the way back from it cuts off nobody who came before it
            self.ring.world.violate(f"client: {node.address} drops {', '.join(sorted(cut_off))}, which a client needs")

    def restart(self, node: Node, asked: str) -> None:
        """A running process is about to be replaced: only the one that was meant."""
        if str(node.started) != asked:
            self.ring.world.violate(f"restart: {node.address} runs start {node.started}, meant was {asked}")

    # -- at the end

    def begin(self) -> None:
        """A rollout begins: what is broken already is not its doing."""
        self.away = {
            address
            for address, node in self.ring.nodes.items()
            if not node.up or node.serving != node.disk or address in self.hand_made
        }

    def rest(self, report: RolloutReport | None, begun: float, gone: str) -> None:
        """The rollout is over: it says how and why, and the ring is what it says."""
        world = self.ring.world
        if report is None:
            world.violate(f"ending: no report, {gone}")
            return
        if report.outcome not in ENDINGS:
            world.violate(f"ending: {report.outcome} is no ending")
        if report.outcome is not Phase.DONE and report.problem is None:
            world.violate(f"ending: {report.outcome} without a reason")
        if world.now - begun > LONGEST:
            world.violate(f"ending: after {(world.now - begun) / 86400:.1f} days")
        if any(i.startswith("tls-") for i in self.server.open):
            world.violate(f"ending: {', '.join(self.server.open)} still open")
        outcomes = {outcome.address: outcome for outcome in report.nodes}
        targets = {t.node.address: t for t in report.plan.targets} if report.plan else {}
        for node in self.ring.nodes.values():
            outcome = outcomes.get(node.address)
            target = targets.get(node.address)
            if node.hand < begun and node.address not in self.away:
                wanted = target.generation if target else ""
                if report.goal == "rotate-ca":  # a target is of the last stage, which it may not have come to
                    wanted = outcome.generation if outcome else ""
                self._one(node, outcome, wanted, report)
        if report.outcome is Phase.DONE and not self._finished(report):
            world.violate("report: Done, but not every node is")

    def rotated(self, begun: float, delivered: dict[str, Content], *, keeps: bool) -> None:
        """A rotation is Done: every node has the delivery, or with `keep` its leaf and both authorities."""
        for node in self.ring.nodes.values():
            if node.hand >= begun or node.address in self.away:
                continue
            wanted = delivered[node.address]
            trusted = set(node.disk_trust) >= set(wanted.trust) if keeps else node.disk_trust == wanted.trust
            if node.disk_key != wanted.key or not trusted:
                self.ring.world.violate(f"report: Done, but {node.address} has {node.disk}")

    def _finished(self, report: RolloutReport) -> bool:
        budget = report.plan.rules.failure_budget if report.plan else 0
        good = {NodeState.SERVING, NodeState.UNCHANGED}
        bad = [o for o in report.nodes if o.state not in good]
        return len(bad) <= budget or report.plan is None or report.plan.rules.on_failure == "ask"

    def _one(self, node: Node, outcome: NodeOutcome | None, wanted: str, report: RolloutReport) -> None:
        world, state = self.ring.world, outcome.state if outcome else None
        serves = node.serving.id if node.serving and node.state in ("up", "drained") else ""
        if state is NodeState.BROKEN:
            if outcome is not None and outcome.problem is None:
                world.violate(f"report: {node.address} is broken without a reason")
            return
        if state in (NodeState.SERVING, NodeState.UNCHANGED) and wanted and serves != wanted:
            world.violate(f"report: {node.address} is {state}, it serves {serves[:8] or 'nothing'}, not {wanted[:8]}")
        if state is NodeState.ROLLED_BACK and outcome is not None and serves != outcome.generation:
            world.violate(f"report: {node.address} is rolled back, it serves {serves[:8] or 'nothing'}")
        if state is NodeState.UNTOUCHED and wanted and node.current == wanted and node.intent is not None:
            world.violate(f"report: {node.address} is untouched, {wanted[:8]} is in force")
        if node.current and not node.in_force:
            world.violate(f"rest: the files in force of {node.address} are no generation")
        if serves != node.disk.id:
            world.violate(
                f"rest: {node.address} ({state}) serves {serves[:8] or 'nothing'}, on its disk is {node.disk.id[:8]}"
            )
        if node.intent is not None:
            world.tell(f"intent left on {node.address} ({state})")


def _shown(node: Node) -> set[str]:
    """Issuers of the leaves that a node presents, or does when it looks at its files again."""
    return {node.disk_key.issuer} | ({node.serving.key.issuer} if node.serving else set())


def _accepted(node: Node) -> set[str]:
    """Authorities that it trusts, and will when it looks at its files again."""
    return set(node.disk_trust) & set(node.serving.trust if node.serving else node.disk_trust)
