"""What anybody can see of a ring and of a rollout from outside."""

import hashlib
import subprocess

from lab.ring import service
from lab.spec import NATIVE_PORT, LabSpec
from lab.tally import LoadSummary
from sealring.models.rollout import NodeState, RolloutReport


def stores(spec: LabSpec) -> dict[str, str]:
    files = [node.tls / name for node in spec.ring for name in ("keystore.p12", "truststore.p12")]
    return {str(f): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def starts(spec: LabSpec) -> dict[str, str]:
    return {node.name: service(node)["ExecMainStartTimestampMonotonic"] for node in spec.ring}


def seen_by_openssl(spec: LabSpec) -> dict[str, str]:
    """Leaf fingerprint that each native listener shows to `openssl s_client`."""
    client = str(spec.authority / "client")
    identity = ["-cert", f"{client}/tls.crt", "-key", f"{client}/tls.key", "-CAfile", f"{client}/ca.crt"]
    fingerprint = ["openssl", "x509", "-noout", "-fingerprint", "-sha256"]
    found = {}
    for node in spec.ring:
        shown = subprocess.run(
            ["openssl", "s_client", "-connect", f"{node.address}:{NATIVE_PORT}", *identity, "-verify_return_error"],
            input=b"",
            capture_output=True,
            check=False,
        )
        dumped = subprocess.run(fingerprint, input=shown.stdout, capture_output=True, check=True)
        found[node.address] = dumped.stdout.decode().strip().partition("=")[2].replace(":", "").lower()
    return found


def states(report: RolloutReport) -> dict[str, NodeState]:
    return {node.address: node.state for node in report.nodes}


def spotless(summary: LoadSummary) -> None:
    assert summary.queries > 100
    assert (summary.failed, summary.wrong) == (0, 0), summary
