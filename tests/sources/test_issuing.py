"""Requests of nodes signed by the PKI engine of a real OpenBao; and answers of one that cannot be trusted."""

import os
import signal
from collections.abc import Iterator, Mapping
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from lab import openbao, state
from lab.authority import Authority, write_file
from sealring.errors import ErrorClass, SealringError
from sealring.models.material import MaterialRef
from sealring.models.vault import PkiSettings, VaultSettings
from sealring.pki.certificates import alternative_names, load_certificates
from sealring.pki.keys import NodeKey
from sealring.pki.material import generation_id
from sealring.pki.requests import Request, read_request
from sealring.sources.base import source_for
from sealring.sources.deliveries import write_issued
from sealring.sources.issuing import issue, pem
from sealring.sources.vault import Vault
from tests.sources.conftest import NODE, Bao

NAMES = ("10.0.0.1", "192.168.0.1", "db.example.com")


def request(names: tuple[str, ...] = NAMES, key: ec.EllipticCurvePrivateKey | None = None) -> Request:
    """What a node would send."""
    general: list[x509.GeneralName] = []
    for name in names:
        try:
            general.append(x509.IPAddress(ip_address(name)))
        except ValueError:
            general.append(x509.DNSName(name))
    made = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName(general), critical=False)
        .sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    return read_request(made.public_bytes(Encoding.PEM), "n")


@pytest.fixture(scope="module")
def root(bao: Bao) -> Authority:
    return bao.authority


@pytest.fixture(scope="module")
def role(bao: Bao, root: Authority) -> Iterator[str]:
    allowed = {"allowed_domains": "example.com", "allow_subdomains": True}
    role = openbao.found_pki(bao.server, root, "pki-nodes", **allowed)
    openbao.write(bao.server, "sys/policies/acl/issuing", {"policy": openbao.issuing_policy(role)})
    yield role
    openbao.delete(bao.server, "sys/mounts/pki-nodes")


@pytest.fixture
async def signer(bao: Bao, approle: VaultSettings, tmp_path: Path) -> Vault:
    """A vault whose token may do nothing but sign."""
    write_file(tmp_path / "token", bao.token(policies=["issuing"]).encode(), 0o600)
    return Vault(approle.model_copy(update={"role_id": None, "secret_id_file": None, "token_file": tmp_path / "token"}))


@pytest.mark.criterion("V1")
@pytest.mark.parametrize("uses_the_request", [True, False])
async def test_a_request_is_signed_for_its_names_and_its_key(
    bao: Bao, signer: Vault, role: str, root: Authority, uses_the_request: bool
) -> None:
    use = {"use_csr_sans": uses_the_request, "use_csr_common_name": uses_the_request}
    openbao.write(bao.server, role.replace("/sign/", "/roles/"), WITH_NAMES | use)
    asked = request()
    material = await issue(signer, PkiSettings(vault_role=role, ttl=timedelta(days=30)), asked)
    names, addresses = alternative_names(material.leaf)
    assert {*names, *addresses} == set(NAMES)
    assert asked.key.belongs_to(material.leaf.public_key())
    assert pem(material.trust) == root.trusted
    assert len(material.chain) == 1
    life = material.leaf.not_valid_after_utc - material.leaf.not_valid_before_utc
    assert timedelta(days=30) <= life < timedelta(days=31)
    assert "PRIVATE" not in repr(material)


WITH_NAMES = {
    "key_type": "ec",
    "require_cn": False,
    "max_ttl": "2160h",
    "not_before_duration": "5m",
    "allowed_domains": "example.com",
    "allow_subdomains": True,
}


async def test_nodes_trust_what_the_cluster_file_names(signer: Vault, role: str, tmp_path: Path) -> None:
    other = Authority.open(tmp_path / "other")
    both = tmp_path / "both.pem"
    both.write_bytes(other.trusted * 2)
    material = await issue(signer, PkiSettings(vault_role=role, ca=both), request())
    assert set(material.trust) == set(load_certificates(other.trusted, "x"))
    both.unlink()
    with pytest.raises(SealringError, match=r"\[vault.settings\].*pki.ca"):
        await issue(signer, PkiSettings(vault_role=role, ca=both), request())


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (request(("10.0.0.1", "db.elsewhere.org")), "db.elsewhere.org"),
        (read_request(request().pem.encode(), "n"), ""),
    ],
    ids=["foreign name", "role without EC"],
)
async def test_what_the_role_does_not_allow_is_told_with_the_vaults_words(
    bao: Bao, signer: Vault, role: str, asked: Request, said: str
) -> None:
    kind = {} if said else {"key_type": "rsa", "key_bits": 2048}
    openbao.write(bao.server, role.replace("/sign/", "/roles/"), WITH_NAMES | kind)
    try:
        with pytest.raises(SealringError) as caught:
            await issue(signer, PkiSettings(vault_role=role), asked)
    finally:
        openbao.write(bao.server, role.replace("/sign/", "/roles/"), WITH_NAMES)
    assert (caught.value.code, caught.value.error_class) == ("vault.issue-refused", ErrorClass.STOP)
    assert said in caught.value.message
    assert role.replace("/sign/", "/roles/") in caught.value.remedy


