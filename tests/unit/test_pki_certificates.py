"""Reading certificates, keys and deliveries: every malformed input is one clear error, and keys stay hidden."""

import copy
import hashlib
import json
import pickle
import traceback
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from sealring.errors import Actor, ErrorClass, SealringError
from sealring.pki.certificates import facts, fingerprint, load_certificates
from sealring.pki.keys import PrivateKey, load_private_key
from sealring.pki.material import Material, generation_id, read_pem_material, read_pkcs12_material
from tests.unit.pki_maker import GOOD, ISSUING, LEAF, OTHER_ROOT, ROOT, key, make, material

CHAINED = LEAF.pem + ISSUING.pem


def refusal(code: str, call: Any, *args: Any, **named: Any) -> SealringError:
    with pytest.raises(SealringError) as caught:
        call(*args, **named)
    assert caught.value.code == code, caught.value
    assert caught.value.error_class is ErrorClass.STOP
    assert caught.value.remedy
    assert caught.value.__cause__ is None
    return caught.value


def test_pem_and_der_give_the_same_certificates_in_order() -> None:
    assert load_certificates(CHAINED, "x") == (LEAF.certificate, ISSUING.certificate)
    assert load_certificates(LEAF.certificate.public_bytes(Encoding.DER), "x") == (LEAF.certificate,)
    noisy = b"subject=CN = leaf\r\n" + CHAINED.replace(b"\n", b"\r\n") + b"\r\ntrailing"
    assert load_certificates(noisy, "x") == (LEAF.certificate, ISSUING.certificate)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"<html>404</html>", "not a certificate"),
        (CHAINED[:-40], "does not end"),
        (CHAINED.decode().encode("utf-16"), "not a certificate"),
        (LEAF.pem.replace(b"M", b"!", 1), "certificate 1"),
        (LEAF.pem + ISSUING.pem.replace(b"CERTIFICATE", b"PKCS7"), "PKCS7"),
        (LEAF.pem + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 2"),
        (LEAF.pem * 1001, "more than 1000"),
    ],
)
def test_a_file_that_is_no_certificate_is_named_with_what_was_expected(data: bytes, found: str) -> None:
    error = refusal("material.not-a-certificate", load_certificates, data, "/d/n1/ca.crt")
    assert error.message.startswith("/d/n1/ca.crt")
    assert found in error.message
    assert "expected X.509 certificates" in error.message
    assert error.actor is Actor.PKI_ADMIN


def test_a_private_key_among_certificates_is_an_exposure() -> None:
    error = refusal("material.key-exposed", load_certificates, ROOT.pem + ROOT.key_pem, "/d/ca.crt")
    assert ROOT.key_pem.splitlines()[1].decode() not in str(error)


def test_facts_are_what_the_certificate_says() -> None:
    leaf = make("facts", ROOT, names=["db.example"], addresses=["10.0.0.1", "fd00::1"])
    told = facts(leaf.certificate)
    assert told.sha256 == fingerprint(leaf.certificate)
    assert (told.subject, told.issuer, told.key) == ("CN=facts", "CN=root", "EC secp256r1")
    assert (told.names, told.addresses) == (("db.example",), ("10.0.0.1", "fd00::1"))
    assert told.not_after == leaf.certificate.not_valid_after_utc


# -- keys


def test_a_key_is_read_from_every_plain_encoding() -> None:
    own = LEAF.key
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        for encoding in (Encoding.PEM, Encoding.DER):
            assert load_private_key(own.private_bytes(encoding, form, NoEncryption()), "k") == PrivateKey(own)


