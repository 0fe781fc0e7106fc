"""The keyring file and the codec that uses it."""

import base64
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError, to_json
from temporalio.api.common.v1 import Payload

from bench.plan_sizes import sizes
from sealring.errors import SealringError
from sealring.temporal.codec import ENCODING, KEY_ID, PACKING, EncryptionCodec
from sealring.temporal.keyring import Keyring, create_keyring, load_keyring, retire_keyring, rotate_keyring

PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'{"cluster":"prod-eu"}')


def test_a_new_keyring_is_private_from_its_first_byte(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "keyring.json"
    key_id = create_keyring(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert load_keyring(path).active == key_id


def test_a_keyring_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    create_keyring(path)
    before = path.read_bytes()
    with pytest.raises(SealringError, match="unreadable") as caught:
        create_keyring(path)
    assert caught.value.code == "keyring.exists"
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622, 0o666])
def test_a_keyring_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keyring.json"
    create_keyring(path)
    path.chmod(mode)
    with pytest.raises(SealringError) as caught:
        load_keyring(path)
    assert caught.value.code == "keyring.permissions"
    assert f"chmod 0600 {path}" in caught.value.remedy


def test_a_missing_keyring_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(SealringError) as caught:
        load_keyring(tmp_path / "absent.json")
    assert caught.value.code == "keyring.missing"
    assert "setting keyring," in caught.value.remedy


KEY = base64.b64encode(b"\x07" * 32).decode()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", "not JSON"),
        ("[]", '"active" and "keys"'),
        (json.dumps({"active": "k1", "keys": {"k1": KEY}, "more": 1}), '"active" and "keys"'),
        (json.dumps({"active": "k2", "keys": {"k1": KEY}}), '"active" names no key'),
        (json.dumps({"active": ["k1"], "keys": {"k1": KEY}}), '"active"'),
        (json.dumps({"active": "k 1", "keys": {"k 1": KEY}}), "key id"),
        (json.dumps({"active": "k1", "keys": {"k1": KEY[:-4]}}), "30 bytes"),
        (json.dumps({"active": "k1", "keys": {"k1": "*" + KEY}}), "not base64"),
        (json.dumps({"active": "k1", "keys": {"k1": 7}}), "not base64"),
        ("\xff", "not JSON"),
    ],
)
def test_an_unusable_keyring_names_the_field_and_quotes_no_key(tmp_path: Path, content: str, named: str) -> None:
    path = tmp_path / "keyring.json"
    path.write_text(content, encoding="latin-1")
    path.chmod(0o600)
    with pytest.raises(SealringError) as caught:
        load_keyring(path)
    assert caught.value.code == "keyring.invalid"
    assert named in caught.value.message
    assert KEY[:12] not in str(caught.value)


