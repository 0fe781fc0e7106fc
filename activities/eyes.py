"""Looking at a node's listeners: from the worker, and through peers."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from ssl import SSLContext

from activities.rings import Bench, Rings
from sealring.cassandra.probe import client_context, client_identity, probe
from sealring.errors import SealringError, refuse
from sealring.local_files import read_small
from sealring.models.cluster import ClusterFile, NodeRef
from sealring.models.evidence import Served
from sealring.pki.certificates import Certificates, load_certificates

LONGEST_PAUSE = timedelta(minutes=5)
"""Between two attempts of a patient look: no breaker is open longer (`ssh.breaker.open_for`)."""


async def look_from(
    rings: Rings, bench: Bench, peers: Sequence[NodeRef], *, patient: bool = False
) -> tuple[Served, ...]:
    """A new handshake with every listener of a node, from the worker and through each peer.

    Trust is judged with the vantage's own authorities: the peer's truststore; for the worker the `cql.ca` of the
    cluster file, or, without one, the node's own truststore. A peer that cannot be reached, or is not tried because a
    breaker is open, is a vantage that saw nothing: `problem` says why.

    Args:
        rings: to reach the peers.
        bench: the node, open.
        peers: the vantages beside the worker.
        patient: the caller is repeated: a peer that is expected to be reached soon is an error instead.

    Raises:
        SealringError: `probe.identity`, `cql.credentials`; with `patient` also the errors of class `retry`.
    """
    identity = client_context(client_identity(bench.cluster.cql))
    roots = worker_trust(bench.cluster) or bench.read_trust(await bench.files_in_force())
    now = datetime.now(UTC)
    direct = [probe(listener, identity=identity, roots=roots, at=now) for listener in bench.inventory.listeners]
    through = [_through(rings, bench, peer, identity, patient=patient) for peer in peers]
    own, others = await asyncio.gather(asyncio.gather(*direct), asyncio.gather(*through))
    return (*own, *(served for group in others for served in group))


async def _through(rings: Rings, bench: Bench, peer: NodeRef, identity: SSLContext, *, patient: bool) -> list[Served]:
    try:
        return await _looks(rings, bench, peer, identity)
    except SealringError as error:
        if patient and error.retryable:
            raise
        problem = f"no way through it: [{error.code}] {error.message}"
        return [Served(listener=li, vantage=peer.address, problem=problem) for li in bench.inventory.listeners]


async def _looks(rings: Rings, bench: Bench, peer: NodeRef, identity: SSLContext) -> list[Served]:
    roots = await rings.trust_of(bench.cluster.name, peer)
    async with rings.pool(bench.cluster).host(peer.address) as host:
        return [
            await probe(
                listener,
                vantage=peer.address,
                open=host.forward,
                identity=identity,
                roots=roots,
                at=datetime.now(UTC),
            )
            for listener in bench.inventory.listeners
        ]


def worker_trust(cluster: ClusterFile) -> Certificates:
    """The authorities that the worker trusts for this ring; empty when the cluster file names none."""
    if cluster.cql.ca is None:
        return ()
    try:
        return load_certificates(read_small(cluster.cql.ca), str(cluster.cql.ca))
    except OSError as error:
        raise refuse(
            "cql.credentials",
            f"cql.ca {cluster.cql.ca} cannot be used: {error.strerror}",
            "let cql.ca name a PEM file that the worker can read",
        ) from None


def client_certificates(path: Path) -> Certificates:
    """The certificate and chain of a client that the cluster file names, leaf first.

    Raises:
        SealringError: `cql.credentials`.
    """
    try:
        return load_certificates(read_small(path), str(path))
    except OSError as error:
        raise refuse(
            "cql.credentials",
            f"{path} cannot be used: {error.strerror}",
            "let cql.certificate and clients.certificate name PEM files that the worker can read",
        ) from None