@pytest.mark.parametrize(
    ("encoding", "form"),
    [
        (Encoding.PEM, PrivateFormat.PKCS8),
        (Encoding.DER, PrivateFormat.PKCS8),
        (Encoding.PEM, PrivateFormat.TraditionalOpenSSL),
    ],
)
def test_an_encrypted_key_is_refused_as_such(encoding: Encoding, form: PrivateFormat) -> None:
    data = LEAF.key.private_bytes(encoding, form, BestAvailableEncryption(b"secret"))
    error = refusal("material.encrypted-key", load_private_key, data, "/d/n1/tls.key")
    assert "/d/n1/tls.key" in error.message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"secret-looking text",
        LEAF.pem,
        LEAF.key_pem[:80],
        LEAF.key_pem + ROOT.key_pem,
        LEAF.key_pem.replace(b"MI", b"XX", 1),
        x25519.X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    ],
    ids=["empty", "text", "certificate", "cut", "two", "damaged", "x25519"],
)
def test_a_file_that_is_no_key_is_refused_without_quoting_it(data: bytes) -> None:
    error = refusal("material.not-a-key", load_private_key, data, "/d/n1/tls.key")
    assert "/d/n1/tls.key" in error.message
    everything = "".join(traceback.format_exception(error))
    assert not any(line and line.decode() in everything for line in data.splitlines() if not line.startswith(b"--"))


def test_a_key_cannot_slip_out() -> None:
    held = PrivateKey(LEAF.key)
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError):
            attempt(held)
    with pytest.raises(TypeError):
        type("Leaky", (BaseModel,), {"__annotations__": {"key": PrivateKey}, "__module__": __name__})
    with pytest.raises(TypeError):
        type(
            "Leaky",
            (BaseModel,),
            {
                "__annotations__": {"m": Material},
                "__module__": __name__,
                "model_config": ConfigDict(arbitrary_types_allowed=True),
            },
        )
    assert "hidden" in repr(held)
    assert "key" not in repr(GOOD)
    assert not hasattr(held, "__dict__")


# -- deliveries


def test_a_delivery_is_leaf_chain_key_and_trust() -> None:
    assert read_pem_material(CHAINED, LEAF.key_pem, ROOT.pem, where="/d") == GOOD
    assert read_pem_material(LEAF.pem, LEAF.key_pem, ROOT.pem, chain=ISSUING.pem, where="/d") == GOOD


@pytest.mark.parametrize(
    ("parts", "code", "file"),
    [
        ((b"?", LEAF.key_pem, ROOT.pem), "material.not-a-certificate", "/d/tls.crt"),
        ((CHAINED, b"?", ROOT.pem), "material.not-a-key", "/d/tls.key"),
        ((CHAINED, LEAF.key_pem, b""), "material.not-a-certificate", "/d/ca.crt"),
        ((LEAF.key_pem, CHAINED, ROOT.pem), "material.key-exposed", "/d/tls.crt"),
    ],
)
def test_a_bad_file_of_a_delivery_is_named(parts: tuple[bytes, bytes, bytes], code: str, file: str) -> None:
    assert file in refusal(code, read_pem_material, *parts, where="/d").message


def p12(password: bytes, *, chain: bool = True) -> bytes:
    above = [ROOT.certificate, ISSUING.certificate] if chain else None
    return pkcs12.serialize_key_and_certificates(
        b"x",
        LEAF.key,
        LEAF.certificate,
        above,
        BestAvailableEncryption(password),
    )


def test_a_pkcs12_delivery_puts_the_chain_in_order() -> None:
    read = read_pkcs12_material(p12(b"secret"), "secret", ROOT.pem, where="/d")
    assert read == material(LEAF, ISSUING, ROOT, trust=[ROOT])


def test_a_pkcs12_delivery_that_does_not_open_is_refused() -> None:
    data = p12(b"secret")
    wrong = refusal("store.password", read_pkcs12_material, data, "guess", ROOT.pem, where="/d")
    assert "/d/keystore.p12" in wrong.message
    assert "guess" not in str(wrong)
    refusal("store.format", read_pkcs12_material, data[:-1], "secret", ROOT.pem, where="/d")
    no_key = pkcs12.serialize_java_truststore(
        [pkcs12.PKCS12Certificate(ROOT.certificate, b"r")], BestAvailableEncryption(b"secret")
    )
    refusal("material.not-a-key", read_pkcs12_material, no_key, "secret", ROOT.pem, where="/d")


