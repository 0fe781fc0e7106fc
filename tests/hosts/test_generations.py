"""A node's generations in a shell on this computer: what each call does, refuses, and leaves after a kill."""
# ruff: noqa: ASYNC220, ASYNC240 - a test may block its own loop

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from sealring.errors import ErrorClass, SealringError
from sealring.hosts.generations import (
    CHUNK,
    adopt,
    flip,
    read_disk,
    read_manifest,
    settle,
    stage_generation,
)
from sealring.hosts.shell import Feed
from tests.hosts.local_shell import LocalShell
from tests.hosts.node import Node, generation, make_node, prepared

OLDER, OLD, NEW = generation("older"), generation("old"), generation("new")


@pytest.mark.criterion("N3", "O1")
async def test_the_way_of_a_node(node: Node, shell: LocalShell) -> None:
    empty = await read_disk(shell, node.place)
    assert (empty.current, empty.generations, empty.in_force) == (None, (), False)

    assert await adopt(shell, node.place, OLD, node.in_force(), rollout="r1")
    kept = await read_disk(shell, node.place)
    assert kept.current
    assert (kept.current.id, kept.current.adopted, kept.previous, kept.in_force) == (OLD.id, True, None, True)
    assert not await adopt(shell, node.place, OLD, node.in_force(), rollout="r1")

    sent = await stage_generation(shell, node.place, NEW, node.files("new"), rollout="r1")
    assert (sent.bytes_sent, sent.skipped) == (sum(map(len, node.files("new").values())), False)
    again = await stage_generation(shell, node.place, NEW, node.files("other bytes, same material"), rollout="r1")
    assert (again.bytes_sent, again.skipped) == (0, True)
    assert node.in_force() == node.files("old")

    done = await flip(shell, node.place, NEW.id, rollout="r1")
    assert (done.current, done.previous, done.changed) == (NEW.id, OLD.id, True)
    assert node.in_force() == node.files("new")
    state = await read_disk(shell, node.place)
    assert state.current
    assert state.previous
    assert (state.current, state.previous.id, state.in_force, state.intent) == (NEW, OLD.id, True, "r1")
    assert set(state.generations) == {OLD.id, NEW.id}
    repeated = await flip(shell, node.place, NEW.id, rollout="r1")
    assert (repeated.previous, repeated.changed) == (OLD.id, False)

    back = await flip(shell, node.place, OLD.id, rollout="r1", step="roll-back")
    assert (back.current, back.previous, back.changed) == (OLD.id, None, True)
    assert node.in_force() == node.files("old")

    assert await settle(shell, node.place, rollout="r1", keep=5) == ()
    assert (await read_disk(shell, node.place)).intent == ""
    assert node.drafts() == []
    manifest = await read_manifest(shell, node.place, NEW.id)
    assert (manifest.generation, manifest.rollout) == (NEW, "r1")
    assert [file.role for file in manifest.files] == ["truststore", "keystore", "keystore"]


async def test_a_generation_is_sent_anew_when_it_does_not_open_any_more(node: Node, shell: LocalShell) -> None:
    await prepared(node, shell)
    rewritten = node.files("new, for another password")
    sent = await stage_generation(shell, node.place, NEW, rewritten, rollout="r1", anew=True)
    assert not sent.skipped
    await flip(shell, node.place, NEW.id, rollout="r1")
    assert node.in_force() == rewritten


@pytest.mark.criterion("H16")
async def test_a_file_that_another_generation_has_is_not_sent(node: Node, shell: LocalShell) -> None:
    await prepared(node, shell)
    trust = next(store.path for store in node.place.stores if store.role == "truststore")
    files = node.files("newer") | {trust: node.files("new")[trust]}
    sent = await stage_generation(shell, node.place, OLDER, files, rollout="r1")
    assert sent.bytes_sent == sum(len(content) for path, content in files.items() if path != trust)
    await flip(shell, node.place, OLDER.id, rollout="r1")
    assert node.in_force() == files


@pytest.mark.criterion("H16")
async def test_pieces_that_an_interrupted_try_left_are_used_only_where_they_are_right(
    node: Node, shell: LocalShell
) -> None:
    await prepared(node, shell)
    first, second, third = files = {path: os.urandom(3 * CHUNK + 5) for path in node.in_force()}
    names = {file.path: file.name for file in (await read_manifest(shell, node.place, NEW.id)).files}
    left = Path(node.place.tls_dir) / "generations" / f".incoming-{OLDER.id}"
    left.mkdir()
    (left / names[first]).write_bytes(files[first])  # whole
    (left / names[second]).write_bytes(files[second][: 2 * CHUNK - 1])  # one piece and some
    (left / names[third]).write_bytes(b"x" + files[third][1:])  # another try's: its first piece differs
    sent = await stage_generation(shell, node.place, OLDER, files, rollout="r1")
    assert sent.bytes_sent == 0 + (2 * CHUNK + 5) + (3 * CHUNK + 5)
    assert node.drafts() == []
    await flip(shell, node.place, OLDER.id, rollout="r1")
    assert node.in_force() == files


