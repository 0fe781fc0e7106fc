"""Writing a delivery whose keys lie on the nodes: tls.crt, tls.csr and ca.crt, which `files` reads."""

import os
from pathlib import Path

from sealring.errors import SealringError, refuse
from sealring.local_files import read_small


def write_issued(path: str, address: str, *, certificate: bytes, request: bytes, trust: bytes) -> None:
    """Put one node's certificates into a delivery, each file by a rename, the certificate last. May block.

    Args:
        path: the delivery's directory on this worker; made when absent.
        address: the node's address: its folder.
        certificate: PEM, leaf and chain.
        request: PEM, the node's own.
        trust: PEM.

    Raises:
        SealringError: material.ambiguous when keys were delivered there; material.unwritable.
    """
    folder = Path(path, address)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if keys := {"tls.key", "keystore.p12"} & set(os.listdir(folder)):
            raise refuse(
                "material.ambiguous",
                f"{folder} holds {', '.join(sorted(keys))}: a delivery that brings its keys",
                "name another directory",
            )
        for name, content in (("ca.crt", trust), ("tls.csr", request), ("tls.crt", certificate)):
            _replace(folder / name, content)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _replace(file: Path, content: bytes) -> None:
    if file.exists() and read_small(file) == content:
        return
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.chmod(0o644)
    os.replace(draft, file)


def _unwritable(folder: Path, error: OSError) -> SealringError:
    return refuse(
        "material.unwritable",
        f"{folder}: {error.strerror}; expected a place where the deploy worker's user may write",
        f"make it as that user: `mkdir -p {folder}`, or name another directory",
    )
