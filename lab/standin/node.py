"""One node: its configuration, its listeners, its log, and what nodetool does to it."""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import yaml

from lab.authority import LOOPBACK
from lab.spec import NodeSpec
from lab.standin.cql import CqlServer
from lab.standin.frames import Row
from lab.standin.stores import BLOCKS, Block, Files, Served, StoreError, trusts
from lab.standin.tls import TlsServer

EXIT_BAD_START = 3  # CassandraDaemon.exitOrFail
VERSION = "5.0.9"
RELOADED = "SSL certificates have been updated. Resetting the ssl contexts for new connections."
NOT_RELOADED = "Failed to hot reload the SSL Certificates! Please check the certificate files."
_BACKLOG = 128
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class StartError(Exception):
    """The node cannot start, and has logged why."""


class Node:
    """A node of the ring. Its process, as far as there is one, is `lab.standin.process`'s affair.

    Args:
        spec: where it lives.
        cluster: every node of the ring by internode address, this one too.
        trusted: verdicts on certificates that the nodes of a ring share, see `_accepts`.
    """

    def __init__(
        self, spec: NodeSpec, cluster: Mapping[str, "Node"], trusted: dict[tuple[str, str, str], bool]
    ) -> None:
        self.spec, self.cluster = spec, cluster
        self.host_id = str(uuid5(NAMESPACE_URL, f"{spec.home}"))
        self.settings: dict[str, Any] = {}
        self.running = self.serving = False  # a drained node runs and does not serve
        self.shut_down = False  # it told the others that it goes
        self.generation = 0  # seconds since 1970, as gossip has it; 0: never started
        self.connections: dict[str, set[TlsServer]] = {kind: set() for kind in BLOCKS}
        self.links: list[tuple[float, Served]] = []  # what peers are shown, since when; since this start
        self.version = VERSION
        self._trusted = trusted
        self._kept: dict[str, Row] = {}
        self._blocks: dict[str, Block] = {}
        self._files = Files()
        self._in_use: dict[str, Served] = {}
        self._servers: list[asyncio.Server] = []
        self._started = self._stopped = 0.0

    @property
    def token(self) -> str:
        """Its one token."""
        return str(self.settings.get("initial_token", "0"))

    @property
    def heartbeat(self) -> int:
        """Gossip's counter: one a second while the node runs."""
        return 1 + int((time.monotonic() if self.serving else self._stopped) - self._started)

    async def start(self) -> None:
        """Read configuration and stores, and listen.

        Raises:
            StartError: it cannot; system.log says why, in Cassandra's words.
        """
        path = self.spec.conf / "cassandra.yaml"
        self.log("INFO", "YamlConfigurationLoader.java:103", f"Configuration location: file:{path}")
        self.log("INFO", "lab.standin", "This is no Cassandra, but the lab's stand-in for one")
        try:
            self.settings = yaml.load(path.read_text(), Loader=_LOADER)  # noqa: S506  a safe loader
            self._blocks = {kind: Block.of(self.settings[name]) for kind, name in BLOCKS.items()}
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
            # The text of a YAML error quotes the file, which holds passwords.
            trace = f"org.apache.cassandra.exceptions.ConfigurationException: Invalid yaml ({type(error).__name__})"
            raise self._refused(trace) from None
        try:
            served = {kind: self._files.load(block) for kind, block in self._blocks.items()}
        except StoreError as error:
            trace = f"org.apache.cassandra.exceptions.ConfigurationException: Failed to initialize SSL\n{error}"
            raise self._refused(trace) from None
        # Peers connect at once; what clients get is read anew when the first of them comes (SSLFactory caches lazily).
        self._in_use = {"internode": served["internode"]}
        self._kept.clear()
        await self._listen()
        self.generation = max(int(time.time()), self.generation + 1)
        self._started = time.monotonic()
        self.running = self.serving = True
        self.shut_down = False
        self.links.clear()
        self._show(served["internode"])
        self.log("INFO", "StorageService.java:3320", f"Node /{self._internode()} state jump to NORMAL")
        self.log(
            *("INFO", "PipelineConfigurator.java:148"),
            f"Starting listening for CQL clients on /{self.spec.address}:{self._port('native')} (encrypted)...",
        )

    def drain(self) -> None:
        """Serve nobody any more; the process lives on."""
        if self.serving:
            self.log("INFO", "Gossiper.java:2289", "Announcing shutdown")
            self.shut_down = True
            self.hang_up()
        self.log("INFO", "StorageService.java:1651", "DRAINED")

    def stop(self) -> None:
        """An orderly end."""
        self.drain()
        self.running = False

    def kill(self) -> None:
        """The end of a process that was killed."""
        self.hang_up()
        self.running = False

    def hang_up(self) -> None:
        """Listen no more, and end every connection."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for connections in self.connections.values():
            for connection in list(connections):
                connection.abort()
        if self.serving:
            self._stopped = time.monotonic()
            self.serving = False

    def reload(self) -> None:
        """`nodetool reloadssl`: read the stores that are in use again, for new connections; keep the old if that fails.

        Source: SSLFactory.forceCheckCertFiles of 5.0; it reports failures to the log alone.
        """
        try:
            fresh = {kind: self._files.load(self._blocks[kind]) for kind in self._in_use}
        except StoreError as error:
            self.log("ERROR", "SSLFactory.java:254", NOT_RELOADED, f"java.io.IOException: cannot load\n{error}")
            return
        self._in_use = fresh
        self._show(fresh["internode"])
        self.log("INFO", "SSLFactory.java:250", RELOADED)

    def served(self, kind: str) -> Served:
        """What a new connection is shown; read from the files when it is the first.

        Raises:
            StoreError: they cannot be read now.
        """
        if kind not in self._in_use:
            try:
                self._in_use[kind] = self._files.load(self._blocks[kind])
            except StoreError as error:
                self.log("ERROR", "SSLFactory.java:180", "Failed to create SSL context", str(error))
                raise
        return self._in_use[kind]

    def sees(self, other: "Node") -> bool:
        """Whether this node is connected to another: both serve, and since both run there was a moment of mutual trust.

        A node tries again and again to connect; what stands is not ended by a reload.
        """
        if other is self:
            return self.serving
        if not (self.serving and other.serving):
            return False
        since = max(self.links[0][0], other.links[0][0])
        moments = {since, *(at for at, _ in (*self.links, *other.links) if at > since)}
        return any(self._agree(other, moment) for moment in sorted(moments, reverse=True))

    def kept(self, name: str, make: Callable[["Node"], Row]) -> Row:
        """What `make` says about this node; asked once a start."""
        if name not in self._kept:
            self._kept[name] = make(self)
        return self._kept[name]

    def clients(self) -> list[dict[str, Any]]:
        """The clients that are connected, as `system_views.clients` names things."""
        return [client.facts() for client in self.connections["native"] if isinstance(client, CqlServer)]

    def log(self, level: str, source: str, message: str, trace: str = "") -> None:
        """A line of system.log, in the form of the lab's logback.xml."""
        moment = f"{datetime.now():%Y-%m-%d %H:%M:%S,%f}"[:-3]
        lines = f"{level:<5} [main] {moment} {source} - {message}\n" + (f"{trace}\n" if trace else "")
        with (self.spec.logs / "system.log").open("a") as log:
            log.write(lines)

    def _show(self, served: Served) -> None:
        """Peers that connect from now on are shown this."""
        self.links.append((time.monotonic(), served))
        self._accepts(served, served, self)  # now, while one caller waits for it, not when a whole ring is asked about

    def _agree(self, other: "Node", moment: float) -> bool:
        mine, theirs = self._shown(moment), other._shown(moment)
        return self._accepts(mine, theirs, other) and other._accepts(theirs, mine, self)

    def _shown(self, moment: float) -> Served:
        return next(served for at, served in reversed(self.links) if at <= moment)

    def _accepts(self, trusting: Served, served: Served, owner: "Node") -> bool:
        if self._blocks["internode"].endpoint_verification and not served.client_for_peers:
            return False
        key = (trusting.trust, served.leaf, owner.spec.address)
        if key not in self._trusted:
            self._trusted[key] = trusts(trusting, served, owner.spec.address)
        return self._trusted[key]

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()

        def native() -> TlsServer:
            return CqlServer(self, lambda: self.served("native").context, self.connections["native"])

        def internode() -> TlsServer:
            return _Internode(self, lambda: self.served("internode").context, self.connections["internode"])

        for kind, protocol in (("internode", internode), ("native", native)):
            try:
                server = await loop.create_server(
                    protocol, self.spec.address, self._port(kind), backlog=_BACKLOG, start_serving=False
                )
            except OSError as error:
                self.hang_up()
                raise self._refused(f"java.net.BindException: {error.strerror}") from error
            self._servers.append(server)  # before anything is waited for: whoever is killed now must close it
            await server.start_serving()

    def _port(self, kind: str) -> int:
        return int(self.settings["storage_port" if kind == "internode" else "native_transport_port"])

    def _internode(self) -> str:
        return f"{self.spec.address}:{self._port('internode')}"

    def _refused(self, trace: str) -> StartError:
        self.log("ERROR", "CassandraDaemon.java:887", "Exception encountered during startup", trace)
        return StartError(trace)

    @property
    def verifies_endpoints(self) -> bool:
        """Whether peers must have their address in their certificate."""
        block = self._blocks["internode"]
        return block.client_auth and block.endpoint_verification


class _Internode(TlsServer):
    """A connection to the internode port. Nobody here speaks its protocol: nodes of a stand-in know of each other."""

    def __init__(self, node: Node, context: Callable[[], ssl.SSLContext], connections: set[TlsServer]) -> None:
        super().__init__(context, connections)
        self._node = node

    def opened(self) -> bool:
        """Endpoint verification: all connections here come from one address."""
        if not self._node.verifies_endpoints:
            return True
        assert self.session
        names = (self.session.getpeercert() or {}).get("subjectAltName", ())
        return ("IP Address", LOOPBACK) in names
