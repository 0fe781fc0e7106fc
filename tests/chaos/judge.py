"""What must hold after a cell, whatever happened in it: `wrong` returns what does not."""

import hashlib
import json
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from lab.ring import store_password
from lab.spec import INTERNODE_PORT, NATIVE_PORT, LabSpec, NodeSpec
from lab.supervisor import JOURNAL
from sealring.models.rollout import Phase, RolloutReport

STORES = ("truststore.p12", "keystore.p12")
HANDSHAKE_SECONDS = 10.0

Digests = dict[str, dict[str, str]]  # node → store → sha256


def stores(node: NodeSpec) -> Path:
    """Where the files in force are."""
    return node.tls / "current" if (node.tls / "current" / STORES[0]).exists() and _slots(node) else node.tls


def _slots(node: NodeSpec) -> bool:
    return not (node.tls / STORES[0]).exists()


def in_force(spec: LabSpec) -> Digests:
    """The digests of the files that cassandra.yaml names, on every node."""
    return {
        node.name: {name: hashlib.sha256((stores(node) / name).read_bytes()).hexdigest() for name in STORES}
        for node in spec.ring
    }


def starts(spec: LabSpec) -> dict[str, int]:
    """How often each node's service was started so far, by the journal of its service manager."""
    journals = {node.name: node.logs / JOURNAL for node in spec.ring}
    return {name: len(path.read_text().splitlines()) if path.exists() else 0 for name, path in journals.items()}


def wrong_on_nodes(spec: LabSpec, before: Digests) -> Iterator[str]:
    """Is every node on one whole generation, and does every listener serve it to a stranger from outside?"""
    now = in_force(spec)
    for node in spec.ring:
        manifest = _manifest(node)
        if now[node.name] != manifest and now[node.name] != before[node.name]:
            mixed = [name for name in STORES if now[node.name][name] != manifest.get(name)]
            yield f"{node.name}: in force is no whole generation: {', '.join(mixed)} is not of tls/current"
        bundle = load_pkcs12((stores(node) / "keystore.p12").read_bytes(), store_password(spec).encode())
        assert bundle.cert
        leaf = bundle.cert.certificate.fingerprint(SHA256()).hex()
        for port in (INTERNODE_PORT, NATIVE_PORT):
            shown = shown_by(spec, node.address, port)
            if shown != leaf:
                yield f"{node.name}:{port} serves {shown[:12]}, on its disk is {leaf[:12]}"


def _manifest(node: NodeSpec) -> Mapping[str, str]:
    """File → sha256 of the generation that `current` names; empty for a node that sealring never touched."""
    path = node.tls / "current" / "manifest.json"
    if not path.exists():
        return {}
    files = json.loads(path.read_text())["files"]
    by_path = {file["path"].rpartition("/")[2]: file["sha256"] for file in files}
    return {name: by_path[name] for name in STORES}


def shown_by(spec: LabSpec, address: str, port: int) -> str:
    """Fingerprint of the leaf that a new handshake is shown; what went wrong instead of it."""
    client = spec.authority / "client"
    context = ssl.create_default_context(cafile=str(client / "ca.crt"))
    context.check_hostname = False
    context.load_cert_chain(client / "tls.crt", client / "tls.key")
    try:
        with (
            socket.create_connection((address, port), timeout=HANDSHAKE_SECONDS) as plain,
            context.wrap_socket(plain) as link,
        ):
            return hashlib.sha256(link.getpeercert(binary_form=True) or b"").hexdigest()
    except OSError as error:
        return f"nothing ({error})"


def wrong_with(report: RolloutReport) -> Iterator[str]:
    """Done, or stopped with code, reason and what to do now."""
    if report.outcome is Phase.DONE:
        return
    problem = report.problem
    if problem is None:
        yield f"it ended {report.outcome.value} without a reason"
        return
    for name in ("code", "message", "remedy"):
        if not getattr(problem, name):
            yield f"it ended {report.outcome.value} ({problem.code}) without a {name}"


def wrong_with_starts(before: dict[str, int], after: dict[str, int], allowed: dict[str, int]) -> Iterator[str]:
    """Was a service started more often than the rollout and the fault account for?"""
    for name, count in after.items():
        if count - before[name] > allowed.get(name, 0):
            yield f"{name} was started {count - before[name]} times, accounted for are {allowed.get(name, 0)}"


def left_behind(spec: LabSpec, scratch: Path) -> list[str]:
    """Temporary files on the nodes and the worker."""
    found = [str(path.relative_to(scratch)) for path in scratch.rglob("*") if path.is_file()]
    for node in spec.ring:
        for folder, folders, files in os.walk(node.tls):
            for name in (*folders, *files):
                drafts = name.endswith((".sealring", ".new")) and name != ".sealring"
                if drafts or name.startswith((".incoming-", ".discard-")) or name == "intent.json":
                    found.append(f"{node.name}: {Path(folder).relative_to(node.tls) / name}")
    return found
