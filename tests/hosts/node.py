"""A node's TLS folder for tests: stores with content, generations made of it, and what must hold of the disk."""

import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from sealring.hosts.generations import adopt, stage_generation
from sealring.hosts.manifest import Place
from sealring.hosts.shell import Shell
from sealring.models.node import Generation, Layout, StoreFile


def generation(word: str) -> Generation:
    """A generation by a word."""
    digest = hashlib.sha256(word.encode()).hexdigest()
    return Generation(id=digest, leaf_sha256=digest, not_after=datetime(2030, 1, 1, tzinfo=UTC), trust=(digest,))


@dataclass(frozen=True)
class Node:
    """A node below a folder of its own."""

    root: Path
    place: Place

    def files(self, word: str) -> dict[str, bytes]:
        """The contents of a generation's stores: some kilobytes, no two alike."""
        return {store.path: f"{word} {store.path}\n".encode() * 100 + bytes(range(256)) for store in self.place.stores}

    def in_force(self) -> dict[str, bytes]:
        """What Cassandra would read now."""
        return {store.path: Path(store.path).read_bytes() for store in self.place.stores}

    def link(self, name: Literal["current", "previous"]) -> str:
        """The generation that a link names."""
        path = Path(self.place.tls_dir) / name
        return os.readlink(path).removeprefix("generations/") if path.is_symlink() else ""

    def drafts(self) -> list[str]:
        """Files and folders that only a running script may have."""
        return [
            str(path.relative_to(self.root))
            for path in self.root.rglob(".*")
            if ".sealring" in path.name or any(word in path.name for word in (".incoming", ".partial", ".discard"))
        ]


def make_node(root: Path, layout: Layout, word: str = "old") -> Node:
    """A node that serves `word`, with no generation kept yet."""
    tls = root / "tls dir"
    other = root / "client's"
    if layout == "slots":
        (tls / "first").mkdir(parents=True)
        (tls / "current").symlink_to("first")
        keystore, truststore, second = tls / "current/keystore.p12", tls / "current/truststore.p12", tls / "current/c"
    else:
        tls.mkdir(parents=True)
        other.mkdir()
        keystore, truststore, second = tls / "keystore.p12", tls / "truststore.p12", other / "keystore.p12"
    place = Place(
        tls_dir=str(tls),
        state_dir=str(root / "state"),
        layout=layout,
        stores=(
            StoreFile(role="keystore", blocks=("server",), path=str(keystore), format="PKCS12"),
            StoreFile(role="truststore", blocks=("server", "client"), path=str(truststore), format="PKCS12"),
            StoreFile(role="keystore", blocks=("client",), path=str(second), format="PKCS12"),
        ),
        user=str(os.getuid()),
        group=str(os.getgid()),
    )
    node = Node(root, place)
    for path, content in node.files(word).items():
        Path(path).write_bytes(content)
        Path(path).chmod(0o644 if "truststore" in path else 0o640)
    return node


async def prepared(node: Node, shell: Shell) -> None:
    """`old` is kept and in force, `new` is staged."""
    await adopt(shell, node.place, generation("old"), node.in_force(), rollout="r1")
    await stage_generation(shell, node.place, generation("new"), node.files("new"), rollout="r1")
