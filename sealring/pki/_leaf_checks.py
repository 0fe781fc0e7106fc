"""Checks of the leaf and its key: dates, key, usage, names. Dates are judged for the chain as well."""

from datetime import timedelta
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from sealring.models.cluster import MaterialPolicy
from sealring.models.evidence import Finding
from sealring.pki._case import Case, failed, passed, span, utc, warned
from sealring.pki.certificates import alternative_names, fingerprint, key_kind, name_of
from sealring.pki.trust import serves

_ROLES = ((ExtendedKeyUsageOID.SERVER_AUTH, "serverAuth"), (ExtendedKeyUsageOID.CLIENT_AUTH, "clientAuth"))
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


def expired(case: Case) -> Finding:
    """Nothing that is presented is over by the latest clock: every peer would refuse it (row 4)."""
    whose, now = max(case.clocks.items(), key=lambda item: item[1])
    for certificate in case.presented:
        if certificate.not_valid_after_utc < now:
            return failed(
                case,
                "material.expired",
                f"{name_of(certificate)} expired by the clock of {whose} (notAfter "
                f"{utc(certificate.not_valid_after_utc)})",
                "Issue a new certificate.",
            )
    return passed(case, "material.expired", f"leaf and chain are valid by the clock of {whose}")


def validity(case: Case) -> Finding:
    """Enough validity left by the latest clock, for leaf and chain; expired authorities in ca.crt (row 4)."""
    whose, now = max(case.clocks.items(), key=lambda item: item[1])
    for certificate in case.presented:
        left = certificate.not_valid_after_utc - now
        if timedelta(0) <= left < case.policy.min_remaining:
            return failed(
                case,
                "material.validity",
                f"{name_of(certificate)} has only {span(left)} left by the clock of {whose} (notAfter "
                f"{utc(certificate.not_valid_after_utc)}); the policy wants {span(case.policy.min_remaining)}",
                "Issue a new certificate, or lower policy.min_remaining.",
            )
    for authority in case.material.trust:
        if authority.not_valid_after_utc < now:
            return warned(
                case,
                "material.validity",
                f"the trusted authority {name_of(authority)} expired at {utc(authority.not_valid_after_utc)}",
                "Take it out of ca.crt.",
            )
    end = case.material.leaf.not_valid_after_utc
    state = f"{span(end - now)} left" if end > now else "and over: see material.expired"
    return passed(case, "material.validity", f"valid until {utc(end)}, {state}")


def clock(case: Case) -> Finding:
    """Already valid by the earliest clock, with the margin of the policy (row 8)."""
    whose, earliest = min(case.clocks.items(), key=lambda item: item[1])
    for certificate in case.presented:
        room = earliest - certificate.not_valid_before_utc
        if room < case.policy.clock_margin:
            return failed(
                case,
                "material.clock",
                f"{name_of(certificate)} starts at {utc(certificate.not_valid_before_utc)}; the clock of {whose} says "
                f"{utc(earliest)} and a margin of {span(case.policy.clock_margin)} is wanted",
                f"Wait, set the clock of {whose} (NTP), or issue certificates with an earlier notBefore.",
            )
    count = len(case.clocks)
    return passed(case, "material.clock", f"already valid by {count} clock{'s' if count > 1 else ''}, with margin")


def key_matches_leaf(case: Case) -> Finding:
    """The private key is the leaf's (row 3)."""
    leaf = case.material.leaf
    if case.material.key.belongs_to(leaf.public_key()):
        return passed(case, "material.key-matches-leaf", "the private key belongs to the leaf")
    return failed(
        case,
        "material.key-matches-leaf",
        f"the private key does not belong to the leaf {fingerprint(leaf)[:12]}: every handshake would fail",
        "Deliver the key that the certificate was issued for.",
    )


