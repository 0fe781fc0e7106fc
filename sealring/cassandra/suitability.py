"""Would this node's Java and configuration take this material? Pure: what runs and what is delivered in, findings out.

Rows 9, 10, 12, 26, 27 and 28 of the handbook, section 5.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from posixpath import basename

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID

from sealring.cassandra.judging import Judge
from sealring.cassandra.node_settings import SPIFFE, NodeSettings
from sealring.cassandra.work import Work
from sealring.errors import Actor
from sealring.models.evidence import Finding
from sealring.pki.certificates import name_of
from sealring.pki.material import Material
from sealring.pki.trust import explain_path

REVOCATION = ("com.sun.net.ssl.checkRevocation", "com.sun.security.enableCRLDP")
_ANY_KEY = re.compile(r"TLS_(AES|CHACHA20)_")  # TLS 1.3 suites do not name the kind of key (RFC 8446, B.4)
_SIZE = re.compile(r"(?P<kind>RSA|DSA|EC)\s+keySize\s*(?P<sign><=|<|==|>|>=|!=)\s*(?P<bits>[0-9]{1,9})", re.IGNORECASE)


@dataclass(frozen=True)
class Node:
    """One node as it runs: the command line of its process, its settings, what its Java disables."""

    arguments: Sequence[str]
    settings: NodeSettings
    disabled: Sequence[tuple[str, str]]
    jmx_stores: Sequence[str] = ()


def suitability_findings(node: Node, material: Material, current: Material, judge: Judge) -> tuple[Finding, ...]:
    """`material.lifetime` (by the node's own limit), `node.ciphers`, `node.jvm-algorithms`, `node.revocation`,
    `node.jmx-store`, `node.peer-identity`.

    Args:
        node: as it runs.
        material: delivered for it.
        current: in force there.
        judge: of the node.
    """
    found = (
        _lifetime(node.settings, material, judge),
        _ciphers(node.settings, material, judge),
        _algorithms(node, material, judge),
        _revocation(node.arguments, material, judge),
        _jmx(node, judge),
        _identity(node.settings, material, current, judge),
    )
    return tuple(finding for finding in found if finding)


def client_finding(work: Work, material: Material, current: Material, judge: Judge) -> Finding:
    """`node.clients`: whether those who are connected now would trust what will be presented. Pure.

    A client that trusts the authority of the certificate in force trusts every leaf of that authority; about any other
    authority nothing can be seen from here (`system_views.clients` has no certificates).
    """
    count = sum(number for _, number in work.clients)
    who = "; ".join(f"{number} × {name}" for name, number in work.clients[:5]) or "nobody"
    at = max(
        material.leaf.not_valid_before_utc, min(current.leaf.not_valid_after_utc, material.leaf.not_valid_after_utc)
    )
    tops = [c for c in (*current.chain, *current.trust) if c.subject == (current.leaf, *current.chain)[-1].issuer]
    if not explain_path(material.leaf, material.chain, tops, at=at):
        return judge.passed("node.clients", f"the same authority as now; connected: {who}")
    message = f"{count} connections of clients, and the authority is another than now: {who}"
    remedy = (
        f"let their owners trust {name_of((material.leaf, *material.chain)[-1])}'s issuer before, or they fail later"
    )
    return judge.warned("node.clients", message, remedy, Actor.OPERATOR)


def identity_of(certificate: x509.Certificate) -> str:
    """What SpiffeCertificateValidator takes from a certificate: the first SPIFFE URI; empty when it has none."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return next((uri for uri in uris if uri.startswith("spiffe")), "")


def _lifetime(settings: NodeSettings, material: Material, judge: Judge) -> Finding | None:
    limit = settings.longest_validity
    life = material.leaf.not_valid_after_utc - material.leaf.not_valid_before_utc
    if limit is None or life <= limit:
        return None  # judged by the policy already
    return judge.failed(
        "material.lifetime",
        f"the leaf is valid for {life.days} days in all, max_certificate_validity_period is {limit.days} days",
        "issue a shorter-lived leaf (CASSANDRA-18951)",
        Actor.PKI_ADMIN,
    )


def _ciphers(settings: NodeSettings, material: Material, judge: Judge) -> Finding | None:
    if not settings.ciphers:
        return None
    kind = "_ECDSA_" if isinstance(material.leaf.public_key(), ec.EllipticCurvePublicKey) else "_RSA_"
    for section, suites in settings.ciphers:
        if not any(_ANY_KEY.match(suite) or kind in suite for suite in suites):
            return judge.failed(
                "node.ciphers",
                f"{section}.cipher_suites has none for a key like the leaf's ({kind.strip('_')}): {', '.join(suites)}",
                "issue a leaf with the other kind of key, or add a suite for it and restart first",
            )
    return judge.passed("node.ciphers", f"cipher_suites has suites for {kind.strip('_')} keys")


def _algorithms(node: Node, material: Material, judge: Judge) -> Finding | None:
    if not node.disabled:
        return None
    for certificate in (material.leaf, *material.chain):
        for setting, rules in node.disabled:
            if rule := _refused_by(certificate, rules):
                return judge.failed(
                    "node.jvm-algorithms",
                    f"{name_of(certificate)} falls under `{rule}` of {setting} in the node's java.security",
                    "issue it with another key or hash; do not weaken java.security",
                    Actor.PKI_ADMIN,
                )
    return judge.passed("node.jvm-algorithms", f"none of {', '.join(name for name, _ in node.disabled)} applies")


def _refused_by(certificate: x509.Certificate, rules: str) -> str:
    """The first rule that the certificate falls under; rules with conditions (jdkCA, usage, date) are left out."""
    kind, bits = _key_of(certificate)
    hashed = _hash_of(certificate)
    for rule in filter(None, (rule.strip() for rule in rules.split(","))):
        size = _SIZE.fullmatch(rule)
        if size and size["kind"].upper() == kind and _compares(bits, size["sign"], int(size["bits"])):
            return rule
        if rule.upper() in (kind, f"{hashed}WITH{'ECDSA' if kind == 'EC' else kind}", hashed):
            return rule
        if rule == curve_of(certificate):
            return rule
    return ""


def _compares(bits: int, sign: str, limit: int) -> bool:
    return {
        "<": bits < limit,
        "<=": bits <= limit,
        "==": bits == limit,
        "!=": bits != limit,
        ">": bits > limit,
        ">=": bits >= limit,
    }[sign]


def _key_of(certificate: x509.Certificate) -> tuple[str, int]:
    match certificate.public_key():
        case rsa.RSAPublicKey(key_size=bits):
            return "RSA", bits
        case ec.EllipticCurvePublicKey(key_size=bits):
            return "EC", bits
        case dsa.DSAPublicKey(key_size=bits):
            return "DSA", bits
        case _:
            return "EdDSA", 0


def curve_of(certificate: x509.Certificate) -> str:
    """`secp256r1`; empty for other kinds of key."""
    key = certificate.public_key()
    return key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else ""


def _hash_of(certificate: x509.Certificate) -> str:
    """As java.security names it: `SHA1`, `MD5`; a root's signature on itself counts for nothing."""
    if certificate.subject == certificate.issuer:
        return ""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return ""
    return algorithm.name.upper() if algorithm else ""


def _revocation(arguments: Sequence[str], material: Material, judge: Judge) -> Finding:
    on = [name for name in REVOCATION if f"-D{name}=true" in arguments]
    if not on:
        return judge.passed("node.revocation", "the Java does not check revocation")
    told = f"revocation is checked ({', '.join(on)})"
    if not _names_a_status(material.leaf):
        return judge.failed(
            "node.revocation",
            f"{told}, and the leaf names neither a CRL nor an OCSP responder: its state cannot be found out",
            "issue the leaf with one of them, or turn the check off and restart first",
            Actor.PKI_ADMIN,
        )
    return judge.warned(
        "node.revocation",
        f"{told}: every handshake waits for the responder",
        "be sure that every node reaches it",
        Actor.NETWORK_ADMIN,
    )


def _names_a_status(leaf: x509.Certificate) -> bool:
    try:
        leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints)
        return True
    except x509.ExtensionNotFound:
        pass
    try:
        access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return False
    return any(entry.access_method == AuthorityInformationAccessOID.OCSP for entry in access)


