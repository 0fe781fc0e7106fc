"""How often a node's `nodetool` was called, and with what."""

import shlex
from pathlib import Path

from lab.spec import LabSpec, NodeSpec

_COUNTING = '#!/bin/sh\necho "$*" >> {calls}\nexec {real} "$@"\n'


def count_calls(spec: LabSpec) -> None:
    """Let every node's nodetool write down its calls from now on."""
    for node in spec.ring:
        tool, real = node.bin / "nodetool", node.bin / "nodetool.real"
        if not real.exists():
            tool.rename(real)
            tool.write_text(_COUNTING.format(calls=shlex.quote(str(_log(node))), real=shlex.quote(str(real))))
            tool.chmod(0o755)


def calls(node: NodeSpec) -> list[str]:
    """The arguments of every call, in order."""
    return _log(node).read_text().splitlines() if _log(node).exists() else []


def _log(node: NodeSpec) -> Path:
    return node.home / "nodetool.calls"
