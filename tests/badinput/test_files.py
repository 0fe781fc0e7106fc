"""Files that an operator writes for the engine: cluster file, settings, keyring. None is read for ever."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sealring.errors import SealringError
from sealring.settings import load_cluster, load_settings
from sealring.temporal.keyring import load_keyring
from starters.cli import app
from starters.exits import Exit
from tests.badinput.catalogue import Case, cases, in_time, tree

pytestmark = pytest.mark.criterion("G4")

NINE = range(1, 10)


def laughs() -> str:
    bombs = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in NINE]
    return f"a0: &a0 [{', '.join('x' * 9)}]\n{''.join(bombs)}"


def merges() -> str:
    bombs = [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}], k{i}: 1}}\n" for i in NINE]
    return f"a0: &a0 {{x: 1, y: 2}}\n{''.join(bombs)}"


CONTENTS: dict[str, Callable[[], str | bytes]] = {
    "laughs": laughs,
    "merges": merges,
    "deep": lambda: "[" * 1000,
    "deep_json": lambda: "[" * 100_000,
    "deep_toml": lambda: "a = " + "[" * 100_000,
    "many": lambda: f"name: [{'1,' * 500_000}1]\n",
    "binary": lambda: bytes(range(256)) * 8,
    "utf16": lambda: "name: lab\n".encode("utf-16"),
    "nul": lambda: "name: l\0ab\n",
    "long_label": lambda: f"name: lab\ncontact_points: [{'a' * 64}.example]\n",
    "digits": lambda: f"name: lab\ncontact_points: [a]\nssh: {{port: {'9' * 5000}}}\n",
}


def put(case: Case, file: Path) -> None:
    """The file that a case describes."""
    match case.input:
        case str():
            file.write_text(case.input)
        case {"make": "huge"}:
            with file.open("wb") as made:
                made.truncate(100 * 1024 * 1024)
        case {"make": "directory"}:
            file.mkdir()
        case {"make": "fifo"}:
            os.mkfifo(file)
        case {"make": "device"}:
            file.symlink_to("/dev/zero")
        case {"make": "loop"}:
            file.symlink_to(file.name)
        case {"make": "dangling"}:
            file.symlink_to("nowhere")
        case {"make": "missing"} | {"env": _}:
            return
        case {"make": "exposed"}:
            file.write_text("{}")
            file.chmod(0o644)
            return
        case {"make": maker}:
            content = CONTENTS[maker]()
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
    if file.is_file():
        file.chmod(0o600)


@pytest.mark.parametrize("case", cases("cluster"))
def test_a_bad_cluster_file_is_refused(case: Case, tmp_path: Path) -> None:
    put(case, tmp_path / "lab.yaml")
    before = tree(tmp_path)
    with in_time(), pytest.raises(SealringError) as caught:
        load_cluster(tmp_path, "lab")
    case.expects(caught.value)
    assert "lab.yaml" in caught.value.message
    assert tree(tmp_path) == before


@pytest.mark.parametrize("case", cases("topology"))
def test_a_bad_topology_file_is_refused(case: Case, tmp_path: Path) -> None:
    file = tmp_path / "ring.yaml"
    match case.input:
        case {"node": dict(differs)} | {"keyspace": dict(differs)}:
            good: dict[str, list[dict[str, Any]]] = {
                "nodes": [{"address": f"10.0.0.{i}", "tokens": [i * 3 + 1]} for i in (1, 2)],
                "keyspaces": [{"name": "orders", "replication": {"class": "NetworkTopologyStrategy", "dc1": 1}}],
            }
            good["nodes" if "node" in case.input else "keyspaces"][0].update(differs)
            file.write_text(yaml.safe_dump({"name": "t"} | good))
        case _:
            put(case, file)
    with in_time():
        done = CliRunner().invoke(app, ["rollout", "plan", "--topology", str(file)])
    assert done.exit_code == Exit.MISTAKE, (done.output, done.exception)
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    case.expects(done.stderr)


@pytest.mark.parametrize("case", cases("settings"))
def test_bad_settings_are_refused(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "sealring.toml"
    if isinstance(case.input, dict) and "env" in case.input:
        file.write_text("")
        for name, value in case.input["env"].items():
            monkeypatch.setenv(name, value)
    put(case, file)
    monkeypatch.setenv("SEALRING_CONFIG", str(file))
    with in_time(), pytest.raises(SealringError) as caught:
        load_settings()
    case.expects(caught.value)


@pytest.mark.parametrize("case", cases("keyring"))
def test_a_bad_keyring_is_refused(case: Case, tmp_path: Path) -> None:
    file = tmp_path / "keyring.json"
    put(case, file)
    with in_time(), pytest.raises(SealringError) as caught:
        load_keyring(file)
    case.expects(caught.value)
    assert str(file) in caught.value.message
