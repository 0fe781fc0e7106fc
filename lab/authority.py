"""The lab's certificate authorities: good leaves for every node, and every kind of bad one a test may need.

Everything is made in process with `cryptography`; no key is ever an argument or a temporary file.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, TypedDict, Unpack

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from lab.certificates import PrivateKey, builder, common_name, issued_by, key_usage, new_key, private_pem, weaken
from lab.spec import LabSpec

Usage = Literal["server", "client"]
Fault = Literal["wrong-key", "foreign-ca", "expired", "not-yet-valid", "no-san", "no-eku", "missing"]

LOOPBACK = "127.0.0.1"  # source address of every node here: Cassandra does not bind its outbound socket
LEAF_DAYS = 90
AUTHORITY_DAYS = 3650
BACKDATED = timedelta(hours=1)  # room for clocks that run behind
ALIAS = "cassandra"

_USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True)
class Identity:
    """A leaf with its way up and its key, all PEM."""

    certificate: bytes  # the leaf alone
    chain: bytes  # intermediates, leaf's issuer first; empty when a root issued the leaf
    key: bytes = field(repr=False)  # PKCS#8, not encrypted


class How(TypedDict, total=False):
    """What `Authority.issue` may vary; times are UTC and aware."""

    not_before: datetime | None
    not_after: datetime | None
    key: str
    usages: Sequence[Usage]
    signature: Literal["sha256", "sha1"]


@dataclass(frozen=True)
class Authority:
    """A root, or an intermediate below one."""

    certificate: bytes  # PEM of this authority itself
    chain: bytes  # what its leaves must carry: empty for a root
    trusted: bytes  # PEM of the root: what others must trust
    folder: Path
    _key: PrivateKey = field(repr=False)

    @classmethod
    def open(cls, folder: Path, name: str = "lab root", *, key: str = "ec-p256") -> "Authority":
        """The root kept in `folder` (ca.crt, and ca.key with mode 0600); made on first use."""
        if not (folder / "ca.crt").exists():
            _found(folder, name, new_key(key), parent=None)
        certificate, private = _read(folder)
        return cls(certificate, b"", certificate, folder, private)

    def intermediate(self, name: str) -> "Authority":
        """An authority below this one, kept in a folder of its name below this one's; made on first use."""
        folder = self.folder / name.replace(" ", "-")
        if not (folder / "ca.crt").exists():
            _found(folder, name, new_key("ec-p256"), parent=self)
        certificate, private = _read(folder)
        return Authority(certificate, certificate + self.chain, self.trusted, folder, private)

    def issue(
        self,
        addresses: Sequence[str],
        *,
        names: Sequence[str] = (),
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        key: str = "ec-p256",
        usages: Sequence[Usage] = ("server", "client"),
        common_name: str | None = None,
        signature: Literal["sha256", "sha1"] = "sha256",
    ) -> Identity:
        """A new key and a leaf for it.

        Args:
            addresses: IP addresses for the subject alternative name.
            names: DNS names for it; with neither, the leaf has no such extension at all.
            not_before: first instant of validity; an hour ago when not given.
            not_after: last instant of validity; 90 days after the first when not given.
            key: "ec-p256", "ec-p384", "rsa-1024", "rsa-2048", "rsa-4096".
            usages: extended key usages; empty for no such extension.
            common_name: the subject's name; the first address or name when not given.
            signature: "sha1" makes a leaf that any policy refuses, and needs an RSA authority.

        Raises:
            ValueError: an unknown kind of key, or SHA-1 asked of an authority without an RSA key.
        """
        start = not_before or datetime.now(UTC) - BACKDATED
        end = not_after or start + timedelta(days=LEAF_DAYS)
        private = new_key(key)
        subject = common_name or next(iter([*addresses, *names]), "nobody")
        draft = (
            builder(subject, x509.load_pem_x509_certificate(self.certificate).subject, private, start, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(leaf=True, encipher=isinstance(private, rsa.RSAPrivateKey)), critical=True)
            .add_extension(issued_by(self._key), critical=False)
        )
        if usages:
            draft = draft.add_extension(x509.ExtendedKeyUsage([_USAGES[u] for u in usages]), critical=False)
        if addresses or names:
            general = [x509.IPAddress(ip_address(a)) for a in addresses] + [x509.DNSName(n) for n in names]
            draft = draft.add_extension(x509.SubjectAlternativeName(general), critical=False)
        certificate = draft.sign(self._key, hashes.SHA256())
        leaf = certificate if signature == "sha256" else weaken(certificate, self._key)
        return Identity(leaf.public_bytes(Encoding.PEM), self.chain, private_pem(private))


