"""The network targets that each worker needs, from the cluster file and the ring as observed. Pure.

Source of each: `login` (SSH), `sealring.cassandra.cql` (observation), `activities.eyes` (handshakes, from the worker
and through peers), `Vault`. A delivery is read from files and needs no network.
"""

from urllib.parse import urlsplit

from sealring.hosts.routes import chain, endpoint
from sealring.models.cluster import ClusterFile
from sealring.models.egress import Egress, NetworkTarget, Origin
from sealring.models.node import ClusterView

HTTPS = 443
PURPOSES = {"native": "handshakes on the native port", "internode": "handshakes on the internode port"}


def egress(cluster: ClusterFile, view: ClusterView, *, temporal: str) -> Egress:
    """What must be open, for this ring and nothing else.

    Args:
        cluster: the cluster file.
        view: the ring with its hosts read: the listeners of one that could not be are missing, and it is named.
        temporal: host:port of the Temporal service.
    """
    server, _, port = temporal.rpartition(":")
    found: dict[tuple[Origin, str, int], list[str]] = {}

    def need(origin: Origin, host: str, port: int, purpose: str) -> None:
        purposes = found.setdefault((origin, host, port), [])
        if purpose not in purposes:
            purposes.append(purpose)

    need("control worker", server.strip("[]"), int(port), "Temporal")
    need("deploy worker", server.strip("[]"), int(port), "Temporal")
    if cluster.vault is not None:
        vault = urlsplit(cluster.vault.address)
        need("deploy worker", vault.hostname or "", vault.port or HTTPS, "vault")
    for address in (*cluster.contact_points, *(seen.node.address for seen in view.nodes)):
        origin: Origin = "deploy worker"
        for place in (*chain(cluster.ssh, address), endpoint(cluster.ssh, address)):
            need(origin, place.host, place.port, "SSH")
            origin = "bastions"
        need("deploy worker", address, cluster.cql.port, "CQL")
    for seen in view.nodes:
        for listener in seen.listeners:
            need("deploy worker", listener.address, listener.port, PURPOSES[listener.kind])
            need("nodes", listener.address, listener.port, PURPOSES[listener.kind])
    return Egress(
        cluster=cluster.name,
        targets=tuple(
            NetworkTarget(origin=origin, host=host, port=port, purpose=", ".join(purposes))
            for (origin, host, port), purposes in sorted(found.items())
        ),
        permit_open=tuple(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            for origin, host, port in sorted(found)
            if origin == "nodes"
        ),
        unread=tuple(seen.node.address for seen in view.nodes if not seen.listeners),
    )
