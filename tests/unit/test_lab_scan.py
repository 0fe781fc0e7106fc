"""The scanner proves itself: it finds what was planted, in every form and container, and nothing in clean places."""

import base64
import gzip
import json
import secrets
import sqlite3
import subprocess
import sys
import time
import urllib.parse
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from typer.testing import CliRunner

from lab import state
from lab.authority import Authority, deliver
from lab.cli import app
from lab.hosts import prepare_hosts
from lab.ring import store_password
from lab.scan import Needle, ProcessWatch, needles, scan_files, search
from lab.secret_places import scan_lab
from lab.spec import LabSpec
from sealring.temporal.keyring import create_keyring

PASSWORD = 'pa"ss/wörd +7~?>é'.encode()
KEYS: dict[str, PrivateKeyTypes] = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "ec": ec.generate_private_key(ec.SECP256R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def written(key: PrivateKeyTypes, style: str) -> bytes:
    encoding, form = {
        "pkcs8": (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8),
        "traditional": (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL),
        "openssh": (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH),
        "der": (serialization.Encoding.DER, serialization.PrivateFormat.PKCS8),
    }[style]
    return key.private_bytes(encoding, form, serialization.NoEncryption())


def body(pem: bytes) -> bytes:
    return pem.split(b"-----")[2]


def forms(hits: set[tuple[str, str]]) -> set[str]:
    return {form for _, form in hits}


PASSWORD_FORMS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda s: s,
    "hex": lambda s: s.hex().encode(),
    "HEX": lambda s: s.hex().upper().encode(),
    "base64": base64.b64encode,
    "base64url": base64.urlsafe_b64encode,
    "wrapped base64": lambda s: base64.encodebytes(bytes(60) + s),
    "wrapped hex": lambda s: s.hex(":").encode(),
    "bytes repr": lambda s: repr(s).encode(),
    "url": lambda s: urllib.parse.quote(s, safe="").encode(),
    "url plus": lambda s: urllib.parse.quote_plus(s, safe="").encode(),
    "utf-16le": lambda s: s.decode().encode("utf-16le"),
    "utf-16be": lambda s: s.decode().encode("utf-16be"),
    "json": lambda s: json.dumps({"password": s.decode()}).encode(),
    "json twice": lambda s: json.dumps(json.dumps({"password": s.decode()})).encode(),
    "gzip raw": gzip.compress,
    "zlib raw": zlib.compress,
    "gzip zlib raw": lambda s: gzip.compress(zlib.compress(s)),
}


@pytest.mark.criterion("Q6")
@pytest.mark.parametrize("form", PASSWORD_FORMS)
@pytest.mark.parametrize("before", [b"", b"a", b"ab"], ids=["at 0", "at 1", "at 2"])
def test_a_password_is_found_in_every_form(form: str, before: bytes) -> None:
    content = b"level=info " + PASSWORD_FORMS[form](before + PASSWORD + b" and more") + b"\n"
    # The very form: were it found by another one only, this one could be broken and nobody saw it.
    assert form in forms(search(content, needles("store", PASSWORD)))


@pytest.mark.criterion("Q6")
@pytest.mark.parametrize("around", [b"", b"'", b'"', b"'\"", b"\\"])
@pytest.mark.parametrize("secret", [b"it's a secret", b'a "secret"', b'it\'s a "secret"', b"back\\'slash"])
def test_the_repr_of_bytes_is_known_whatever_quotes_stand_around(secret: bytes, around: bytes) -> None:
    content = repr(b"words " + around + secret + around).encode()
    assert "bytes repr" in forms(search(content, needles("store", secret)))


@pytest.mark.criterion("Q6")
@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("style", ["pkcs8", "traditional", "openssh"])
def test_a_private_key_is_found_whatever_its_file_looks_like(kind: str, style: str) -> None:
    if (kind, style) == ("ed25519", "traditional"):
        style = "pkcs8"  # there is no traditional form
    key = KEYS[kind]
    wanted = needles(kind, written(key, style))
    pem = written(key, "pkcs8")
    places = {
        "pem": pem,
        "der": written(key, "der"),
        "body": body(pem),
        "body in one line": body(pem).replace(b"\n", b""),
        "json": json.dumps({"key": pem.decode()}).encode(),
        "json of json": json.dumps(json.dumps({"key": pem.decode()})).encode(),
        "hex of der": written(key, "der").hex().encode(),
        "HEX of der": written(key, "der").hex().upper().encode(),
        "base64url of der": base64.urlsafe_b64encode(written(key, "der")),
        "repr of der": repr(written(key, "der")).encode(),
        "gzip of pem": gzip.compress(pem),
        "zlib of der": zlib.compress(written(key, "der")),
    }
    assert [place for place, content in places.items() if not search(b"x" + content, wanted)] == []


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("style", ["pkcs8", "openssh"])
@pytest.mark.parametrize("encode", [base64.b64encode, bytes.hex, lambda pem: pem.decode().encode("utf-16le")])
def test_a_key_file_that_was_encoded_once_more_is_found(
    kind: str, style: str, encode: Callable[[bytes], bytes | str]
) -> None:
    pem = written(KEYS[kind], style)
    content = encode(b"\n" + pem)
    text = content.encode() if isinstance(content, str) else content
    assert any(form.startswith("pem ") for form in forms(search(text, needles(kind, pem))))


