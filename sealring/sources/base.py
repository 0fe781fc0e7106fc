"""The interface of a provider of material, and who provides for which reference."""

import hashlib
from collections.abc import Mapping
from typing import Protocol

from sealring.errors import refuse
from sealring.models.base import Sha256
from sealring.models.cluster import NodeRef
from sealring.models.material import MaterialRef
from sealring.pki.material import Material
from sealring.sources.files import FileSource
from sealring.sources.kv import VaultSource
from sealring.sources.vault import Vault


class MaterialSource(Protocol):
    """Loads the material of one node. Loading changes nothing and can be repeated."""

    async def load(self, ref: MaterialRef, node: NodeRef, planned: Sha256 | None = None) -> Material:
        """The material that the delivery `ref` has for `node`; not judged yet (see `sealring.pki.policy`).

        Args:
            ref: the delivery.
            node: whose material.
            planned: the generation that a plan decided on. A provider that keeps versions gives the one that has it;
                otherwise, or when none has it, the newest: the caller compares.

        Raises:
            SealringError: the delivery has nothing, or nothing readable, for this node.
        """
        ...


def source_for(ref: MaterialRef, vault: Vault | None = None) -> MaterialSource:
    """The provider that a reference names.

    Raises:
        SealringError: `vault.not-configured`: the reference is to a vault and the cluster file has none.
    """
    if ref.provider == "files":
        return FileSource()
    if vault is None:
        raise refuse(
            "vault.not-configured",
            "material.provider is vault, and the cluster file has no section `vault`",
            "add `vault` with address and token_file, or role_id and secret_id_file, to the cluster file",
        )
    return VaultSource(vault)


def delivery_digest(generations: Mapping[str, Sha256]) -> Sha256:
    """Content address of a delivery: SHA-256 over node address and generation of every node, in order of address.

    Goes into `MaterialRef.digest`: the same place with other content has another digest.
    """
    digest = hashlib.sha256(b"sealring delivery v1\0")
    for address, generation in sorted(generations.items()):
        digest.update(f"{len(address)}:{address}{generation}".encode())
    return digest.hexdigest()
