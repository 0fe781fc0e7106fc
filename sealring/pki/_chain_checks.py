"""Checks of what stands above the leaf: a path to the delivered authorities, order, signatures."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from sealring.models.evidence import Finding
from sealring.pki._case import Case, failed, passed, warned
from sealring.pki.certificates import name_of
from sealring.pki.material import links
from sealring.pki.trust import explain_path, is_authority

_WEAK_HASHES = ("md5", "sha1")


def chain(case: Case) -> Finding:
    """A path from leaf to ca.crt, now and for as long as the policy wants (row 4)."""
    leaf = case.material.leaf
    now = max(case.clocks.values())
    # Judged inside the leaf's own validity, so that an expired leaf is one failure (validity) and not two.
    moments = {
        min(max(at, leaf.not_valid_before_utc), leaf.not_valid_after_utc)
        for at in (now, now + case.policy.min_remaining)
    }
    for at in sorted(moments):
        if reason := explain_path(leaf, case.material.chain, case.material.trust, at=at):
            return failed(
                case,
                "material.chain",
                f"no path from the leaf to the delivered authorities at {at:%Y-%m-%d %H:%M} UTC: {reason}",
                "Put the missing intermediate into tls.crt after the leaf, or the right authority into ca.crt.",
            )
    above = [name_of(certificate) for certificate in case.material.chain]
    return passed(case, "material.chain", f"{' < '.join([name_of(leaf), *above])} leads to an authority of ca.crt")


def signature(case: Case) -> Finding:
    """No signature that Java refuses, in leaf or chain (row 12)."""
    used = []
    for certificate in case.presented:
        if certificate.subject == certificate.issuer:
            continue  # nobody verifies the signature of an authority on itself
        used.append(_hash_name(certificate))
        if not used[-1] or used[-1] in _WEAK_HASHES:
            return failed(
                case,
                "material.signature",
                f"{name_of(certificate)} is signed with {used[-1] or 'an unknown algorithm'}, which Java refuses "
                "(jdk.certpath.disabledAlgorithms)",
                "Issue it with SHA-256 or better.",
            )
    return passed(case, "material.signature", f"signed with {', '.join(dict.fromkeys(used)) or 'its own key'}")


def chain_order(case: Case) -> Finding:
    """Whether tls.crt is leaf, issuer, issuer's issuer: Java refuses other chains in a PEM keystore.

    Source: the JDK's PKCS12KeyStore.setKeyEntry ("Certificate chain is not valid"), which PEMBasedSslContextFactory
    calls with the file's order.
    """
    leaf, chain = case.material.leaf, case.material.chain
    linked = links(leaf, chain)
    check, remedy = "material.chain-order", "Write tls.crt as leaf, its issuer, the issuer's issuer, without the root."
    if leaf in chain or len(set(chain)) != len(chain):
        return failed(case, check, "a certificate is in tls.crt twice", remedy)
    if strays := [name_of(c) for c in chain if c not in linked]:
        return failed(case, check, f"in tls.crt but not above the leaf: {', '.join(strays)}", remedy)
    if linked != chain:
        return failed(case, check, "the certificates after the leaf are not in order of issuing", remedy)
    if any(c.subject == c.issuer for c in chain):
        return warned(case, check, "the root is in tls.crt; it belongs into ca.crt only", remedy)
    top = (leaf, *chain)[-1]
    if not any(root.subject == top.issuer == root.issuer for root in case.material.trust):
        return warned(
            case,
            check,
            f"{name_of(top)} is not directly below a root of ca.crt: a peer that trusts only the root cannot follow",
            "Put every intermediate into tls.crt, even when ca.crt has it.",
        )
    return passed(case, check, f"leaf, then {len(chain)} in order of issuing")


def ca_flag(case: Case) -> Finding:
    """The leaf is no authority, and what stands above it is one (row 7)."""
    if is_authority(case.material.leaf):
        return failed(
            case,
            "material.ca-flag",
            "the first certificate of tls.crt is an authority (basicConstraints CA), not a leaf",
            "Put the leaf first; never put an authority's key on a node.",
        )
    for certificate in case.material.chain:
        if certificate != case.material.leaf and not is_authority(certificate):
            return failed(
                case,
                "material.ca-flag",
                f"{name_of(certificate)} is in the chain but is no authority (basicConstraints CA)",
                "Take it out of tls.crt, or have the intermediate issued as an authority.",
            )
    odd = [authority for authority in case.material.trust if not is_authority(authority)]
    if odd:
        return warned(
            case, "material.ca-flag", f"ca.crt has {name_of(odd[0])}, which is no authority", "Take it out of ca.crt."
        )
    return passed(case, "material.ca-flag", "a leaf below authorities")


def _hash_name(certificate: x509.Certificate) -> str:
    """`sha256`; `none` where the algorithm hashes by itself (Ed25519); empty for one that is not known."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return ""
    return algorithm.name if algorithm else "none"
