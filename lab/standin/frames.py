"""The native protocol as bytes: frames of v3 to v5, segments of v5, values and results. Pure.

Sources: native_protocol_v4.spec and native_protocol_v5.spec of Apache Cassandra.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple
from uuid import UUID

VERSIONS = (3, 4, 5)
ERROR, STARTUP, READY, OPTIONS, SUPPORTED, QUERY, RESULT, PREPARE, EXECUTE, REGISTER, BATCH = (
    *(0x00, 0x01, 0x02, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0D),
)
PROTOCOL_ERROR, SYNTAX_ERROR, INVALID, UNPREPARED = 0x000A, 0x2000, 0x2200, 0x2500
_ROWS, _PREPARED = 2, 4
KEYSPACE = struct.pack(">i", 3)  # begins the RESULT of a USE
_GLOBAL_TABLE = 1
HEADER = struct.Struct(">BBhBi")  # version, flags, stream, opcode, length
SEGMENT_BYTES = 131071  # 2**17 - 1
_SELF_CONTAINED = 1 << 17
_CRC24_START, _CRC24_POLYNOMIAL = 0x875060, 0x1974F0B
_CRC32_START = b"\xfa\x2d\x55\xca"
NULL = struct.pack(">i", -1)

TEXT, INT, BIGINT, UUID_, INET, BOOLEAN, DOUBLE, TIMESTAMP, BLOB = (
    *(b"\x00\x0d", b"\x00\x09", b"\x00\x02", b"\x00\x0c", b"\x00\x10", b"\x00\x04", b"\x00\x07", b"\x00\x0b"),
    b"\x00\x03",
)
TEXTS = b"\x00\x22" + TEXT  # set<text>
TEXT_MAP = b"\x00\x21" + TEXT + TEXT  # map<text, text>

Column = tuple[str, bytes]  # name, type
Row = Sequence[bytes]  # cells, each with its length before it


class Frame(NamedTuple):
    """One message."""

    version: int
    stream: int
    opcode: int
    body: bytes


def take_frame(buffer: bytearray) -> Frame | None:
    """The first whole frame of the buffer, taken out of it."""
    if len(buffer) < HEADER.size:
        return None
    version, _, stream, opcode, length = HEADER.unpack_from(buffer)
    if len(buffer) < HEADER.size + length:
        return None
    body = bytes(buffer[HEADER.size : HEADER.size + length])
    del buffer[: HEADER.size + length]
    return Frame(version, stream, opcode, body)


def frame(version: int, stream: int, opcode: int, body: bytes = b"") -> bytes:
    """A response."""
    return HEADER.pack(0x80 | version, 0, stream, opcode, len(body)) + body


def take_segment(buffer: bytearray) -> bytes | None:
    """The content of the first whole segment (v5, 2.2), taken out of the buffer.

    Raises:
        ValueError: a checksum is wrong.
    """
    if len(buffer) < 6:
        return None
    head = bytes(buffer[:3])
    length = int.from_bytes(head, "little") & SEGMENT_BYTES
    if crc24(head) != int.from_bytes(buffer[3:6], "little"):
        raise ValueError("the header of a segment is broken")
    if len(buffer) < 10 + length:
        return None
    content = bytes(buffer[6 : 6 + length])
    if crc32(content) != int.from_bytes(buffer[6 + length : 10 + length], "little"):
        raise ValueError("the content of a segment is broken")
    del buffer[: 10 + length]
    return content


def segments(message: bytes) -> Iterator[bytes]:
    """The message in as many segments as it needs."""
    alone = _SELF_CONTAINED if len(message) <= SEGMENT_BYTES else 0
    for at in range(0, len(message), SEGMENT_BYTES):
        content = message[at : at + SEGMENT_BYTES]
        head = (len(content) | alone).to_bytes(3, "little")
        yield head + crc24(head).to_bytes(3, "little") + content + crc32(content).to_bytes(4, "little")


def crc24(data: bytes) -> int:
    """The checksum of a segment's header (v5, 2.2)."""
    crc = _CRC24_START
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= _CRC24_POLYNOMIAL
    return crc


def crc32(data: bytes) -> int:
    """The checksum of a segment's content."""
    return zlib.crc32(data, zlib.crc32(_CRC32_START))


def string(text: str) -> bytes:
    """[string]."""
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def take_string(body: bytes, at: int = 0) -> tuple[bytes, int]:
    """[string] or [short bytes], and where the next thing begins."""
    end = at + 2 + int.from_bytes(body[at : at + 2])
    return body[at + 2 : end], end


def long_string(body: bytes) -> str:
    """The [long string] at the beginning of a body."""
    return body[4 : 4 + int.from_bytes(body[:4])].decode()


def string_map(body: bytes) -> dict[str, str]:
    """[string map]."""
    words, at = [], 2
    for _ in range(2 * int.from_bytes(body[:2])):
        word, at = take_string(body, at)
        words.append(word.decode())
    return dict(zip(words[::2], words[1::2], strict=True))


def string_multimap(content: Mapping[str, Sequence[str]]) -> bytes:
    """[string multimap]."""
    rows = (
        string(key) + struct.pack(">H", len(values)) + b"".join(map(string, values)) for key, values in content.items()
    )
    return struct.pack(">H", len(content)) + b"".join(rows)


def error(code: int, message: str, more: bytes = b"") -> bytes:
    """The body of an ERROR."""
    return struct.pack(">i", code) + string(message) + more


def cell(kind: bytes, value: Any) -> bytes:
    """A value of a column, its length before it; None is null."""
    if value is None:
        return NULL
    data = _value(kind, value)
    return struct.pack(">i", len(data)) + data


def _value(kind: bytes, value: Any) -> bytes:
    if kind == TEXTS:
        return struct.pack(">i", len(value)) + b"".join(cell(TEXT, word) for word in sorted(value))
    if kind == TEXT_MAP:
        words = (word for pair in sorted(value.items()) for word in pair)
        return struct.pack(">i", len(value)) + b"".join(cell(TEXT, word) for word in words)
    if kind == TEXT:
        return str(value).encode()
    if kind == UUID_:
        return UUID(value).bytes
    if kind == INET:
        return ip_address(value).packed
    return struct.pack({INT: ">i", BIGINT: ">q", TIMESTAMP: ">q", BOOLEAN: ">?", DOUBLE: ">d"}[kind], value)


def rows(keyspace: str, table: str, columns: Sequence[Column], content: Sequence[bytes]) -> bytes:
    """The body of a RESULT with rows, each of them joined cells."""
    metadata = _metadata(keyspace, table, columns)
    return struct.pack(">i", _ROWS) + metadata + struct.pack(">i", len(content)) + b"".join(content)


def prepared(version: int, identity: bytes, keyspace: str, table: str, columns: Sequence[Column]) -> bytes:
    """The body of a RESULT that says a statement without variables was prepared."""
    own = struct.pack(">H", len(identity)) + identity
    keys = b"" if version < 4 else struct.pack(">i", 0)
    nothing = struct.pack(">ii", 0, 0) + keys
    ids = own * 2 if version >= 5 else own
    return struct.pack(">i", _PREPARED) + ids + nothing + _metadata(keyspace, table, columns)


def _metadata(keyspace: str, table: str, columns: Sequence[Column]) -> bytes:
    names = b"".join(string(name) + kind for name, kind in columns)
    return struct.pack(">ii", _GLOBAL_TABLE, len(columns)) + string(keyspace) + string(table) + names
