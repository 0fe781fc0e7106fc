"""The rings that a worker works on: their cluster files, their SSH connections, and one node opened for work."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from activities.sharing import Shared
from sealring.cassandra.inventory import Inspection, inventory
from sealring.cassandra.observe import observe_ring
from sealring.errors import Actor, SealringError, refuse
from sealring.hosts.certificates import Sign
from sealring.hosts.manifest import Manifest, Place, digest_of, names, place_of
from sealring.hosts.node_keys import view_keystores
from sealring.hosts.privileges import choose_become
from sealring.hosts.refusals import refusal
from sealring.hosts.ssh import Host, HostPool
from sealring.local_files import version_of
from sealring.models.base import short
from sealring.models.cluster import ClusterFile, NodeRef
from sealring.models.evidence import Finding
from sealring.models.node import ClusterView, Generation, NodeInventory, StoreFile
from sealring.pki.certificates import Certificates, fingerprint
from sealring.pki.material import Material, generation_id
from sealring.pki.stores import read_keystore, read_truststore, same_keystore, same_truststore
from sealring.pki.views import View
from sealring.settings import load_cluster
from sealring.sources.signing import sign_key
from sealring.sources.vault import Vault

RECENT_SECONDS = 10.0

Files = dict[str, bytes | View]  # by store path: its content, or what the node shows of a keystore that stays there


class Rings:
    """Cluster files and, for each ring, one pool of SSH connections. Belongs to one event loop."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds the cluster files."""
        self.folder = folder
        self._pools: dict[str, HostPool] = {}
        self._files: dict[str, tuple[tuple[int, ...], ClusterFile]] = {}
        self._opened: dict[tuple[str, str], Bench] = {}
        self._forgotten: dict[tuple[str, str], float] = {}  # when, by time.monotonic()
        self._views: Shared[str, ClusterView] = Shared()
        self._trusted: Shared[tuple[str, str], Certificates] = Shared()
        self._parsed: dict[tuple[str, str], tuple[tuple[bytes, StoreFile, str], Certificates]] = {}
        self._vaults: dict[str, Vault] = {}

    def file(self, name: str) -> ClusterFile:
        """The cluster file as it is now: an edit takes effect at the next step.

        Raises:
            SealringError: `cluster.*`.
        """
        try:
            version = version_of(self.folder / f"{name}.yaml")
        except (OSError, ValueError):
            return load_cluster(self.folder, name)  # says what is wrong
        if name not in self._files or self._files[name][0] != version:
            self._files[name] = version, load_cluster(self.folder, name)
        return self._files[name][1]

    def pool(self, cluster: ClusterFile) -> HostPool:
        """The ring's connections; new ones when its ssh section changed."""
        pool = self._pools.get(cluster.name)
        if pool is None or pool.settings != cluster.ssh:
            pool = self._pools[cluster.name] = HostPool(cluster.ssh, self._sign(cluster))
            # Another login sees other things.
            self._opened = {key: bench for key, bench in self._opened.items() if key[0] != cluster.name}
        return pool

    def _sign(self, cluster: ClusterFile) -> Sign | None:
        """Who signs the deploy user's key, when a role is named: the vault of the cluster file as it is by then."""
        role, ttl = cluster.ssh.vault_role, cluster.ssh.vault_ttl
        if role is None:
            return None

        async def sign(public_key: str, user: str) -> str:
            vault = self.vault(self.file(cluster.name)) or self.vault(cluster)
            assert vault is not None, "a cluster file with a role has a vault"
            return await sign_key(vault, role, ttl, public_key, user)

        return sign

    def vault(self, cluster: ClusterFile) -> Vault | None:
        """The ring's vault, with the token it has; a new one when its section changed; None without a section.

        Raises:
            SealringError: `vault.settings`.
        """
        if cluster.vault is None:
            return None
        vault = self._vaults.get(cluster.name)
        if vault is None or vault.settings != cluster.vault:
            vault = self._vaults[cluster.name] = Vault(cluster.vault)
        return vault

    async def close(self) -> None:
        """Close every connection."""
        for vault in self._vaults.values():
            await vault.close()
        self._vaults.clear()
        for pool in self._pools.values():
            await pool.close()
        self._pools.clear()

    @asynccontextmanager
    async def open(
        self, name: str, node: NodeRef, *, running: bool = False, anew: bool = False
    ) -> AsyncIterator["Bench"]:
        """Open one node: connect, read what runs there and how it is configured.

        A look that is not older than RECENT_SECONDS is used again: the steps of one node follow each other at once, and
        each looks longer than that. After that time, process and configuration are looked at, and read again when they
        are not what they were.

        Args:
            name: the cluster.
            node: the node.
            running: a thorough look: compare the settings of the running process with the file too, which costs a CQL
                session, and ask again who may write there.
            anew: look, however short ago the last look was: what follows cannot be taken back, or is evidence.

        Raises:
            SealringError: `cluster.*`, `ssh.*`, `inventory.*`, `config.*`. None that is raised while the node is open
                holds a store password of cassandra.yaml.
        """
        cluster = self.file(name)
        async with self.pool(cluster).host(node.address) as host:
            key = name, node.address
            before = self._opened.get(key)
            if before and not (running or anew) and before.fits(cluster, node, since=self._forgotten.get(key, 0.0)):
                bench = replace(before, host=host)
            else:
                bench = await self._look(cluster, node, host, before, running=running)
            inspection = bench.inspection
            try:
                yield bench
            except SealringError as error:
                self.forget(name, node)  # what was seen may be the reason
                # Words of the node (nodetool, system.log, a script's stderr) may quote its configuration.
                error.message = inspection.passwords.hidden_in(error.message)
                error.args = (error.message,)
                raise

    def forget(self, name: str, node: NodeRef) -> None:
        """Something happened on the node: no look that began before now is used again."""
        self._forgotten[name, node.address] = monotonic()

    async def _look(
        self, cluster: ClusterFile, node: NodeRef, host: Host, before: "Bench | None", *, running: bool
    ) -> "Bench":
        self.forget(cluster.name, node)  # until this look has succeeded, nothing is known
        looked_at = monotonic()
        known = before.inspection.known if before else None
        inspection = await inventory(host, cluster, node, running=running, known=known)
        place = place_of(inspection.inventory)
        if before and inspection.known is known and before.cluster.ssh == cluster.ssh and not running:
            become = before.place.become
        else:
            become = await choose_become(host, place, login=host.user, sudo=cluster.service.sudo)
        bench = Bench(cluster, node, host, inspection, replace(place, become=become), looked_at)
        self._opened[cluster.name, node.address] = bench
        return bench

    async def view(self, name: str) -> ClusterView:
        """The ring as its observers see it; activities that ask at the same time share one observation.

        Raises:
            SealringError: `cluster.*`, and those of `observe_ring`.
        """
        cluster = self.file(name)
        return await self._views.ask(name, lambda: observe_ring(cluster, self.pool(cluster).host))

    async def trust_of(self, name: str, peer: NodeRef) -> Certificates:
        """The authorities that a node's truststore holds now; activities that ask at the same time share one reading.

        Raises:
            SealringError: the peer cannot be read.
        """
        key = name, peer.address

        async def read() -> Certificates:
            try:
                async with self.open(name, peer) as bench:
                    return await parse(bench)
            except SealringError as error:
                if error.retryable:
                    raise
            async with self.open(name, peer, anew=True) as bench:  # the reason may be that the look was not new
                return await parse(bench)

        async def parse(bench: Bench) -> Certificates:
            store = next(store for store in bench.inventory.stores if store.role == "truststore")
            data = await bench.host.read(store.path, become=bench.place.become)
            asked = data, store, bench.password(store)
            if key not in self._parsed or self._parsed[key][0] != asked:
                self._parsed[key] = asked, bench.read_trust({store.path: data}, store)
            return self._parsed[key][1]

        return await self._trusted.ask(key, read)