@pytest.mark.parametrize("kind", KEYS)
def test_what_everybody_may_know_of_a_key_is_no_leak(kind: str) -> None:
    key = KEYS[kind]
    wanted = needles(kind, written(key, "pkcs8"))
    public = key.public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert search(der + base64.b64encode(der) + der.hex().encode(), wanted) == set()
    assert search(written(ec.generate_private_key(ec.SECP256R1()), "pkcs8"), wanted) == set()


def test_half_a_key_is_a_leak() -> None:
    pem = written(KEYS["rsa"], "pkcs8")
    assert search(pem[: len(pem) // 2], needles("rsa", pem))


def test_a_secret_too_short_to_look_for_is_refused() -> None:
    with pytest.raises(ValueError, match="short"):
        needles("short", b"cassand")


def test_no_text_of_the_scanner_shows_the_secret() -> None:
    assert b"ss/w" not in repr(needles("store", PASSWORD)).encode()
    assert repr(Needle("store", "raw", b"x")) == "Needle('store', 'raw')"


@pytest.mark.criterion("Q6")
def test_a_database_is_read_cell_by_cell_with_its_log(tmp_path: Path) -> None:
    secret = base64.b64encode(bytes(range(200, 256))) * 100  # longer than a page: the file cuts it
    wanted = needles("token", b"planted-in-the-log")
    database = tmp_path / "temporal.db"
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma wal_autocheckpoint = 0")
    connection.execute("create table history (node blob)")
    connection.execute("insert into history values (?)", (secret + b"planted-in-the-log",))
    whole = needles("long", secret)
    assert {(leak.secret, Path(leak.place).name) for leak in scan_files(tmp_path, wanted)} == {
        ("token", "temporal.db"),
        ("token", "temporal.db-wal"),
    }
    # No file has it in one piece; the cell has.
    assert {Path(leak.place).name for leak in scan_files(tmp_path, whole)} == {"temporal.db"}
    connection.close()


def test_places_where_secrets_belong_are_left_out_and_no_others(tmp_path: Path) -> None:
    for name in ("vault/tls.key", "logs/worker.log"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x" + PASSWORD)
    leaks = scan_files(tmp_path, needles("store", PASSWORD), belongs=["vault/*"])
    assert {leak.place for leak in leaks} == {str(tmp_path / "logs/worker.log")}


@pytest.mark.criterion("Q6")
@pytest.mark.parametrize("where", ["arguments", "environment"])
def test_a_process_that_shows_a_secret_is_seen(where: str) -> None:
    shown = secrets.token_hex(16)  # nobody else's: all processes of this computer are looked at
    wanted = needles("token", shown.encode())
    # It says that it runs by its output, so it has been there to be seen; then it ends at once.
    program = "import sys; print(1, flush=True); sys.stdin.read()"
    with ProcessWatch() as watch:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *([shown] if where == "arguments" else [])],
            env={"TOKEN": shown} if where == "environment" else {},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        before = watch.rounds
        while watch.rounds < before + 2:
            time.sleep(0.001)
        process.communicate()
    assert {leak.place for leak in watch.leaks(wanted)} == {f"process {where}"}


@pytest.mark.criterion("Q6")
def test_a_lab_is_scanned_but_where_its_secrets_belong(tmp_path: Path) -> None:
    spec = LabSpec(tmp_path / "lab", nodes=1)
    state.save_spec(spec)
    prepare_hosts(spec)
    password = store_password(spec)
    keyring = spec.root / "engine" / "keyring.json"
    create_keyring(keyring)
    delivery = deliver(spec, Authority.open(spec.authority), "new")
    assert scan_lab(spec) == set()
    key = next(Path(delivery).rglob("tls.key"))
    payload_key = next(iter(json.loads(keyring.read_bytes())["keys"].values()))
    planted = {
        "worker.log": password.encode(),
        "deploy.log": body(key.read_bytes()).replace(b"\n", b""),
        "nodes/n1/logs/sshd.log": (spec.ssh / "deploy").read_bytes(),
        "engine/temporal/temporal.log": base64.b64decode(payload_key).hex().encode(),
    }
    for name, content in planted.items():
        (spec.root / name).parent.mkdir(parents=True, exist_ok=True)
        (spec.root / name).write_bytes(b"said: " + content)
    assert {leak.place for leak in scan_lab(spec)} == {str(spec.root / name) for name in planted}
    said = CliRunner().invoke(app, ["scan", "--root", str(spec.root)])
    assert said.exit_code == 1
    assert password not in said.output
