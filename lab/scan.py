"""Look for secrets where they must not be: in every form a program may have written them, in files and processes.

Start reading at `needles` (a secret in all its forms) and `search` (one piece of content, unfolded in all its ways).
What a private key hides is a number; a certificate holds everything else of the key. So it is that number that is
looked for, in pieces: a log line that was cut off, or a database page, betrays it as well. The memory of a process
(/proc/PID/mem, a core file) is not looked at: a worker must hold a key while it writes it to a node.
"""

import base64
import json
import re
import sqlite3
import tempfile
import threading
import urllib.parse
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

SHORTEST = 8
"""Bytes: a shorter secret is found by chance in any database."""

PIECE = 24
"""Bytes of a longer secret that betray it: 192 bits are never there by chance."""

_TEXT_PIECE = 16  # characters of base64: 96 bits
_UNFOLDED = 64 * 1024 * 1024  # bytes that a compressed stream may become here
_DEPTH = 2  # an archive in an archive


@dataclass(frozen=True)
class Needle:
    """One form of one secret. Its text shows no content."""

    secret: str  # its name
    form: str
    content: bytes

    def __repr__(self) -> str:
        return f"Needle({self.secret!r}, {self.form!r})"


@dataclass(frozen=True, order=True)
class Leak:
    """A secret in a place where it does not belong."""

    place: str
    secret: str
    form: str


def needles(name: str, secret: bytes) -> tuple[Needle, ...]:
    """A password, a token, or the content of a private key file (PEM: PKCS#8, traditional, OpenSSH; unencrypted).

    Raises:
        ValueError: the secret is shorter than `SHORTEST` bytes, or its key cannot be read.
    """
    if len(secret) < SHORTEST:
        raise ValueError(f"{name}: a secret of less than {SHORTEST} bytes cannot be looked for")
    if b"PRIVATE KEY-----" not in secret:
        return tuple(Needle(name, form, content) for form, content in _forms(secret))
    numbers = _hidden_numbers(secret)
    found = [(form, content) for number in numbers for piece in _pieces(number) for form, content in _forms(piece)]
    # Of the PEM text, as it would be copied: only the lines that hold the number, for the others are not secret.
    found += [(f"pem {form}", content) for line in _pem_lines(secret, numbers) for form, content in _forms(line)]
    return tuple(Needle(name, form, content) for form, content in found)


def search(content: bytes, wanted: Iterable[Needle]) -> set[tuple[str, str]]:
    """(secret, form) of everything that is in the content: as it is, without line breaks, and decompressed."""
    wanted = tuple(wanted)
    found = set()
    for way, text in _unfold(content, _DEPTH):
        found |= {(needle.secret, f"{way}{needle.form}") for needle in wanted if needle.content in text}
    return found


def scan_files(root: Path, wanted: Iterable[Needle], belongs: Iterable[str] = ()) -> set[Leak]:
    """Every file below a folder; SQLite databases also cell by cell, with what is still in their write-ahead log.

    Args:
        root: the folder, or one file.
        wanted: what to look for.
        belongs: glob patterns relative to `root`: the places where secrets belong, which are left out.
    """
    wanted, allowed = tuple(wanted), tuple(belongs)
    leaks = set()
    for path in [root] if root.is_file() else sorted(root.rglob("*")):
        if not path.is_file() or path.is_symlink() or any(path.relative_to(root).match(glob) for glob in allowed):
            continue
        pieces = [path.read_bytes()]
        if pieces[0].startswith(b"SQLite format 3\0"):
            pieces += cells(path)
        leaks |= {Leak(str(path), *hit) for piece in pieces for hit in search(piece, wanted)}
    return leaks


