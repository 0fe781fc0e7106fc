"""The pool against real OpenSSH servers."""
# ruff: noqa: ASYNC110, ASYNC221 - a test may block its own loop

import asyncio
import hashlib
import subprocess
from datetime import timedelta
from pathlib import Path

import asyncssh
import pytest

from lab.hosts import HostOptions, configure_host, cut, restore
from lab.spec import LabSpec
from sealring.errors import SealringError
from sealring.hosts.login import Login, login
from sealring.hosts.shell import assemble
from sealring.hosts.ssh import HostPool
from sealring.models.cluster import SshHost, SshSettings
from tests.hosts.ssh_helpers import changed, refused

pytestmark = pytest.mark.sshd


# What a script gets and gives


async def test_a_script_gets_variables_arguments_and_secret_input(pool: HostPool, address: str) -> None:
    secret = bytes(range(256)) * 5000
    async with pool.host(address) as host:
        done = await host.run(
            "printf '%s|' \"$one\" \"$@\"; echo\nprintf '#ready\\n'\nhead -c 1280000 | sha256sum; tail -c +1 | wc -c",
            variables={"one": "it's $HOME\nand `more`"},
            arguments=("-n", "", "a b", "*"),
            secret_input=secret,
        )
    assert done.status == 0
    assert done.stdout.startswith("it's $HOME\nand `more`|-n||a b|*|\n")
    assert hashlib.sha256(secret).hexdigest() in done.stdout
    assert done.stdout.endswith("\n0\n"), "the script's stdin ends behind the secret"


async def test_a_secret_is_not_sent_to_a_script_that_does_not_ask(pool: HostPool, address: str) -> None:
    async with pool.host(address) as host:
        done = await host.run("echo skipped=yes", secret_input=b"key")
    assert (done.status, done.stdout) == (0, "skipped=yes\n")


@pytest.mark.criterion("A3")
async def test_nothing_of_a_script_is_seen_in_the_process_list(pool: HostPool, address: str) -> None:
    async with pool.host(address) as host:
        done = await host.run(
            "printf '#ready\\n'; word=$(cat); cat /proc/$$/cmdline /proc/$$/environ; echo $word | wc -c",
            variables={"variable": "hunter2"},
            arguments=("hunter2",),
            secret_input=b"hunter2",
        )
    assert done.stdout.endswith("8\n")
    assert "hunter2" not in done.stdout
    assert "hunter2" not in repr(done)


async def test_status_stderr_and_a_signal_are_reported(pool: HostPool, address: str) -> None:
    async with pool.host(address) as host:
        failed = await host.run("echo out; echo err >&2; exit 7")
        killed = await host.run("kill -KILL $$")
        unset = await host.run("echo $nothing")
    assert (failed.status, failed.stdout, failed.stderr) == (7, "out\n", "err\n")
    assert killed.status in (-9, 128 + 9), "by the login shell: replaced by the script's shell, or waiting for it"
    assert unset.status != 0, "set -u"


async def test_half_a_script_runs_nothing(pool: HostPool, address: str, tmp_path: Path) -> None:
    text = assemble('touch "$where"', {"where": str(tmp_path / "made")}, ("a", "b"))
    for length in range(len(text) - 2):
        subprocess.run(["/bin/sh", "-s"], input=text[:length].encode(), capture_output=True, check=False)
    assert not (tmp_path / "made").exists()
    subprocess.run(["/bin/sh", "-s"], input=text.encode(), check=True)
    assert (tmp_path / "made").exists()


async def test_a_file_is_read_whole_or_refused(pool: HostPool, address: str, tmp_path: Path) -> None:
    content = bytes(range(256)) * 100
    (tmp_path / "it's").write_bytes(content)
    async with pool.host(address) as host:
        assert await host.read(f"{tmp_path}/it's") == content
        for path, limit, code in (
            (f"{tmp_path}/it's", 25599, "node.file-too-large"),
            (f"{tmp_path}/none", 10, "node.file-missing"),
            (str(tmp_path), 10, "node.not-a-file"),
        ):
            with pytest.raises(SealringError) as caught:
                await host.read(path, limit=limit)
            assert caught.value.code == code


