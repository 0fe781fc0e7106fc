"""The interface of a provider of material, and who provides for which reference."""

import hashlib
from collections.abc import Mapping
from typing import Protocol

from sealring.models.base import Sha256
from sealring.models.cluster import NodeRef
from sealring.models.material import MaterialRef
from sealring.pki.material import Material
from sealring.sources.files import FileSource


class MaterialSource(Protocol):
    """Loads the material of one node. Loading changes nothing and can be repeated."""

    async def load(self, ref: MaterialRef, node: NodeRef) -> Material:
        """The material that the delivery `ref` has for `node`; not judged yet (see `sealring.pki.policy`).

        Raises:
            SealringError: the delivery has nothing, or nothing readable, for this node.
        """
        ...


def source_for(ref: MaterialRef) -> MaterialSource:
    """The provider that a reference names."""
    return {"files": FileSource}[ref.provider]()


def delivery_digest(generations: Mapping[str, Sha256]) -> Sha256:
    """Content address of a delivery: SHA-256 over node address and generation of every node, in order of address.

    Goes into `MaterialRef.digest`: the same place with other content has another digest.
    """
    digest = hashlib.sha256(b"sealring delivery v1\0")
    for address, generation in sorted(generations.items()):
        digest.update(f"{len(address)}:{address}{generation}".encode())
    return digest.hexdigest()
