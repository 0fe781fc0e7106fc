"""The lab's authorities: what a good leaf looks like, and that each fault is the fault it says."""

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12
from cryptography.x509 import verification

from lab.authority import (
    Authority,
    Fault,
    Identity,
    client_identity,
    deliver,
    pkcs12_stores,
    write_file,
    write_identity,
)
from lab.spec import NET, LabSpec

ADDRESS = f"127.0.{NET}.11"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "authority")


def leaf(identity: Identity) -> x509.Certificate:
    return x509.load_pem_x509_certificate(identity.certificate)


def verified(identity: Identity, trusted: bytes, address: str = ADDRESS) -> int:
    """Length of the chain that an RFC 5280 verifier builds for the leaf."""
    from ipaddress import ip_address

    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store(x509.load_pem_x509_certificates(trusted)))
        .build_server_verifier(x509.IPAddress(ip_address(address)))
    )
    above = x509.load_pem_x509_certificates(identity.chain) if identity.chain else []
    return len(verifier.verify(leaf(identity), above))


def key_matches(certificate: bytes, key: bytes) -> bool:
    return load_pem_private_key(key, None).public_key() == x509.load_pem_x509_certificates(certificate)[0].public_key()


def test_a_leaf_is_accepted_by_a_strict_verifier(authority: Authority) -> None:
    assert verified(authority.issue([ADDRESS, "127.0.0.1"]), authority.trusted) == 2


def test_an_intermediate_stands_between_leaf_and_root(authority: Authority) -> None:
    below = authority.intermediate("issuing one")
    identity = below.issue([ADDRESS])
    assert verified(identity, authority.trusted) == 3
    assert below.trusted == authority.certificate
    assert authority.intermediate("issuing one").certificate == below.certificate


def test_an_authority_is_the_same_when_opened_again_and_its_key_is_private(authority: Authority) -> None:
    assert Authority.open(authority.folder).certificate == authority.certificate
    assert (authority.folder / "ca.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("kind", "bits"), [("ec-p256", 256), ("ec-p384", 384), ("rsa-1024", 1024), ("rsa-2048", 2048)])
def test_kinds_of_keys(authority: Authority, kind: str, bits: int) -> None:
    public = leaf(authority.issue([ADDRESS], key=kind)).public_key()
    assert getattr(public, "key_size", None) == bits


def test_an_unknown_kind_of_key_is_refused(authority: Authority) -> None:
    with pytest.raises(ValueError, match="ec-p256"):
        authority.issue([ADDRESS], key="dsa")


def test_a_sha1_leaf_is_truly_signed_with_sha1(tmp_path: Path) -> None:
    weak = Authority.open(tmp_path / "weak", key="rsa-2048")
    certificate = leaf(weak.issue([ADDRESS], signature="sha1"))
    assert certificate.signature_hash_algorithm is not None
    assert certificate.signature_hash_algorithm.name == "sha1"
    write_identity(tmp_path / "out", weak.issue([ADDRESS], signature="sha1"), weak.trusted)
    command = ["openssl", "verify", "-auth_level", "0", "-CAfile", str(tmp_path / "out/ca.crt")]
    subprocess.run([*command, str(tmp_path / "out/tls.crt")], check=True, capture_output=True)


def test_sha1_needs_an_rsa_authority(authority: Authority) -> None:
    with pytest.raises(ValueError, match="RSA"):
        authority.issue([ADDRESS], signature="sha1")


def test_stores_hold_what_was_put_in(authority: Authority) -> None:
    identity = authority.intermediate("issuing").issue([ADDRESS])
    keystore, truststore = pkcs12_stores(identity, authority.trusted, "changeit")
    loaded = pkcs12.load_pkcs12(keystore, b"changeit")
    assert loaded.cert is not None
    assert loaded.cert.certificate == leaf(identity)
    assert len(loaded.additional_certs) == 1
    trusted = pkcs12.load_pkcs12(truststore, b"changeit").additional_certs
    assert [entry.certificate for entry in trusted] == x509.load_pem_x509_certificates(authority.trusted)


def test_the_key_shows_in_no_repr(authority: Authority) -> None:
    assert "PRIVATE" not in repr(authority.issue([ADDRESS]))
    assert "Key" not in repr(authority)


def test_a_delivery_has_good_material_for_every_node(authority: Authority, tmp_path: Path) -> None:
    spec = LabSpec(tmp_path)
    delivery = deliver(spec, authority, "one")
    for node in spec.ring:
        folder = delivery / node.address
        certificate = (folder / "tls.crt").read_bytes()
        assert verified(Identity(certificate, b"", b""), (folder / "ca.crt").read_bytes(), node.address) == 2
        assert verified(Identity(certificate, b"", b""), (folder / "ca.crt").read_bytes(), "127.0.0.1") == 2
        assert key_matches(certificate, (folder / "tls.key").read_bytes())
        assert (folder / "tls.key").stat().st_mode & 0o777 == 0o600
        assert (folder / "tls.crt").stat().st_mode & 0o777 == 0o644


def test_a_client_identity_is_made_once(authority: Authority, tmp_path: Path) -> None:
    spec = LabSpec(tmp_path)
    folder = client_identity(spec, authority)
    before = (folder / "tls.crt").read_bytes()
    assert client_identity(spec, authority) == folder
    assert (folder / "tls.crt").read_bytes() == before


@pytest.mark.parametrize("fault", ["foreign-ca", "expired", "not-yet-valid", "no-san"])
def test_a_faulty_leaf_is_refused_and_the_others_are_not(authority: Authority, tmp_path: Path, fault: Fault) -> None:
    spec = LabSpec(tmp_path)
    delivery = deliver(spec, authority, "bad", faults={ADDRESS: fault})
    with pytest.raises(verification.VerificationError):
        verified(Identity((delivery / ADDRESS / "tls.crt").read_bytes(), b"", b""), authority.trusted)
    other = spec.ring[1].address
    assert verified(Identity((delivery / other / "tls.crt").read_bytes(), b"", b""), authority.trusted, other) == 2


def test_a_leaf_without_extended_key_usage(authority: Authority, tmp_path: Path) -> None:
    delivery = deliver(LabSpec(tmp_path), authority, "bad", faults={ADDRESS: "no-eku"})
    certificate = x509.load_pem_x509_certificate((delivery / ADDRESS / "tls.crt").read_bytes())
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)


def test_a_wrong_key_and_a_missing_node(authority: Authority, tmp_path: Path) -> None:
    delivery = deliver(LabSpec(tmp_path), authority, "bad", faults={ADDRESS: "wrong-key", f"127.0.{NET}.12": "missing"})
    folder = delivery / ADDRESS
    assert not key_matches((folder / "tls.crt").read_bytes(), (folder / "tls.key").read_bytes())
    assert not (delivery / f"127.0.{NET}.12").exists()


def test_a_delivery_can_be_too_long_lived(authority: Authority, tmp_path: Path) -> None:
    end = datetime.now(UTC) + timedelta(days=3000)
    delivery = deliver(LabSpec(tmp_path), authority, "long", not_after=end)
    certificate = x509.load_pem_x509_certificate((delivery / ADDRESS / "tls.crt").read_bytes())
    assert abs(certificate.not_valid_after_utc - end) < timedelta(seconds=1)


def test_a_file_that_is_so_already_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, b"content", 0o600)
    os.utime(path, (1, 1))
    write_file(path, b"content", 0o600)
    assert path.stat().st_mtime == 1
    write_file(path, b"content", 0o644)
    assert path.stat().st_mtime > 1
    assert path.stat().st_mode & 0o777 == 0o644