def test_rotation_adds_a_key_and_keeps_the_old(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    first = create_keyring(path)
    second = rotate_keyring(path)
    keyring = load_keyring(path)
    assert keyring.active == second
    assert keyring.ids == (first, second)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["keyring.json"]


def test_a_keyring_shows_ids_only_and_cannot_be_serialised(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    create_keyring(path)
    secret = next(iter(json.loads(path.read_text())["keys"].values()))
    keyring = load_keyring(path)
    assert repr(keyring) == f"Keyring(active={keyring.active!r}, ids={keyring.ids!r})"
    assert secret not in repr(keyring)
    assert base64.b64decode(secret) not in {getattr(keyring, name, None) for name in ("active", "origin")}
    with pytest.raises(TypeError):
        pickle.dumps(keyring)
    with pytest.raises(PydanticSerializationError):
        to_json(keyring)
    with pytest.raises(PydanticSerializationError):
        TypeAdapter(object).dump_json(keyring)


def test_the_active_key_must_be_there() -> None:
    with pytest.raises(ValueError, match="active"):
        Keyring("k2", {"k1": bytes(32)})


async def test_a_payload_is_sealed_and_carries_its_key_id(keyring: Keyring) -> None:
    codec = EncryptionCodec(keyring)
    [sealed] = await codec.encode([PLAIN])
    assert sealed.metadata["encoding"] == ENCODING
    assert sealed.metadata[KEY_ID] == keyring.active.encode()
    assert b"prod-eu" not in sealed.SerializeToString()
    assert await codec.decode([sealed]) == [PLAIN]


@given(data=st.binary(max_size=2000), encoding=st.binary(max_size=20))
async def test_every_payload_survives(data: bytes, encoding: bytes) -> None:
    codec = EncryptionCodec(Keyring("k1", {"k1": bytes(32)}))
    payload = Payload(metadata={"encoding": encoding}, data=data)
    assert await codec.decode(await codec.encode([payload])) == [payload]


async def test_a_large_payload_is_packed_before_it_is_sealed(keyring: Keyring) -> None:
    codec = EncryptionCodec(keyring)
    large = Payload(metadata={"encoding": b"json/plain"}, data=b'"10.0.0.1 restart" ' * 50_000)
    (sealed,) = await codec.encode([large])
    assert len(sealed.data) < len(large.data) / 20
    assert await codec.decode([sealed]) == [large]
    del sealed.metadata[PACKING]
    with pytest.raises(SealringError) as caught:
        await codec.decode([sealed])
    assert caught.value.code == "codec.damaged"


async def test_what_a_rollout_of_hundreds_of_nodes_passes_is_far_below_what_the_server_takes(tmp_path: Path) -> None:
    found = await sizes(150, tmp_path)
    assert found["Plan"] < 40_000
    assert max(found.values()) < 120_000, found


async def test_equal_payloads_look_different(keyring: Keyring) -> None:
    one, other = await EncryptionCodec(keyring).encode([PLAIN, PLAIN])
    assert one.data != other.data


async def test_plain_json_passes_through(keyring: Keyring) -> None:
    assert await EncryptionCodec(keyring).decode([PLAIN]) == [PLAIN]


async def test_what_the_old_key_sealed_opens_after_rotation(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    create_keyring(path)
    [sealed] = await EncryptionCodec(load_keyring(path)).encode([PLAIN])
    second = rotate_keyring(path)
    rotated = EncryptionCodec(load_keyring(path))
    assert await rotated.decode([sealed]) == [PLAIN]
    [anew] = await rotated.encode([PLAIN])
    assert anew.metadata[KEY_ID] == second.encode()


@pytest.mark.parametrize("reader", [Keyring("k9", {"k9": bytes(32)}, origin="/etc/keyring.json"), None])
async def test_an_unknown_key_is_named_with_the_setting(keyring: Keyring, reader: Keyring | None) -> None:
    [sealed] = await EncryptionCodec(keyring).encode([PLAIN])
    with pytest.raises(SealringError) as caught:
        await EncryptionCodec(reader).decode([sealed])
    assert caught.value.code == "codec.unknown-key"
    assert keyring.active in caught.value.message
    assert "setting keyring" in str(caught.value)
    assert caught.value.retryable  # a worker with the key can still do the work


@pytest.mark.parametrize("damage", ["bit", "short", "other key", "key id"])
async def test_a_changed_payload_is_refused(damage: str) -> None:
    keyring = Keyring("k1", {"k1": bytes(32), "k2": bytes(32)})
    reader = keyring
    [sealed] = await EncryptionCodec(keyring).encode([PLAIN])
    match damage:
        case "bit":
            sealed.data = sealed.data[:-1] + bytes([sealed.data[-1] ^ 1])
        case "short":
            sealed.data = sealed.data[:5]
        case "other key":
            reader = Keyring("k1", {"k1": b"\x01" * 32})
        case "key id":  # the same key under another id: the id is authenticated as well
            sealed.metadata[KEY_ID] = b"k2"
    with pytest.raises(SealringError) as caught:
        await EncryptionCodec(reader).decode([sealed])
    assert caught.value.code == "codec.damaged"


def test_a_retired_key_is_gone_and_the_active_one_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    first = create_keyring(path)
    second = rotate_keyring(path)
    before = path.read_bytes()
    for key_id, code in ((second, "keyring.active-key"), ("k9", "keyring.unknown-key")):
        with pytest.raises(SealringError) as caught:
            retire_keyring(path, key_id)
        assert caught.value.code == code
    assert path.read_bytes() == before
    retire_keyring(path, first)
    assert load_keyring(path).ids == (second,)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
