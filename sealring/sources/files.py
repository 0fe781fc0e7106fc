"""A delivery as a directory: one folder for each node.

    <path>/<node>/tls.crt  tls.key  ca.crt             names of a Kubernetes TLS secret; tls.crt: leaf, then its chain
    <path>/<node>/keystore.p12  password  ca.crt       password: one line
    <path>/<node>/tls.crt  tls.csr  ca.crt             the key lies on the node that made the request tls.csr

<node> is the node's address, its internode address or its host id. Files with secrets must be readable by their owner
alone. Symbolic links may point anywhere inside the delivery (as in a mounted Kubernetes secret), never out of it.
"""

import asyncio
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from sealring.errors import Actor, SealringError, refuse
from sealring.models.base import Sha256
from sealring.models.cluster import NodeRef
from sealring.models.material import MaterialRef
from sealring.pki.material import Material, read_issued_material, read_pem_material, read_pkcs12_material

MAX_BYTES = 1 << 20  # of one file; the largest honest one, a truststore of the public web, is a quarter of it

_PEM = ("tls.crt", "tls.key", "ca.crt")
_PKCS12 = ("keystore.p12", "password", "ca.crt")
_ISSUED = ("tls.crt", "tls.csr", "ca.crt")
_SECRETS = {"tls.key", "keystore.p12", "password"}
_EXPECTED = f"{', '.join(_PEM)}, or {', '.join(_PKCS12)}"


class FileSource:
    """Provider `files`: `MaterialRef.path` is a directory that the deploy workers can read."""

    async def load(self, ref: MaterialRef, node: NodeRef, planned: Sha256 | None = None) -> Material:
        """The material in the node's folder; a folder keeps no versions, so `planned` changes nothing.

        Raises:
            SealringError: material.path, material.missing-file, material.unreadable, material.key-exposed,
                material.symlink-escape, material.ambiguous, and all that reading stores and PEM raises
                (`sealring.pki.material`). The error belongs to the node.
        """
        try:
            return await asyncio.to_thread(_load, ref.path, node)
        except SealringError as error:
            error.node = node.address
            raise


def _load(path: str, node: NodeRef) -> Material:
    root = _root(path)
    folder = _node_folder(root, node)
    present = _listing(folder)
    if _PKCS12[0] in present:
        if {"tls.crt", "tls.key"} & present:
            raise _ambiguous(f"{folder} holds both tls.crt or tls.key and keystore.p12")
        _require(folder, _PKCS12, present)
        store, secret, trust = (_read(folder / name, root) for name in _PKCS12)
        return read_pkcs12_material(store, _password(secret, folder / "password"), trust, where=str(folder))
    if "tls.csr" in present:
        if "tls.key" in present:
            raise _ambiguous(f"{folder} holds both tls.key and tls.csr")
        _require(folder, _ISSUED, present)
        certificate, request, trust = (_read(folder / name, root) for name in _ISSUED)
        return read_issued_material(certificate, request, trust, where=str(folder))
    _require(folder, _PEM, present)
    certificate, key, trust = (_read(folder / name, root) for name in _PEM)
    return read_pem_material(certificate, key, trust, where=str(folder))


def _root(path: str) -> Path:
    """The delivery's directory, links resolved."""
    if not os.path.isabs(path) or "\0" in path:
        raise refuse(
            "material.path",
            f"material.path: expected the absolute path of a directory on the deploy workers, not {path!r}",
            "Give the path from the root, e.g. /deliveries/may.",
        )
    try:
        root = Path(path).resolve(strict=True)
        if root.is_dir():
            return root
    except (OSError, RuntimeError) as error:
        if not isinstance(error, FileNotFoundError):
            raise _unreadable(Path(path), error) from None
    raise refuse(
        "material.missing-file",
        f"{path}: there is no such directory; expected one folder for each node in it",
        "Put the delivery there on every deploy worker, or correct material.path.",
        actor=Actor.PKI_ADMIN,
    )


