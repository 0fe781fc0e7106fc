"""A delivery in a vault's KV engine, version 2: one secret for each node, or one for all.

    <mount>/<path>/<node>    fields tls.crt (leaf, then its chain), tls.key, ca.crt: PEM text
    <mount>/<path>           the same, for every node that has no secret of its own

<node> is the node's address, its internode address or its host id. The plan's generation pins the version: when a newer
one is written during a rollout, the planned one is looked for among those that the vault still keeps.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from sealring.errors import Actor, SealringError, refuse
from sealring.models.base import Sha256
from sealring.models.cluster import NodeRef
from sealring.models.material import MaterialRef
from sealring.pki.material import Material, generation_id, read_pem_material
from sealring.sources.vault import Vault

VERSIONS = 10  # looked through for the planned one; as many as KV keeps when nobody says otherwise

_FIELDS = ("tls.crt", "tls.key", "ca.crt")
_PATH = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+")


class VaultSource:
    """Provider `vault`: `MaterialRef.path` is `<mount>/<path>`; the mount is one segment."""

    def __init__(self, vault: Vault) -> None:
        """`vault` to read from."""
        self.vault = vault

    async def load(self, ref: MaterialRef, node: NodeRef, planned: Sha256 | None = None) -> Material:
        """The node's material: the version that was planned, else the newest.

        Raises:
            SealringError: material.path, material.missing-file, material.ambiguous, all of `Vault.read` and of
                `read_pem_material`. The error belongs to the node.
        """
        try:
            return await self._load(ref.path, node, planned)
        except SealringError as error:
            error.node = node.address
            raise

    async def _load(self, path: str, node: NodeRef, planned: Sha256 | None) -> Material:
        if not _PATH.fullmatch(path) or any(set(segment) == {"."} for segment in path.split("/")):
            raise refuse(
                "material.path",
                f"material.path: expected mount and path in a vault, not {path!r}",
                "Give it as kv/cassandra/prod: letters, digits, dot, dash and underscore, without kv's own `data`.",
            )
        place, newest = await self._secret(path, node)
        material = _material(place, newest)
        if planned is None or generation_id(material) == planned:
            return material
        return await self._version(place, _number(newest), planned) or material

    async def _secret(self, path: str, node: NodeRef) -> tuple[str, Mapping[str, Any]]:
        """Where the node's secret is, and its newest version."""
        # A ring says its own names: only such as can stand for one segment are looked for.
        names = [n for n in dict.fromkeys([node.address, node.internode_address, node.host_id]) if set(n) - {"."}]
        places = [f"{path}/{quote(name, safe='')}" for name in names]
        found = [(place, secret) for place in places if (secret := await self.vault.read(_data(place))) is not None]
        if len(found) > 1:
            raise refuse(
                "material.ambiguous",
                f"the vault has several secrets for this node: {', '.join(place for place, _ in found)}; expected one",
                "Remove the one that is not meant.",
                actor=Actor.PKI_ADMIN,
            )
        if found:
            return found[0]
        shared = await self.vault.read(_data(path))
        if shared is None:
            raise refuse(
                "material.missing-file",
                f"no secret for this node; expected {' or '.join(places)}, or {path} for all nodes, in a KV engine of "
                "version 2",
                f"`bao kv put {places[0]} tls.crt=@tls.crt tls.key=@tls.key ca.crt=@ca.crt`",
                actor=Actor.PKI_ADMIN,
            )
        return path, shared

    async def _version(self, place: str, newest: int, planned: Sha256) -> Material | None:
        """The kept version that has the planned generation; deleted and unreadable ones are passed over."""
        for number in range(newest - 1, max(newest - VERSIONS, 0), -1):
            secret = await self.vault.read(_data(place), version=str(number))
            if secret is None:
                continue
            try:
                material = _material(place, secret)
            except SealringError:
                continue
            if generation_id(material) == planned:
                return material
        return None


def _data(place: str) -> str:
    mount, _, rest = place.partition("/")
    return f"{mount}/data/{rest}"


def _number(secret: Mapping[str, Any]) -> int:
    metadata = secret.get("metadata")
    number = metadata.get("version") if isinstance(metadata, Mapping) else None
    return number if isinstance(number, int) else 0


def _material(place: str, secret: Mapping[str, Any]) -> Material:
    data = secret.get("data")
    fields = data if isinstance(data, Mapping) else {}
    missing = [name for name in _FIELDS if not isinstance(fields.get(name), str)]
    if missing:
        raise refuse(
            "material.missing-file",
            f"{place}: missing {', '.join(missing)}; expected {', '.join(_FIELDS)} as PEM text",
            f"Write all three fields to {place} in one version.",
            actor=Actor.PKI_ADMIN,
        )
    certificate, key, trust = (fields[name].encode() for name in _FIELDS)
    return read_pem_material(certificate, key, trust, where=place)
