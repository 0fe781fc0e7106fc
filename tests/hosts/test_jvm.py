"""A real Java's keytool opens the stores, on a node's shell: what it refuses is caught, and nothing stays behind."""

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealring.cassandra.judging import Judge
from sealring.cassandra.jvm import Opened, opened_by_java
from sealring.errors import SealringError
from sealring.models.evidence import Verdict
from sealring.models.node import StoreFile
from sealring.pki.stores import write_keystore, write_truststore
from tests.badinput.catalogue import tree
from tests.hosts.local_shell import LocalShell
from tests.unit.pki_maker import GOOD

PASSWORD = "the live pass-word"
KEYSTORE = StoreFile(role="keystore", blocks=("server",), path="/tls/keystore.p12", format="PKCS12")
TRUSTSTORE = StoreFile(role="truststore", blocks=("server",), path="/tls/truststore.p12", format="PKCS12")
JUDGE = Judge("10.0.0.1", restarts=False)
MEMORY = Path("/dev/shm")


def java() -> str:
    found = shutil.which("java")
    if found is None:
        pytest.skip("no Java here")
    return found


def left() -> list[Path]:
    return list(MEMORY.glob(".sealring-preflight.*")) + list(Path("/tmp").glob(".sealring-preflight.*"))


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    assert left() == []
    yield
    assert left() == []


def drafts(password: str = PASSWORD, *, asked: str = PASSWORD) -> list[Opened]:
    return [
        Opened(KEYSTORE, asked, draft=write_keystore(GOOD, "PKCS12", password)),
        Opened(TRUSTSTORE, asked, draft=write_truststore(GOOD.trust, "PKCS12", password)),
    ]


@pytest.mark.criterion("F3")
async def test_drafts_open_with_the_live_password_and_nothing_is_written_to_the_disk(
    shell: LocalShell, tmp_path: Path
) -> None:
    before = tree(tmp_path)
    finding = await opened_by_java(shell, drafts(), JUDGE, pid=0, program=java())
    assert finding.verdict is Verdict.PASS, finding
    assert "opens 2 stores" in finding.message
    assert tree(tmp_path) == before


@pytest.mark.criterion("F3")
async def test_a_wrong_password_is_caught_and_told_without_it(shell: LocalShell) -> None:
    finding = await opened_by_java(shell, drafts(asked="wrong one"), JUDGE, pid=0, program=java())
    assert finding.verdict is Verdict.FAIL
    assert "password was incorrect" in finding.message
    assert "wrong one" not in str(finding)


@pytest.mark.criterion("F3")
async def test_stores_on_the_disk_are_read_where_they_are(shell: LocalShell, tmp_path: Path) -> None:
    good, broken = tmp_path / "good.p12", tmp_path / "broken.p12"
    good.write_bytes(write_keystore(GOOD, "PKCS12", PASSWORD))
    broken.write_bytes(good.read_bytes()[:-200])
    there = [Opened(KEYSTORE, PASSWORD, at=str(good))]
    assert (await opened_by_java(shell, there, JUDGE, pid=0, program=java())).verdict is Verdict.PASS
    there.append(Opened(KEYSTORE, PASSWORD, at=str(broken)))
    assert (await opened_by_java(shell, there, JUDGE, pid=0, program=java())).verdict is Verdict.FAIL


async def test_without_keytool_it_is_said_so(shell: LocalShell, tmp_path: Path) -> None:
    for program in (str(tmp_path / "bin/java"), "/bin/dash", ""):
        finding = await opened_by_java(shell, drafts(), JUDGE, pid=0, program=program)
        assert finding.verdict is Verdict.WARN
        assert "was not asked" in finding.message


async def test_a_look_that_is_ended_in_the_middle_leaves_no_draft(shell: LocalShell, tmp_path: Path) -> None:
    slow = tmp_path / "bin"
    slow.mkdir()
    (slow / "java").write_text("")
    reached = slow / "reached"
    os.mkfifo(reached)
    (slow / "keytool").write_text(f"#!/bin/sh\necho $PPID >{reached}\nsleep 60\n")
    (slow / "keytool").chmod(0o755)
    looking = asyncio.create_task(opened_by_java(shell, drafts(), JUDGE, pid=0, program=str(slow / "java")))
    parent = int(await asyncio.to_thread(reached.read_text))
    assert len(left()) == 1, "the draft is there while it is looked at"
    assert left()[0].stat().st_mode & 0o777 == 0o700
    os.killpg(os.getpgid(parent), signal.SIGTERM)
    with pytest.raises(SealringError):
        await looking
