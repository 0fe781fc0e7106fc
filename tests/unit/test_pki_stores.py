"""Stores: round trips, what Java itself says about them, and one clear error for each store that does not open."""

import os
import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, pkcs12
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lab import tools
from sealring.errors import SealringError
from sealring.models.node import StoreFormat
from sealring.pki.certificates import fingerprint
from sealring.pki.material import Material
from sealring.pki.stores import (
    detect_format,
    read_keystore,
    read_truststore,
    same_keystore,
    same_truststore,
    write_keystore,
    write_truststore,
)
from tests.unit.pki_maker import GOOD, ISSUING, LEAF, OTHER_ROOT, ROOT, Made, key, make, material
from tests.unit.test_pki_certificates import refusal

SECRET = "not guessed"
ROOTS = (ROOT.certificate, OTHER_ROOT.certificate)
JAVA_HOMES = {"17": tools.java17, "11": tools.java11}

RSA = make("rsa leaf", ISSUING, own_key="rsa-2048")
DIRECT = make("direct", ROOT)
MATERIALS = [GOOD, material(RSA, ISSUING, trust=[ROOT]), material(DIRECT, trust=[ROOT])]
PASSWORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)


def without_trust(delivered: Material) -> Material:
    return Material(delivered.leaf, delivered.chain, delivered.key, ())


@settings(max_examples=25)
@given(st.sampled_from(MATERIALS), PASSWORDS)
def test_a_pkcs12_keystore_comes_back_whole(delivered: Material, password: str) -> None:
    data = write_keystore(delivered, "PKCS12", password)
    assert detect_format(data) == "PKCS12"
    assert read_keystore(data, "PKCS12", password, "k") == without_trust(delivered)
    assert read_keystore(data, "JKS", password, "k") == without_trust(delivered)  # the JDK opens it too
    assert same_keystore(data, delivered, "PKCS12", password)
    assert not same_keystore(data, delivered, "PKCS12", password + "x")
    assert data != write_keystore(delivered, "PKCS12", password)


@given(st.sampled_from(MATERIALS))
def test_a_pem_keystore_comes_back_whole(delivered: Material) -> None:
    data = write_keystore(delivered, "PEM", "")
    assert detect_format(data) == "PEM"
    assert b"BEGIN PRIVATE KEY" in data  # PKCS#8: all that PEMReader reads
    assert read_keystore(data, "PEM", "", "k") == without_trust(delivered)
    assert same_keystore(data, delivered, "PEM", "")


@settings(max_examples=25)
@given(
    st.lists(st.sampled_from([ROOT, OTHER_ROOT, ISSUING]), min_size=1), st.sampled_from(["PKCS12", "PEM"]), PASSWORDS
)
def test_a_truststore_comes_back_in_any_order(roots: list[Made], form: StoreFormat, password: str) -> None:
    trust = tuple(root.certificate for root in roots)
    data = write_truststore(trust, form, password)
    read = read_truststore(data, form, password, "t")
    assert set(read) == set(trust)
    assert len(read) == len(set(trust))
    assert same_truststore(data, tuple(reversed(trust)), form, password)
    assert not same_truststore(data, (*trust, DIRECT.certificate), form, password)


def test_other_material_is_not_the_same() -> None:
    data = write_keystore(GOOD, "PKCS12", SECRET)
    again = make("leaf", ISSUING)
    assert not same_keystore(data, material(again, ISSUING, trust=[ROOT]), "PKCS12", SECRET)
    assert not same_keystore(data, material(LEAF, trust=[ROOT]), "PKCS12", SECRET)
    assert not same_keystore(data[:-1], GOOD, "PKCS12", SECRET)
    assert not same_truststore(b"", ROOTS, "PKCS12", SECRET)


# -- Java's word


def keytool(java: str, store: Path, *options: str, kind: str = "PKCS12") -> str:
    """What `keytool -list` says; the password goes in on standard input."""
    command = [
        str(JAVA_HOMES[java]() / "bin" / "keytool"),
        "-J-Duser.language=en",
        "-list",
        "-v",
        "-keystore",
        str(store),
        "-storetype",
        kind,
    ]
    done = subprocess.run(
        [*command, *options], input=f"{SECRET}\n".encode(), capture_output=True, timeout=120, check=False
    )
    return (done.stdout + done.stderr).decode()


