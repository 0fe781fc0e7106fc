"""The manifest of a generation: which files it has, for which stores, with which digests. Pure.

Beside it lies SHA256SUMS over all files, the manifest included, in the format of sha256sum: the scripts verify with it.
"""

import hashlib
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, ValidationError

from sealring.hosts.refusals import refusal
from sealring.hosts.shell import Become
from sealring.models.base import Fact, Sha256
from sealring.models.node import Generation, Layout, NodeInventory, StoreFile
from sealring.pki.views import View

Role = Literal["keystore", "truststore"]

MODES: Mapping[Role, str] = {"keystore": "0600", "truststore": "0644"}
"""Of a file that replaces none; one that replaces another takes the other's mode."""


@dataclass(frozen=True)
class Place:
    """Where a node keeps its TLS files, and who may write them.

    Args:
        tls_dir: holds `generations/`, `current`, `previous`.
        state_dir: holds `intent.json` and `lock`; made when absent.
        layout: `slots`: cassandra.yaml names files through `current`; `in-place`: plain files.
        stores: the files that cassandra.yaml names.
        user: whom new files belong to when we act as root: the user that Cassandra runs as.
        group: the group of that user.
        become: the user that scripts run as; see `sealring.hosts.privileges.choose_become`.
    """

    tls_dir: str
    state_dir: str
    layout: Layout
    stores: tuple[StoreFile, ...]
    user: str
    group: str
    become: Become = ""

    @property
    def roles(self) -> dict[str, Role]:
        """Path → role, truststores first: the order of replacement. A file with both roles holds a key."""
        keys = {store.path for store in self.stores if store.role == "keystore"}
        trust = [store.path for store in self.stores if store.path not in keys]
        found: dict[str, Role] = dict.fromkeys(trust, "truststore")
        found.update({store.path: "keystore" for store in self.stores if store.path in keys})
        return found


def place_of(inventory: NodeInventory, become: Become = "") -> Place:
    """The place that an inventory describes."""
    return Place(
        tls_dir=inventory.tls_dir,
        state_dir=inventory.state_dir,
        layout=inventory.layout,
        stores=inventory.stores,
        user=inventory.service_user,
        group=inventory.service_group,
        become=become,
    )


class ManifestFile(Fact):
    """One file of a generation."""

    name: str = Field(pattern=r"^[^/\x00-\x1f]+$", description="In the generation's folder, never above it.")
    path: str = Field(description="The store it is for, as cassandra.yaml means it.")
    role: Role
    sha256: Sha256
    mode: str = Field(description="Octal; used when there is no file in force to take it from.")


class Manifest(Generation):
    """A generation with its files."""

    files: tuple[ManifestFile, ...]
    rollout: str = Field("", description="The rollout that brought it.")

    @property
    def generation(self) -> Generation:
        """The public part alone."""
        return Generation.model_validate(self.model_dump())


def names(place: Place, address: str) -> dict[str, str]:
    """Path → file name in a generation, truststores first.

    Base names where they differ; else the position is put in front. With slots the name is what cassandra.yaml says
    behind `current/`.

    Raises:
        SealringError: `node.layout-unsupported` when a slot's store is not directly in `current`.
    """
    paths = list(place.roles)
    bases = [posixpath.basename(path) for path in paths]
    if place.layout == "slots":
        astray = [path for path in paths if posixpath.dirname(path) != f"{place.tls_dir}/current"]
        if astray:
            detail = f"{astray[0]} is not directly in {place.tls_dir}/current, which"
            raise refusal("node.layout-unsupported", detail, address)
        return dict(zip(paths, bases, strict=True))
    unique = len(set(bases)) == len(bases)
    return {
        path: base if unique else f"{number}-{base}"
        for number, (path, base) in enumerate(zip(paths, bases, strict=True))
    }


def make_manifest(
    place: Place, generation: Generation, files: Mapping[str, bytes | View], *, rollout: str, address: str
) -> Manifest:
    """The manifest of a generation whose files are at hand.

    Args:
        place: names the stores.
        generation: the public part.
        files: content by store path, or what the node shows of it; exactly the stores of `place`.
        rollout: the rollout that brings it.
        address: the node's address, for errors.

    Raises:
        ValueError: `files` are not exactly the stores. A mistake in our code.
    """
    if set(files) != set(place.roles):
        raise ValueError(f"{address}: files for {sorted(files)}, but the stores are {sorted(place.roles)}")
    return Manifest(
        **generation.model_dump(),
        rollout=rollout,
        files=tuple(
            ManifestFile(
                name=name,
                path=path,
                role=place.roles[path],
                sha256=digest_of(files[path]),
                mode=MODES[place.roles[path]],
            )
            for path, name in names(place, address).items()
        ),
    )


def digest_of(content: bytes | View) -> str:
    """SHA-256 of a file, lower-case hexadecimal."""
    return content.sha256 if isinstance(content, View) else hashlib.sha256(content).hexdigest()


def pieces(content: bytes | View, size: int) -> str:
    """The digests of a file's pieces of so many bytes; none of what only the node has."""
    if isinstance(content, View):
        return ""
    return " ".join(hashlib.sha256(content[i : i + size]).hexdigest() for i in range(0, len(content), size))


def rest(content: bytes | View, have: int, address: str) -> bytes:
    """What must be sent to a node that has the first `have` bytes of a file.

    Raises:
        SealringError: `node.changed-meanwhile`: the node lost what it assembled itself.
    """
    if not isinstance(content, View):
        return content[have:]
    if have == len(content):
        return b""
    raise refusal("node.changed-meanwhile", "a keystore that was assembled there is gone", address)


def sums(manifest: Manifest) -> str:
    """The lines of SHA256SUMS for the stores; the script adds the manifest's own."""
    return "".join(f"{file.sha256}  {file.name}\n" for file in manifest.files)


def parse_manifest(data: bytes, where: str, address: str) -> Manifest:
    """The manifest in `data`.

    Raises:
        SealringError: `node.manifest-damaged`, naming `where`.
    """
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError:
        raise refusal("node.manifest-damaged", where, address) from None
    if any(file.name in (".", "..") for file in manifest.files):
        raise refusal("node.manifest-damaged", where, address)
    return manifest
