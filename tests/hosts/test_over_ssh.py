"""The whole way of a node over a real sshd, and what hosts tell about services and themselves."""

import asyncio
import os
from pathlib import Path

import pytest

from lab.hosts import HostOptions, configure_host, cut, restore
from lab.spec import SSH_PORT, LabSpec
from sealring.errors import SealringError
from sealring.hosts import service
from sealring.hosts.facts import read_facts, room_findings
from sealring.hosts.generations import CHUNK, adopt, flip, read_disk, settle, stage_generation
from sealring.hosts.privileges import choose_become, prove
from sealring.hosts.ssh import Host, HostPool
from sealring.models.cluster import Limits, SshSettings
from sealring.models.evidence import Verdict
from sealring.models.node import Layout
from tests.hosts.node import generation, make_node

pytestmark = pytest.mark.sshd

FIRST_PROCESS = Path("/proc/1/stat")
OLD, NEW = generation("old"), generation("new")


@pytest.mark.criterion("A3", "A8", "H17", "K1", "N3", "O1")
@pytest.mark.parametrize("layout", ["slots", "in-place"])
async def test_a_change_and_its_rollback(
    spec: LabSpec, pool: HostPool, address: str, tmp_path: Path, layout: Layout
) -> None:
    configure_host(spec, spec.ring[0], HostOptions(sftp=False))
    node = make_node(tmp_path / "node", layout)
    async with pool.host(address) as host:
        assert await choose_become(host, node.place, login=host.user, sudo="auto") == ""
        assert (await prove(host, "", login=host.user)).verdict is Verdict.PASS
        seen = {store.path: await host.read(store.path) for store in node.place.stores}
        assert await adopt(host, node.place, OLD, seen, rollout="r1")
        sent = await stage_generation(host, node.place, NEW, node.files("new"), rollout="r1")
        assert sent.bytes_sent > 0
        assert (await stage_generation(host, node.place, NEW, node.files("new"), rollout="r1")).skipped
        await flip(host, node.place, NEW.id, rollout="r1")
        assert node.in_force() == node.files("new")
        await flip(host, node.place, OLD.id, rollout="r1")
        assert node.in_force() == node.files("old")
        await settle(host, node.place, rollout="r1", keep=2)
        state = await read_disk(host, node.place)
    assert state.current
    assert (state.current.id, state.in_force, state.intent, node.drafts()) == (OLD.id, True, "", [])


async def test_a_transfer_of_many_windows_arrives(pool: HostPool, address: str, tmp_path: Path) -> None:
    node = make_node(tmp_path / "node", "in-place")
    large = {path: bytes(range(251)) * 20_000 for path in node.in_force()}
    async with pool.host(address) as host:
        await stage_generation(host, node.place, NEW, large, rollout="r1")
        await adopt(host, node.place, OLD, node.in_force(), rollout="r1")
        await flip(host, node.place, NEW.id, rollout="r1")
    assert node.in_force() == large


@pytest.mark.criterion("H17")
async def test_a_link_that_breaks_leaves_whole_files_and_the_same_call_finishes(
    spec: LabSpec, pool: HostPool, address: str, tmp_path: Path
) -> None:
    node = make_node(tmp_path / "node", "in-place")
    async with pool.host(address) as host:
        await adopt(host, node.place, OLD, node.in_force(), rollout="r1")
        await stage_generation(host, node.place, NEW, node.files("new"), rollout="r1")
        for pause in (0.0, 0.02, 0.05, 0.1):
            running = asyncio.create_task(flip(host, node.place, NEW.id, rollout="r1"))
            await asyncio.sleep(pause)
            cut(spec, spec.ring[0], "refuse")
            try:
                await running
            except SealringError as error:
                assert error.retryable
            now = node.in_force()
            assert all(now[path] in (node.files("old")[path], node.files("new")[path]) for path in now)
            restore(spec, spec.ring[0])
            try:
                done = await flip(host, node.place, NEW.id, rollout="r1")
            except SealringError as error:  # the first had ended, and nobody had noticed the cut yet
                assert error.code == "ssh.lost"
                done = await flip(host, node.place, NEW.id, rollout="r1")
            assert (done.current, done.previous) == (NEW.id, OLD.id)
            assert node.in_force() == node.files("new")
            assert node.drafts() == []
            await flip(host, node.place, OLD.id, rollout="r1")


