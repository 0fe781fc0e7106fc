"""The lab's SSH servers: real sshd, real asyncssh and ssh clients, strict on both sides."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncssh
import pytest

from lab import state
from lab.hosts import HostOptions, configure_host, cut, restore, start_hosts, stop_hosts
from lab.keys import user_name, write_host, write_user
from lab.spec import SSH_PORT, LabSpec, NodeSpec
from lab.tools import sshd
from sealring.errors import SealringError

pytestmark = pytest.mark.sshd

FIRST = 171  # away from the addresses of a lab that runs beside the tests


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSpec]:
    spec = LabSpec(tmp_path_factory.mktemp("lab hosts"), first=FIRST)  # a blank in the path, as in a user's home
    for node in spec.ring:
        node.bin.mkdir(parents=True)
        tool = node.bin / "systemctl"
        tool.write_text(f"#!/bin/sh\necho the systemctl of {node.name}: $SEALRING_LAB_NODE\n")
        tool.chmod(0o755)
    start_hosts(spec, sshd())
    yield spec
    stop_hosts(spec)


@pytest.fixture
async def node(spec: LabSpec) -> AsyncIterator[NodeSpec]:
    """A node that is put back in order when the test is over."""
    node = spec.ring[0]
    yield node
    configure_host(spec, node)
    write_host(spec, node)
    await asyncio.to_thread(restore, spec, node)


async def until(holds: Callable[[], bool], timeout: float = 60.0) -> None:
    async with asyncio.timeout(timeout):
        while not holds():  # noqa: ASYNC110  other processes tell us nothing
            await asyncio.sleep(0.02)


def below(pid: int) -> dict[int, str]:
    """Live processes under `pid`, with their command lines."""
    found: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if state != "Z" and int(parent) == pid:
            found |= {int(folder.name): command, **below(int(folder.name))}
    return found


def alive(processes: dict[int, str]) -> dict[int, str]:
    return {pid: command for pid, command in processes.items() if Path(f"/proc/{pid}").exists()}


async def login(
    spec: LabSpec, node: NodeSpec, user: str = "deploy", *, certified: bool = True
) -> asyncssh.SSHClientConnection:
    key = asyncssh.read_private_key(spec.ssh / user)
    certificate = asyncssh.read_certificate(spec.ssh / f"{user}-cert.pub")
    return await asyncssh.connect(
        node.address,
        SSH_PORT,
        username=user_name(),
        config=None,
        agent_path=None,
        known_hosts=str(spec.ssh / "known_hosts"),
        client_keys=[(key, certificate)] if certified else [(key, None)],
        login_timeout=60,
    )


async def output(spec: LabSpec, node: NodeSpec, command: str) -> str:
    async with await login(spec, node) as connection:
        done = await connection.run(command, check=True, timeout=60)
    return str(done.stdout).strip()


async def test_every_node_is_a_host_of_its_own(spec: LabSpec) -> None:
    answers = await asyncio.gather(*(output(spec, node, "systemctl status") for node in spec.ring))
    assert answers == [f"the systemctl of {node.name}: {node.name}" for node in spec.ring]


async def test_the_node_comes_first_on_the_path_and_the_system_behind_it(spec: LabSpec) -> None:
    first, *rest = (await output(spec, spec.ring[0], "echo $PATH")).split(":")
    assert first == str(spec.ring[0].bin)
    assert "/usr/bin" in rest


@pytest.mark.skipif(shutil.which("ssh") is None, reason="the stock ssh client is not installed")
async def test_the_stock_client_accepts_known_hosts_and_certificate_too(spec: LabSpec) -> None:
    node = spec.ring[1]
    options = ["-F", "none", "-o", "BatchMode=yes", "-o", f'UserKnownHostsFile="{spec.ssh / "known_hosts"}"']
    options += ["-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-i", str(spec.ssh / "deploy")]
    command = ["ssh", *options, "-p", str(SSH_PORT), f"{user_name()}@{node.address}", "echo $SEALRING_LAB_NODE"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "n2\n"), done.stderr


async def test_a_key_without_certificate_is_a_stranger_unless_authorized(spec: LabSpec, node: NodeSpec) -> None:
    with pytest.raises(asyncssh.PermissionDenied):
        await login(spec, node, certified=False)
    configure_host(spec, node, HostOptions(authorized_keys=spec.ssh / "deploy.pub"))
    async with await login(spec, node, certified=False):
        pass


@pytest.mark.parametrize("wrong", ["principal", "expired", "foreign"])
async def test_a_bad_user_certificate_is_refused(spec: LabSpec, wrong: str) -> None:
    now = datetime.now(UTC)
    match wrong:
        case "principal":
            write_user(spec, wrong, principals=["somebody-else"])
        case "expired":
            write_user(spec, wrong, valid_after=now - timedelta(days=2), valid_before=now - timedelta(days=1))
        case _:
            write_user(spec, wrong, authority="foreign_ca")
    with pytest.raises(asyncssh.PermissionDenied):
        await login(spec, spec.ring[0], wrong)


async def test_a_changed_host_key_is_refused_by_the_client(spec: LabSpec, node: NodeSpec) -> None:
    write_host(spec, node, authority="foreign_ca")
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await login(spec, node)
    async with await login(spec, spec.ring[1]):
        pass


async def test_a_host_without_sftp(spec: LabSpec, node: NodeSpec) -> None:
    async with await login(spec, node) as connection, connection.start_sftp_client() as sftp:
        assert await sftp.exists(str(node.bin / "systemctl"))
    configure_host(spec, node, HostOptions(sftp=False))
    async with await login(spec, node) as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.start_sftp_client()
        assert str((await connection.run("echo still here", check=True)).stdout) == "still here\n"


async def test_max_sessions(spec: LabSpec, node: NodeSpec) -> None:
    configure_host(spec, node, HostOptions(max_sessions=2))
    async with await login(spec, node) as connection:
        first, second = [await connection.create_process("cat") for _ in range(2)]
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.create_process("cat")
        first.kill()
        second.kill()


async def test_a_cut_link_ends_sessions_but_not_their_commands(spec: LabSpec, node: NodeSpec, tmp_path: Path) -> None:
    connection = await login(spec, node)
    goes_on = tmp_path / "goes-on"
    os.mkfifo(goes_on)
    command = f"trap '' HUP PIPE; echo ready; read line < {goes_on}; echo $line > {tmp_path}/done"
    process = await connection.create_process(command)
    assert await process.stdout.readline() == "ready\n"
    stays = await login(spec, spec.ring[1])
    await asyncio.to_thread(cut, spec, node)
    await asyncio.wait_for(connection.wait_closed(), 60)
    assert process.exit_status is None
    with pytest.raises(ConnectionRefusedError):
        await login(spec, node)
    assert str((await stays.run("echo other", check=True)).stdout) == "other\n"
    stays.close()
    await asyncio.to_thread(goes_on.write_text, "finished\n")
    await until(lambda: (tmp_path / "done").exists())
    await asyncio.to_thread(restore, spec, node)
    assert await output(spec, node, "echo back") == "back"


async def test_a_frozen_link_goes_on_where_it_stood(spec: LabSpec, node: NodeSpec) -> None:
    connection = await login(spec, node)
    await asyncio.to_thread(cut, spec, node, "freeze")
    running = asyncio.create_task(connection.run("echo thawed", check=True))
    new = asyncio.create_task(login(spec, node))
    done, _ = await asyncio.wait({running, new}, timeout=0.3)
    assert not done
    await asyncio.to_thread(restore, spec, node)
    assert str((await running).stdout) == "thawed\n"
    (await new).close()
    connection.close()


async def test_a_busy_port_is_one_clear_line(spec: LabSpec, tmp_path: Path) -> None:
    with pytest.raises(SealringError, match=rf"{re.escape(spec.ring[0].address)}:{SSH_PORT}") as busy:
        await asyncio.to_thread(start_hosts, LabSpec(tmp_path, first=FIRST), sshd())
    assert busy.value.code == "lab.port-busy"
    assert not state.alive(tmp_path)


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_nothing_is_left_running(tmp_path: Path, how: str) -> None:
    spec = LabSpec(tmp_path, first=FIRST + 10, nodes=1)
    await asyncio.to_thread(start_hosts, spec, sshd())
    pid = state.alive(spec.root)["sshd"]
    connection = await login(spec, spec.ring[0])
    word = "sleep 617.7" if how == "stop" else "cat"
    await connection.create_process(word)  # returns when sshd has forked, not when the command runs
    await until(lambda: any(word in command for command in below(pid).values()))
    sessions = below(pid)
    if how == "stop":
        await asyncio.to_thread(stop_hosts, spec)
        assert not alive(sessions)
    else:
        os.kill(pid, signal.SIGKILL)
        connection.abort()  # an ordinary user's session lives as long as its connection
        await until(lambda: not alive(sessions))
    assert not state.alive(spec.root)
