"""Certificates for keys that never leave their node: asked for there, signed by the vault, brought back there."""

import asyncio
import hashlib
from datetime import UTC, datetime

from temporalio import activity

from activities.rings import Bench, Files, Rings, generation_of
from sealring.errors import Actor, SealringError, refuse
from sealring.hosts.node_keys import OnNode, ask_node, assemble_keystores, bring_certificate
from sealring.models.cluster import ClusterFile, NodeRef
from sealring.models.evidence import Finding, Verdict
from sealring.models.issuing import Issued, IssueOrder
from sealring.models.vault import PkiSettings
from sealring.pki.certificates import facts, load_certificates
from sealring.pki.keys import NodeKey
from sealring.pki.material import Material, generation_id
from sealring.pki.policy import lint
from sealring.pki.requests import plain
from sealring.pki.stores import require_writable, write_truststore
from sealring.sources.deliveries import write_issued
from sealring.sources.issuing import issue, objections, pem
from sealring.sources.vault import Vault

TOO_YOUNG = "material.clock"
"""The one check that passes by itself: a vault dates its certificates back by half a minute only."""


class IssueActivities:
    """Reaches the nodes and the vault; writes the delivery on this worker."""

    def __init__(self, rings: Rings) -> None:
        """`rings` to reach them."""
        self.rings = rings

    @activity.defn
    async def issue_node(self, order: IssueOrder) -> Issued:
        """A certificate for one node, in the delivery and beside its key. Repeated, it finds what is there and good.

        Raises:
            SealringError: `material.no-pki`, `material.unwritable`, `material.ambiguous`, `material.not-a-request`,
                `vault.*`, `node.*`, and those of opening a node.
        """
        try:
            return await self._issue(order)
        except SealringError as error:
            error.node = error.node or order.node.address
            raise

    async def _issue(self, order: IssueOrder) -> Issued:
        cluster = self.rings.file(order.cluster)
        settings, vault = cluster.pki, self.rings.vault(cluster)
        if settings is None or vault is None:
            raise _no_pki(cluster, order.node)
        addresses = (order.node.internode_address, order.node.address, order.node.source_address)
        wanted = tuple(dict.fromkeys(map(plain, (*addresses, *cluster.policy.names))))
        request = request_name(order.path, settings, wanted)
        async with self.rings.open(order.cluster, order.node) as bench:
            on_node = await ask_node(bench.host, bench.place, request, settings.key, wanted)
            kept = _kept(on_node, settings, bench)
            material = kept or await self._new(on_node, settings, vault, bench)
            certificate, trust = pem((material.leaf, *material.chain)), pem(material.trust)
            if kept is None:
                await bring_certificate(bench.host, bench.place, request, certificate, trust)
            csr = on_node.request.pem.encode()
            await asyncio.to_thread(
                write_issued, order.path, order.node.address, certificate=certificate, request=csr, trust=trust
            )
            return Issued(
                generation=generation_of(material).id,
                leaf=facts(material.leaf),
                anew=kept is None,
                key_at=f"{bench.place.state_dir}/issue/{request}",
                findings=tuple(f for f in _judged(material, bench) if f.verdict is not Verdict.PASS),
            )

    async def _new(self, on_node: OnNode, settings: PkiSettings, vault: Vault, bench: Bench) -> Material:
        material = await issue(vault, settings, on_node.request)
        if failed := _failed(_judged(material, bench)):
            raise refuse(
                "vault.issued-wrong",
                f"{settings.vault_role}: the certificate is of no use here: {'; '.join(f.message for f in failed)}",
                failed[0].remedy,
                actor=Actor.PKI_ADMIN,
            )
        return material


def request_name(path: str, settings: PkiSettings, wanted: tuple[str, ...]) -> str:
    """What the request for a delivery is called on a node: another delivery, kind of key or name is another request."""
    return hashlib.sha256("\0".join((path, settings.key, *sorted(wanted))).encode()).hexdigest()[:16]


def require_pki(cluster: ClusterFile, material: Material, node: NodeRef) -> None:
    """Refuse a delivery whose keys lie on the nodes where workers read keystores.

    Raises:
        SealringError: material.no-pki.
    """
    if isinstance(material.key, NodeKey) and cluster.pki is None:
        raise _no_pki(cluster, node)


async def assembled(bench: Bench, material: Material) -> Files | None:
    """What the node's stores shall be: keystores that are in force already, when they hold the leaf, or that the node
    makes now of the key it has; truststores made here.

    Returns:
        None when the key does not lie on the node.

    Raises:
        SealringError: `material.no-pki`, `store.*`, `node.*`.
    """
    if not isinstance(material.key, NodeKey):
        return None
    require_pki(bench.cluster, material, bench.node)
    in_force = await bench.files_in_force()
    keystores = {}
    files: Files = {}
    for store in bench.inventory.stores:
        password = bench.password(store)
        if store.role == "truststore":
            files[store.path] = write_truststore(material.trust, store.format, password)
        elif bench.holds(store, in_force[store.path], material):
            files[store.path] = in_force[store.path]  # its content is found in the generation that is in force
        else:
            require_writable(store.format, password)
            keystores[store.path] = (store.format, password)
    if not keystores:
        return files
    certificate = pem((material.leaf, *material.chain))
    return files | await assemble_keystores(
        bench.host, bench.place, generation_id(material), material.key.digest, certificate, keystores
    )


def _kept(on_node: OnNode, settings: PkiSettings, bench: Bench) -> Material | None:
    """What an earlier call brought to the node, when it is whole and still good."""
    if not on_node.certificate:
        return None
    try:
        leaf, *chain = load_certificates(on_node.certificate, "tls.crt")
        material = Material(leaf, tuple(chain), on_node.request.key, load_certificates(on_node.trust, "ca.crt"))
    except SealringError:
        return None
    bad = objections(material, on_node.request, settings) or _failed(_judged(material, bench))
    return None if bad else material


def _judged(material: Material, bench: Bench) -> tuple[Finding, ...]:
    return lint(
        material,
        bench.cluster.policy,
        node=bench.node,
        addresses=tuple(dict.fromkeys((bench.node.internode_address, bench.node.address))),
        clocks={"worker": datetime.now(UTC)},
        endpoint_verification=bench.inventory.endpoint_verification,
        client_auth=bench.inventory.client_auth,
    )


def _failed(findings: tuple[Finding, ...]) -> list[Finding]:
    return [finding for finding in findings if finding.verdict is Verdict.FAIL and finding.check != TOO_YOUNG]


def _no_pki(cluster: ClusterFile, node: NodeRef) -> SealringError:
    return refuse(
        "material.no-pki",
        f"the cluster file of {cluster.name} has no section `pki`, and keys shall stay on the nodes",
        "add `pki` with vault_role, and `vault`, to the cluster file (docs/sources.md)",
        node=node.address,
    )