async def test_what_the_last_rollout_changed_is_kept_on_the_node(node: Node, shell: LocalShell) -> None:
    await prepared(node, shell)
    assert (await read_disk(shell, node.place)).last is None
    await flip(shell, node.place, NEW.id, rollout="r1")
    await settle(shell, node.place, rollout="r1", keep=5)
    await settle(shell, node.place, rollout="r1", keep=5)
    last = (await read_disk(shell, node.place)).last
    assert last
    assert (last.rollout, last.before, last.after) == ("r1", OLD.id, NEW.id)
    await flip(shell, node.place, OLD.id, rollout="r2")
    await flip(shell, node.place, NEW.id, rollout="r2", step="rollback")
    await settle(shell, node.place, rollout="r2", keep=5)
    last = (await read_disk(shell, node.place)).last
    assert last
    assert (last.rollout, last.before, last.after) == ("r2", NEW.id, NEW.id)


@pytest.mark.criterion("N3")
async def test_a_rollback_of_another_rollout_goes_to_previous(node: Node, shell: LocalShell) -> None:
    await prepared(node, shell)
    await flip(shell, node.place, NEW.id, rollout="r1")
    await settle(shell, node.place, rollout="r1", keep=2)
    back = await flip(shell, node.place, OLD.id, rollout="r2")
    assert (back.current, back.previous) == (OLD.id, NEW.id)
    assert node.in_force() == node.files("old")


async def test_settle_keeps_the_newest_and_what_is_linked(node: Node, shell: LocalShell) -> None:
    await prepared(node, shell)
    await flip(shell, node.place, NEW.id, rollout="r1")
    for number in range(4):
        one = generation(f"extra {number}")
        await stage_generation(shell, node.place, one, node.files(f"extra {number}"), rollout="r1")
        os.utime(Path(node.place.tls_dir, "generations", one.id), (2e9 + number, 2e9 + number))
    (Path(node.place.tls_dir) / "generations" / "notes").mkdir()
    removed = await settle(shell, node.place, rollout="r1", keep=4)
    assert set(removed) == {generation("extra 0").id, generation("extra 1").id}
    left = await read_disk(shell, node.place)
    assert set(left.generations) == {OLD.id, NEW.id, generation("extra 2").id, generation("extra 3").id}
    assert (Path(node.place.tls_dir) / "generations" / "notes").is_dir(), "what is not ours stays"


# Guards


async def test_another_rollouts_intent_stops_everything(node: Node, shell: LocalShell) -> None:
    await prepared(node, shell)
    await flip(shell, node.place, NEW.id, rollout="r1")
    for call in (
        adopt(shell, node.place, NEW, node.in_force(), rollout="r2"),
        stage_generation(shell, node.place, OLDER, node.files("older"), rollout="r2"),
        flip(shell, node.place, OLD.id, rollout="r2"),
        settle(shell, node.place, rollout="r2", keep=2),
    ):
        with pytest.raises(SealringError) as caught:
            await call
        assert (caught.value.code, caught.value.error_class) == ("node.busy", ErrorClass.SKIP)
        assert "r1" in caught.value.message
    assert node.in_force() == node.files("new")


async def test_an_unreadable_intent_stops_everything(node: Node, shell: LocalShell) -> None:
    await prepared(node, shell)
    Path(node.place.state_dir, "intent.json").write_text("")
    for call in (flip(shell, node.place, NEW.id, rollout="r1"), read_disk(shell, node.place)):
        with pytest.raises(SealringError) as caught:
            await call
        assert caught.value.code == "node.state-damaged"


async def test_an_intent_with_more_lines_than_we_write_stops_a_flip(node: Node, shell: LocalShell) -> None:
    await prepared(node, shell)
    ours = '{"rollout":"r1","step":"flip","to":"","from":"","previous":""}\n'
    for more in ('{"rollout":"r2"}', '\n{"rollout":"r2"}\n'):
        Path(node.place.state_dir, "intent.json").write_text(ours + more)
        with pytest.raises(SealringError, match=r"node\.state-damaged"):
            await flip(shell, node.place, NEW.id, rollout="r1")
        assert node.in_force() == node.files("old")