def colons(made: Made) -> str:
    digest = fingerprint(made.certificate).upper()
    return ":".join(digest[i : i + 2] for i in range(0, 64, 2))


@pytest.mark.criterion("F3", "K3")
@pytest.mark.parametrize("java", JAVA_HOMES)
def test_java_opens_both_stores(java: str, tmp_path: Path) -> None:
    identity, trust = tmp_path / "keystore", tmp_path / "truststore"
    identity.write_bytes(write_keystore(GOOD, "PKCS12", SECRET))
    trust.write_bytes(write_truststore(ROOTS, "PKCS12", SECRET))
    told = keytool(java, identity)
    assert "Entry type: PrivateKeyEntry" in told
    assert "Certificate chain length: 2" in told
    assert told.index(colons(LEAF)) < told.index(colons(ISSUING))
    told = keytool(java, trust)
    assert told.count("Entry type: trustedCertEntry") == 2
    assert colons(ROOT) in told
    assert colons(OTHER_ROOT) in told
    assert "PrivateKeyEntry" in keytool(java, identity, kind="JKS")


@pytest.mark.criterion("F3", "K3")
def test_a_store_that_keytool_made_is_read(tmp_path: Path) -> None:
    store = tmp_path / "made"
    options = ["-alias", "n1", "-keyalg", "EC", "-groupname", "secp256r1", "-dname", "CN=keytool", "-ext", "bc=ca:true"]
    keytool_17 = str(tools.java17() / "bin" / "keytool")
    generate = [keytool_17, "-genkeypair", *options, "-keystore", str(store), "-storetype", "PKCS12"]
    subprocess.run(generate, input=f"{SECRET}\n{SECRET}\n".encode(), check=True, capture_output=True, timeout=120)
    read = read_keystore(store.read_bytes(), "PKCS12", SECRET, "k")
    assert read.leaf.subject.rfc4514_string() == "CN=keytool"
    assert read.key.belongs_to(read.leaf.public_key())
    jks = tmp_path / "jks"
    convert = [keytool_17, "-importkeystore", "-srckeystore", str(store), "-destkeystore", str(jks)]
    answers = f"{SECRET}\n{SECRET}\n{SECRET}\n".encode()
    subprocess.run([*convert, "-deststoretype", "JKS"], input=answers, check=True, capture_output=True, timeout=120)
    assert detect_format(jks.read_bytes()) == "JKS"
    assert "keystore" in refusal("store.jks-unsupported", read_keystore, jks.read_bytes(), "JKS", SECRET, "/k").remedy


PEM_FACTORY = """
import java.nio.file.*; import java.security.KeyStore;
import org.apache.cassandra.security.PEMReader;
public class Load { public static void main(String[] a) throws Exception {
  for (String file : a) {
    String pem = new String(Files.readAllBytes(Paths.get(file)));
    KeyStore store = KeyStore.getInstance("PKCS12");
    store.load(null, null);
    store.setKeyEntry("x", PEMReader.extractPrivateKey(pem), null, PEMReader.extractCertificates(pem));
    System.out.println("loaded " + store.getCertificateChain("x").length);
  }
} }
"""


def test_cassandra_itself_loads_the_pem_keystores(tmp_path: Path) -> None:
    java = tools.java17() / "bin" / "java"
    if not java.with_name("javac").exists():
        pytest.skip("a JDK is needed, this is a JRE")
    jars = tools.classpath("5.0", print)
    (tmp_path / "Load.java").write_text(PEM_FACTORY)
    stores = [tmp_path / f"{i}.pem" for i in range(len(MATERIALS))]
    for store, delivered in zip(stores, MATERIALS, strict=True):
        store.write_bytes(write_keystore(delivered, "PEM", ""))
    command = [str(java), "-cp", os.pathsep.join(map(str, jars)), str(tmp_path / "Load.java"), *map(str, stores)]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    told = [line for line in done.stdout.decode().splitlines() if line.startswith("loaded")]
    assert told == [f"loaded {1 + len(delivered.chain)}" for delivered in MATERIALS], done.stderr.decode()


# -- what is refused


