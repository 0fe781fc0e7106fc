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
from lab.spec import LabSpec, NodeSpec
from sealring.cassandra.inventory import Inspection, inventory
from sealring.cassandra.observe import observe_ring
from sealring.cassandra.probe import ClientIdentity, probe
from sealring.hosts.ssh import HostPool
from sealring.models.cluster import ClusterFile, Listener, NodeRef
from sealring.models.evidence import Served
from sealring.pki.certificates import fingerprint, load_certificates


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

    async def look(self, listener: Listener, through: str = "", *, anonymous: bool = False) -> Served:
        cql = self.cluster.cql
        assert cql.certificate
        assert cql.private_key
        identity = None if anonymous else ClientIdentity(cql.certificate, cql.private_key)
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
    """The ring, observed once."""
    configure_engine(spec)
    cluster = ClusterFile.model_validate(yaml.safe_load(spec.cluster_file.read_text()))
    pool = HostPool(cluster.ssh)
    try:
        view = await observe_ring(cluster, pool.host)
        yield Bench(spec, cluster, pool, tuple(node.node for node in view.nodes))
    finally:
        await pool.close()