@pytest.mark.criterion("K1", "H17")
async def test_a_generation_that_is_damaged_missing_or_not_prepared_is_not_put_in_force(
    node: Node, shell: LocalShell
) -> None:
    with pytest.raises(SealringError) as caught:
        await flip(shell, node.place, NEW.id, rollout="r1")
    assert caught.value.code == "node.generation-missing"
    await stage_generation(shell, node.place, NEW, node.files("new"), rollout="r1")
    with pytest.raises(SealringError) as caught:
        await flip(shell, node.place, NEW.id, rollout="r1")
    assert caught.value.code == "node.not-backed-up"
    await adopt(shell, node.place, OLD, node.in_force(), rollout="r1")
    manifest = await read_manifest(shell, node.place, NEW.id)
    victim = Path(node.place.tls_dir, "generations", NEW.id, manifest.files[1].name)
    content = bytearray(victim.read_bytes())
    content[7] ^= 1
    victim.write_bytes(content)
    with pytest.raises(SealringError) as caught:
        await flip(shell, node.place, NEW.id, rollout="r1")
    assert caught.value.code == "node.generation-damaged"
    assert node.in_force() == node.files("old")
    assert (await read_disk(shell, node.place)).intent == "", "nothing was begun"
    mended = await stage_generation(shell, node.place, NEW, node.files("new"), rollout="r1")
    assert not mended.skipped
    await flip(shell, node.place, NEW.id, rollout="r1")
    assert node.in_force() == node.files("new")


@pytest.mark.criterion("H17")
async def test_content_that_arrives_broken_is_thrown_away(node: Node, shell: LocalShell) -> None:
    class Broken(LocalShell):
        async def run(self, script, *, secret_input=None, **rest):  # type: ignore[no-untyped-def]
            short = secret_input and Feed(lambda lines: secret_input.make(lines)[:-1])
            return await super().run(script, secret_input=short, **rest)

    broken = Broken(node.root, shell=shell._shell)
    with pytest.raises(SealringError) as caught:
        await stage_generation(broken, node.place, NEW, node.files("new"), rollout="r1")
    assert (caught.value.code, caught.value.retryable) == ("node.transfer-damaged", True)
    assert (await read_disk(shell, node.place)).generations == ()
    assert node.drafts() == []


@pytest.mark.criterion("F7")
async def test_files_that_changed_since_they_were_read_are_not_kept_as_a_backup(node: Node, shell: LocalShell) -> None:
    seen = node.in_force()
    Path(node.place.stores[0].path).write_bytes(b"somebody else's")
    with pytest.raises(SealringError) as caught:
        await adopt(shell, node.place, OLD, seen, rollout="r1")
    assert (caught.value.code, caught.value.retryable) == ("node.changed-meanwhile", True)
    assert (await read_disk(shell, node.place)).generations == ()


async def test_files_that_somebody_else_changed_are_not_overwritten(tmp_path: Path, shell: LocalShell) -> None:
    node = make_node(tmp_path / "node", "in-place")
    await prepared(node, shell)
    Path(node.place.stores[0].path).write_bytes(b"somebody else's")
    assert not (await read_disk(shell, node.place)).in_force
    with pytest.raises(SealringError) as caught:
        await flip(shell, node.place, NEW.id, rollout="r1")
    assert (caught.value.code, caught.value.error_class) == ("node.drifted", ErrorClass.ASK)
    assert Path(node.place.stores[0].path).read_bytes() == b"somebody else's"
    # Prepared again, what that person wrote is the backup, also when it is the same material in other bytes.
    assert await adopt(shell, node.place, OLD, node.in_force(), rollout="r1")
    await flip(shell, node.place, NEW.id, rollout="r1")
    await flip(shell, node.place, OLD.id, rollout="r1")
    assert Path(node.place.stores[0].path).read_bytes() == b"somebody else's"


async def test_a_folder_where_the_link_belongs_is_refused(tmp_path: Path, shell: LocalShell) -> None:
    node = make_node(tmp_path / "node", "in-place")
    Path(node.place.tls_dir, "current").mkdir()
    with pytest.raises(SealringError) as caught:
        await adopt(shell, node.place, OLD, node.in_force(), rollout="r1")
    assert caught.value.code == "node.layout-unsupported"


async def test_two_scripts_do_not_run_at_once(node: Node, shell: LocalShell, tmp_path: Path) -> None:
    await prepared(node, shell)
    lock = Path(node.place.state_dir, "lock")
    command = ["flock", str(lock), "sh", "-c", "echo held; exec cat"]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin
    assert holder.stdout
    assert holder.stdout.readline() == b"held\n"
    waiting = asyncio.create_task(flip(shell, node.place, NEW.id, rollout="r1"))
    done, _ = await asyncio.wait({waiting}, timeout=0.5)
    assert not done
    assert node.in_force() == node.files("old")
    holder.stdin.close()
    holder.wait()
    await waiting
    results = await asyncio.gather(
        *(flip(shell, node.place, word, rollout="r1") for word in (OLD.id, NEW.id) * 3), return_exceptions=True
    )
    assert not [result for result in results if isinstance(result, BaseException)]
    assert node.in_force() in (node.files("old"), node.files("new"))
    assert (await read_disk(shell, node.place)).in_force