async def test_files_are_read_together_whatever_is_in_them(pool: HostPool, address: str, tmp_path: Path) -> None:
    contents = {
        f"{tmp_path}/it's all": bytes(range(256)) * 100,
        f"{tmp_path}/nothing": b"",
        f"{tmp_path}/lines": b"\n\n0123456789abcdef0123456789abcdef\n\n",
        f"{tmp_path}/no line": b"\0x",
        **{f"{tmp_path}/large {number}": bytes([number]) * 1024 * 1024 for number in range(9)},  # more than one answer
    }
    for path, content in contents.items():
        Path(path).write_bytes(content)  # noqa: ASYNC240 - a test may block
    async with pool.host(address) as host:
        assert await host.read_all([*contents, *contents]) == contents
        assert await host.read_all([]) == {}
        first, *_, last = contents
        for bad, limit, code in (
            (f"{tmp_path}/none", 25600, "node.file-missing"),
            (str(tmp_path), 25600, "node.not-a-file"),
            (last, 25600, "node.file-too-large"),
        ):
            for paths in ([first, bad, f"{tmp_path}/absent too"], [bad, last, first]):
                with pytest.raises(SealringError) as caught:
                    await host.read_all(paths, limit=limit)
                assert (caught.value.code, bad in caught.value.message) == (code, True)


# The pool


@pytest.mark.criterion("A13")
async def test_one_connection_serves_all_leases_of_a_host(pool: HostPool, address: str) -> None:
    async def session() -> str:
        async with pool.host(address) as host:
            done = await host.run('echo "$SSH_CONNECTION"')
            return done.stdout

    assert len({await session(), *await asyncio.gather(*(session() for _ in range(20)))}) == 1


@pytest.mark.criterion("A13")
async def test_channels_stay_below_what_sshd_allows(
    spec: LabSpec, settings: SshSettings, address: str, tmp_path: Path
) -> None:
    configure_host(spec, spec.ring[0], HostOptions(max_sessions=3))
    for cap, refusals in ((3, 0), (16, 6)):
        go = tmp_path / f"go-{cap}"
        pool = HostPool(changed(settings, max_channels=cap))
        async with pool.host(address) as host:
            waits = f"while [ ! -e {go} ]; do sleep 0.05; done"
            running = [asyncio.create_task(host.run(waits)) for _ in range(9)]
            while sum(task.done() for task in running) < refusals:
                await asyncio.sleep(0.02)
            go.touch()
            results = await asyncio.gather(*running, return_exceptions=True)
        await pool.close()
        codes = [result.code for result in results if isinstance(result, SealringError)]
        assert codes == ["ssh.channel-limit"] * refusals


@pytest.mark.criterion("A13")
async def test_a_dead_connection_is_replaced_at_the_next_command(spec: LabSpec, pool: HostPool, address: str) -> None:
    async with pool.host(address) as host:
        first = await host.run('echo "$SSH_CONNECTION"')
        running = asyncio.create_task(host.run("printf '#ready\\n'; cat; sleep 30", secret_input=b""))
        await host.run("exit 0")
        cut(spec, spec.ring[0], "refuse")
        with pytest.raises(SealringError) as caught:
            await running
        assert caught.value.code == "ssh.lost"
        assert caught.value.retryable
        with pytest.raises(SealringError) as caught:
            await host.run("exit 0")
        assert caught.value.code == "ssh.connect-failed"
        restore(spec, spec.ring[0])
        second = await host.run('echo "$SSH_CONNECTION"')
    assert first.stdout != second.stdout


