"""Owner, mode, ACL, extended attributes and mtime of the stores, through a change and back."""
# ruff: noqa: ASYNC221, ASYNC240 - a test may block its own loop

import itertools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sealring.errors import SealringError
from sealring.hosts.generations import (
    adopt,
    flip,
    read_manifest,
    stage_generation,
)
from tests.hosts.local_shell import Killed, LocalShell, shell_of
from tests.hosts.node import Node, generation, make_node, prepared

OLDER, OLD, NEW = generation("older"), generation("old"), generation("new")


@pytest.mark.criterion("N4", "A8")
@pytest.mark.skipif(shutil.which("setfacl") is None, reason="setfacl is not installed")
async def test_mode_acl_and_extended_attributes_survive(node: Node, shell: LocalShell) -> None:
    store = Path(node.place.stores[0].path)
    subprocess.run(["setfacl", "-m", "u:games:r", store], check=True)
    os.setxattr(store, "user.origin", b"pki")
    before = {path: subprocess.run(["getfacl", "-cn", path], capture_output=True).stdout for path in node.in_force()}
    old_times = {path: Path(path).stat().st_mtime_ns for path in node.in_force()}
    await prepared(node, shell)
    for step, one in enumerate((NEW, OLD)):
        await flip(shell, node.place, one.id, rollout="r1")
        assert os.getxattr(store, "user.origin") == b"pki", step
        for path, acl in before.items():
            assert subprocess.run(["getfacl", "-cn", path], capture_output=True).stdout == acl
        assert node.in_force() == node.files("new" if one is NEW else "old")
        times = {path: Path(path).stat().st_mtime_ns for path in node.in_force()}
        assert all(times[path] > old_times[path] for path in times), "Cassandra before 4.1.4 reloads by mtime"
        old_times = times


@pytest.mark.criterion("A8", "A9")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
async def test_root_gives_files_to_the_service(node: Node, shell: LocalShell) -> None:
    import dataclasses

    place = dataclasses.replace(node.place, user="daemon", group="adm")
    for path in node.in_force():
        os.chown(path, 1, 4)
    await adopt(shell, place, OLD, node.in_force(), rollout="r1")
    await stage_generation(shell, place, NEW, node.files("new"), rollout="r1")
    await flip(shell, place, NEW.id, rollout="r1")
    for folder in (OLD.id, NEW.id):
        found = Path(place.tls_dir, "generations", folder).stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (1, 4, 0o700)
    for path in node.in_force():
        found = Path(path).stat()
        assert (found.st_uid, found.st_gid) == (1, 4)
        assert found.st_mode & 0o777 == (0o644 if "truststore" in path else 0o640)


@pytest.mark.criterion("A8")
async def test_a_key_is_never_open_to_others_even_while_it_is_written(tmp_path: Path, shell: LocalShell) -> None:
    node = make_node(tmp_path / "node", "in-place")
    await adopt(shell, node.place, OLD, node.in_force(), rollout="r1")
    for path in node.in_force():
        Path(path).unlink()  # nothing to take a mode from: ours holds
    seen: set[tuple[str, int]] = set()

    files = node.files("new")
    for number in itertools.count(1):  # killed before every change, after the first bytes of every content
        try:
            await stage_generation(LocalShell(tmp_path, number, shell._shell), node.place, NEW, files, rollout="r1")
        except Killed:
            found = (tmp_path / "node").rglob(".incoming*/*")
            seen |= {(path.name, path.stat().st_mode & 0o777) for path in found}
        else:
            break
    folder = Path(node.place.tls_dir, "generations", NEW.id)
    modes = {file.name: file.mode for file in (await read_manifest(shell, node.place, NEW.id)).files}
    assert {name: oct((folder / name).stat().st_mode & 0o777) for name in modes} == {
        name: oct(int(mode, 8)) for name, mode in modes.items()
    }
    assert sorted(modes.values()) == ["0600", "0600", "0644"]
    assert {mode for name, mode in seen if name.endswith("keystore.p12")} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
async def test_an_owner_that_cannot_be_kept_is_refused_before_anything_changes(open_folder: Path) -> None:
    node = make_node(open_folder / "node", "in-place")
    for path in (node.root, *node.root.rglob("*")):
        os.chown(path, 2, 2)
    os.chown(node.place.stores[1].path, 0, 2)
    shell = LocalShell(open_folder, shell=shell_of(open_folder, 2))
    with pytest.raises(SealringError) as caught:
        await adopt(shell, node.place, OLD, node.in_force(), rollout="r1")
    assert caught.value.code == "node.attributes"
    assert node.in_force() == node.files("old")
