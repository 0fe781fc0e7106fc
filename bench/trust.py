"""The simulation of trust: nodes with a leaf each, in three racks, and a new authority in three stages."""

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lab.authority import Authority
from sealring.models.trust import Demands, Identity, NodeTrust, TrustReport, TrustStep
from sealring.pki.certificates import Certificates, fingerprint, load_certificates
from sealring.pki.simulation import simulate

RACKS = 3
DEMANDS = Demands(client_auth=True, endpoint_verification=True)


def trust_of_many(nodes: int) -> Callable[[], TrustReport]:
    """A ring of so many nodes, ready to be simulated."""
    now = datetime.now(UTC)
    kept = {}

    def keep(found: Certificates) -> tuple[str, ...]:
        kept.update({fingerprint(certificate): certificate for certificate in found})
        return tuple(map(fingerprint, found))

    def ring(issuer: Authority, trust: tuple[str, ...]) -> list[NodeTrust]:
        found = []
        for number in range(nodes):
            address = f"10.0.{number // 250}.{number % 250}"
            leaf = issuer.issue([address])
            sent = keep(load_certificates(leaf.certificate + leaf.chain, address))
            found.append(
                NodeTrust(
                    address=address,
                    identity=Identity(leaf=sent[0], chain=sent[1:]),
                    trust=trust,
                    dialled=(address,),
                    source=(address,),
                    internode=DEMANDS,
                )
            )
        return found

    with tempfile.TemporaryDirectory() as folder:
        old, new = (Authority.open(Path(folder) / name, name).intermediate("nodes") for name in ("old", "new"))
        old_root, new_root = (keep(load_certificates(authority.trusted, "ca")) for authority in (old, new))
        before, shown = ring(old, old_root), ring(new, old_root + new_root)
    both = [node.model_copy(update={"trust": old_root + new_root}) for node in before]
    alone = [node.model_copy(update={"trust": new_root}) for node in shown]
    steps = [
        TrustStep(name=f"rack {rack} of stage {number}", after=tuple(stage[rack::RACKS]))
        for number, stage in enumerate((both, shown, alone), 1)
        for rack in range(RACKS)
    ]

    def work() -> TrustReport:
        report = simulate(before, steps, kept, start=now, end=now + timedelta(hours=3))
        assert report.passed == report.checked
        return report

    return work
