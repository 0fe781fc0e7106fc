"""Who would accept this leaf: building a path from a leaf to an authority that somebody trusts.

Why an own path builder: what matters is what Cassandra's peers do, which is the JDK's PKIX validation. `cryptography`'s
verifier follows the web's rules (it wants a subject alternative name, an authority key identifier, critical
basicConstraints, anchors of version 3), so it refuses private authorities that Java accepts, and it answers
"candidates exhausted" where an operator must know *which* certificate is missing. It still decides what is easy to get
wrong: paths with name constraints (RFC 5280, 4.2.1.10) are given to it.
Stricter than Java on purpose: dates and basicConstraints of an anchor count too, since OpenSSL clients refuse what is
past them. A test asks a JDK (`tests/unit/test_trust_java.py`).
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509 import verification
from cryptography.x509.oid import ExtensionOID

from sealring.pki.certificates import Certificates, alternative_names, fingerprint, name_of

_DEPTH = 10  # certificates in a path; OpenSSL and the JDK stop at about as many
_COMPARISONS = 20_000  # signatures, 0.1 ms each; a store of the public web's authorities has 150 certificates
_UNDERSTOOD = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.NAME_CONSTRAINTS,
    ExtensionOID.CERTIFICATE_POLICIES,  # any policy will do: neither Cassandra nor its drivers ask for one
}


def explain_path(
    leaf: x509.Certificate,
    chain: Sequence[x509.Certificate],
    roots: Iterable[x509.Certificate],
    *,
    at: datetime,
    address: str | None = None,
) -> str:
    """Why somebody who trusts `roots` would refuse the leaf; empty when it would be accepted.

    Args:
        leaf: the certificate presented.
        chain: the certificates presented with it, in any order.
        roots: what is trusted; an intermediate or the leaf itself may be among them, as in a Java truststore.
        at: the instant to judge at (aware).
        address: the IP address or DNS name that was dialled; None when names are not checked.
    """
    found = find_path(leaf, chain, roots, at=at)
    if isinstance(found, str):
        return found
    return "" if address is None or serves(leaf, address) else _other_names(leaf, address)


def find_path(
    leaf: x509.Certificate, chain: Sequence[x509.Certificate], roots: Iterable[x509.Certificate], *, at: datetime
) -> Certificates | str:
    """The shortest path (leaf first, anchor last), or the reason why there is none.

    Breadth first, each issuer looked at once, so that many cross-signed authorities cost little.
    """
    anchors = {fingerprint(root): root for root in roots}
    if not anchors:
        return "no authority is trusted at all"
    if problem := _unusable(leaf, at):
        return problem
    candidates = {fingerprint(c): c for c in chain} | anchors
    plain = _plain_authorities(anchors, (leaf, *chain))
    reasons: list[str] = []
    seen = {fingerprint(leaf)}
    queue: list[Certificates] = [(leaf,)]
    for path in queue:
        if len(queue) * len(candidates) > _COMPARISONS:
            return f"more than {_COMPARISONS} signatures would have to be compared: too many authorities of one name"
        if fingerprint(path[-1]) in anchors:
            problem = _names_forbidden(path, at)
            if not problem:
                return path
            reasons.append(problem)
            continue
        if len(path) >= _DEPTH:
            reasons.append(f"the path is longer than {_DEPTH} certificates")
            continue
        reasons += _extend(path, candidates, plain, seen, queue, at)
    # never empty: empty means accepted, and a circle of authorities gives no reason of its own
    return "; ".join(dict.fromkeys(reasons[-3:])) or f"no path from {name_of(leaf)} ends at a trusted authority"


def issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `issuer` carries the name and made the signature of `certificate`."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether basicConstraints make it an authority (RFC 5280, 4.2.1.9)."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def serves(leaf: x509.Certificate, address: str) -> bool:
    """Whether the subject alternative name has this IP address or DNS name (one left-most `*` label allowed)."""
    names, addresses = alternative_names(leaf)
    if (ip := _ip(address)) is not None:
        return any(_ip(listed) == ip for listed in addresses)
    wanted = address.lower().rstrip(".").split(".")
    for name in names:
        labels = name.lower().rstrip(".").split(".")
        if labels == wanted or (labels[0] == "*" and len(labels) > 2 and labels[1:] == wanted[1:]):
            return True
    return False


def _extend(
    path: Certificates,
    candidates: dict[str, x509.Certificate],
    plain: Container[str],
    seen: set[str],
    queue: list[Certificates],
    at: datetime,
) -> Iterator[str]:
    """Append to the queue every path one certificate longer; yield what stands in the way of the others."""
    last = path[-1]
    named = [(digest, c) for digest, c in candidates.items() if c.subject == last.issuer]
    if issued(last, last) and all(c == last for _, c in named):
        yield f"{name_of(last)} signed itself and is not trusted"
    elif not named:
        yield f"the issuer of {name_of(last)}, {last.issuer.rfc4514_string()}, is neither in the chain nor trusted"
    for digest, issuer in named:
        if digest in seen:
            continue
        if not issued(last, issuer):
            yield f"{name_of(last)} was not signed by the {name_of(issuer)} at hand: another key or a damaged signature"
        elif problem := _unusable(issuer, at) or ("" if digest in plain else _not_an_issuer(issuer, path)):
            yield problem
        else:
            seen.add(digest)
            queue.append((*path, issuer))


def _unusable(certificate: x509.Certificate, at: datetime) -> str:
    """Validity and critical extensions: what any certificate in a path must satisfy."""
    name = name_of(certificate)
    if at < certificate.not_valid_before_utc:
        return f"{name} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC"
    if at > certificate.not_valid_after_utc:
        return f"{name} expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC"
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            return f"{name} has a critical extension that is not understood ({extension.oid.dotted_string})"
    return ""


def _plain_authorities(anchors: Mapping[str, x509.Certificate], sent: Sequence[x509.Certificate]) -> set[str]:
    """Trusted certificates of version 1: with no extensions they say neither that they are authorities nor are not.

    Many guides make such roots (`openssl req -x509` with a configuration that names no extensions), OpenSSL takes
    them, and the JDK does where the chain is sent in order (`PKIXValidator`: otherwise a builder is asked, which not).
    """
    if any(above.subject != below.issuer for below, above in pairwise(sent)):
        return set()
    return {digest for digest, anchor in anchors.items() if anchor.version is x509.Version.v1}


def _not_an_issuer(issuer: x509.Certificate, below: Certificates) -> str:
    """What forbids `issuer` to sign the path below it (RFC 5280, 6.1.4 k to n)."""
    name = name_of(issuer)
    if not is_authority(issuer):
        return f"{name} signed a certificate but is no authority (basicConstraints CA)"
    limit = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    if limit is not None and sum(c.subject != c.issuer for c in below[1:]) > limit:
        return f"{name} allows {limit} authorities below it, and there are more"
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return ""
    return "" if usage.key_cert_sign else f"{name} may not sign certificates (keyUsage has no keyCertSign)"


def _names_forbidden(path: Certificates, at: datetime) -> str:
    """What name constraints say to a path, as `cryptography` judges it; empty when no authority has any."""
    if not any(_has_name_constraints(c) for c in path[1:]):
        return ""
    any_name = verification.ExtensionPolicy.permit_all()
    authority = any_name.require_present(x509.BasicConstraints, verification.Criticality.AGNOSTIC, None)
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store([path[-1]]))
        .time(at)
        .extension_policies(ca_policy=authority, ee_policy=any_name)
        .build_client_verifier()  # of the two, the one that wants no name to compare with
    )
    try:
        verifier.verify(path[0], list(path[1:-1]))
    except verification.VerificationError as error:
        return f"name constraints above {name_of(path[0])}: {str(error).split('(encountered')[0].strip()}"
    return ""


def _has_name_constraints(certificate: x509.Certificate) -> bool:
    return any(extension.oid == ExtensionOID.NAME_CONSTRAINTS for extension in certificate.extensions)


def _other_names(leaf: x509.Certificate, address: str) -> str:
    names, addresses = alternative_names(leaf)
    listed = ", ".join([*addresses, *names]) or "nothing"
    return f"{name_of(leaf)} is for {listed}, not for {address}"


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