def cells(database: Path) -> Iterator[bytes]:
    """Every text and blob of a SQLite database, whole: in the file a long one is cut by page boundaries."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        for end in ("", "-wal"):
            source = database.with_name(database.name + end)
            if source.exists():
                copy.with_name(copy.name + end).write_bytes(source.read_bytes())
        with closing(sqlite3.connect(copy)) as connection:
            connection.text_factory = bytes
            tables = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
            for (table,) in tables:
                for row in connection.execute(f'select * from "{table.decode()}"'):  # noqa: S608 - its own names
                    yield from (value for value in row if isinstance(value, bytes) and len(value) >= SHORTEST)


class ProcessWatch:
    """Collects arguments and environment of every process that is seen while the context lasts.

    Samples as fast as one thread can: a process that lives for less than some milliseconds may be missed.
    """

    def __init__(self) -> None:
        self.arguments: set[bytes] = set()
        self.environments: set[bytes] = set()
        self.rounds = 0  # how often all processes were looked at
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "ProcessWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def leaks(self, wanted: Iterable[Needle]) -> set[Leak]:
        """What was found in them; call it when the watch is over."""
        wanted = tuple(wanted)
        seen = {"process arguments": self.arguments, "process environment": self.environments}
        return {Leak(place, *hit) for place, texts in seen.items() for text in texts for hit in search(text, wanted)}

    def _watch(self) -> None:
        while not self._end.wait(0.002):
            for process in Path("/proc").glob("[0-9]*"):
                for name, texts in (("cmdline", self.arguments), ("environ", self.environments)):
                    try:
                        texts.add((process / name).read_bytes())
                    except OSError:  # it has ended, or is somebody else's
                        continue
            self.rounds += 1


def _forms(value: bytes) -> Iterator[tuple[str, bytes]]:
    """The value as programs write it."""
    yield "raw", value
    yield "hex", value.hex().encode()
    yield "HEX", value.hex().upper().encode()
    for form, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
        # Inside a longer document it begins at any of three places; the characters shared with neighbours are cut.
        for shift in range(3):
            text = encode(bytes(shift) + value)
            yield form, text[(0, 2, 3)[shift] : (len(value) + shift) * 8 // 6]
    # Python escapes ' only where the whole has " too, of which this may be a part.
    escaped = repr(b'"' + value)[3:-1]
    for words in {escaped, escaped.replace("\\'", "'")}:
        yield "bytes repr", words.encode()
    yield "url", urllib.parse.quote(value, safe="").encode()
    yield "url plus", urllib.parse.quote_plus(value, safe="").encode()
    try:
        words = value.decode()
    except UnicodeDecodeError:
        return
    yield "utf-16le", words.encode("utf-16le")
    yield "utf-16be", words.encode("utf-16be")
    yield "json", json.dumps(words)[1:-1].encode()
    yield "json twice", json.dumps(json.dumps(words)[1:-1])[1:-1].encode()


def _unfold(content: bytes, depth: int) -> Iterator[tuple[str, bytes]]:
    yield "", content
    # Line breaks (also escaped ones) and the colons of `openssl -text` split base64 and hex.
    yield "wrapped ", re.sub(rb"\\+[nr]", b"", content).translate(None, b" \t\r\n:")
    if depth == 0:
        return
    # 31, 15: window sizes of zlib's inflate for a gzip and a zlib header (RFC 1952, RFC 1950).
    for way, bits, head in (("gzip ", 31, rb"\x1f\x8b\x08"), ("zlib ", 15, rb"\x78[\x01\x5e\x9c\xda]")):
        for start in re.finditer(head, content):
            try:
                inner = zlib.decompressobj(bits).decompress(content[start.start() :], _UNFOLDED)
            except zlib.error:
                continue
            if len(inner) >= SHORTEST:
                yield from ((way + more, text) for more, text in _unfold(inner, depth - 1))


def _hidden_numbers(pem: bytes) -> tuple[bytes, ...]:
    """The numbers of a private key that its public key does not tell."""
    load = serialization.load_ssh_private_key if b"OPENSSH PRIVATE KEY" in pem else serialization.load_pem_private_key
    key = load(pem, None)
    match key:
        case rsa.RSAPrivateKey():
            private = key.private_numbers()
            return tuple(n.to_bytes((n.bit_length() + 7) // 8) for n in (private.d, private.p, private.q))
        case ec.EllipticCurvePrivateKey():
            return (key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8),)
        case ed25519.Ed25519PrivateKey():
            return (key.private_bytes_raw(),)
        case _:
            raise ValueError(f"a {type(key).__name__} cannot be looked for")


def _pieces(number: bytes) -> Iterator[bytes]:
    for start in range(0, len(number) - PIECE + 1, PIECE):
        yield number[start : start + PIECE]


def _pem_lines(pem: bytes, numbers: Iterable[bytes]) -> Iterator[bytes]:
    """The parts of the PEM's lines that hold nothing but the hidden numbers."""
    lines = pem.split(b"-----")[2].split()
    blob, begin = base64.b64decode(b"".join(lines)), 0
    spans = [(at * 8 // 6 + 1, (at + len(number)) * 8 // 6) for number in numbers if (at := blob.find(number)) >= 0]
    for line in lines:
        for first, last in spans:
            part = line[max(0, first - begin) : max(0, last - begin)]
            if len(part) >= _TEXT_PIECE:
                yield part
        begin += len(line)