async def test_all_who_wait_for_a_connection_share_its_failure(
    settings: SshSettings, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0

    async def counted(*args: object) -> tuple[asyncssh.SSHClientConnection, Login]:
        nonlocal tried
        tried += 1
        return await login(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("sealring.hosts.links.login", counted)
    pool = HostPool(changed(settings, port=1))
    async with pool.host(address) as host:
        results = await asyncio.gather(*(host.run("exit 0") for _ in range(5)), return_exceptions=True)
        assert [result.code for result in results if isinstance(result, SealringError)] == ["ssh.connect-failed"] * 5
        assert tried == 1
        with pytest.raises(SealringError):
            await host.run("exit 0")
        assert tried == 2
    await pool.close()


async def test_logins_in_progress_are_capped(
    spec: LabSpec, settings: SshSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = most = 0

    async def counted(*args: object) -> tuple[asyncssh.SSHClientConnection, Login]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        try:
            return await login(*args)  # type: ignore[arg-type]
        finally:
            inside -= 1

    monkeypatch.setattr("sealring.hosts.links.login", counted)
    hosts = {f"10.0.0.{i}": SshHost(host=spec.ring[i % 2].address) for i in range(6)}
    pool = HostPool(changed(settings, hosts=hosts, max_logins=2))

    async def visit(address: str) -> None:
        async with pool.host(address) as host:
            await host.run("exit 0")

    await asyncio.gather(*(visit(address) for address in hosts))
    await pool.close()
    assert most == 2


# Budgets


@pytest.mark.criterion("A1")
async def test_a_slow_command_is_told_from_a_dead_link(
    settings: SshSettings, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealring.hosts.links.ANSWER_SECONDS", 60.0)
    pool = HostPool(changed(settings, command_timeout=timedelta(seconds=0.3), idle_timeout=timedelta(seconds=60)))
    async with pool.host(address) as host:
        with pytest.raises(SealringError) as slow:
            await host.run("sleep 20")
        assert (slow.value.code, slow.value.retryable) == ("ssh.command-timeout", True)
        assert "the link is alive" in slow.value.message
        assert (await host.run("echo on", timeout=60)).stdout == "on\n", "the connection stays in use"
    await pool.close()


@pytest.mark.criterion("A1")
async def test_a_command_behind_a_dead_link_is_told_from_a_slow_one(
    spec: LabSpec, settings: SshSettings, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealring.hosts.links.ANSWER_SECONDS", 0.3)
    pool = HostPool(settings)
    async with pool.host(address) as host:
        await host.run("exit 0")
        cut(spec, spec.ring[0], "freeze")
        with pytest.raises(SealringError) as dead:
            await host.run("exit 0", timeout=0.3)
        assert (dead.value.code, dead.value.retryable) == ("ssh.command-timeout", True)
        assert "the link is dead" in dead.value.message
        restore(spec, spec.ring[0])
        assert (await host.run("echo on")).stdout == "on\n", "over a new connection"
    await pool.close()


@pytest.mark.criterion("A1")
async def test_a_silent_command_goes_on_while_the_link_answers(settings: SshSettings, address: str) -> None:
    pool = HostPool(changed(settings, idle_timeout=timedelta(seconds=4)))
    async with pool.host(address) as host:
        done = await host.run("sleep 6; echo done")
    await pool.close()
    assert done.stdout == "done\n"


@pytest.mark.criterion("A1")
async def test_a_link_that_answers_no_keep_alive_is_given_up(
    spec: LabSpec, settings: SshSettings, address: str
) -> None:
    pool = HostPool(changed(settings, idle_timeout=timedelta(seconds=4)))
    async with pool.host(address) as host:
        await host.run("exit 0")
        running = asyncio.create_task(host.run("sleep 300"))
        await host.run("exit 0")
        cut(spec, spec.ring[0], "freeze")
        begin = asyncio.get_running_loop().time()
        with pytest.raises(SealringError) as caught:
            await running
        assert asyncio.get_running_loop().time() - begin < 60
    restore(spec, spec.ring[0])
    await pool.close()
    assert (caught.value.code, caught.value.retryable) == ("ssh.idle", True)


@pytest.mark.criterion("A1")
async def test_a_host_that_accepts_and_says_nothing_is_a_connect_timeout(
    spec: LabSpec, settings: SshSettings, address: str
) -> None:
    cut(spec, spec.ring[0], "freeze")
    quick = changed(settings, connect_timeout=timedelta(seconds=0.3), login_timeout=timedelta(seconds=30))
    error = await refused(quick, address)
    assert (error.code, error.retryable) == ("ssh.connect-timeout", True)


@pytest.mark.criterion("A1")
async def test_a_login_that_takes_long_has_a_budget_of_its_own(settings: SshSettings, address: str) -> None:
    quick = changed(settings, connect_timeout=timedelta(seconds=60), login_timeout=timedelta(microseconds=1))
    error = await refused(quick, address)
    assert (error.code, error.retryable) == ("ssh.login-timeout", True)


@pytest.mark.criterion("A1")
async def test_nobody_listens_is_a_passing_fault_for_the_network_people(settings: SshSettings, address: str) -> None:
    error = await refused(changed(settings, port=1), address)
    assert (error.code, error.retryable, error.actor.value) == ("ssh.connect-failed", True, "network-admin")
    assert f"{address}:1" in error.message
    assert SshSettings().port == 22
    assert (SshSettings().connect_timeout, SshSettings().command_timeout) == (
        timedelta(seconds=30),
        timedelta(seconds=300),
    )


async def test_a_cancelled_command_leaves_the_connection_in_use(pool: HostPool, address: str, tmp_path: Path) -> None:
    async with pool.host(address) as host:
        running = asyncio.create_task(host.run(f"echo $$ > {tmp_path}/pid; exec sleep 60"))
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (await host.run("echo on")).stdout == "on\n"
