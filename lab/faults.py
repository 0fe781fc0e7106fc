"""What goes wrong with a node's files, done on purpose."""

from pathlib import Path

from lab.spec import NodeSpec
from sealring.errors import refuse

_BYTES = 64


def corrupt(node: NodeSpec, file: str) -> Path:
    """Flip 64 bytes in the middle of a file, in place: same size, owner and mode. Doing it again heals the file.

    Args:
        node: whose file.
        file: its path, relative to the node's folder of stores or to its home.

    Raises:
        SealringError: lab.no-file.
    """
    path = next((p for p in (node.tls / file, node.home / file) if p.is_file()), None)
    if path is None:
        stores = ", ".join(sorted(str(p.relative_to(node.tls)) for p in node.tls.rglob("*.p12")))
        raise refuse("lab.no-file", f"{node.name} has no file {file}.", f"choose one of {stores}", node=node.address)
    with path.open("r+b") as content:
        middle = max(0, path.stat().st_size // 2 - _BYTES // 2)
        content.seek(middle)
        block = content.read(_BYTES)
        content.seek(middle)
        content.write(bytes(byte ^ 0xFF for byte in block))
    return path
