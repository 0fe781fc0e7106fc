"""The way through bastions: real OpenSSH at every hop."""
# ruff: noqa: ASYNC110 - a test may poll

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from lab.hosts import cut, restore
from lab.keys import user_name, write_user
from lab.spec import SSH_PORT, LabSpec
from sealring.errors import ErrorClass, SealringError
from sealring.hosts import links
from sealring.hosts.login import Login, login
from sealring.hosts.ssh import HostPool
from sealring.models.cluster import BreakerSettings, Jump, SshHost, SshSettings
from tests.hosts.ssh_helpers import changed, logins, overrule, refused, visit

pytestmark = pytest.mark.sshd


@pytest.fixture
def bastion(spec: LabSpec) -> Jump:
    """The first node as a bastion."""
    return Jump(host=spec.ring[0].address, port=SSH_PORT)


@pytest.fixture
def behind(spec: LabSpec, settings: SshSettings, bastion: Jump) -> SshSettings:
    """Six nodes behind the bastion; all of them are the second one."""
    hosts = {f"10.0.0.{i}": SshHost(host=spec.ring[1].address) for i in range(6)}
    return changed(settings, jump=(bastion,), hosts=hosts)


@pytest.mark.criterion("A2", "A13")
async def test_one_connection_to_the_bastion_serves_all_nodes_behind_it(spec: LabSpec, behind: SshSettings) -> None:
    first, second = (logins(node) for node in spec.ring)
    pool = HostPool(behind)
    outputs = await asyncio.gather(*(visit(pool, address, "echo in") for address in behind.hosts))
    await pool.close()
    assert outputs == ["in\n"] * 6
    assert logins(spec.ring[0]) == first + 1
    assert logins(spec.ring[1]) == second + 6


@pytest.mark.criterion("A2")
async def test_a_chain_is_gone_hop_by_hop(spec: LabSpec, settings: SshSettings, bastion: Jump, address: str) -> None:
    other = Jump(host=spec.ring[1].address, port=SSH_PORT)
    before = [logins(node) for node in spec.ring]
    pool = HostPool(changed(settings, jump=(bastion, other)))
    assert await visit(pool, address, "echo in") == "in\n"
    await pool.close()
    assert [logins(node) for node in spec.ring] == [before[0] + 2, before[1] + 1]


@pytest.mark.criterion("A2")
async def test_a_node_may_have_another_way_or_none(spec: LabSpec, settings: SshSettings, bastion: Jump) -> None:
    near, far = (node.address for node in spec.ring)
    hosts = {near: SshHost(jump=())}
    pool = HostPool(changed(settings, jump=(Jump(host="127.0.0.1", port=1),), hosts=hosts))
    assert await visit(pool, near, "echo in") == "in\n"
    with pytest.raises(SealringError) as caught:
        await visit(pool, far)
    assert caught.value.code == "ssh.jump-connect-failed"
    await pool.close()
    pool = HostPool(changed(settings, jump=(Jump(host="127.0.0.1", port=1),), hosts={far: SshHost(jump=(bastion,))}))
    assert await visit(pool, far, "echo in") == "in\n"
    await pool.close()


@pytest.mark.criterion("A2", "A6")
async def test_every_hop_has_its_own_trust_and_its_own_key(
    spec: LabSpec, settings: SshSettings, bastion: Jump, tmp_path: Path
) -> None:
    near, far = (node.address for node in spec.ring)
    nobody = tmp_path / "nobody"
    nobody.write_text("")
    error = await refused(changed(settings, jump=(bastion.model_copy(update={"known_hosts": nobody}),)), far)
    assert (error.code, error.error_class, error.node) == ("ssh.jump-host-key-unverified", ErrorClass.STOP, far)
    assert f"bastion {near}:{SSH_PORT}" in error.message

    trusting = bastion.model_copy(update={"known_hosts": settings.known_hosts})
    error = await refused(changed(settings, jump=(trusting,), known_hosts=nobody), far)
    assert error.code == "ssh.host-key-unverified", "the node's own key, seen through the bastion"

    foreign = write_user(spec, "foreign", authority="foreign_user_ca")
    wrong = {"private_key": foreign, "certificate": foreign.with_name("foreign-cert.pub")}
    error = await refused(changed(settings, jump=(bastion.model_copy(update=wrong),)), far)
    assert (error.code, error.error_class) == ("ssh.jump-auth-refused", ErrorClass.STOP)
    own = {"private_key": settings.private_key, "certificate": settings.certificate, "user": user_name()}
    error = await refused(changed(settings, jump=(bastion.model_copy(update=own),), **wrong), far)
    assert error.code == "ssh.auth-refused"


@pytest.mark.criterion("A2")
async def test_a_bastion_that_forbids_or_finds_nobody_is_named(
    spec: LabSpec, settings: SshSettings, bastion: Jump
) -> None:
    far = spec.ring[1].address
    error = await refused(changed(settings, jump=(bastion,), port=1), far)
    assert (error.code, error.retryable) == ("ssh.connect-failed", True)
    assert "the bastion has no connection" in error.message
    overrule(spec.ring[0], "AllowTcpForwarding no")
    error = await refused(changed(settings, jump=(bastion,)), far)
    assert (error.code, error.error_class) == ("ssh.jump-prohibited", ErrorClass.SKIP)
    assert f"bastion {bastion.host}:{SSH_PORT}" in error.message


