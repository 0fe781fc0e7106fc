"""What goes wrong: drawn from the seed, at times and places it decides."""

from collections.abc import Callable

from tests.twin.invariants import Watch
from tests.twin.ring import Node, Ring
from tests.twin.server import Server
from tests.twin.world import World

STEPS = (
    *("check_ring", "backup_node", "transfer_material", "activate_generation", "reload_tls", "rollback_node"),
    *("drain_node", "restart_node", "verify_node", "settle_node", "served_matrix"),
    *("drain_node", "restart_node", "verify_node"),
)
"""Where faults lurk; what is named twice is met twice as often."""

ROTATING = (*STEPS, *("observe_barrier",) * 8, "resolve_rotation", "simulate_trust")
"""Where they lurk in a CA rotation: between its stages above all."""


class Mess:
    """Faults for one rollout. Every one is over after some hours at most."""

    def __init__(self, world: World, ring: Ring, server: Server, watch: Watch) -> None:
        self.world, self.ring, self.server, self.watch = world, ring, server, watch
        self.done: list[str] = []
        self.lurking: list[str] = []  # faults that wait for a step
        self.victim = ""
        self.over = False  # nothing more goes wrong
        self.steps: tuple[str, ...] = STEPS
        self.witness: Callable[[str], None] = lambda step: None  # hears of every attempt too
        self.kinds: tuple[Callable[[], None], ...] = (
            self.node_dies, self.node_flaps, self.ssh_lost, self.slow_restarts, self.wrong_store, self.clock_skew,
            self.deploy_worker_dies, self.deploy_worker_freezes, self.control_worker_dies, self.topology_change,
            self.link_lost, self.disk_full, self.start_fails, self.schemas_differ, self.reload_by_hand,
            self.deploy_worker_dies, self.control_worker_dies, self.ssh_lost, self.temporal_away, self.node_terminated,
            self.reload_ignored,
        )  # fmt: skip

    def plan(self, number: int, within: float) -> None:
        """So many faults: some in the next seconds, most when a step begins, often on the node that it is about."""
        self.server.on_attempt = self._begins
        for _ in range(number):
            if self.world.chance(0.3):
                self.world.after(self.world.between(0, within), self._strike)
            else:
                self.lurking.append(self.world.dice.choice(self.steps))

    def _begins(self, step: str, owner: str) -> None:
        self.witness(step)
        if step in self.lurking and self.world.chance(0.4):
            self.lurking.remove(step)
            address = owner.rsplit("/", 1)[1]

            def strike() -> None:
                self.victim = address if address in self.ring.nodes and self.world.chance(0.5) else ""
                self._strike()
                self.victim = ""

            self.world.after(self.world.dice.choice((0.0, 0.3, 3.0)) * self.world.between(0, 2), strike)

    def _node(self) -> Node:
        if self.victim:
            return self.ring.nodes[self.victim]
        return self.ring.nodes[self.world.dice.choice(list(self.ring.nodes))]

    def _strike(self) -> None:
        if self.over:
            return
        fault = self.world.dice.choice(self.kinds)
        self.done.append(fault.__name__)
        self.world.tell(f"fault {fault.__name__}")
        fault()

    def _for(self, low: float, high: float, heal: Callable[[], None]) -> None:
        self.world.after(self.world.between(low, high), heal)

    # -- nodes

    def node_dies(self) -> None:
        node = self._node()
        self._kill(node, self.world.dice.choice((60.0, 600.0, 3600.0)))

    def _kill(self, node: Node, seconds: float) -> None:
        if self.over:
            return
        node.hand = self.world.now
        self.ring.out(node, "fault", "down")
        node.serving = None
        this = node.started

        def heal() -> None:
            if node.state == "down" and node.started == this:
                self.ring.launch(node)

        self._for(seconds / 2, seconds, heal)

    def node_flaps(self) -> None:
        node = self._node()
        node.slow = 0.5
        for i in range(3):
            self.world.after(i * self.world.between(40, 120), lambda: self._kill(node, 20.0))

    def slow_restarts(self) -> None:
        for node in self.ring.nodes.values():
            node.slow = self.world.dice.choice((3.0, 30.0))
        self._for(600, 7200, self._fast_again)

    def _fast_again(self) -> None:
        for node in self.ring.nodes.values():
            node.slow = 1.0

    def start_fails(self) -> None:
        node = self._node()
        node.crash = True
        node.hand = self.world.now

        def heal() -> None:
            node.crash = False
            if node.state == "down":
                self.ring.launch(node)

        self._for(60, 3600, heal)

    def wrong_store(self) -> None:
        """Somebody copies another node's keystore over the one in force."""
        node, other = self._node(), self._node()
        if node is not other:
            node.hand = self.world.now
            self.watch.hand_made.add(node.address)
            node.disk_key = other.disk_key
            node.fresh = True

    def reload_by_hand(self) -> None:
        node = self._node()
        if node.up and node.reload != "none":
            self.ring.read(node)

    def reload_ignored(self) -> None:
        """A reload answers that all is well, and the process goes on with what it read before. Its next poll reads."""
        self._node().deaf_until = self.world.now + self.world.dice.choice((60.0, 600.0, 1800.0))

    def clock_skew(self) -> None:
        self._node().skew = self.world.dice.choice((-7200.0, 7200.0, -86400.0 * 100))

    def topology_change(self) -> None:
        """A node begins to move, or to leave and then stays."""
        node = self._node()
        node.normal = False

        def heal() -> None:
            node.normal = True

        self._for(30, 3600, heal)

    def schemas_differ(self) -> None:
        self.ring.schemas = 2

        def heal() -> None:
            self.ring.schemas = 1

        self._for(5, 900, heal)

    def disk_full(self) -> None:
        node = self._node()
        node.disk_full = True

        def heal() -> None:
            node.disk_full = False

        self._for(60, 3600, heal)

    # -- links and workers

    def ssh_lost(self) -> None:
        node = self._node()
        node.ssh_until = self.world.now + self.world.dice.choice((10.0, 100.0, 1000.0, 5000.0))

    def link_lost(self) -> None:
        a, b = self._node(), self._node()
        if a is not b:
            pair = frozenset((a.address, b.address))
            self.ring.cut[pair] = self.world.now + self.world.between(5, 600)
            self.ring.connected.discard(pair)
            a.hand = b.hand = self.world.now

    def deploy_worker_dies(self) -> None:
        self.server.kill_deploy(self.world.dice.choice((1.0, 20.0, 300.0)), frozen=False)

    def deploy_worker_freezes(self) -> None:
        self.server.kill_deploy(self.world.dice.choice((30.0, 90.0, 400.0)), frozen=True)

    def temporal_away(self) -> None:
        self.server.lose(self.world.dice.choice((5.0, 90.0, 900.0)))

    def control_worker_dies(self) -> None:
        self.server.kill_control(self.world.dice.choice((0.5, 20.0, 300.0)))

    def node_terminated(self) -> None:
        """Somebody presses Terminate on a node's workflow."""
        children = [run for name, run in self.server.open.items() if name.startswith(("tls-node/", "tls-prepare/"))]
        if children and self.world.chance(0.3):
            run = self.world.dice.choice(children)
            self.world.tell(f"terminate {run}")
            self.ring.nodes[run.workflow_id.rsplit("/", 1)[1]].hand = self.world.now
            self.server.terminate(run)