@given(st.binary(max_size=300), st.sampled_from(["", "secret"]))
@example(b"\x30\x00", "")
@example(b"\x30\x80\x02\x01\x03\x00\x00", "secret")
@example(b"-----BEGIN CERTIFICATE-----", "")
@example(b"-----BEGIN PRIVATE KEY-----\n\xff\n-----END PRIVATE KEY-----", "")
def test_random_bytes_never_give_anything_but_an_error_of_ours(data: bytes, password: str) -> None:
    for call in (
        lambda: load_certificates(data, "x"),
        lambda: load_private_key(data, "x"),
        lambda: load_private_key(data, "x", password=password),
        lambda: read_pkcs12_material(data, password, ROOT.pem, where="x"),
        lambda: read_pem_material(data, data, data, where="x"),
    ):
        with pytest.raises(SealringError):
            call()


DER = LEAF.certificate.public_bytes(Encoding.DER)


@given(st.integers(0, len(DER) - 1), st.integers(0, 255))
def test_a_damaged_certificate_is_read_whole_or_refused(at: int, value: int) -> None:
    damaged = DER[:at] + bytes([value]) + DER[at + 1 :]
    try:
        (read,) = load_certificates(damaged, "x")
    except SealringError:
        return
    facts(read)
    read.public_key()


# -- the content address


def reencoded(delivered: Material) -> Material:
    """The same material through DER, the old key format and another order of authorities."""
    assert isinstance(delivered.key, PrivateKey)
    own = delivered.key.use().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    trust = b"\n".join(c.public_bytes(Encoding.PEM) for c in reversed(delivered.trust)) * 2
    crt = b"".join(b"text\r\n" + c.public_bytes(Encoding.PEM) for c in (delivered.leaf, *delivered.chain))
    return read_pem_material(crt, own, trust, where="x")


LEAVES = st.sampled_from([LEAF, make("leaf", ISSUING)])
CHAINS = st.sampled_from([(), (ISSUING,), (ISSUING, ROOT), (ROOT, ISSUING)])
TRUSTS = st.sampled_from([(ROOT,), (OTHER_ROOT,), (ROOT, OTHER_ROOT)])
KEYS = st.sampled_from([LEAF.key, key("another"), key("rsa-2048")])
MATERIALS = st.builds(
    lambda leaf, chain, trust, own: material(leaf, *chain, trust=trust, own_key=own), LEAVES, CHAINS, TRUSTS, KEYS
)


@given(MATERIALS)
def test_a_generation_is_the_same_in_every_encoding(delivered: Material) -> None:
    again = reencoded(delivered)
    assert generation_id(again) == generation_id(delivered)
    assert len(generation_id(delivered)) == 64


@given(MATERIALS)
def test_a_generation_is_the_digest_that_its_description_says(delivered: Material) -> None:
    parts = [
        delivered.leaf.public_bytes(Encoding.DER),
        bytes([0, 0, 0, len(delivered.chain)]),
        *(certificate.public_bytes(Encoding.DER) for certificate in delivered.chain),
        "".join(sorted(fingerprint(certificate) for certificate in delivered.trust)).encode(),
    ]
    whole = b"sealring generation v2\0" + b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    assert generation_id(delivered) == hashlib.sha256(whole).hexdigest()


@given(MATERIALS, MATERIALS)
def test_a_generation_changes_with_any_public_part_and_with_nothing_else(one: Material, other: Material) -> None:
    same = (one.leaf, one.chain, set(one.trust)) == (other.leaf, other.chain, set(other.trust))
    assert (generation_id(one) == generation_id(other)) is same


def test_an_rsa_key_has_one_digest_in_every_encoding() -> None:
    own = key("rsa-2048")
    traditional = own.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert load_private_key(traditional, "x").sealed_digest == PrivateKey(own).sealed_digest
    assert load_pem_private_key(traditional, None) is not own
