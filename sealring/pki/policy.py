"""What is wrong with a delivery, before any node is touched: one finding for each check, passing ones too.

The checks are the failure modes that operators of Cassandra met ("rows" below: handbook, section 5), as far as they can
be seen without the node. Each is one function from a case to a finding; `CHECKS` is the list. Dates are judged at
every clock that will judge them: the worker's and the nodes'.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from cryptography import x509

from sealring.errors import Actor
from sealring.models.cluster import MaterialPolicy, NodeRef
from sealring.models.evidence import Finding, Verdict
from sealring.pki import _chain_checks, _leaf_checks
from sealring.pki._case import Case
from sealring.pki.certificates import fingerprint
from sealring.pki.material import Material
from sealring.pki.trust import explain_path


def lint(
    material: Material,
    policy: MaterialPolicy,
    *,
    node: NodeRef,
    addresses: Sequence[str],
    clocks: Mapping[str, datetime],
    endpoint_verification: bool,
    client_auth: bool,
) -> tuple[Finding, ...]:
    """Judge a node's material against a policy: exactly one finding for each check, in the order of `CHECKS`.

    Args:
        material: of one node.
        policy: of the cluster file.
        node: whose material it is.
        addresses: every IP address or name that peers dial the node by, and its own source address.
        clocks: UTC now by whose clock: at least the worker's, best every node's too. Must not be empty.
        endpoint_verification: whether peers compare addresses (require_endpoint_verification).
        client_auth: whether listeners ask for a client certificate; internode then uses the leaf in both roles.
    """
    case = Case(material, policy, node, addresses, clocks, endpoint_verification, client_auth)
    return tuple(check(case) for check in CHECKS)


def trusted_by(
    material: Material, peer: str, roots: Sequence[x509.Certificate], *, at: datetime, address: str | None = None
) -> Finding:
    """Whether `peer`, with the authorities in its truststore, would accept the material's leaf (handbook rows 4 and 5).

    Args:
        material: whose leaf and chain are presented.
        peer: the peer's address; the finding belongs to it.
        roots: what the peer trusts now.
        at: the instant to judge at.
        address: the address the peer dials, when it verifies addresses.
    """
    reason = explain_path(material.leaf, material.chain, roots, at=at, address=address)
    leaf = f"leaf {fingerprint(material.leaf)[:12]}"
    check = "material.trusted-by-peers"
    if not reason:
        return Finding(check=check, verdict=Verdict.PASS, message=f"the peer's truststore accepts {leaf}", node=peer)
    return Finding(
        check=check,
        verdict=Verdict.FAIL,
        message=f"the peer would refuse {leaf}: {reason}",
        remedy="Deliver a leaf of an authority that this peer trusts. For another one `sealring ca rotate` gives "
        "it to every node first.",
        actor=Actor.PKI_ADMIN,
        node=peer,
    )


CHECKS: tuple[Callable[[Case], Finding], ...] = (
    _leaf_checks.expired,
    _leaf_checks.validity,
    _leaf_checks.clock,
    _chain_checks.chain,
    _leaf_checks.key_matches_leaf,
    _leaf_checks.key_strength,
    _leaf_checks.usage,
    _leaf_checks.names,
    _leaf_checks.lifetime,
    _chain_checks.signature,
    _chain_checks.chain_order,
    _chain_checks.ca_flag,
)