def key_strength(case: Case) -> Finding:
    """Kind and size of the keys of leaf and chain (rows 11 and 12)."""
    for certificate in case.presented:
        if problem := _weak_key(certificate, case.policy):
            return failed(
                case,
                "material.key-strength",
                f"{name_of(certificate)} has a key of kind {key_kind(certificate)}; {problem}",
                "Issue the certificate for a stronger key (EC P-256 or RSA 2048).",
            )
    return passed(case, "material.key-strength", f"the leaf's key is {key_kind(case.material.leaf)}")


def usage(case: Case) -> Finding:
    """The leaf may serve and dial: Cassandra uses one leaf in both roles between nodes (row 7)."""
    leaf = case.material.leaf
    key_usage = _extension(leaf, x509.KeyUsage)
    if key_usage is not None and not key_usage.digital_signature:
        return failed(
            case,
            "material.usage",
            "the leaf's keyUsage has no digitalSignature, so it can sign no handshake",
            "Issue the leaf with keyUsage digitalSignature.",
        )
    usages = _extension(leaf, x509.ExtendedKeyUsage)
    if usages is None:
        return warned(
            case,
            "material.usage",
            "the leaf has no extendedKeyUsage: accepted, but it may be used for anything",
            "Issue the leaf with extendedKeyUsage serverAuth and clientAuth.",
        )
    missing = [role for oid, role in _ROLES if oid not in usages]
    if not missing:
        return passed(case, "material.usage", "serverAuth and clientAuth, digitalSignature")
    # Without client authentication nobody looks at the leaf of the side that dials.
    judge = warned if missing == ["clientAuth"] and not case.client_auth else failed
    return judge(
        case,
        "material.usage",
        f"the leaf's extendedKeyUsage lacks {' and '.join(missing)}; between nodes it serves in both roles",
        "Issue the leaf with extendedKeyUsage serverAuth and clientAuth.",
    )


def names(case: Case) -> Finding:
    """Every address that peers use, and the names that clients use, are in the leaf (row 6)."""
    leaf = case.material.leaf
    lost = [name for name in case.policy.names if not serves(leaf, name)]
    unlisted = [address for address in dict.fromkeys(case.addresses) if not serves(leaf, address)]
    names, addresses = alternative_names(leaf)
    listed = ", ".join([*addresses, *names]) or "no name at all"
    if not lost and not unlisted:
        return passed(case, "material.names", f"the leaf is for {listed}")
    judge = failed if lost or case.endpoint_verification else warned
    return judge(
        case,
        "material.names",
        f"the leaf is for {listed}; missing from its subject alternative name: {', '.join([*unlisted, *lost])}",
        "Issue the leaf with these names (IP addresses as iPAddress; a common name counts for nothing).",
    )


def lifetime(case: Case) -> Finding:
    """Not longer-lived than the policy wants (row 9; CASSANDRA-18951)."""
    leaf = case.material.leaf
    lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    if lifetime <= case.policy.max_validity:
        return passed(case, "material.lifetime", f"valid for {span(lifetime)} in all")
    return warned(
        case,
        "material.lifetime",
        f"valid for {span(lifetime)} in all, the policy wants {span(case.policy.max_validity)} at most; nodes with "
        "max_certificate_validity_period may refuse it",
        "Issue shorter-lived leaves.",
    )


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _weak_key(certificate: x509.Certificate, policy: MaterialPolicy) -> str:
    """What the policy has against the certificate's key; empty when nothing."""
    match certificate.public_key():
        case rsa.RSAPublicKey(key_size=bits):
            return f"the policy wants {policy.min_rsa_bits} bits" if bits < policy.min_rsa_bits else ""
        case ec.EllipticCurvePublicKey(curve=curve):
            return "" if curve.name in policy.curves else f"the policy allows {', '.join(policy.curves)}"
        case _:
            # PEMReader parses RSA, DSA and EC; Java 11 has no Ed25519; DSA is gone from TLS 1.3
            return "Cassandra on Java 11 and 17 can use RSA and EC keys"
