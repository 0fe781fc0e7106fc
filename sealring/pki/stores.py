"""The files that Cassandra reads: keystores and truststores, PKCS#12 or PEM.

Formats as Cassandra's `FileBasedSslContextFactory` and `PEMBasedSslContextFactory` want them. Measured:
- PKCS#12 with AES-256 and an HMAC of SHA-256, written here, opens on Java 11 and 17.
- A PKCS#12 file that the configuration declares as JKS is opened by the JDK too (`keystore.type.compat`), so an
  existing store is read by its content.
- `PEMReader` tries to decrypt the key whenever keystore_password is set, and decrypts none of the encryptions that
  OpenSSL 3 or `cryptography` write ("PBES2 SecretKeyFactory not available" on Java 11 and 17). PEM keystores are
  therefore written only where no password is configured.
"""

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from sealring.errors import Actor, SealringError, refuse
from sealring.models.node import StoreFormat
from sealring.pki._pkcs12 import bad_format, looks_like_pkcs12, open_pkcs12
from sealring.pki.certificates import Certificates, fingerprint, load_certificates, pem_blocks
from sealring.pki.keys import PrivateKey, load_private_key
from sealring.pki.material import Material, issuing_order, require_matching_key
from sealring.pki.views import View, read_view

ALIAS = b"cassandra"