@pytest.mark.criterion("A2", "A13")
async def test_logins_through_a_bastion_are_capped(behind: SshSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = most = 0

    async def counted(*args: Any) -> tuple[asyncssh.SSHClientConnection, Login]:
        nonlocal inside, most
        inside += args[3] is not None
        most = max(most, inside)
        try:
            return await login(*args)
        finally:
            inside -= args[3] is not None

    monkeypatch.setattr("sealring.hosts.links.login", counted)
    capped = behind.jump[0].model_copy(update={"max_logins": 2})
    pool = HostPool(changed(behind, jump=(capped,)))
    await asyncio.gather(*(visit(pool, address) for address in behind.hosts))
    await pool.close()
    assert most == 2


@pytest.mark.criterion("A2", "A13")
async def test_connections_through_a_bastion_are_capped_and_idle_ones_make_room(
    behind: SshSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    capped = behind.jump[0].model_copy(update={"max_channels": 2})
    pool = HostPool(changed(behind, jump=(capped,)))
    await asyncio.gather(*(visit(pool, address) for address in behind.hosts))  # six in turn, two at a time
    quick = HostPool(changed(behind, jump=(capped,)))
    one, two, three, *_ = behind.hosts
    async with quick.host(one) as first, quick.host(two) as second:
        await asyncio.gather(first.run("exit 0"), second.run("exit 0"))
        with monkeypatch.context() as hurried:  # who waits for a channel has not begun to connect
            hurried.setattr(quick._commons, "settings", changed(behind, connect_timeout=timedelta(seconds=0.3)))
            with pytest.raises(SealringError) as caught:
                await visit(quick, three)
        assert (caught.value.code, caught.value.retryable) == ("ssh.jump-channel-limit", True)
    assert await visit(quick, three, "echo in") == "in\n"
    await pool.close()
    await quick.close()


@pytest.mark.criterion("A13")
async def test_a_bastion_nobody_uses_is_left(
    spec: LabSpec, behind: SshSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "LINGER_SECONDS", 0.05)
    pool = HostPool(behind)
    await visit(pool, "10.0.0.0")
    (bastion,) = pool._bastions.values()
    while bastion._connection is not None:
        await asyncio.sleep(0.01)
    assert await visit(pool, "10.0.0.0", "echo again") == "again\n"
    await pool.close()


@pytest.mark.criterion("A2", "A13")
async def test_a_lost_bastion_is_made_again(spec: LabSpec, behind: SshSettings) -> None:
    pool = HostPool(behind)
    async with pool.host("10.0.0.1") as host:
        await host.run("exit 0")
        running = asyncio.create_task(host.run("sleep 30"))
        await host.run("exit 0")
        cut(spec, spec.ring[0], "refuse")
        with pytest.raises(SealringError) as caught:
            await running
        assert (caught.value.code, caught.value.retryable) == ("ssh.lost", True)
        with pytest.raises(SealringError) as caught:
            await host.run("exit 0")
        assert (caught.value.code, caught.value.retryable) == ("ssh.jump-connect-failed", True)
        assert f"bastion {spec.ring[0].address}:{SSH_PORT}" in caught.value.message
        restore(spec, spec.ring[0])
        assert (await host.run("echo on")).stdout == "on\n"
    await pool.close()


@pytest.mark.criterion("A2")
async def test_a_frozen_bastion_is_told_from_a_frozen_node(
    spec: LabSpec, behind: SshSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "ANSWER_SECONDS", 60.0)  # who lives has time
    pool = HostPool(behind)
    await visit(pool, "10.0.0.1")
    cut(spec, spec.ring[1], "freeze")
    # Read at each login: from here on only frozen peers are waited for.
    pool._commons.settings = changed(behind, connect_timeout=timedelta(seconds=1))
    with pytest.raises(SealringError) as caught:
        await visit(pool, "10.0.0.2")
    assert caught.value.code == "ssh.connect-timeout"
    restore(spec, spec.ring[1])
    cut(spec, spec.ring[0], "freeze")
    monkeypatch.setattr(links, "ANSWER_SECONDS", 0.5)
    with pytest.raises(SealringError) as caught:
        await visit(pool, "10.0.0.3")
    assert caught.value.code == "ssh.jump-lost"
    restore(spec, spec.ring[0])
    await pool.close()


@pytest.mark.criterion("A2", "A14")
async def test_a_dead_bastion_opens_its_own_breaker_and_not_those_of_the_nodes(
    spec: LabSpec, behind: SshSettings
) -> None:
    cut(spec, spec.ring[0], "refuse")
    pool = HostPool(changed(behind, breaker=BreakerSettings(failures=2)))
    codes = []
    for address in ("10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2"):
        with pytest.raises(SealringError) as caught:
            await visit(pool, address)
        codes.append(caught.value.code)
        assert caught.value.node == address
    assert codes == ["ssh.jump-connect-failed"] * 2 + ["ssh.jump-circuit-open"] * 2
    assert caught.value.retry_after is not None
    await pool.close()
    restore(spec, spec.ring[0])