@pytest.mark.criterion("F3")
def test_a_wrong_password_is_told_from_a_wrong_file() -> None:
    store, trust = write_keystore(GOOD, "PKCS12", SECRET), write_truststore(ROOTS, "PKCS12", SECRET)
    for reader, data in ((read_keystore, store), (read_truststore, trust)):
        wrong = refusal("store.password", reader, data, "PKCS12", "guess", "/c/store")
        assert "/c/store" in wrong.message
        assert "guess" not in str(wrong)
        refusal("store.format", reader, data[:-1], "PKCS12", SECRET, "/c/store")
        refusal("store.format", reader, b"", "PKCS12", SECRET, "/c/store")
        refusal("store.format", reader, data, "PEM", SECRET, "/c/store")
        refusal("store.jks-unsupported", reader, b"\xfe\xed\xfe\xed\0\0\0\2", "JKS", SECRET, "/c/store")
    refusal("material.not-a-key", read_keystore, trust, "PKCS12", SECRET, "/c/store")
    refusal("store.format", read_truststore, store, "PKCS12", SECRET, "/c/store")
    pem = write_keystore(GOOD, "PEM", "")
    refusal("store.format", read_keystore, pem, "PKCS12", SECRET, "/c/store")
    refusal("material.key-exposed", read_truststore, pem, "PEM", "", "/c/store")


def test_a_pem_keystore_with_a_password_is_what_cassandra_makes_of_it() -> None:
    refusal("store.password", write_keystore, GOOD, "PEM", SECRET)
    refusal("store.password", read_keystore, write_keystore(GOOD, "PEM", ""), "PEM", SECRET, "/k")
    encrypted = LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(SECRET.encode()))
    data = encrypted + LEAF.pem + ISSUING.pem
    assert read_keystore(data, "PEM", SECRET, "/k") == without_trust(GOOD)
    refusal("store.password", read_keystore, data, "PEM", "guess", "/k")
    refusal("material.encrypted-key", read_keystore, data, "PEM", "", "/k")
    refusal("material.not-a-key", read_keystore, LEAF.pem, "PEM", "", "/k")


@pytest.mark.parametrize("role", ["keystore", "truststore"])
def test_a_store_that_cannot_be_written_is_refused(role: Literal["keystore", "truststore"]) -> None:
    def write(form: StoreFormat, password: str) -> Any:
        return write_keystore(GOOD, form, password) if role == "keystore" else write_truststore(ROOTS, form, password)

    refusal("store.jks-unsupported", write, "JKS", SECRET)
    assert f"{role}_password" in refusal("store.password", write, "PKCS12", "").remedy


def test_no_store_is_written_from_a_wrong_key_or_from_no_trust() -> None:
    wrong = material(LEAF, ISSUING, trust=[ROOT], own_key=key("wrong"))
    refusal("material.key-matches-leaf", write_keystore, wrong, "PKCS12", SECRET)
    refusal("material.key-matches-leaf", write_keystore, wrong, "PEM", "")
    refusal("store.empty", write_truststore, (), "PEM", "")


STORE = pkcs12.serialize_key_and_certificates(
    b"x",
    LEAF.key,
    LEAF.certificate,
    None,
    PrivateFormat.PKCS12.encryption_builder().kdf_rounds(1).build(b"secret"),
)


@given(st.binary(max_size=200), st.sampled_from(["PKCS12", "JKS", "PEM"]), st.sampled_from(["", "secret"]))
@example(b"\xfe\xed\xfe\xed", "JKS", "")
@example(b"\x30\x03\x02\x01\x03", "PKCS12", "")
@example(b"-----BEGIN \xff", "PEM", "secret")
def test_random_bytes_never_give_anything_but_an_error_of_ours(data: bytes, form: StoreFormat, password: str) -> None:
    for read in (read_keystore, read_truststore):
        with pytest.raises(SealringError):
            read(data, form, password, "x")


@settings(max_examples=200)
@given(st.integers(0, len(STORE) - 1), st.integers(0, 255))
def test_a_damaged_store_is_read_whole_or_refused(at: int, value: int) -> None:
    damaged = STORE[:at] + bytes([value]) + STORE[at + 1 :]
    try:
        read = read_keystore(damaged, "PKCS12", "secret", "x")
    except SealringError:
        return
    assert read == without_trust(material(LEAF, trust=[ROOT]))
