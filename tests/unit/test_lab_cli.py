"""`python -m lab`: mistakes and missing labs are one line and exit code 2; nothing was changed."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lab.spec import INTERNODE_PORT, NET


def lab(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "lab", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", [["status"], ["kill", "n1"]])
def test_without_a_lab_it_says_how_to_get_one(tmp_path: Path, command: list[str]) -> None:
    done = lab(*command, "--root", str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("[lab.none] There is no lab in ")
    assert done.stderr.count("\n") == 1


def test_down_without_a_lab_is_fine(tmp_path: Path) -> None:
    assert lab("down", "--root", str(tmp_path)).returncode == 0


def test_an_unknown_version_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    done = lab("up", "--root", str(tmp_path / "lab"), "--cassandra", "3.11")
    assert done.returncode == 2
    assert "5.0, 4.1, 4.0" in done.stderr
    assert not (tmp_path / "lab").exists()


def test_a_busy_port_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with socket.create_server((f"127.0.{NET}.145", INTERNODE_PORT)):
        done = lab("up", "--root", str(tmp_path / "lab"), "--first", "144", "--no-engine")
    assert done.returncode == 2
    assert done.stderr.startswith(f"[lab.port-busy] Something else listens on 127.0.{NET}.145:{INTERNODE_PORT}.")
    assert not (tmp_path / "lab").exists()
