"""Encrypts every payload before it leaves the process: AES-256-GCM, the key's id beside the ciphertext.

The second belt: key material is never a payload in the first place (design.md law 6). What this protects is what
histories do hold: host names, subjects, plans, reports.
"""

import secrets
import zlib
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from sealring.errors import Actor, SealringError, passing
from sealring.temporal.keyring import SETTING, Keyring

ENCODING = b"binary/encrypted"
"""The name that Temporal's own samples use, so that its tools recognise it."""

KEY_ID = "encryption-key-id"
PACKING = "packing"
ZLIB = b"zlib"
SMALL = 4096
"""Bytes up to which a payload is left as it is. Of a thousand nodes a plan has a megabyte, which packs to a fifth: the
server refuses payloads above 2 MB (docs/planning.md)."""

_LARGEST = 256 * 1024 * 1024  # unpacked; only who has the key can make one
_NONCE_BYTES = 12  # NIST SP 800-38D: 96 random bits are safe for 2^32 payloads a key


class EncryptionCodec(PayloadCodec):
    """Encrypts with the keyring's active key; decrypts with any; leaves payloads alone that it did not encrypt.

    Leaving them alone is what lets the stock Temporal CLI and UI start a workflow with plain JSON. Without a keyring
    nothing is encrypted, and what another process encrypted is refused with the same words as an unknown key.
    """

    def __init__(self, keyring: Keyring | None) -> None:
        self._keyring = keyring

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """See base class."""
        keyring = self._keyring
        return list(payloads) if keyring is None else [_encrypt(keyring, payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """See base class.

        Raises:
            SealringError: `codec.unknown-key`, `codec.damaged`. It must not become a non-retryable `ApplicationError`:
                that would end the workflow, where this only suspends it until a worker with the key comes along.
        """
        return [
            _decrypt(self._keyring, payload) if payload.metadata.get("encoding") == ENCODING else payload
            for payload in payloads
        ]


def _encrypt(keyring: Keyring, payload: Payload) -> Payload:
    cipher = keyring.cipher(keyring.active)
    assert cipher is not None  # Keyring sees to it
    key_id = keyring.active.encode()
    nonce, plain = secrets.token_bytes(_NONCE_BYTES), payload.SerializeToString()
    metadata = {"encoding": ENCODING, KEY_ID: key_id}
    if len(plain) > SMALL:
        plain = zlib.compress(plain)
        metadata[PACKING] = ZLIB
    return Payload(metadata=metadata, data=nonce + cipher.encrypt(nonce, plain, key_id))


def _decrypt(keyring: Keyring | None, payload: Payload) -> Payload:
    key_id = payload.metadata.get(KEY_ID, b"")
    name = key_id.decode(errors="replace")
    cipher = keyring.cipher(name) if keyring else None
    if cipher is None:
        raise _unknown_key(keyring, name)
    try:
        plain = cipher.decrypt(payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:], key_id)
        if payload.metadata.get(PACKING) == ZLIB:
            plain = zlib.decompressobj().decompress(plain, _LARGEST)
        return Payload.FromString(plain)
    except (InvalidTag, ValueError, zlib.error, DecodeError):
        raise passing(
            "codec.damaged",
            f"a payload does not open with key {name}: it was changed, or this process has another key under that id",
            f"give every process the same keyring (setting {SETTING}), and restart this process",
            actor=Actor.OPERATOR,
        ) from None


def _unknown_key(keyring: Keyring | None, name: str) -> SealringError:
    have = f"{keyring.origin} has {', '.join(keyring.ids)}" if keyring else f"the setting {SETTING} names none"
    return passing(
        "codec.unknown-key",
        f"a payload was encrypted with key {name or '(no id)'}, which this process does not have: {have}",
        f"add key {name or '(no id)'} to the keyring that the setting {SETTING} names, and restart this process; "
        "nothing is lost, the work goes on then",
        actor=Actor.OPERATOR,
    )