def _jmx(node: Node, judge: Judge) -> Finding:
    if node.jmx_stores:
        remedy = "give JMX a store of its own, or plan a restart: until then nodetool sees the old certificate"
        shared = ", ".join(basename(path) for path in node.jmx_stores)
        return judge.warned("node.jmx-store", f"JMX over TLS uses {shared} too, and reads it at the start only", remedy)
    remote = any(argument == "-Dcom.sun.management.jmxremote.ssl=true" for argument in node.arguments)
    return judge.passed(
        "node.jmx-store", f"JMX {'over TLS has a store of its own' if remote else 'is not told to speak TLS'}"
    )


def _identity(settings: NodeSettings, material: Material, current: Material, judge: Judge) -> Finding | None:
    if not settings.peer_validator:
        return None
    if settings.peer_validator != SPIFFE:
        return judge.warned(
            "node.peer-identity",
            f"identities are taken from certificates by {settings.peer_validator}, which only Cassandra can run",
            "be sure that the new leaf has the same identity as the one in force",
        )
    old, new = identity_of(current.leaf), identity_of(material.leaf)
    if new and (new == old or new in settings.trusted_identities):
        return judge.passed("node.peer-identity", f"the identity {new} is known to the peers")
    return judge.failed(
        "node.peer-identity",
        f"the leaf's identity is {new or 'none'}, the one in force has {old or 'none'}: peers took their list when "
        "they started (MutualTlsInternodeAuthenticator) and would refuse it",
        "list it in trusted_peer_identities on every node and restart them first, or issue the old identity again",
    )
