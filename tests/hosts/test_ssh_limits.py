"""Breakers and throttles where they stand: before and on real OpenSSH."""

import asyncio
import logging
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from lab.hosts import cut, restore
from lab.spec import LabSpec
from sealring.errors import SealringError
from sealring.hosts.login import Login, login
from sealring.hosts.ssh import HostPool
from sealring.models.cluster import BreakerSettings, Limits, SshHost, SshSettings
from tests.hosts.ssh_helpers import changed, logins, visit

pytestmark = pytest.mark.sshd


async def failing(pool: HostPool, address: str) -> SealringError:
    with pytest.raises(SealringError) as caught:
        await visit(pool, address)
    return caught.value


@pytest.mark.criterion("A14")
async def test_a_host_that_is_away_is_left_alone_and_found_again(
    spec: LabSpec,
    settings: SshSettings,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tried = 0

    async def counted(*args: Any) -> tuple[asyncssh.SSHClientConnection, Login]:
        nonlocal tried
        tried += 1
        return await login(*args)

    monkeypatch.setattr("sealring.hosts.links.login", counted)
    ahead = 0.0
    monkeypatch.setattr("sealring.hosts.breakers.monotonic", lambda: 1000.0 + ahead)
    pool = HostPool(changed(settings, breaker=BreakerSettings(open_for=timedelta(minutes=5))))
    cut(spec, spec.ring[0], "refuse")
    with caplog.at_level(logging.WARNING):
        assert [(await failing(pool, address)).code for _ in range(3)] == ["ssh.connect-failed"] * 3
        restore(spec, spec.ring[0])
        for _ in range(10):
            error = await failing(pool, address)
            assert (error.code, error.retryable) == ("ssh.circuit-open", True)
            assert error.retry_after == timedelta(minutes=5)
        assert tried == 3, "an open breaker tries nothing"
        ahead = 301.0
        visits = await asyncio.gather(*(visit(pool, address, "echo in") for _ in range(5)))
    assert (visits, tried) == (["in\n"] * 5, 4)
    await pool.close()
    assert [r.getMessage().split(":")[0] for r in caplog.records if r.name == "sealring.hosts.breakers"] == [
        f"breaker {word}" for word in ("open", "half-open", "closed")
    ]


@pytest.mark.criterion("A14")
async def test_a_refused_login_opens_nothing(spec: LabSpec, settings: SshSettings, address: str) -> None:
    pool = HostPool(changed(settings, user="nobody", breaker=BreakerSettings(failures=1)))
    assert [(await failing(pool, address)).code for _ in range(3)] == ["ssh.auth-refused"] * 3
    await pool.close()


# Throttles


def many(spec: LabSpec, settings: SshSettings, count: int, **values: object) -> SshSettings:
    hosts = {f"10.0.{i}.1": SshHost(host=spec.ring[i % 2].address) for i in range(count)}
    return changed(settings, hosts=hosts, **values)


@pytest.mark.criterion("H3", "H7", "R4")
@pytest.mark.parametrize("way", ["sent", "read"])
async def test_bytes_of_all_hosts_together_keep_to_the_share_of_the_link(
    spec: LabSpec, settings: SshSettings, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, count, rate = 512 * 1024, 4, 768 * 1024
    limits = Limits(link_bytes_per_second=2 * rate)
    pool = HostPool(many(spec, settings, count, limits=limits))
    content = bytes(range(256)) * (size // 256)
    (tmp_path / "content").write_bytes(content)
    await asyncio.gather(*(visit(pool, address) for address in pool.settings.hosts))
    throttle, paid = pool._commons.throttle, 0
    take = throttle.take

    def counted(amount: int) -> float:
        nonlocal paid
        paid += amount
        return take(amount)

    monkeypatch.setattr(throttle, "take", counted)

    async def transfer(address: str) -> None:
        async with pool.host(address) as host:
            if way == "sent":
                done = await host.run("printf '#ready\\n'; wc -c", secret_input=content)
                assert done.stdout.strip() == str(size)
            else:
                assert await host.read(str(tmp_path / "content")) == content

    begin = time.monotonic()
    await asyncio.gather(*(transfer(address) for address in pool.settings.hosts))
    seconds, expected = time.monotonic() - begin, size * count / rate
    await pool.close()
    print(f"{way}: {size * count} bytes at {rate} bytes/s: {seconds:.2f} s, expected {expected:.2f} s")
    assert seconds >= expected - 0.1
    assert size * count <= paid <= 1.1 * size * count, "each byte is paid for once"


async def test_waiting_for_the_throttle_costs_a_command_none_of_its_time(
    settings: SshSettings, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = HostPool(settings)
    monkeypatch.setattr(pool._commons.throttle, "take", lambda _: 0.01)
    async with pool.host(address) as host, asyncio.timeout(60) as budget:
        before = budget.when()
        assert before is not None
        await host._pay(budget, 1)
        assert budget.when() == before + 0.01


@pytest.mark.criterion("H3")
async def test_logins_are_begun_no_faster_than_they_may(spec: LabSpec, settings: SshSettings) -> None:
    limited = many(spec, settings, 9, limits=Limits(logins_per_second=8))
    before = sum(logins(node) for node in spec.ring)
    pool = HostPool(limited)
    begin = time.monotonic()
    await asyncio.gather(*(visit(pool, address) for address in limited.hosts))
    seconds = time.monotonic() - begin
    await pool.close()
    assert sum(logins(node) for node in spec.ring) == before + 9
    assert seconds >= 1.0


@pytest.mark.criterion("H3")
async def test_logins_in_one_subnet_are_capped_and_others_go_on(
    spec: LabSpec, settings: SshSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = most = 0

    async def counted(*args: Any) -> tuple[asyncssh.SSHClientConnection, Login]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        try:
            return await login(*args)
        finally:
            inside -= 1

    monkeypatch.setattr("sealring.hosts.links.login", counted)
    limited = many(spec, settings, 6, limits=Limits(logins_per_subnet=2))
    pool = HostPool(limited)
    await asyncio.gather(*(visit(pool, address) for address in limited.hosts))
    await pool.close()
    assert most == 2


@pytest.mark.criterion("H16")
async def test_compression_is_spoken_when_it_is_asked_for(settings: SshSettings, address: str, tmp_path: Path) -> None:
    sizes = {}
    (tmp_path / "text").write_bytes(b"much the same line over and over\n" * 20_000)
    for compression in (True, False):
        pool = HostPool(changed(settings, compression=compression))
        async with pool.host(address) as host:
            assert len(await host.read(str(tmp_path / "text"))) == 660_000
            connection = await host._link.connection()
            sizes[compression] = connection.get_extra_info("recv_compression")
        await pool.close()
    assert sizes == {True: "zlib@openssh.com", False: "none"}
