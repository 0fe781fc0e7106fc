"""The files of the ssh section, each spoilt in its own way: refused before a connection is tried."""

import os
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from sealring.errors import SealringError
from sealring.hosts.login import login
from sealring.hosts.routes import endpoint
from sealring.hosts.trust import KnownHosts
from sealring.models.cluster import SshSettings
from tests.badinput.catalogue import Case, cases, in_time, tree
from tests.unit.pki_maker import LEAF

pytestmark = pytest.mark.criterion("G4")


def spoil(file: Path, how: str) -> None:
    """What any file may be instead of itself."""
    file.unlink(missing_ok=True)
    match how:
        case "directory":
            file.mkdir(mode=0o700)
        case "fifo":
            os.mkfifo(file, 0o600)
        case "device":
            file.symlink_to("/dev/zero")
        case "empty":
            file.touch(0o600)
        case "huge":
            with file.open("wb") as made:
                made.truncate(100 * 1024 * 1024)
        case "binary":
            file.write_bytes(b"host " + bytes(range(128, 256)))
        case "marker":
            file.write_text("@trust-me * ssh-ed25519 AAAA\n")


def spoil_key(file: Path, how: str) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    match how:
        case "mode":
            file.chmod(0o640)
        case "encrypted":
            file.write_bytes(key.export_private_key("pkcs8-pem", passphrase="word"))
        case "public":
            file.write_bytes(key.export_public_key())
        case "cut":
            file.write_bytes(file.read_bytes()[:150])
        case "pattern":
            file.write_bytes(b"-----BEGIN ( PRIVATE KEY-----")
        case _:
            spoil(file, how)


def spoil_certificate(file: Path, how: str, key: asyncssh.SSHKey) -> None:
    authority = asyncssh.generate_private_key("ssh-ed25519")
    user: Any = {"principals": ["deploy"], "valid_after": "-2d", "valid_before": "+1d"}
    match how:
        case "other":
            made = authority.generate_user_certificate(authority, "x", **user)
        case "expired":
            made = authority.generate_user_certificate(key, "x", **{**user, "valid_before": "-1d"})
        case "host":
            made = authority.generate_host_certificate(key, "x", principals=["deploy"])
        case "cut":
            made = authority.generate_user_certificate(key, "x", **user)
            file.write_bytes(made.export_certificate()[:100])
            return
        case "x509":
            file.write_bytes(LEAF.pem)
            return
        case _:
            spoil(file, how)
            return
    file.write_bytes(made.export_certificate())


@pytest.mark.parametrize("case", cases("ssh"))
async def test_a_bad_file_of_the_ssh_section_is_refused(case: Case, tmp_path: Path) -> None:
    known, private, certificate = (tmp_path / name for name in ("known_hosts", "key", "key-cert.pub"))
    known.touch()
    key = asyncssh.generate_private_key("ssh-ed25519")
    private.write_bytes(key.export_private_key())
    private.chmod(0o600)
    what, _, how = case.input.partition("_")
    match what:
        case "known":
            spoil(known, how)
        case "key":
            spoil_key(private, how)
        case _:
            spoil_certificate(certificate, how, key)
    settings = SshSettings(
        port=1, known_hosts=known, private_key=private, certificate=certificate if what == "certificate" else None
    )
    before = tree(tmp_path)
    with in_time(), pytest.raises(SealringError) as caught:
        await login(endpoint(settings, "127.0.0.1"), settings, KnownHosts(known))
    case.expects(caught.value)
    assert "PRIVATE KEY" not in str(caught.value)
    assert tree(tmp_path) == before
