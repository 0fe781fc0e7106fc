"""A ring and what the engine knows of it, for tests of the room `sealring.cassandra`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509

from lab.authority import LOOPBACK, Authority, Identity, pkcs12_stores, write_file
from lab.engine import configure_engine
from lab.node_config import STORES, served_stores
from lab.ring import store_password
from lab.spec import STAND_IN, LabSpec, NodeSpec
from sealring.cassandra.cql import conversation
from sealring.cassandra.inventory import Inspection, inventory
from sealring.cassandra.observe import GOSSIP, observe_ring
from sealring.cassandra.probe import client_identity, probe
from sealring.hosts.ssh import HostPool
from sealring.models.cluster import ClusterFile, Listener, NodeRef
from sealring.models.evidence import Served
from sealring.pki.certificates import fingerprint, load_certificates

_members: dict[Path, tuple[NodeRef, ...]] = {}  # by ring: they stay who they are, and asking takes seconds


def forget_members() -> None:
    """A ring was built anew: its members are others."""
    _members.clear()


@dataclass(frozen=True)
class Bench:
    """A ring and what the engine knows of it."""

    spec: LabSpec
    cluster: ClusterFile
    pool: HostPool
    nodes: tuple[NodeRef, ...]

    def peers_of(self, node: NodeRef) -> tuple[NodeRef, ...]:
        return tuple(other for other in self.nodes if other != node)

    async def inspect(self, node: NodeRef) -> Inspection:
        async with self.pool.host(node.address) as host:
            return await inventory(host, self.cluster, node)

    async def generations(self, address: str) -> dict[str, int]:
        """Of all nodes, by address, as one of them tells it."""
        async with conversation(self.cluster.cql, address) as asked:
            return {row["address"]: row["generation"] for row in await asked.rows(GOSSIP) or ()}

    async def look(self, listener: Listener, through: str = "", *, anonymous: bool = False) -> Served:
        identity = client_identity(self.cluster.cql)
        assert identity
        identity = None if anonymous else identity
        roots = load_certificates((self.spec.authority / "ca.crt").read_bytes(), "ca.crt")
        if not through:
            return await probe(listener, identity=identity, roots=roots)
        async with self.pool.host(through) as host:
            return await probe(listener, vantage=through, open=host.forward, identity=identity, roots=roots)


def material(spec: LabSpec, node: NodeSpec, authority: Authority | None = None) -> Identity:
    return (authority or Authority.open(spec.authority)).issue([node.address, LOOPBACK])


def install(spec: LabSpec, node: NodeSpec, identity: Identity) -> str:
    """Put a new keystore on the node by rename; returns the leaf's fingerprint."""
    keystore, _ = pkcs12_stores(identity, Authority.open(spec.authority).trusted, store_password(spec))
    write_file(served_stores(spec, node) / STORES[0], keystore, 0o600)
    return fingerprint(x509.load_pem_x509_certificate(identity.certificate))


@asynccontextmanager
async def restored(spec: LabSpec, node: NodeSpec) -> AsyncIterator[Path]:
    """The node's keystore, put back at the end by rename."""
    path = served_stores(spec, node) / STORES[0]
    good = path.read_bytes()
    try:
        yield path
    finally:
        write_file(path, good, 0o600)


@asynccontextmanager
async def opened(spec: LabSpec) -> AsyncIterator[Bench]:
    """The ring and its members."""
    configure_engine(spec)
    written = yaml.safe_load(spec.cluster_file.read_text())
    if spec.cassandra == STAND_IN:
        written["rollout"] = {"settle": 0.1}  # nothing in it needs time to settle
    cluster = ClusterFile.model_validate(written)
    pool = HostPool(cluster.ssh)
    try:
        if spec.root not in _members:
            view = await observe_ring(cluster, pool.host)
            _members[spec.root] = tuple(node.node for node in view.nodes)
        yield Bench(spec, cluster, pool, _members[spec.root])
    finally:
        await pool.close()