_JKS_MAGIC = (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")  # JKS and JCEKS


def write_keystore(material: Material, store_format: StoreFormat, password: str) -> bytes:
    """A keystore with one entry: key, leaf and chain.

    Args:
        material: whose trust is not used.
        store_format: of the file.
        password: of store and key, from cassandra.yaml; "" when none is configured.

    Raises:
        SealringError: store.jks-unsupported, store.password, material.key-matches-leaf.
    """
    require_matching_key(material, "keystore")
    require_writable(store_format, password)
    assert isinstance(material.key, PrivateKey), "a node assembles the keystore of a key that it keeps"
    key = material.key.use()
    if store_format == "PEM":
        pem_key = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return pem_key + _pem((material.leaf, *material.chain))
    return pkcs12.serialize_key_and_certificates(
        ALIAS, key, material.leaf, material.chain, BestAvailableEncryption(password.encode())
    )


def require_writable(store_format: StoreFormat, password: str) -> None:
    """Refuse to make a keystore that Cassandra could not open.

    Raises:
        SealringError: store.jks-unsupported, store.password.
    """
    if store_format == "PEM":
        _require_no_pem_password(password)
    else:
        _require_pkcs12(store_format, password, "keystore")


def write_truststore(trust: Certificates, store_format: StoreFormat, password: str) -> bytes:
    """A truststore with one trusted entry for each certificate; the alias is the fingerprint, so it says what is in it.

    Args:
        trust: authorities; duplicates are written once.
        store_format: of the file.
        password: from cassandra.yaml; ignored for PEM, as Cassandra does.

    Raises:
        SealringError: store.jks-unsupported, store.password; store.empty when there is nothing to trust.
    """
    entries = {fingerprint(certificate): certificate for certificate in trust}
    if not entries:
        raise refuse("store.empty", "truststore: no authority to trust", "Deliver a ca.crt.", actor=Actor.PKI_ADMIN)
    if store_format == "PEM":
        return _pem(tuple(entries.values()))
    _require_pkcs12(store_format, password, "truststore")
    return pkcs12.serialize_java_truststore(
        [pkcs12.PKCS12Certificate(certificate, alias.encode()) for alias, certificate in sorted(entries.items())],
        BestAvailableEncryption(password.encode()),
    )


def read_keystore(data: bytes | View, store_format: StoreFormat, password: str, where: str) -> Material:
    """The identity in a keystore, as Cassandra would load it with this password; `trust` is empty.

    Args:
        data: the file's content, or what its node shows of it.
        store_format: what the configuration declares; PKCS12 and JKS are told apart by content.
        password: from cassandra.yaml; "" when none is configured.
        where: the file, for messages.

    Raises:
        SealringError: store.format, store.jks-unsupported, store.password, material.not-a-key,
            material.not-a-certificate.
    """
    if isinstance(data, View):
        return read_view(data, store_format, where)
    if _content(data, store_format, where) == "PKCS12":
        leaf, key, others = open_pkcs12(data, password, where, Actor.CASSANDRA_ADMIN).identity()
        return Material(leaf, issuing_order(leaf, others), key, ())
    blocks = pem_blocks(data, where)
    keys = [text for label, text in blocks if label.endswith(b"PRIVATE KEY")]
    if password and not any(b"ENCRYPTED" in key for key in keys):
        raise refuse(
            "store.password",
            f"{where}: keystore_password is set and the PEM key is not encrypted, which Cassandra's PEMReader refuses",
            "Remove keystore_password from cassandra.yaml for this file.",
            actor=Actor.CASSANDRA_ADMIN,
        )
    secret = b"\n".join(keys)
    public = b"\n".join(text for label, text in blocks if not label.endswith(b"PRIVATE KEY"))
    leaf, *chain = load_certificates(public, where)
    return Material(leaf, tuple(chain), load_private_key(secret, where, password=password or None), ())


def read_truststore(data: bytes, store_format: StoreFormat, password: str, where: str) -> Certificates:
    """The certificates that a truststore trusts. Arguments and errors as `read_keystore`.

    Of a PKCS#12 file Java trusts only entries with its own attribute (2.16.840.1.113894.746875.1.1), which
    `keytool` and this module write and `openssl pkcs12 -export` does not; the attribute cannot be seen here.
    """
    if _content(data, store_format, where) == "PEM":
        return load_certificates(data, where)
    opened = open_pkcs12(data, password, where, Actor.CASSANDRA_ADMIN)
    if opened.key is not None:
        raise bad_format(where, "it holds a private key where a truststore was expected", Actor.CASSANDRA_ADMIN)
    return opened.others


def detect_format(data: bytes) -> StoreFormat:
    """The format of a store by its content.

    Raises:
        SealringError: store.format when it is none of the three.
    """
    if data.startswith(_JKS_MAGIC):
        return "JKS"
    if looks_like_pkcs12(data):
        return "PKCS12"
    if b"-----BEGIN " in data:
        return "PEM"
    raise bad_format("store", "it is neither PKCS#12, JKS nor PEM, or was cut off", Actor.CASSANDRA_ADMIN)


def same_keystore(data: bytes | View, material: Material, store_format: StoreFormat, password: str) -> bool:
    """Whether a keystore already holds this leaf, chain and key and opens as Cassandra would open it.

    Bytes cannot be compared: PKCS#12 differs at each write.
    """
    try:
        held = read_keystore(data, store_format, password, "keystore")
    except SealringError:
        return False
    own = held.key.belongs_to(material.leaf.public_key())
    return own and (held.leaf, held.chain) == (material.leaf, material.chain)


def same_truststore(data: bytes, trust: Certificates, store_format: StoreFormat, password: str) -> bool:
    """Whether a truststore already trusts exactly these certificates, in any order, and opens with this password."""
    try:
        held = read_truststore(data, store_format, password, "truststore")
    except SealringError:
        return False
    return set(map(fingerprint, held)) == set(map(fingerprint, trust))


def _content(data: bytes, declared: StoreFormat, where: str) -> StoreFormat:
    try:
        found = detect_format(data)
    except SealringError:
        raise bad_format(where, "it is neither PKCS#12, JKS nor PEM, or was cut off", Actor.CASSANDRA_ADMIN) from None
    if found == "JKS":
        raise _jks(where)
    if (found == "PEM") != (declared == "PEM"):
        raise bad_format(where, f"it is {found} and the configuration says {declared}", Actor.CASSANDRA_ADMIN)
    return found


def _require_pkcs12(store_format: StoreFormat, password: str, role: str) -> None:
    if store_format == "JKS":
        raise _jks(role)
    if not password:
        raise refuse(
            "store.password",
            f"{role}: a PKCS#12 store needs a password and none is configured",
            f"Set {role}_password in cassandra.yaml and restart the node once.",
            actor=Actor.CASSANDRA_ADMIN,
        )


def _require_no_pem_password(password: str) -> None:
    if password:
        raise refuse(
            "store.password",
            "keystore: PEM with keystore_password set; Cassandra's PEMReader (Java 11 and 17) cannot decrypt such keys",
            "Remove keystore_password from cassandra.yaml (file mode 0600 protects the key), or use PKCS#12.",
            actor=Actor.CASSANDRA_ADMIN,
        )


def _jks(where: str) -> SealringError:
    return refuse(
        "store.jks-unsupported",
        f"{where}: JKS stores are neither read nor written yet; expected PKCS#12",
        "Convert once: `keytool -importkeystore -srckeystore OLD -destkeystore NEW -deststoretype PKCS12`; "
        "store_type may stay JKS, the JDK opens both.",
        actor=Actor.CASSANDRA_ADMIN,
    )


def _pem(certificates: Certificates) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
