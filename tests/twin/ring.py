"""Simulated Cassandra: hosts with generations on their disks, processes that serve what they read when they last read.

Source of the rules: cassandra.md 1.3 (a reload reads the stores again for new connections only; what cannot be read
leaves the old context in use; the files are looked at every ten minutes anyway) and 1.6 (replicas, racks).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from sealring.models.cluster import Listener, NodeRef
from sealring.models.node import Change, Generation
from sealring.models.topology import Keyspace
from tests.twin.world import World

POLL = 600.0  # seconds: SSLFactory looks whether files have changed


@dataclass(frozen=True)
class Key:
    """What a keystore holds."""

    leaf: str
    issuer: str
    not_after: datetime
    loads: bool = True  # whether Cassandra can open it


@dataclass(frozen=True)
class Content:
    """One node's material: a keystore and a truststore."""

    key: Key
    trust: tuple[str, ...]  # sorted

    @property
    def id(self) -> str:
        """Content-addressed, as generations are."""
        return digest(f"{self.key}{self.trust}")

    @property
    def generation(self) -> Generation:
        """Its public part."""
        return Generation(
            id=self.id, leaf_sha256=self.key.leaf, not_after=self.key.not_after, trust=tuple(map(digest, self.trust))
        )


@dataclass(eq=False)
class Intent:
    """intent.json."""

    rollout: str
    to: str
    before: str
    previous: str


@dataclass(eq=False)
class Node:
    """A host and the Cassandra on it."""

    ref: NodeRef
    tokens: tuple[int, ...]
    reload: str  # as NodeView.reload
    slots: bool
    disk_key: Key
    disk_trust: tuple[str, ...]
    version: str
    restart_seconds: float
    kept: dict[str, Content] = field(default_factory=dict)
    adopted: set[str] = field(default_factory=set)  # of these, what was found there
    current: str = ""
    previous: str = ""
    intent: Intent | None = None
    last: Change | None = None
    state: str = "up"  # up, starting, drained, down
    normal: bool = True
    serving: Content | None = None  # what the process has read
    started: int = 1  # which start this is
    fresh: bool = False  # files were changed since the process read them
    out_by: str = ""  # us or fault, while it is out
    out_since: float = 0.0
    ssh_until: float = 0.0  # no SSH before
    deaf_until: float = 0.0  # a reload before says that all is well, and does nothing
    skew: float = 0.0
    disk_full: bool = False
    crash: bool = False  # its next start fails
    locked: bool = False  # a script of ours is at work
    slow: float = 1.0
    hand: float = -1.0  # when somebody changed it by hand or it was killed, the last time
    written: Callable[["Node", tuple[str, ...]], None] = lambda node, before: None  # we wrote; trusted before

    @property
    def address(self) -> str:
        return self.ref.address

    @property
    def disk(self) -> Content:
        """What the files in force hold."""
        return Content(self.disk_key, self.disk_trust)

    def write(self, *, key: Key | None = None, trust: tuple[str, ...] | None = None) -> None:
        """Put files in force."""
        before = self.disk_trust
        self.disk_key, self.disk_trust = key or self.disk_key, trust if trust is not None else before
        self.written(self, before)

    @property
    def in_force(self) -> bool:
        """Whether the files in force are those of `current`."""
        return bool(self.current) and self.disk.id == self.current

    @property
    def up(self) -> bool:
        return self.state == "up"

    @property
    def listeners(self) -> tuple[Listener, ...]:
        return (
            Listener(kind="internode", address=self.ref.internode_address, port=7000),
            Listener(kind="native", address=self.address, port=9042),
        )


@dataclass(frozen=True)
class Need:
    """A set of replicas of some range, and how many of them must be up."""

    keyspace: str
    replicas: frozenset[str]
    required: int


