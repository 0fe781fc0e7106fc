"""Holding a rollout exactly where a fault shall meet it: on the node around a script, in the worker around an activity.

A gate is a folder with three names in it: `want.json` (what to hold), `reached`, `release`. It holds once; who comes
later passes. `gate.py` is the half on the node, `site/sitecustomize.py` the half in the workers.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab.authority import write_file
from lab.hosts import configure_host
from lab.keys import host_files
from lab.spec import LabSpec, NodeSpec
from tests.chaos import gate

PATIENCE = 240.0  # seconds, on a machine that has much else to do


@dataclass(frozen=True)
class Gate:
    """Where to hold.

    Args:
        place: `node`: a script that SSH brings; `worker`: an activity.
        pattern: regular expression over the script's text, or over "WORKFLOW-ID ACTIVITY".
        moment: `before`, `after` (done, the answer not yet sent), or on a node `mv:PATTERN`: in the middle of the
            script, before a move whose arguments match.
        skip: how many matches pass first; workers only.
    """

    place: Literal["node", "worker"]
    pattern: str
    moment: str = "before"
    skip: int = 0


def install_on(spec: LabSpec, node: NodeSpec) -> None:
    """Put the gate into the node's sshd; it costs nothing while nothing is wanted."""
    configure_host(spec, node)
    configuration = host_files(node).configuration
    folder = _on_node(node)
    command = f'{sys.executable} -ISB {Path(gate.__file__).resolve()} {folder} "$SSH_ORIGINAL_COMMAND"'
    line = f'ForceCommand if [ -e {folder}/want.json ]; then exec {command}; else eval "$SSH_ORIGINAL_COMMAND"; fi\n'
    write_file(configuration, (configuration.read_text() + line).encode(), 0o600)
    write_file(node.bin / "mv", gate.MV.encode(), 0o755)


def worker_folder(spec: LabSpec) -> Path:
    """$SEALRING_CHAOS of the workers."""
    return spec.root / "chaos"


class Hold:
    """A gate that is armed."""

    def __init__(self, spec: LabSpec, node: NodeSpec, gate: Gate) -> None:
        self.gate = gate
        self.folder = worker_folder(spec) if gate.place == "worker" else _on_node(node)
        self.clear()
        self.folder.mkdir(exist_ok=True)
        want = {"pattern": gate.pattern, "moment": gate.moment, "skip": gate.skip}
        write_file(self.folder / "want.json", json.dumps(want).encode(), 0o600)

    def reached(self, over: Callable[[], bool]) -> bool:
        """Wait until something is held there; false when the rollout was `over` before."""
        end = time.monotonic() + PATIENCE
        asked = time.monotonic()
        while not (self.folder / "reached").exists():
            if time.monotonic() > end:
                return False
            if time.monotonic() - asked > 2.0:
                asked = time.monotonic()
                if over() and not (self.folder / "reached").exists():
                    return False
            time.sleep(0.02)
        return True

    def release(self) -> None:
        """Let go, and hold nothing more."""
        (self.folder / "want.json").unlink(missing_ok=True)
        (self.folder / "release").touch()

    def clear(self) -> None:
        """Leave nothing of the gate behind."""
        for path in self.folder.glob("*"):
            if path.name in ("want.json", "release"):
                path.unlink(missing_ok=True)
            elif path.name == "reached" or path.name.startswith("hit-"):
                shutil.rmtree(path, ignore_errors=True)


def _on_node(node: NodeSpec) -> Path:
    return node.home / "gate"
