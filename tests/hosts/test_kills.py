"""Every script, killed before each command that changes the disk: what it leaves is whole, and can be finished."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from sealring.errors import SealringError
from sealring.hosts.generations import (
    adopt,
    flip,
    read_disk,
    settle,
    stage_generation,
)
from sealring.models.node import Layout
from tests.hosts.local_shell import Killed, LocalShell
from tests.hosts.node import Node, generation, make_node

OLDER, OLD, NEW = generation("older"), generation("old"), generation("new")


async def template(tmp_path: Path, layout: Layout, *, staged: bool) -> Node:
    """A node that went `older` → `old` in an earlier rollout, so that `previous` has something to lose."""
    node = make_node(tmp_path / "node", layout, "older")
    whole = LocalShell(tmp_path)
    await adopt(whole, node.place, OLDER, node.in_force(), rollout="r0")
    await stage_generation(whole, node.place, OLD, node.files("old"), rollout="r0")
    await flip(whole, node.place, OLD.id, rollout="r0")
    await settle(whole, node.place, rollout="r0", keep=5)
    if staged:
        await stage_generation(whole, node.place, NEW, node.files("new"), rollout="r1")
    node.root.rename(tmp_path / "template")
    return node


async def kills(tmp_path: Path, node: Node, call: Callable[[LocalShell], Awaitable[object]]) -> AsyncIterator[int]:
    """For each change that a call makes to the disk: the node as a kill before that change leaves it."""
    number = 0
    while True:
        number += 1
        shutil.rmtree(node.root, ignore_errors=True)
        shutil.copytree(tmp_path / "template", node.root, symlinks=True)
        try:
            await call(LocalShell(tmp_path, kill_at=number))
        except Killed:
            yield number
        else:
            return


@pytest.mark.criterion("N3")
@pytest.mark.parametrize("then", ["again", "back"])
async def test_a_flip_killed_at_any_change_is_whole_and_can_be_finished_or_taken_back(
    tmp_path: Path, layout: Layout, then: str
) -> None:
    whole = LocalShell(tmp_path)
    node = await template(tmp_path, layout, staged=True)
    old, new = node.files("old"), node.files("new")
    number, mixed = 0, False
    async for number in kills(tmp_path, node, lambda dying: flip(dying, node.place, NEW.id, rollout="r1")):
        now = node.in_force()
        assert all(now[path] in (old[path], new[path]) for path in now), f"a torn file after {number - 1} changes"
        if now[node.place.stores[0].path] == new[node.place.stores[0].path]:
            assert now[node.place.stores[1].path] == new[node.place.stores[1].path], "truststore first"
        mixed = mixed or now not in (old, new)
        assert node.link("current") in (OLD.id, NEW.id)
        if now != old:
            assert (await read_disk(whole, node.place)).intent == "r1", "a change without an intent"
            with pytest.raises(SealringError, match=r"node\.busy"):
                await flip(whole, node.place, OLD.id, rollout="r2")
        goal, previous = (NEW, OLD) if then == "again" else (OLD, OLDER)
        done = await flip(whole, node.place, goal.id, rollout="r1")
        assert (done.current, done.previous) == (goal.id, previous.id)
        assert node.in_force() == node.files("new" if then == "again" else "old")
        assert (node.link("current"), node.link("previous")) == (goal.id, previous.id)
        assert node.drafts() == []
        assert (await read_disk(whole, node.place)).in_force
    assert number > (8 if layout == "slots" else 20), "the shims saw the changes"
    assert mixed == (layout == "in-place")


async def test_a_stage_killed_at_any_change_touches_nothing_and_can_be_finished(tmp_path: Path, layout: Layout) -> None:
    whole = LocalShell(tmp_path)
    node = await template(tmp_path, layout, staged=False)
    files = node.files("new")
    changes = 0
    async for _ in kills(tmp_path, node, lambda dying: stage_generation(dying, node.place, NEW, files, rollout="r1")):
        changes += 1
        assert node.in_force() == node.files("old")
        assert (node.link("current"), node.link("previous")) == (OLD.id, OLDER.id)
        if NEW.id not in (await read_disk(whole, node.place)).generations:
            with pytest.raises(SealringError, match=r"node\.generation-missing"):
                await flip(whole, node.place, NEW.id, rollout="r1")
        await stage_generation(whole, node.place, NEW, node.files("new"), rollout="r1")
        assert node.drafts() == []
        await flip(whole, node.place, NEW.id, rollout="r1")
        assert node.in_force() == node.files("new")
    assert changes > 10


@pytest.mark.criterion("F7")
async def test_a_backup_killed_at_any_change_can_be_finished(tmp_path: Path, layout: Layout) -> None:
    whole = LocalShell(tmp_path)
    node = make_node(tmp_path / "node", layout)
    old = node.in_force()
    node.root.rename(tmp_path / "template")
    changes = 0
    async for _ in kills(tmp_path, node, lambda dying: adopt(dying, node.place, OLD, old, rollout="r1")):
        changes += 1
        assert node.in_force() == old
        await adopt(whole, node.place, OLD, node.in_force(), rollout="r1")
        state = await read_disk(whole, node.place)
        assert state.current
        assert (state.current.id, state.in_force, state.previous) == (OLD.id, True, None)
        assert node.drafts() == []
    assert changes > 8


async def test_a_settle_killed_at_any_change_keeps_what_is_linked(tmp_path: Path, layout: Layout) -> None:
    whole = LocalShell(tmp_path)
    node = await template(tmp_path, layout, staged=True)
    changes = 0
    async for _ in kills(tmp_path, node, lambda dying: settle(dying, node.place, rollout="r1", keep=2)):
        changes += 1
        await settle(whole, node.place, rollout="r1", keep=2)
        state = await read_disk(whole, node.place)
        assert (set(state.generations), state.in_force, state.intent) == ({OLD.id, OLDER.id}, True, "")
        assert node.drafts() == []
    assert changes > 2
