"""Certificates for tests of `sealring.pki`, every part of them open to choice; `lab.authority` makes the usual ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sealring.models.cluster import NodeRef
from sealring.pki.keys import PrivateKey, SigningKey
from sealring.pki.material import Material

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ADDRESS = "10.0.0.1"
NODE = NodeRef(
    host_id="5f0d9a52-0000-4000-8000-000000000001",
    address=ADDRESS,
    internode_address=ADDRESS,
    datacenter="dc1",
    rack="r1",
)
BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


@cache
def key(name: str = "default") -> SigningKey:
    """One key for each name: making RSA keys is slow."""
    if name.startswith("rsa-"):
        return rsa.generate_private_key(public_exponent=65537, key_size=int(name.split("-")[1]))
    if name.startswith("ed25519"):
        return ed25519.Ed25519PrivateKey.generate()
    curves: dict[str, ec.EllipticCurve] = {"k1": ec.SECP256K1(), "small": ec.SECP192R1()}
    return ec.generate_private_key(curves.get(name.split("-")[0], ec.SECP256R1()))


@dataclass(frozen=True)
class Made:
    certificate: x509.Certificate
    key: SigningKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make(
    name: str,
    issuer: Made | None = None,
    *,
    ca: bool = False,
    path_length: int | None = None,
    start: datetime = NOW - timedelta(days=10),
    end: datetime = NOW + timedelta(days=80),
    own_key: str = "",
    usages: Sequence[x509.ObjectIdentifier] | None = BOTH,
    sign: bool = True,
    names: Sequence[str] = (),
    addresses: Sequence[str] = (ADDRESS,),
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> Made:
    """A certificate; it signs itself without an issuer. `sign`: digitalSignature of a leaf, keyCertSign of a CA."""
    own = key(own_key or name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer.certificate.subject if issuer else _name(name))
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca, path_length), critical=True)
        .add_extension(_usage(sign and not ca, sign and ca), critical=True)
    )
    if not ca and usages is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if not ca and (names or addresses):
        general = [x509.IPAddress(ip_address(a)) for a in addresses] + [x509.DNSName(n) for n in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    for extension, critical in extra:
        builder = builder.add_extension(extension, critical)
    signer = issuer.key if issuer else own
    assert not isinstance(signer, ed25519.Ed25519PrivateKey)
    return Made(builder.sign(signer, hashes.SHA256()), own)


def material(leaf: Made, *chain: Made, trust: Sequence[Made], own_key: SigningKey | None = None) -> Material:
    return Material(
        leaf=leaf.certificate,
        chain=tuple(c.certificate for c in chain),
        key=PrivateKey(own_key or leaf.key),
        trust=tuple(t.certificate for t in trust),
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(sign: bool, cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(sign, False, not sign, False, False, cert_sign, cert_sign, False, False)


ROOT = make("root", ca=True)
ISSUING = make("issuing", ROOT, ca=True)
OTHER_ROOT = make("other root", ca=True)
LEAF = make("leaf", ISSUING)
GOOD = material(LEAF, ISSUING, trust=[ROOT])