@pytest.mark.criterion("H16")
async def test_an_interrupted_transfer_goes_on_where_it_was_cut(
    spec: LabSpec, settings: SshSettings, address: str, tmp_path: Path
) -> None:
    node = make_node(tmp_path / "node", "in-place")
    large = {path: os.urandom(20 * CHUNK + 123) for path in node.in_force()}
    total = sum(map(len, large.values()))
    slow = HostPool(settings.model_copy(update={"limits": Limits(bytes_per_second=1024 * 1024)}))
    told: list[tuple[int, int]] = []
    half = asyncio.Event()

    def progress(done: int, of: int) -> None:
        told.append((done, of))
        if done > of / 2:
            half.set()

    async with slow.host(address) as host:
        running = asyncio.create_task(stage_generation(host, node.place, NEW, large, rollout="r1", progress=progress))
        await asyncio.wait_for(half.wait(), 120)
        cut(spec, spec.ring[0], "refuse")
        with pytest.raises(SealringError) as caught:
            await running
        assert caught.value.retryable
        restore(spec, spec.ring[0])
    await slow.close()
    assert [of for _, of in told] == [total] * len(told)
    assert told == sorted(told), "bytes done, of all"
    assert 0.5 < told[-1][0] / total < 0.9

    pool = HostPool(settings)
    async with pool.host(address) as host:
        done = await stage_generation(host, node.place, NEW, large, rollout="r1")
        assert 0 < done.bytes_sent <= total - CHUNK, "about half of it was there"
        await adopt(host, node.place, OLD, node.in_force(), rollout="r1")
        await flip(host, node.place, NEW.id, rollout="r1")
    await pool.close()
    assert node.in_force() == large
    assert node.drafts() == []


# What a host tells


def fake_systemctl(spec: LabSpec, body: str) -> None:
    """A systemctl for the first node: it answers what the test is about; the lab's own is tested with the ring."""
    path = spec.ring[0].bin / "systemctl"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


async def leased(pool: HostPool, address: str) -> Host:
    async with pool.host(address) as host:
        return host


@pytest.mark.criterion("A9")
async def test_the_service_is_known_by_its_process(spec: LabSpec, pool: HostPool, address: str) -> None:
    fake_systemctl(
        spec, "printf 'LoadState=loaded\\nActiveState=active\\nSubState=running\\nMainPID=1\\nNRestarts=4\\n'"
    )
    found = await service.status(await leased(pool, address), "cassandra")
    assert (found.active, found.state, found.pid, found.restarts) == (True, "active/running", 1, 4)
    assert (found.user, found.group) == ("root", "root")
    assert found.started_ticks == FIRST_PROCESS.read_text().rpartition(")")[2].split()[19]  # noqa: ASYNC240


async def test_a_unit_without_a_process_is_not_active(spec: LabSpec, pool: HostPool, address: str) -> None:
    fake_systemctl(spec, "printf 'LoadState=loaded\\nActiveState=active\\nSubState=exited\\nMainPID=0\\n'")
    found = await service.status(await leased(pool, address), "cassandra")
    assert (found.active, found.state, found.pid, found.user) == (False, "active/exited", 0, "")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("Failed to restart x.service: Access denied", "node.service-refused"),
        ("Failed to restart x.service: Interactive authentication required.", "node.service-refused"),
        ("Failed to restart x.service: Unit x.service not found.", "node.service-missing"),
        ("Job for x.service failed because the control process exited with error code.", "node.service-failed"),
    ],
)
async def test_what_systemctl_refuses_has_a_code(
    spec: LabSpec, pool: HostPool, address: str, words: str, code: str
) -> None:
    fake_systemctl(spec, f"echo '{words}' >&2; exit 1")
    with pytest.raises(SealringError) as caught:
        await service.restart(await leased(pool, address), "x", sudo="never")
    assert caught.value.code == code
    assert words in caught.value.message


async def test_systemctl_is_asked_for_the_unit_and_never_for_a_password(
    spec: LabSpec, pool: HostPool, address: str, tmp_path: Path
) -> None:
    fake_systemctl(spec, f'echo "$@" >>{tmp_path}/asked')
    host = await leased(pool, address)
    await service.restart(host, "cassandra")
    assert (tmp_path / "asked").read_text() == "--no-ask-password restart cassandra\n"


@pytest.mark.criterion("F5")
async def test_clock_room_and_tools(pool: HostPool, address: str, tmp_path: Path) -> None:
    node = make_node(tmp_path / "node", "in-place")
    facts = await read_facts(await leased(pool, address), node.place)
    assert abs(facts.clock_offset) <= facts.clock_error < 5
    room = os.statvfs(tmp_path)
    by_path = {folder.path: folder for folder in facts.folders}
    assert set(by_path) == {node.place.tls_dir, node.place.state_dir, str(tmp_path / "node" / "client's")}
    for folder in facts.folders:
        assert folder.free_bytes == pytest.approx(room.f_bavail * room.f_frsize, rel=0.05)
        assert folder.inodes == room.f_files
        assert not folder.read_only
    findings = room_findings(facts, address=address, needed_bytes=10_000, needed_files=3)
    assert {finding.verdict for finding in findings} == {Verdict.PASS}


# Through a host to another


async def test_a_connection_through_a_host_reaches_another_address(spec: LabSpec, pool: HostPool, address: str) -> None:
    other = spec.ring[1].address
    async with pool.host(address) as host:
        reader, writer = await host.forward(other, SSH_PORT)
        assert (await reader.readline()).startswith(b"SSH-2.0-")
        writer.close()
        with pytest.raises(SealringError) as caught:
            await host.forward(other, 1)
    assert caught.value.code == "ssh.forward-refused"
