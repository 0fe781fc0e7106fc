"""Who we become: real users and the real sudo of this computer, whose sudoers are left as they are."""

import dataclasses
import os
import pwd
import shutil
from pathlib import Path

import pytest

from sealring.errors import ErrorClass, SealringError
from sealring.hosts.generations import adopt, flip, read_disk, settle, stage_generation
from sealring.hosts.privileges import choose_become, prove, sudoers_lines
from sealring.models.evidence import Verdict
from tests.hosts.local_shell import LocalShell, shell_of
from tests.hosts.node import Node, generation, make_node

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs to become other users")
needs_sudo = pytest.mark.skipif(shutil.which("sudo") is None, reason="sudo is not installed")


def owned(root: Path, uid: int) -> Node:
    """A node whose folders and stores belong to a user."""
    node = make_node(root / "node", "in-place")
    for path in (node.root, *node.root.rglob("*")):
        os.chown(path, uid, uid)
    user = pwd.getpwuid(uid).pw_name
    return Node(node.root, dataclasses.replace(node.place, user=user, group=user))


@pytest.mark.criterion("A7")
async def test_an_owner_of_all_needs_no_sudo(tmp_path: Path) -> None:
    node = make_node(tmp_path / "node", "in-place")
    login = pwd.getpwuid(os.getuid()).pw_name
    assert await choose_become(LocalShell(tmp_path), node.place, login=login, sudo="auto") == ""
    finding = await prove(LocalShell(tmp_path), "", login="root", service="cassandra")
    assert finding.verdict is Verdict.PASS


@root_only
@pytest.mark.criterion("A7")
async def test_the_owner_of_the_stores_needs_no_sudo_and_another_does(open_folder: Path) -> None:
    node = owned(open_folder, 2)
    owner = LocalShell(open_folder, shell=shell_of(open_folder, 2))
    assert await choose_become(owner, node.place, login="bin", sudo="auto") == ""
    stranger = LocalShell(open_folder, shell=shell_of(open_folder, 5))
    with pytest.raises(SealringError) as caught:
        await choose_become(stranger, node.place, login="games", sudo="never")
    assert (caught.value.code, caught.value.error_class) == ("node.privileges", ErrorClass.STOP)
    assert "may not write" in caught.value.message
    assert "games ALL=(bin) NOPASSWD: /bin/sh -s" in caught.value.remedy


@root_only
@needs_sudo
@pytest.mark.criterion("A7")
async def test_what_sudo_refuses_is_found_before_anything_is_done(open_folder: Path) -> None:
    node = owned(open_folder, 2)
    stranger = LocalShell(open_folder, shell=shell_of(open_folder, 5))
    stranger.sudo_as = ("setpriv", "--reuid", "5", "--regid", "5", "--clear-groups")
    with pytest.raises(SealringError) as caught:
        await choose_become(stranger, node.place, login="games", sudo="auto")
    assert caught.value.code == "node.privileges"
    assert "sudo" in caught.value.message
    finding = await prove(stranger, "bin", login="games", service="cassandra")
    assert (finding.check, finding.verdict) == ("node.sudo", Verdict.FAIL)
    assert "games ALL=(bin) NOPASSWD: /bin/sh -s" in finding.remedy


@root_only
@needs_sudo
@pytest.mark.criterion("A7", "A9")
async def test_a_whole_change_as_the_service_user_by_sudo(open_folder: Path) -> None:
    node = owned(open_folder, 2)
    shell, place = LocalShell(open_folder), dataclasses.replace(node.place, become="bin")
    old, new = generation("old"), generation("new")
    await adopt(shell, place, old, node.in_force(), rollout="r1")
    await stage_generation(shell, place, new, node.files("new"), rollout="r1")
    await flip(shell, place, new.id, rollout="r1")
    await settle(shell, place, rollout="r1", keep=2)
    assert node.in_force() == node.files("new")
    assert (await read_disk(shell, place)).in_force
    assert {path.lstat().st_uid for path in node.root.rglob("*")} == {2}


def test_sudoers_lines_name_exactly_what_is_run() -> None:
    assert sudoers_lines("deploy", "", "") == ()
    assert sudoers_lines("cassandra", "cassandra", "") == ()
    assert sudoers_lines("root", "cassandra", "cassandra") == ("root ALL=(cassandra) NOPASSWD: /bin/sh -s",)
    assert sudoers_lines("deploy", "root", "cassandra") == ("deploy ALL=(root) NOPASSWD: /bin/sh -s",)
    assert sudoers_lines("deploy", "cassandra", "cassandra") == (
        "deploy ALL=(cassandra) NOPASSWD: /bin/sh -s",
        "deploy ALL=(root) NOPASSWD: /usr/bin/systemctl --no-ask-password restart cassandra",
    )
