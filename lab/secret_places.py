"""The lab's own secrets, and the explicit list of places where they belong: everywhere else they are leaks."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

from lab import state
from lab.scan import Leak, Needle, needles, scan_files, search
from lab.spec import LabSpec

BELONGS = (
    "store-password",
    "authority/**/*.key",
    "authority/*.key",
    "deliveries/*/*/tls.key",
    "ssh/*",  # CAs and the deploy user's identity
    "nodes/*/sshd/*",
    "nodes/*/conf/*",  # cassandra.yaml holds the store passwords: that is how Cassandra wants it
    "nodes/*/conf/tls/*",
    "nodes/*/conf/tls/generations/*/*",
    "nodes/*/conf/tls/.sealring/issue/*/*",  # keys made on the nodes, until they are in force
    "nodes/*/conf/tls/.sealring/issue/*/stores/*",
    "nodes/*/conf/client/*",
    "engine/keyring.json",
)
"""Below the lab's folder; patterns of `Path.match`."""


def lab_secrets(spec: LabSpec) -> tuple[Needle, ...]:
    """Every private key, password and payload key of a lab, in all forms."""
    return tuple(needle for name, secret in _secrets(spec.root) for needle in needles(name, secret))


def scan_lab(spec: LabSpec) -> set[Leak]:
    """Leaks in the files below the lab's folder, and in arguments and environment of its processes that run now."""
    wanted = lab_secrets(spec)
    leaks = scan_files(spec.root, wanted, BELONGS)
    for role, pid in state.alive(spec.root).items():
        for name in ("cmdline", "environ"):
            content = Path(f"/proc/{pid}/{name}").read_bytes()
            leaks |= {Leak(f"{name} of {role}", *hit) for hit in search(content, wanted)}
    return leaks


def _secrets(root: Path) -> Iterator[tuple[str, bytes]]:
    password = root / "store-password"
    if password.exists():
        yield "store-password", password.read_bytes()
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 65536:
            content = path.read_bytes()
            if content.startswith(b"-----BEGIN ") and b"PRIVATE KEY-----" in content.splitlines()[0]:
                yield str(path.relative_to(root)), content
    keyring = root / "engine" / "keyring.json"
    if keyring.exists():
        for key_id, text in json.loads(keyring.read_bytes())["keys"].items():
            yield f"payload key {key_id}", base64.b64decode(text)
