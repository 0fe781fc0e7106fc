"""A vault's PKI engine: it signs a node's request. Nothing is believed of its answer that can be compared.

The API: https://openbao.org/api-docs/secret/pki/ (sign certificate).
"""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealring.errors import Actor, SealringError, refuse
from sealring.local_files import read_small
from sealring.models.vault import PkiSettings
from sealring.pki.certificates import Certificates, load_certificates
from sealring.pki.material import Material, links
from sealring.pki.requests import Request, names_in
from sealring.sources.vault import Vault

LEEWAY = timedelta(hours=1)
"""By how much the clocks of vault and worker may differ before a certificate counts as longer-lived than asked."""


async def issue(vault: Vault, settings: PkiSettings, request: Request) -> Material:
    """A certificate for a node's request, with its chain and what nodes shall trust.

    Args:
        vault: who signs.
        settings: role, life and trust.
        request: of the node; its names are asked for, no others.

    Raises:
        SealringError: stop: `vault.issue-refused`, `vault.issued-wrong`, `vault.no-root`, `material.not-a-certificate`,
            `vault.settings`; else those of `Vault.write`.
    """
    addresses, names = _sorted_out(request)
    content = {
        "csr": request.pem,
        "format": "pem",
        "ttl": f"{int(settings.ttl.total_seconds())}s",
        # For roles that do not take these from the request (use_csr_common_name, use_csr_sans).
        "ip_sans": ",".join(addresses),
        "alt_names": ",".join(names),
    }
    try:
        answer = await vault.write(settings.vault_role, content)
    except SealringError as error:
        if error.code != "vault.refused":
            raise
        raise refuse(
            "vault.issue-refused",
            f"pki.vault_role: no certificate for {', '.join(sorted(request.names))}: {error.message}",
            f"look at the role (`bao read {settings.vault_role.replace('/sign/', '/roles/')}`): allow_ip_sans, "
            "allowed_domains for policy.names, key_type and require_cn; docs/sources.md shows one",
            actor=Actor.PKI_ADMIN,
        ) from None
    where = f"{settings.vault_role}: certificate"
    above = answer.get("ca_chain") or [answer.get("issuing_ca")]
    texts = [text for text in (above if isinstance(above, list) else []) if isinstance(text, str) and text]
    (leaf,) = load_certificates(str(answer.get("certificate", "")).encode(), where)[:1]
    others = tuple(c for text in texts for c in load_certificates(text.encode(), where))
    chain = tuple(c for c in links(leaf, others) if c.subject != c.issuer)
    material = Material(leaf, chain, request.key, _trust(settings, others))
    if wrong := objections(material, request, settings):
        raise refuse(
            "vault.issued-wrong",
            f"{settings.vault_role}: the certificate is not what was asked for: {wrong}",
            "look at the role and at who answers at vault.address; nothing was put on the node",
            actor=Actor.PKI_ADMIN,
        )
    return material


def objections(material: Material, request: Request, settings: PkiSettings) -> str:
    """How a certificate differs from what a node asked for; empty when it does not."""
    leaf, found = material.leaf, []
    if not request.key.belongs_to(leaf.public_key()):
        found.append("it has another key")
    try:
        names = names_in(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        names = frozenset()
    found += [f"it lacks {name}" for name in sorted(request.names - names)]
    found += [f"it names {name} too" for name in sorted(names - request.names)]
    if leaf.not_valid_after_utc > datetime.now(UTC) + settings.ttl + LEEWAY:
        found.append(f"it lives until {leaf.not_valid_after_utc:%Y-%m-%d}, longer than pki.ttl")
    return "; ".join(found)


def pem(certificates: Certificates) -> bytes:
    """Certificates as PEM text."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def _sorted_out(request: Request) -> tuple[list[str], list[str]]:
    addresses, names = [], []
    for name in sorted(request.names):
        try:
            addresses.append(str(ip_address(name)))
        except ValueError:
            names.append(name)
    return addresses, names


def _trust(settings: PkiSettings, answered: Certificates) -> Certificates:
    """The authorities of `pki.ca`; else the roots in the vault's answer."""
    if settings.ca is not None:
        try:
            return load_certificates(read_small(settings.ca), str(settings.ca))
        except OSError as error:
            words = f"pki.ca: {settings.ca}: {error.strerror}"
            raise refuse("vault.settings", words, "give a PEM file of authorities") from None
    roots = tuple(c for c in answered if c.subject == c.issuer)
    if not roots:
        raise refuse(
            "vault.no-root",
            f"{settings.vault_role}: the vault's answer holds no root, so it does not say what nodes shall trust",
            "name a PEM file of authorities in pki.ca, or give the vault its issuer's chain",
            actor=Actor.PKI_ADMIN,
        )
    return roots