def write_identity(folder: Path, identity: Identity, trusted: bytes) -> None:
    """Write tls.crt (leaf and chain, 0644), tls.key (0600) and ca.crt (0644), each replaced in one rename."""
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / "tls.key", identity.key, 0o600)
    write_file(folder / "tls.crt", identity.certificate + identity.chain, 0o644)
    write_file(folder / "ca.crt", trusted, 0o644)


def pkcs12_stores(identity: Identity, trusted: bytes, password: str) -> tuple[bytes, bytes]:
    """The identity as a PKCS#12 keystore and `trusted` (PEM, any number) as a PKCS#12 truststore that Java reads."""
    encryption = BestAvailableEncryption(password.encode())
    key = load_pem_private_key(identity.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    leaf = x509.load_pem_x509_certificate(identity.certificate)
    above = x509.load_pem_x509_certificates(identity.chain) if identity.chain else []
    entries = [
        pkcs12.PKCS12Certificate(certificate, f"ca-{i}".encode())
        for i, certificate in enumerate(x509.load_pem_x509_certificates(trusted))
    ]
    keystore = pkcs12.serialize_key_and_certificates(ALIAS.encode(), key, leaf, above, encryption)
    return keystore, pkcs12.serialize_java_truststore(entries, encryption)


def client_identity(spec: LabSpec, authority: Authority, name: str = "client") -> Path:
    """Folder (below spec.authority) of a client's tls.crt, tls.key and ca.crt for mutual TLS; made on first use.

    It carries 127.0.0.1: without it the internode port logs a misleading error for every probe.
    """
    folder = spec.authority / name
    if not (folder / "ca.crt").exists():
        write_identity(folder, authority.issue([LOOPBACK], common_name=f"sealring {name}"), authority.trusted)
    return folder


def deliver(
    spec: LabSpec,
    authority: Authority,
    name: str,
    *,
    faults: Mapping[str, Fault] | None = None,
    trusted: bytes | None = None,
    **how: Unpack[How],
) -> Path:
    """Deliver new material for every node, as a PKI would: <deliveries>/<name>/<address>/{tls.crt,tls.key,ca.crt}.

    Args:
        spec: the lab.
        authority: who issues the leaves.
        name: the delivery's folder below spec.deliveries.
        faults: what is wrong with the delivery of which address; all others get good material.
        trusted: PEM of ca.crt; the authority's root when not given.
        how: what all leaves share: validity, kind of key, usages, signature.
    """
    delivery = spec.deliveries / name
    for node in spec.ring:
        fault = (faults or {}).get(node.address)
        if fault != "missing":
            identity = _node_identity(spec, authority, node.address, fault, how)
            write_identity(delivery / node.address, identity, trusted or authority.trusted)
    return delivery


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Replace `path` in one rename; the mode is set before the content is there.

    A file that is so already is left alone: a newer cassandra.yaml would look changed since its node started.
    """
    if path.is_file() and path.read_bytes() == content and path.stat().st_mode & 0o777 == mode:
        return
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
    draft.replace(path)


def _node_identity(spec: LabSpec, authority: Authority, address: str, fault: Fault | None, how: How) -> Identity:
    sans = [address, LOOPBACK]
    now = datetime.now(UTC)
    match fault:
        case "wrong-key":
            other = authority.issue(sans, **how)
            return replace(authority.issue(sans, **how), key=other.key)
        case "foreign-ca":
            return Authority.open(spec.authority / "foreign", "foreign root").issue(sans, **how)
        case "expired":
            past = How(not_before=now - timedelta(days=LEAF_DAYS), not_after=now - timedelta(days=1))
            return authority.issue(sans, **(how | past))
        case "not-yet-valid":
            future = How(not_before=now + timedelta(days=1), not_after=now + timedelta(days=LEAF_DAYS))
            return authority.issue(sans, **(how | future))
        case "no-san":
            return authority.issue([], common_name=address, **how)
        case "no-eku":
            return authority.issue(sans, **(how | How(usages=())))
        case _:
            return authority.issue(sans, **how)


def _found(folder: Path, name: str, key: PrivateKey, parent: Authority | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    above = x509.load_pem_x509_certificate(parent.certificate).subject if parent else common_name(name)
    certificate = (
        builder(name, above, key, now - BACKDATED, now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0 if parent else None), critical=True)
        .add_extension(key_usage(leaf=False, encipher=False), critical=True)
        .add_extension(issued_by(parent._key if parent else key), critical=False)
        .sign(parent._key if parent else key, hashes.SHA256())
    )
    write_file(folder / "ca.key", private_pem(key), 0o600)
    write_file(folder / "ca.crt", certificate.public_bytes(Encoding.PEM), 0o644)


def _read(folder: Path) -> tuple[bytes, PrivateKey]:
    key = load_pem_private_key((folder / "ca.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    return (folder / "ca.crt").read_bytes(), key
