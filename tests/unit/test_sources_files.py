"""The directory source: what is taken; all else is refused with the file's name and what was expected."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lab.authority import Authority, deliver
from lab.spec import LabSpec
from sealring.errors import Actor, ErrorClass, SealringError
from sealring.models.cluster import NodeRef
from sealring.models.material import MaterialRef
from sealring.models.vault import VaultSettings
from sealring.pki.material import generation_id
from sealring.sources.base import MaterialSource, delivery_digest, source_for
from sealring.sources.files import MAX_BYTES
from sealring.sources.vault import Vault
from tests.unit.pki_maker import GOOD, ISSUING, LEAF, ROOT

NODE = NodeRef(host_id="0a-1b", address="10.0.0.1", internode_address="192.168.0.1", datacenter="dc1", rack="r1")
FOLDER = NODE.address


def put(file: Path, content: bytes, mode: int = 0o644) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    file.chmod(mode)


def put_pem(folder: Path) -> None:
    put(folder / "tls.crt", LEAF.pem + ISSUING.pem)
    put(folder / "tls.key", LEAF.key_pem, 0o600)
    put(folder / "ca.crt", ROOT.pem)


def put_pkcs12(folder: Path, password: bytes = b"secret\n") -> None:
    encryption = BestAvailableEncryption(b"secret")
    store = pkcs12.serialize_key_and_certificates(b"x", LEAF.key, LEAF.certificate, [ISSUING.certificate], encryption)
    put(folder / "keystore.p12", store, 0o600)
    put(folder / "password", password, 0o600)
    put(folder / "ca.crt", ROOT.pem)


@pytest.fixture
def delivery(tmp_path: Path) -> Path:
    put_pem(tmp_path / "delivery" / FOLDER)
    return tmp_path / "delivery"


def ref(path: Path | str) -> MaterialRef:
    return MaterialRef(path=str(path))


async def refusal(code: str, path: Path | str, node: NodeRef = NODE) -> SealringError:
    with pytest.raises(SealringError) as caught:
        await source_for(ref(path)).load(ref(path), node)
    assert caught.value.code == code, caught.value
    assert caught.value.error_class is ErrorClass.STOP
    assert caught.value.remedy
    assert caught.value.node == node.address
    return caught.value


@pytest.mark.criterion("V1")
@pytest.mark.parametrize("name", [NODE.address, NODE.internode_address, NODE.host_id])
@pytest.mark.parametrize("fill", [put_pem, put_pkcs12])
async def test_a_folder_by_any_name_and_in_either_form_gives_the_material(
    name: str, fill: Callable[[Path], None], tmp_path: Path
) -> None:
    fill(tmp_path / name)
    source: MaterialSource = source_for(ref(tmp_path))
    assert await source.load(ref(tmp_path), NODE) == GOOD


async def test_a_mounted_kubernetes_secret_is_read_through_its_links(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    put_pem(folder / "..2026_05_01")
    (folder / "..data").symlink_to("..2026_05_01")
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (folder / name).symlink_to(f"..data/{name}")
    assert await source_for(ref(tmp_path)).load(ref(tmp_path), NODE) == GOOD
    (tmp_path.parent / "link").symlink_to(tmp_path)
    assert await source_for(ref(tmp_path)).load(ref(tmp_path.parent / "link"), NODE) == GOOD


async def test_what_is_missing_is_listed_with_what_was_expected(delivery: Path) -> None:
    (delivery / FOLDER / "tls.key").rename(delivery / FOLDER / "server.key")
    error = await refusal("material.missing-file", delivery)
    assert f"{delivery / FOLDER}: missing tls.key" in error.message
    assert "expected tls.crt, tls.key, ca.crt, or keystore.p12, password, ca.crt" in error.message
    assert "found ca.crt, server.key, tls.crt" in error.message
    assert error.actor is Actor.PKI_ADMIN


async def test_a_missing_folder_names_all_the_names_it_may_have(delivery: Path) -> None:
    (delivery / FOLDER).rename(delivery / "10.0.0.9")
    error = await refusal("material.missing-file", delivery)
    assert "expected 10.0.0.1 or 192.168.0.1 or 0a-1b" in error.message
    assert "found 10.0.0.9" in error.message
    assert "found nothing" in (await refusal("material.missing-file", _empty(delivery))).message
    assert "no such directory" in (await refusal("material.missing-file", delivery / "no")).message
    assert "no such directory" in (await refusal("material.missing-file", delivery / "10.0.0.9" / "tls.crt")).message


def _empty(path: Path) -> Path:
    (path / "empty").mkdir()
    return path / "empty"


@pytest.mark.parametrize("path", ["delivery", "./delivery", "~/delivery"])
async def test_a_path_that_is_not_absolute_is_refused(path: str) -> None:
    assert "absolute" in (await refusal("material.path", path)).message


async def test_a_pkcs12_folder_needs_its_password_and_trust(tmp_path: Path) -> None:
    put_pkcs12(tmp_path / FOLDER, b"guess")
    wrong = await refusal("store.password", tmp_path)
    assert "guess" not in str(wrong)
    put(tmp_path / FOLDER / "password", b"\xff\xfe", 0o600)
    assert "UTF-8" in (await refusal("store.password", tmp_path)).message
    (tmp_path / FOLDER / "password").unlink()
    assert "missing password" in (await refusal("material.missing-file", tmp_path)).message


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
@pytest.mark.parametrize("name", ["tls.key", "keystore.p12", "password"])
async def test_a_secret_that_others_can_read_is_refused(name: str, mode: int, tmp_path: Path) -> None:
    (put_pem if name == "tls.key" else put_pkcs12)(tmp_path / FOLDER)
    (tmp_path / FOLDER / name).chmod(mode)
    error = await refusal("material.key-exposed", tmp_path)
    assert f"{tmp_path / FOLDER / name}: mode 0{mode:o}" in error.message
    assert "expected 0600" in error.message


async def test_links_out_of_the_delivery_are_refused(delivery: Path) -> None:
    outside = delivery.parent / "outside.key"
    put(outside, LEAF.key_pem, 0o600)
    (delivery / FOLDER / "tls.key").unlink()
    (delivery / FOLDER / "tls.key").symlink_to(outside)
    assert "tls.key" in (await refusal("material.symlink-escape", delivery)).message
    put_pem(delivery.parent / "elsewhere")
    (delivery / NODE.address).rename(delivery / "moved")
    (delivery / NODE.address).symlink_to(delivery.parent / "elsewhere")
    assert "tls.crt" in (await refusal("material.symlink-escape", delivery)).message


async def test_two_answers_are_not_guessed_between(delivery: Path) -> None:
    put_pkcs12(delivery / FOLDER)
    assert "both" in (await refusal("material.ambiguous", delivery)).message
    put_pem(delivery / NODE.host_id)
    assert "10.0.0.1, 0a-1b" in (await refusal("material.ambiguous", delivery)).message


async def test_what_cannot_be_read_is_refused(delivery: Path) -> None:
    file = delivery / FOLDER / "ca.crt"
    put(file, b"x" * (MAX_BYTES + 1))
    assert "larger than 1048576" in (await refusal("material.unreadable", delivery)).message
    file.unlink()
    os.mkfifo(file)
    assert "not a regular file" in (await refusal("material.unreadable", delivery)).message
    file.unlink()
    file.mkdir()
    assert "Is a directory" in (await refusal("material.unreadable", delivery)).message
    file.rmdir()
    file.symlink_to("ca.crt")
    assert "cannot be read" in (await refusal("material.unreadable", delivery)).message
    file.unlink()
    file.symlink_to("gone")
    assert "No such file" in (await refusal("material.unreadable", delivery)).message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_file_without_permission_is_named(delivery: Path) -> None:
    (delivery / FOLDER / "ca.crt").chmod(0)
    error = await refusal("material.unreadable", delivery)
    assert "ca.crt" in error.message
    assert "Permission denied" in error.message


async def test_a_ring_does_not_choose_our_paths(delivery: Path) -> None:
    put_pem(delivery.parent / "evil")
    node = NODE.model_copy(update={"address": "../evil", "internode_address": "..", "host_id": "."})
    await refusal("material.missing-file", delivery, node)


async def test_malformed_content_is_named_and_belongs_to_the_node(delivery: Path) -> None:
    put(delivery / FOLDER / "tls.crt", b"<html>")
    assert str(delivery / FOLDER / "tls.crt") in (await refusal("material.not-a-certificate", delivery)).message


async def test_a_delivery_of_the_lab_is_read_for_every_node(tmp_path: Path) -> None:
    spec = LabSpec(tmp_path)
    path = deliver(spec, Authority.open(spec.authority), "may")
    generations = set()
    for lab_node in spec.ring:
        node = NODE.model_copy(update={"address": lab_node.address})
        generations.add(generation_id(await source_for(ref(path)).load(ref(path), node)))
    assert len(generations) == len(spec.ring)


def test_every_provider_has_a_source_and_others_are_refused() -> None:
    for provider in get_args(MaterialRef.model_fields["provider"].annotation):
        assert source_for(MaterialRef(provider=provider, path="kv/x"), Vault(VaultSettings.model_validate(VAULT)))
    with pytest.raises(ValidationError):
        MaterialRef.model_validate({"provider": "guess", "path": "/x"})


VAULT = {"address": "https://127.0.0.1:1", "token_file": "/nowhere"}
GENERATIONS = st.dictionaries(st.from_regex(r"[0-9.]{1,9}", fullmatch=True), st.sampled_from(["a" * 64, "b" * 64]))


@given(GENERATIONS, GENERATIONS)
def test_a_delivery_digest_names_its_content(one: dict[str, str], other: dict[str, str]) -> None:
    assert (delivery_digest(one) == delivery_digest(other)) is (one == other)
    assert delivery_digest(dict(reversed(one.items()))) == delivery_digest(one)
