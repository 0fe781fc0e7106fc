"""The keys that encrypt payloads: one JSON file, readable by its owner alone.

    {"active": "k2-5d01c2", "keys": {"k1-9f3a77": "<base64, 32 bytes>", "k2-5d01c2": "…"}}

The active key encrypts, every key decrypts. Rotate by adding a key, and keep the old ones for as long as histories
exist that they encrypted (running workflows, and the namespace's retention); then retire them. A process reads the
file once, at its start: copy a rotated file to all workers and restart them; what a worker meets with a key that it
does not have yet is retried.
"""

import base64
import binascii
import json
import os
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sealring.errors import SealringError, refuse
from sealring.local_files import read_small

SETTING = "keyring"
"""The name under which a process is told where its keyring is."""

_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY_BYTES = 32


class Keyring:
    """Keys by id. Cannot be serialised: not by pickle, not by pydantic, and its text shows ids only.

    Args:
        active: the id of the key that encrypts.
        keys: id → 32 bytes.
        origin: where it was read, for messages.
    """

    __slots__ = ("_ciphers", "active", "origin")

    def __init__(self, active: str, keys: Mapping[str, bytes], *, origin: str = "the keyring") -> None:
        if active not in keys:
            raise ValueError("the active key is not one of the keys")
        # The ciphers are opaque; the bytes are not kept.
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self.active = active
        self.origin = origin

    @property
    def ids(self) -> tuple[str, ...]:
        """Every key id, the oldest first."""
        return tuple(self._ciphers)

    def cipher(self, key_id: str) -> AESGCM | None:
        """The cipher of that key, or None when the keyring does not have it."""
        return self._ciphers.get(key_id)

    def __repr__(self) -> str:
        return f"Keyring(active={self.active!r}, ids={self.ids!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a keyring cannot be serialised or copied")


def load_keyring(path: Path) -> Keyring:
    """Read a keyring.

    Raises:
        SealringError: `keyring.missing`, `keyring.permissions` (group or others may read it), `keyring.invalid`.
    """
    active, keys = _read(path)
    return Keyring(active, keys, origin=str(path))


def create_keyring(path: Path) -> str:
    """Write a new keyring with one key, mode 0600, and return the key's id. Never overwrites.

    Raises:
        SealringError: `keyring.exists`.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key_id = _new_id(1)
    try:
        _write(path, key_id, {key_id: secrets.token_bytes(_KEY_BYTES)})
    except FileExistsError:
        raise refuse(
            "keyring.exists",
            f"{path} exists already; overwriting it would make every running workflow unreadable",
            "rotate it instead, or choose another path",
        ) from None
    return key_id


def rotate_keyring(path: Path) -> str:
    """Add a new key, make it the active one, and return its id. The old keys stay; the file is replaced in one step.

    Raises:
        SealringError: as `load_keyring`.
    """
    _, keys = _read(path)
    key_id = _new_id(len(keys) + 1)
    _replace(path, key_id, {**keys, key_id: secrets.token_bytes(_KEY_BYTES)})
    return key_id


def retire_keyring(path: Path, key_id: str) -> None:
    """Remove a key that no history needs any more; the file is replaced in one step.

    Raises:
        SealringError: `keyring.unknown-key`, `keyring.active-key`, and as `load_keyring`.
    """
    active, keys = _read(path)
    if key_id not in keys:
        raise refuse("keyring.unknown-key", f"{path} has no key {key_id}", f"choose one of {', '.join(keys)}")
    if key_id == active:
        raise refuse(
            "keyring.active-key",
            f"{key_id} is the active key of {path}: new payloads are encrypted with it",
            "rotate the keyring first: sealring keyring rotate",
        )
    _replace(path, active, {name: key for name, key in keys.items() if name != key_id})


def _replace(path: Path, active: str, keys: Mapping[str, bytes]) -> None:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    _write(beside, active, keys)
    beside.replace(path)


def _new_id(number: int) -> str:
    # The random part keeps two keys apart that were made on two machines from copies of one file.
    return f"k{number}-{secrets.token_hex(3)}"


def _read(path: Path) -> tuple[str, dict[str, bytes]]:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        content = read_small(path)
    except OSError as error:
        raise refuse(
            "keyring.missing",
            f"cannot read the keyring {path}: {error.strerror}",
            f"correct the setting {SETTING}, or copy the keyring that the other workers use to this path",
        ) from None
    if mode & 0o077:
        raise refuse(
            "keyring.permissions",
            f"the keyring {path} has mode {mode:04o}: others than its owner can reach it",
            f"chmod 0600 {path}; if others may have read it, rotate the keyring",
        )
    return _parse(path, content)


def _parse(path: Path, content: bytes) -> tuple[str, dict[str, bytes]]:
    """Messages name the field and never quote the content."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise _invalid(path, "it is not JSON") from None
    if not isinstance(document, dict) or set(document) != {"active", "keys"} or not isinstance(document["keys"], dict):
        raise _invalid(path, 'it must have exactly the fields "active" and "keys"')
    keys = {}
    for key_id, text in document["keys"].items():
        if not _KEY_ID.fullmatch(key_id):
            raise _invalid(path, "a key id must be 1 to 64 letters, digits, dots, dashes or underscores")
        try:
            keys[key_id] = base64.b64decode(text, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise _invalid(path, f"key {key_id} is not base64") from None
        if len(keys[key_id]) != _KEY_BYTES:
            raise _invalid(path, f"key {key_id} has {len(keys[key_id])} bytes and must have {_KEY_BYTES}")
    if document["active"] not in list(keys):  # a list: what a person wrote there may not be hashable
        raise _invalid(path, 'the field "active" names no key of the field "keys"')
    return document["active"], keys


def _invalid(path: Path, what: str) -> SealringError:
    return refuse(
        "keyring.invalid", f"the keyring {path} is not usable: {what}", "restore the file from a copy, or correct it"
    )


def _write(path: Path, active: str, keys: Mapping[str, bytes]) -> None:
    document = {"active": active, "keys": {key_id: base64.b64encode(key).decode() for key_id, key in keys.items()}}
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
