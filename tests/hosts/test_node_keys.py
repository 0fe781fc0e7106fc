"""Keys that are made on a node: the real scripts and the real openssl; what they print and what they leave."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

from lab import tools
from lab.scan import needles, search
from sealring.errors import SealringError
from sealring.hosts.generations import adopt, flip, settle, stage_generation
from sealring.hosts.manifest import Place, digest_of
from sealring.hosts.node_keys import OnNode, ask_node, assemble_keystores, bring_certificate, view_keystores
from sealring.hosts.shell import Completed
from sealring.models.node import StoreFormat
from sealring.pki.stores import read_keystore, same_keystore, write_keystore
from tests.hosts.local_shell import Killed, LocalShell
from tests.hosts.node import Node, generation, make_node
from tests.unit.pki_maker import GOOD, ISSUING, ROOT

Kind = Literal["ec-p256", "rsa-3072"]
WANTED = ("10.0.0.1", "fd00::1", "Db.Example.com")
PASSWORD = "store password with $signs 'and quotes'"
NEW = generation("new")
TRUST = ROOT.pem


def sign(asked: OnNode) -> bytes:
    """What a vault would answer: leaf and chain in PEM."""
    request = x509.load_pem_x509_csr(asked.request.pem.encode())
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(ISSUING.certificate.subject)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
    )
    for extension in request.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    issuer = ISSUING.key
    assert isinstance(issuer, ec.EllipticCurvePrivateKey)
    return builder.sign(issuer, hashes.SHA256()).public_bytes(Encoding.PEM) + ISSUING.pem


def keystores(place: Place, store_format: StoreFormat = "PKCS12") -> dict[str, tuple[StoreFormat, str]]:
    password = "" if store_format == "PEM" else PASSWORD
    return {store.path: (store_format, password) for store in place.stores if store.role == "keystore"}


def key_of(node: Node) -> bytes:
    return (Path(node.place.state_dir) / "issue" / "r" / "key.pem").read_bytes()


async def brought(shell: LocalShell, node: Node) -> tuple[OnNode, bytes]:
    asked = await ask_node(shell, node.place, "r", "ec-p256", WANTED)
    certificate = sign(asked)
    await bring_certificate(shell, node.place, "r", certificate, TRUST)
    return asked, certificate


async def staged(shell: LocalShell, node: Node, asked: OnNode, certificate: bytes) -> None:
    views = await assemble_keystores(
        shell, node.place, NEW.id, asked.request.key.digest, certificate, keystores(node.place)
    )
    files = {path: content for path, content in node.files("new").items() if path not in views} | views
    await stage_generation(shell, node.place, NEW, files, rollout="r1")


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o077 for path in (folder, *folder.rglob("*"))}


@pytest.mark.parametrize("kind", ["ec-p256", "rsa-3072"])
async def test_a_node_asks_for_exactly_the_names_and_shows_no_key(shell: LocalShell, node: Node, kind: Kind) -> None:
    asked = await ask_node(shell, node.place, "r", kind, WANTED)
    assert asked.request.names == {"10.0.0.1", "fd00::1", "db.example.com"}
    request = x509.load_pem_x509_csr(asked.request.pem.encode())
    assert request.subject.rfc4514_string() == "CN=Db.Example.com"
    assert (asked.certificate, asked.trust) == (b"", b"")
    assert modes(Path(node.place.state_dir) / "issue") == {0}
    again = await ask_node(shell, node.place, "r", kind, WANTED)
    assert again.request.pem == asked.request.pem, "the key is made once"


async def test_without_a_name_the_subject_is_empty(shell: LocalShell, node: Node) -> None:
    asked = await ask_node(shell, node.place, "r", "ec-p256", ("10.0.0.1",))
    assert x509.load_pem_x509_csr(asked.request.pem.encode()).subject.rfc4514_string() == ""


@pytest.mark.criterion("V1")
async def test_a_key_made_on_the_node_comes_into_force_and_its_folder_goes(node: Node, tmp_path: Path) -> None:
    printed: list[str] = []

    class Listening(LocalShell):
        async def run(self, script: str, **options: Any) -> Completed:
            done = await super().run(script, **options)
            printed.extend((script, str(options.get("variables")), str(options.get("arguments")), done.stdout))
            printed.append(done.stderr)
            return done

    shell = Listening(tmp_path)
    asked, certificate = await brought(shell, node)
    secret = needles("key", key_of(node))
    assert (await ask_node(shell, node.place, "r", "ec-p256", WANTED)).certificate == certificate
    await adopt(shell, node.place, generation("old"), node.in_force(), rollout="r1")
    await staged(shell, node, asked, certificate)
    await staged(shell, node, asked, certificate)  # again: assembled anew, and found
    await flip(shell, node.place, NEW.id, rollout="r1")
    assert (Path(node.place.state_dir) / "issue" / "r").is_dir(), "it stays until the node is settled"
    await settle(shell, node.place, rollout="r1", keep=5)
    assert not (Path(node.place.state_dir) / "issue").exists()
    views, contents = await view_keystores(shell, node.place, keystores(node.place)), node.in_force()
    for path, view in views.items():
        whole, seen = (read_keystore(data, "PKCS12", PASSWORD, path) for data in (contents[path], view))
        assert (whole.leaf, whole.chain) == (seen.leaf, seen.chain)
        assert whole.key.belongs_to(seen.leaf.public_key())
        assert same_keystore(view, whole, "PKCS12", PASSWORD)
        assert not same_keystore(view, GOOD, "PKCS12", PASSWORD)
    everything = "\n".join(printed).encode()
    assert search(everything, secret) == set()
    assert PASSWORD.encode() not in everything
    path = next(iter(views))
    assert search(everything + key_in(contents[path]), secret), "the search finds it where it is"


def key_in(keystore: bytes) -> bytes:
    key, _, _ = pkcs12.load_key_and_certificates(keystore, PASSWORD.encode())
    assert key is not None
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


async def test_pem_keystores_are_put_together_and_shown_too(shell: LocalShell, node: Node) -> None:
    asked, certificate = await brought(shell, node)
    public, wanted = asked.request.key.digest, keystores(node.place, "PEM")
    made = await assemble_keystores(shell, node.place, NEW.id, public, certificate, wanted)
    contents = {str(file): file.read_bytes() for file in stores_of(node)}
    assert {view.sha256 for view in made.values()} == {digest_of(content) for content in contents.values()}
    views = await view_keystores(shell, node.place, dict.fromkeys(contents, ("PEM", "")))
    assert len(views) == 2
    for path, view in views.items():
        assert same_keystore(view, read_keystore(contents[path], "PEM", "", path), "PEM", "")


@pytest.mark.parametrize("java", [tools.java11, tools.java17])
async def test_java_opens_what_a_node_made(java: Callable[[], Path], tmp_path: Path) -> None:
    node, shell = make_node(tmp_path / "node", "in-place"), LocalShell(tmp_path)
    asked, certificate = await brought(shell, node)
    await staged(shell, node, asked, certificate)
    store, password = stores_of(node)[0], tmp_path / "password"
    password.write_text(PASSWORD)
    words = ["-list", "-v", "-storetype", "PKCS12", "-keystore", str(store), "-storepass:file", str(password)]
    asked_java = await asyncio.create_subprocess_exec(java() / "bin" / "keytool", *words, stdout=subprocess.PIPE)
    told = (await asked_java.communicate())[0].decode()
    assert "PrivateKeyEntry" in told
    assert "Certificate chain length: 2" in told


async def test_a_store_that_does_not_open_shows_nothing(shell: LocalShell, tmp_path: Path) -> None:
    place = make_node(tmp_path / "n", "in-place").place
    store = tmp_path / "k.p12"
    store.write_bytes(write_keystore(GOOD, "PKCS12", "right"))
    for password in ("wrong", ""):
        (view,) = (await view_keystores(shell, place, {str(store): ("PKCS12", password)})).values()
        with pytest.raises(SealringError, match=r"\[store.password\]"):
            read_keystore(view, "PKCS12", password, "k")
    (view,) = (await view_keystores(shell, place, {str(store): ("PKCS12", "right")})).values()
    assert same_keystore(view, GOOD, "PKCS12", "right")
    with pytest.raises(SealringError, match=r"\[node.file-missing\]"):
        await view_keystores(shell, place, {str(tmp_path / "no"): ("PKCS12", "right")})


async def test_a_certificate_for_another_key_is_not_taken(shell: LocalShell, node: Node) -> None:
    await ask_node(shell, node.place, "r", "ec-p256", WANTED)
    with pytest.raises(SealringError, match=r"\[node.key-differs\]"):
        await bring_certificate(shell, node.place, "r", GOOD_PEM, TRUST)
    assert (await ask_node(shell, node.place, "r", "ec-p256", WANTED)).certificate == b""
    with pytest.raises(SealringError, match=r"\[node.key-missing\]"):
        await bring_certificate(shell, node.place, "other", GOOD_PEM, TRUST)
    asked, _ = await brought(shell, node)
    with pytest.raises(SealringError, match=r"\[node.key-differs\]"):
        await assemble_keystores(shell, node.place, NEW.id, asked.request.key.digest, GOOD_PEM, keystores(node.place))
    with pytest.raises(SealringError, match=r"\[node.key-missing\]"):
        await assemble_keystores(shell, node.place, NEW.id, "0" * 64, GOOD_PEM, keystores(node.place))


GOOD_PEM = GOOD.leaf.public_bytes(Encoding.PEM)


async def test_a_request_that_somebody_replaced_is_noticed(shell: LocalShell, node: Node) -> None:
    await ask_node(shell, node.place, "r", "ec-p256", WANTED)
    with pytest.raises(SealringError, match=r"\[node.state-damaged\]"):
        await ask_node(shell, node.place, "r", "ec-p256", ("10.0.0.2",))
    (Path(node.place.state_dir) / "issue/r/request.pem").write_text("nothing")
    with pytest.raises(SealringError, match=r"\[material.not-a-request\]"):
        await ask_node(shell, node.place, "r", "ec-p256", WANTED)


async def test_a_node_without_openssl_says_so(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "flock", "mkdir", "sed", "cat", "base64", "head", "sha256sum", "cut"):
        (tools / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(tools))
    shell = LocalShell(tmp_path)
    for call in (
        ask_node(shell, node.place, "r", "ec-p256", WANTED),
        view_keystores(shell, node.place, keystores(node.place)),
    ):
        with pytest.raises(SealringError) as caught:
            await call
        assert (caught.value.code, "openssl" in caught.value.message) == ("node.tool-missing", True)


async def test_an_openssl_that_fails_is_quoted(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "openssl").write_text("#!/bin/sh\necho the first >&2\necho no entropy >&2\nexit 1\n")
    (broken / "openssl").chmod(0o755)
    shell, path = LocalShell(tmp_path), os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{broken}:{path}")
    with pytest.raises(SealringError, match=r"\[node.openssl-failed\].*no entropy"):
        await ask_node(shell, node.place, "r", "ec-p256", WANTED)
    monkeypatch.setenv("PATH", path)
    asked, certificate = await brought(shell, node)
    monkeypatch.setenv("PATH", f"{broken}:{path}")
    with pytest.raises(SealringError):
        await staged(shell, node, asked, certificate)


async def test_two_at_once_make_one_key(node: Node, tmp_path: Path) -> None:
    shells = [LocalShell(tmp_path) for _ in range(4)]
    asked = await asyncio.gather(*(ask_node(shell, node.place, "r", "ec-p256", WANTED) for shell in shells))
    assert len({a.request.pem for a in asked}) == 1


async def test_killed_at_any_change_it_can_be_finished_and_leaves_no_draft(tmp_path: Path) -> None:
    kill_at, changes = 0, 0
    while changes == kill_at:
        kill_at += 1
        shutil.rmtree(tmp_path / "node", ignore_errors=True)
        node = make_node(tmp_path / "node", "in-place")
        changes, _ = await begun(tmp_path, node, kill_at)
        _, certificate = await begun(tmp_path, node, 0)
        issue = Path(node.place.state_dir) / "issue"
        assert {path.name for path in (issue, *issue.rglob("*")) if path.name.startswith(".")} == set()
        (made,) = stores_of(node)
        leaf = read_keystore(made.read_bytes(), "PKCS12", PASSWORD, "k").leaf
        assert leaf == x509.load_pem_x509_certificate(certificate)
    assert changes > 12, "the shims saw the changes"


async def begun(folder: Path, node: Node, kill_at: int) -> tuple[int, bytes]:
    """Ask, bring, assemble one store; killed before one of the changes that all of it makes to the disk (0: never).

    Returns:
        The number of that change, or of all changes when there are fewer; the certificate when it was not killed.
    """
    count = 0

    def shell() -> LocalShell:
        return LocalShell(folder, kill_at=kill_at and kill_at - count)

    try:
        dying = shell()
        asked = await ask_node(dying, node.place, "r", "ec-p256", WANTED)
        count, certificate = count + dying.count, sign(asked)
        dying = shell()
        await bring_certificate(dying, node.place, "r", certificate, TRUST)
        count += dying.count
        dying = shell()
        one = dict(list(keystores(node.place).items())[:1])
        await assemble_keystores(dying, node.place, NEW.id, asked.request.key.digest, certificate, one)
    except Killed:
        return kill_at, b""
    return count + dying.count, certificate


def stores_of(node: Node) -> list[Path]:
    """What was assembled."""
    return sorted((Path(node.place.state_dir) / "issue/r/stores").iterdir())