class Ring:
    """Nodes, the connections between them, and who must be told what happens."""

    def __init__(
        self, world: World, nodes: Iterable[Node], needs: Iterable[Need], keyspaces: tuple[Keyspace, ...]
    ) -> None:
        self.world = world
        self.nodes = {node.address: node for node in nodes}
        self.needs = tuple(needs)
        self.keyspaces = keyspaces
        self.needs_of = {a: tuple(need for need in self.needs if a in need.replicas) for a in self.nodes}
        self.connected: set[frozenset[str]] = set()
        self.cut: dict[frozenset[str], float] = {}  # links that are down, until when
        self.schemas = 1
        self.clients: set[str] = set()  # authorities that a client needs, whose certificate is known
        self.on_taking: Callable[[Node], None] = lambda node: None
        self.on_serving: Callable[[Node], None] = lambda node: None
        self.on_restart: Callable[[Node, str], None] = lambda node, asked: None
        for node in self.nodes.values():
            node.serving = node.disk
        self.meet()
        for node in self.nodes.values():
            world.after(world.between(0, POLL), lambda node=node: self._poll(node))  # type: ignore[misc]

    # -- processes

    def out(self, node: Node, by: str, state: str) -> None:
        """A node serves no more."""
        if node.state == "up" or (by == "us" and node.out_by == ""):
            node.out_by, node.out_since = by, self.world.now
        elif by == "fault":
            node.out_by = "fault"
        self.world.tell(f"node {node.address} {state} by {by}")
        node.state = state
        self.connected = {pair for pair in self.connected if node.address not in pair}

    def launch(self, node: Node) -> None:
        """Start the process: it reads its stores, then needs its time."""
        node.started += 1
        node.fresh = False
        if node.crash or not node.disk_key.loads:
            node.state, node.serving = "down", None
            self.world.tell(f"node {node.address} does not start")
            return
        node.state, node.serving = "starting", node.disk
        this = node.started
        self.world.after(node.restart_seconds * node.slow, lambda: self._ready(node, this))

    def _ready(self, node: Node, start: int) -> None:
        if node.state == "starting" and node.started == start:
            node.state, node.out_by = "up", ""
            self.world.tell(f"node {node.address} is back")
            self.on_serving(node)
            self.meet()

    def read(self, node: Node) -> bool:
        """The process reads its stores again; false when it cannot, and keeps what it had."""
        node.fresh = False
        if not node.disk_key.loads:
            return False
        if node.serving != node.disk:
            node.serving = node.disk
            self.world.tell(f"node {node.address} serves {node.disk.id[:8]}")
            self.on_serving(node)
        return True

    def _poll(self, node: Node) -> None:
        if node.up and node.fresh and node.reload != "none":
            self.world.tell(f"node {node.address} polls its files")
            self.read(node)
        self.world.after(POLL, lambda: self._poll(node))

    # -- who talks to whom

    def trust_each_other(self, a: Node, b: Node) -> bool:
        """Whether a new connection between two processes comes about: each shows a certificate to the other."""
        return (
            a.serving is not None
            and b.serving is not None
            and a.serving.key.issuer in b.serving.trust
            and b.serving.key.issuer in a.serving.trust
        )

    def meet(self) -> None:
        """Nodes that are up and not connected try again."""
        up = [node for node in self.nodes.values() if node.up]
        for i, a in enumerate(up):
            for b in up[i + 1 :]:
                pair = frozenset((a.address, b.address))
                if pair not in self.connected and not self.is_cut(pair) and self.trust_each_other(a, b):
                    self.connected.add(pair)

    def is_cut(self, pair: frozenset[str]) -> bool:
        """Whether the link is down now."""
        return self.cut.get(pair, 0.0) > self.world.now

    def sees(self, a: Node, b: Node) -> bool:
        """Whether one node sees another up."""
        return a is b or frozenset((a.address, b.address)) in self.connected

    def live(self, need: Need) -> frozenset[str]:
        """Of the replicas, those that serve."""
        return frozenset(a for a in need.replicas if self.nodes[a].up)


def digest(text: str) -> str:
    """A made-up SHA-256."""
    return sha256(text.encode()).hexdigest()