async def test_a_token_without_the_right_is_told_the_rule(vault: Vault, role: str) -> None:
    with pytest.raises(SealringError) as caught:
        await issue(vault, PkiSettings(vault_role=role), request())
    assert caught.value.code == "vault.denied"
    assert f'path "{role}" {{ capabilities = ["update"] }}' in caught.value.remedy


async def test_a_vault_that_is_down_is_waited_for(bao: Bao, signer: Vault, role: str) -> None:
    asked = request()
    await issue(signer, PkiSettings(vault_role=role), asked)
    os.kill(state.alive(bao.server.root)[openbao.ROLE], signal.SIGKILL)
    openbao.stop(bao.server)
    try:
        with pytest.raises(SealringError) as caught:
            await issue(signer, PkiSettings(vault_role=role), asked)
        assert caught.value.error_class is ErrorClass.RETRY
    finally:
        openbao.launch(bao.server)
        openbao.unseal(bao.server)
    assert (await issue(signer, PkiSettings(vault_role=role), asked)).leaf


class Liar(Vault):
    """A vault that answers something else than it was asked for."""

    def __init__(self, vault: Vault, **change: Any) -> None:
        super().__init__(vault.settings)
        self._change = change

    async def write(self, path: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        change = {name: value for name, value in self._change.items() if name in ("csr", "ttl")}
        answer = await super().write(path, {**content, **change})
        return {**answer, **{k: v for k, v in self._change.items() if k not in change}}


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"csr": request().pem}, "vault.issued-wrong", "another key"),
        ({"csr": "fewer"}, "vault.issued-wrong", "it lacks db.example.com"),
        ({"csr": "more"}, "vault.issued-wrong", "it names 10.9.9.9 too"),
        ({"ttl": "1440h"}, "vault.issued-wrong", "longer than pki.ttl"),
        ({"ca_chain": None, "issuing_ca": ""}, "vault.no-root", "pki.ca"),
        ({"certificate": "-----BEGIN"}, "material.not-a-certificate", "certificate"),
        ({"certificate": None}, "material.not-a-certificate", "certificate"),
        ({"ca_chain": {"no": "list"}}, "vault.no-root", ""),
    ],
)
async def test_an_answer_that_was_not_asked_for_is_refused(
    bao: Bao, signer: Vault, role: str, change: dict[str, Any], code: str, said: str
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    others = {"fewer": NAMES[:2], "more": (*NAMES, "10.9.9.9")}
    if change.get("csr") in others:
        change = {"csr": request(others[change["csr"]], key).pem}
    with pytest.raises(SealringError) as caught:
        await issue(Liar(signer, **change), PkiSettings(vault_role=role, ttl=timedelta(days=30)), request(key=key))
    assert caught.value.code == code
    assert said in f"{caught.value.message} {caught.value.remedy}"


async def test_what_was_issued_is_a_delivery_without_a_key(signer: Vault, role: str, tmp_path: Path) -> None:
    asked = request()
    material = await issue(signer, PkiSettings(vault_role=role), asked)

    def write(path: Path = tmp_path / "june") -> None:
        write_issued(
            str(path),
            NODE.address,
            certificate=pem((material.leaf, *material.chain)),
            request=asked.pem.encode(),
            trust=pem(material.trust),
        )

    write()
    write()
    folder = tmp_path / "june" / NODE.address
    assert sorted(file.name for file in folder.iterdir()) == ["ca.crt", "tls.crt", "tls.csr"]
    ref = MaterialRef(path=str(tmp_path / "june"))
    read = await source_for(ref).load(ref, NODE)
    assert generation_id(read) == generation_id(material)
    assert isinstance(read.key, NodeKey)
    assert read.key.belongs_to(read.leaf.public_key())
    (folder / "tls.key").write_text("x")
    for call in (source_for(ref).load(ref, NODE),):
        with pytest.raises(SealringError, match=r"\[material.ambiguous\]"):
            await call
    with pytest.raises(SealringError, match=r"\[material.ambiguous\]"):
        write()
    with pytest.raises(SealringError, match=r"\[material.unwritable\]"):
        write(folder / "tls.crt")


def test_a_request_must_prove_its_key() -> None:
    whole = request().pem
    other = request().pem
    assert read_request(whole.encode(), "n").key.digest != read_request(other.encode(), "n").key.digest
    spoilt = x509.load_pem_x509_csr(whole.encode()).public_bytes(Encoding.DER)
    spoilt = spoilt[:-1] + bytes([spoilt[-1] ^ 1])
    import base64

    text = b"-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(spoilt)
    for bad in (text + b"-----END CERTIFICATE REQUEST-----\n", b"", b"x" * 70_000, whole[:-60].encode()):
        with pytest.raises(SealringError, match=r"\[material.not-a-request\]"):
            read_request(bad, "n")