@dataclass(frozen=True)
class Bench:
    """One node, open for work."""

    cluster: ClusterFile
    node: NodeRef
    host: Host
    inspection: Inspection
    place: Place
    looked_at: float = 0.0  # time.monotonic()

    def fits(self, cluster: ClusterFile, node: NodeRef, *, since: float) -> bool:
        """Whether this look is recent, began after `since`, and was made with the same cluster file."""
        return (
            self.looked_at >= max(since, monotonic() - RECENT_SECONDS)
            and (self.cluster, self.node) == (cluster, node)
            and self.inventory.pid != 0
        )

    @property
    def inventory(self) -> NodeInventory:
        """What runs on the node and how it is configured."""
        return self.inspection.inventory

    async def files_in_force(self) -> Files:
        """The stores that cassandra.yaml names, as they are."""
        return await self._read({path: path for path in self.place.roles})

    async def present(self) -> Material:
        """The material in force.

        Raises:
            SealringError: as `read_material`, and all of reading files.
        """
        return self.read_material(await self.files_in_force())

    async def files_of(self, generation: str, names: dict[str, str]) -> Files:
        """The stores of a generation on the disk, by the path they are for; `names` from its manifest."""
        folder = f"{self.place.tls_dir}/generations/{generation}"
        return await self._read({path: f"{folder}/{name}" for path, name in names.items()})

    async def _read(self, at: dict[str, str]) -> Files:
        """Stores by path, from where they are. Where keys stay on the nodes, no keystore is fetched."""
        if self.cluster.pki is None:
            contents = await self.host.read_all(at.values(), become=self.place.become)
            return {path: contents[where] for path, where in at.items()}
        keystores = [store for store in self.inventory.stores if store.role == "keystore" and store.path in at]
        asked = {at[store.path]: (store.format, self.password(store)) for store in keystores}
        views = await view_keystores(self.host, self.place, asked)
        trusted = [path for path, role in self.place.roles.items() if role == "truststore" and path in at]
        contents = await self.host.read_all((at[path] for path in trusted), become=self.place.become)
        files: Files = {path: contents[at[path]] for path in trusted}
        return files | {store.path: views[at[store.path]] for store in keystores}

    async def kept(self, manifest: Manifest) -> Material:
        """A generation on the disk, tried: whole, opened with cassandra.yaml's passwords, holding what its name says.

        Raises:
            SealringError: `node.generation-incomplete`, `node.generation-damaged`, `store.*`, `node.stores-differ`,
                and all of reading files.
        """
        wanted, there = names(self.place, self.node.address), {file.name: file for file in manifest.files}
        for name in wanted.values():
            if name not in there:
                raise refusal("node.generation-incomplete", name, self.node.address)
        files = await self.files_of(manifest.id, wanted)
        if any(digest_of(files[path]) != there[name].sha256 for path, name in wanted.items()):
            raise refusal("node.generation-damaged", short(manifest.id), self.node.address)
        material = self.read_material(files)
        if generation_of(material).id != manifest.id:
            raise refusal("node.generation-damaged", short(manifest.id), self.node.address)
        return material

    def read_material(self, files: Files) -> Material:
        """The one material that all the stores in `files` hold.

        Raises:
            SealringError: `store.*`, `node.stores-differ`, `node.no-truststore`.
        """
        stores = [store for store in self.inventory.stores if store.path in files]
        keystores = [store for store in stores if store.role == "keystore"]
        truststores = [store for store in stores if store.role == "truststore"]
        if not keystores or not truststores:
            raise refuse(
                "node.no-stores",
                f"{self.inventory.config_path} names {'no truststore' if keystores else 'no keystore'} for TLS",
                "enable server_encryption_options and client_encryption_options with stores first",
                actor=Actor.CASSANDRA_ADMIN,
                node=self.node.address,
            )
        first, trusting = keystores[0], truststores[0]
        material = read_keystore(files[first.path], first.format, self.password(first), self.where(first))
        trust = self.read_trust(files, trusting)
        for store in self.differing(files, replace(material, trust=trust)):
            beside = first if store.role == "keystore" else trusting
            raise refuse(
                "node.stores-differ",
                f"{store.path} and {beside.path} hold different {store.role} content",
                "this version delivers one certificate to all listeners: make them alike first",
                actor=Actor.CASSANDRA_ADMIN,
                node=self.node.address,
            )
        return replace(material, trust=trust)

    def differing(self, files: Files, material: Material) -> Iterator[StoreFile]:
        """Stores in `files` that do not hold this material. Equal bytes are opened once: it takes long."""
        held: dict[tuple[str, str, str, bytes | View], bool] = {}
        for store in (store for store in self.inventory.stores if store.path in files):
            content = store.role, store.format, self.password(store), files[store.path]
            if content not in held:
                held[content] = self.holds(store, files[store.path], material)
            if not held[content]:
                yield store

    def read_trust(self, files: Files, store: StoreFile | None = None) -> Certificates:
        """The authorities of a truststore; default: the first one."""
        store = store or next(s for s in self.inventory.stores if s.role == "truststore")
        data = files[store.path]
        assert isinstance(data, bytes), "only keystores are shown without their content"
        return read_truststore(data, store.format, self.password(store), self.where(store))

    def holds(self, store: StoreFile, data: bytes | View, material: Material) -> bool:
        """Whether a store has this material as its content, whatever its bytes: PKCS#12 is salted."""
        if store.role == "keystore":
            return same_keystore(data, material, store.format, self.password(store))
        assert isinstance(data, bytes), "only keystores are shown without their content"
        return same_truststore(data, material.trust, store.format, self.password(store))

    def password(self, store: StoreFile) -> str:
        """The password that cassandra.yaml names for a store."""
        return self.inspection.passwords.of(store.path)

    def discreet(self, finding: Finding) -> Finding:
        """A finding that quotes the node's words, without a store password."""
        return finding.model_copy(update={"message": self.inspection.passwords.hidden_in(finding.message)})

    def where(self, store: StoreFile) -> str:
        """A store, as errors name it."""
        return f"{self.node.address}:{store.path}"


def generation_of(material: Material) -> Generation:
    """The public part of what a node serves with this material."""
    return Generation(
        id=generation_id(material),
        leaf_sha256=fingerprint(material.leaf),
        not_after=material.leaf.not_valid_after_utc,
        trust=tuple(sorted(fingerprint(authority) for authority in material.trust)),
    )