def _node_folder(root: Path, node: NodeRef) -> Path:
    names = list(dict.fromkeys([node.address, node.internode_address, node.host_id]))
    # Only names out of the listing: what a ring says about itself (an address "../x") does not choose our paths.
    present = _listing(root)
    found = [root / name for name in names if name in present]
    try:
        places = {folder.resolve() for folder in found}
    except (OSError, RuntimeError) as error:
        raise _unreadable(found[0], error) from None
    if len(places) > 1:
        raise _ambiguous(f"{root} has several folders for this node: {', '.join(f.name for f in found)}")
    if not found:
        raise refuse(
            "material.missing-file",
            f"{root}: no folder for this node; expected {' or '.join(names)} with {_EXPECTED}; {_found(present)}",
            f"Deliver the node's material as {root}/{node.address}/.",
            actor=Actor.PKI_ADMIN,
        )
    return found[0]


def _require(folder: Path, expected: Iterable[str], present: set[str]) -> None:
    missing = [name for name in expected if name not in present]
    if missing:
        raise refuse(
            "material.missing-file",
            f"{folder}: missing {', '.join(missing)}; expected {_EXPECTED}; {_found(present)}",
            f"Deliver {', '.join(missing)} in {folder}.",
            actor=Actor.PKI_ADMIN,
        )


def _read(file: Path, root: Path) -> bytes:
    """The content of a regular file inside the delivery; mode and size are those of the file that was opened."""
    try:
        real = file.resolve(strict=True)
        if not real.is_relative_to(root):
            raise refuse(
                "material.symlink-escape",
                f"{file}: is or lies behind a symbolic link that leads out of {root}",
                "Put the file itself into the delivery.",
                actor=Actor.PKI_ADMIN,
            )
        with open(real, "rb", opener=_opener) as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _refused(file, "it is not a regular file")
            if file.name in _SECRETS and status.st_mode & 0o077:
                raise _exposed(file, stat.S_IMODE(status.st_mode))
            content = opened.read(MAX_BYTES + 1)
    except (OSError, RuntimeError) as error:
        raise _unreadable(file, error) from None
    if len(content) > MAX_BYTES:
        raise _refused(file, f"it is larger than {MAX_BYTES} bytes")
    return content


def _opener(path: str, flags: int) -> int:
    # a link put there since `resolve` is not followed, and a named pipe is not waited for
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _password(content: bytes, file: Path) -> str:
    try:
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise refuse(
            "store.password",
            f"{file}: expected the password as one line of UTF-8 text",
            f"Write the password of keystore.p12 into {file}.",
            actor=Actor.PKI_ADMIN,
        ) from None


def _listing(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError as error:
        raise _unreadable(folder, error) from None


def _found(present: set[str]) -> str:
    """What is there instead: the first names of a directory."""
    shown = sorted(present)[:8]
    return f"found {', '.join(shown)}{', …' if len(present) > len(shown) else ''}" if shown else "found nothing"


def _unreadable(file: Path, error: Exception) -> SealringError:
    reason = error.strerror if isinstance(error, OSError) else "symbolic links in a circle"
    return _refused(file, f"it cannot be read: {reason}")


def _refused(file: Path, found: str) -> SealringError:
    return refuse(
        "material.unreadable",
        f"{file}: {found}; expected a file of at most {MAX_BYTES} bytes that the deploy worker's user can read",
        f"Look at it as that user: `ls -lL {file}`.",
        actor=Actor.PKI_ADMIN,
    )


def _exposed(file: Path, mode: int) -> SealringError:
    return refuse(
        "material.key-exposed",
        f"{file}: mode {mode:04o} lets others read a secret; expected 0600",
        f"`chmod 0600 {file}`; if others could read it, replace the key.",
        actor=Actor.PKI_ADMIN,
    )


def _ambiguous(found: str) -> SealringError:
    return refuse(
        "material.ambiguous",
        f"{found}; expected one",
        "Remove the one that is not meant.",
        actor=Actor.PKI_ADMIN,
    )
