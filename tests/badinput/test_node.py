"""What stands on a node: its configuration, its generations, its programs, each odd in its own way.

Every case is refused with a code, and every file of the node is bit for bit what it was.
"""

import json
import os
import shutil
from pathlib import Path

import pytest

from sealring.cassandra import nodetool as nodetools
from sealring.cassandra.inventory import inventory
from sealring.cassandra.nodetool import nodetool
from sealring.errors import SealringError
from sealring.hosts.facts import read_facts
from sealring.hosts.generations import adopt, flip, read_disk, read_manifest, stage_generation
from sealring.hosts.service import status
from sealring.hosts.ssh import HostPool
from sealring.models.cluster import ClusterFile, ServiceSettings
from tests.badinput.catalogue import Case, cases, in_time, tree
from tests.badinput.test_files import put
from tests.hosts.local_shell import LocalShell
from tests.hosts.node import Node, generation, make_node, prepared
from tests.unit.test_cassandra_inventory import NODE, Computer
from tests.unit.test_cassandra_inventory import LocalShell as PlainShell

pytestmark = pytest.mark.criterion("G4")


@pytest.mark.parametrize("case", cases("configuration"))
async def test_a_bad_cassandra_yaml_is_refused(case: Case, tmp_path: Path) -> None:
    for folder in ("bin", "conf", "logs", "tls"):
        (tmp_path / folder).mkdir()
    computer = Computer(tmp_path, PlainShell(tmp_path / "bin"))
    computer.service(0, "inactive")
    put(case, computer.config)
    cluster = ClusterFile.model_validate(
        {"name": "lab", "contact_points": ["a"], "service": {"config": str(computer.config), "sudo": "never"}}
    )
    before = tree(tmp_path)
    with in_time(), pytest.raises(SealringError) as caught:
        await inventory(computer.shell, cluster, NODE)
    case.expects(caught.value)
    assert tree(tmp_path) == before


def huge(file: Path) -> None:
    with file.open("wb") as made:
        made.truncate(20 * 1024 * 1024)


def spoil(node: Node, case: str) -> None:
    """Spoil one thing on a node that keeps `old` in force and has `new` beside it."""
    tls = Path(node.place.tls_dir)
    folder = tls / "generations" / generation("new").id
    what, _, how = case.partition("_")
    places = {
        "intent": Path(node.place.state_dir, "intent.json"),
        "last": Path(node.place.state_dir, "last.json"),
        "manifest": tls / "generations" / generation("old").id / "manifest.json",
        "generations": tls / "generations",
        "current": tls / "current",
        "generation": next(folder.glob("*truststore.p12")),
        "sums": folder / "SHA256SUMS",
        "store": Path(next(store.path for store in node.place.stores if store.role == "truststore")),
    }
    file = places[what]
    known = json.loads(file.read_text()) if what == "manifest" else {}
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    file.unlink(missing_ok=True)
    contents = {
        "": "",
        "garbage": "\x01\x7f not of ours {",
        "list": "[1]",
        "deep": "[" * 10_000,
        "file": "x",
        "changed": "changed",
        "naive": json.dumps({**known, "not_after": "2030-01-01T00:00:00"}),
        "climbing": json.dumps(
            {**known, "files": [{**each, "name": "../../x"} for each in known.get("files", ())]}
            if known
            else {"rollout": "r1", "step": "flip", "to": "", "from": "../../../etc;x", "previous": ""},
            separators=(",", ":"),
        ),
        "foreign": json.dumps(
            {**known, "id": "0" * 64} if known else {"rollout": "other-engine", "step": "x"}, separators=(",", ":")
        ),
    }
    match how:
        case "huge":
            huge(file)
        case "fifo":
            os.mkfifo(file)
        case "directory" | "folder":
            file.mkdir()
        case "outside":
            file.symlink_to("/etc")
        case "loop":
            file.symlink_to(file.name)
        case "dangling" if what == "current":
            file.symlink_to(f"generations/{'0' * 64}")
        case "dangling":
            file.symlink_to("nowhere")
        case "missing":
            return
        case _:
            file.write_text(contents[how])


@pytest.mark.parametrize("case", cases("node"))
async def test_an_odd_node_is_refused_and_left_as_it_is(case: Case, tmp_path: Path) -> None:
    node, shell = make_node(tmp_path / "node", "in-place"), LocalShell(tmp_path)
    await prepared(node, shell)
    spoil(node, case.input)
    before = tree(node.root)
    new, files = generation("new"), node.files("new")

    async def as_a_rollout_would() -> None:
        await read_disk(shell, node.place)
        await read_manifest(shell, node.place, generation("old").id)
        await flip(shell, node.place, new.id, rollout="r1")

    with in_time(60), pytest.raises(SealringError) as caught:
        await as_a_rollout_would()
    case.expects(caught.value)
    assert tree(node.root) == before
    if case.input.startswith("intent"):
        for act in (
            lambda: adopt(shell, node.place, new, node.in_force(), rollout="r1"),
            lambda: stage_generation(shell, node.place, generation("newer"), files, rollout="r1"),
        ):
            with in_time(), pytest.raises(SealringError) as caught:
                await act()
            assert caught.value.code == case.code
        assert tree(node.root) == before


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.mark.sshd
@pytest.mark.parametrize("case", cases("programs"))
async def test_a_program_that_prints_what_it_should_not_is_refused(
    case: Case, tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch, pool: HostPool, address: str
) -> None:
    if case.code == "ssh.command-timeout":  # the others are answered, however late
        monkeypatch.setattr(nodetools, "TIMEOUT_SECONDS", 2.0)
    ((name, script),) = case.input.items()
    (programs / name).write_text(f"#!/bin/sh\n{script}\n")
    (programs / name).chmod(0o755)
    node, shell = make_node(tmp_path / "node", "in-place"), LocalShell(tmp_path)
    before = tree(node.root)

    async def ask() -> None:
        match name:
            case "systemctl":
                await status(shell, "cassandra")
            case "nodetool":
                service = ServiceSettings(nodetool=str(programs / name))
                async with pool.host(address) as host:
                    await nodetool(host, service, "status")
            case _:
                await read_facts(shell, node.place)

    with in_time(60), pytest.raises(SealringError) as caught:
        await ask()
    case.expects(caught.value)
    assert tree(node.root) == before
