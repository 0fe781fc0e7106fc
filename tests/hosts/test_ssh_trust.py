"""Whom we believe and who we are, against real OpenSSH servers."""
# ruff: noqa: ASYNC110, ASYNC220, ASYNC221 - a test may block its own loop

import asyncio
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncssh
import pytest

from lab.hosts import HostOptions, configure_host
from lab.keys import host_files, write_host, write_user
from lab.spec import SSH_PORT, LabSpec
from sealring.errors import ErrorClass, SealringError
from sealring.hosts.ssh import HostPool
from sealring.models.cluster import SshSettings
from tests.hosts.ssh_helpers import changed, refused

pytestmark = pytest.mark.sshd


# Strangers stay out


@pytest.mark.criterion("A6")
async def test_a_host_that_nobody_vouches_for_is_refused(settings: SshSettings, address: str, tmp_path: Path) -> None:
    empty = tmp_path / "known_hosts"
    empty.write_text("")
    error = await refused(changed(settings, known_hosts=empty), address)
    assert (error.code, error.error_class) == ("ssh.host-key-unverified", ErrorClass.STOP)
    missing = await refused(changed(settings, known_hosts=tmp_path / "none"), address)
    assert (missing.code, missing.error_class) == ("ssh.known-hosts-unreadable", ErrorClass.STOP)


@pytest.mark.criterion("A6")
async def test_an_empty_known_hosts_does_not_fall_back_to_the_users_own(
    spec: LabSpec, settings: SshSettings, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "known_hosts").write_text((spec.ssh / "known_hosts").read_text())
    (home / ".ssh" / "config").write_text("StrictHostKeyChecking no\nUserKnownHostsFile none\n")
    monkeypatch.setenv("HOME", str(home))
    empty = tmp_path / "known_hosts"
    empty.write_text("")
    assert (await refused(changed(settings, known_hosts=empty), address)).code == "ssh.host-key-unverified"


@pytest.mark.criterion("A6")
async def test_a_host_with_another_key_than_the_known_one_is_refused(
    spec: LabSpec, settings: SshSettings, address: str, tmp_path: Path
) -> None:
    known = tmp_path / "known_hosts"
    public = host_files(spec.ring[0]).key.with_suffix(".pub").read_text()
    known.write_text(f"[{address}]:{SSH_PORT} {public}")
    pinned = changed(settings, known_hosts=known)
    pool = HostPool(pinned)
    async with pool.host(address) as host:
        assert (await host.run("echo in")).stdout == "in\n"
    await pool.close()

    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    known.write_text(f"[{address}]:{SSH_PORT} {other}")
    error = await refused(pinned, address)
    assert (error.code, error.error_class) == ("ssh.host-key-changed", ErrorClass.STOP)
    assert address in error.message
    assert "ssh-keygen" in error.remedy

    known.write_text(f"@revoked * {public}\n@cert-authority * {(spec.ssh / 'host_ca.pub').read_text()}")
    assert (await refused(pinned, address)).code == "ssh.host-key-changed"


@pytest.mark.criterion("A6")
async def test_a_host_certificate_of_another_authority_is_refused(
    spec: LabSpec, settings: SshSettings, address: str
) -> None:
    write_host(spec, spec.ring[0], authority="foreign_host_ca")
    try:
        error = await refused(settings, address)
    finally:
        write_host(spec, spec.ring[0])
    assert (error.code, error.error_class) == ("ssh.host-key-unverified", ErrorClass.STOP)


@pytest.mark.criterion("A6")
async def test_a_mended_known_hosts_is_believed_without_a_new_pool(
    spec: LabSpec, settings: SshSettings, address: str, tmp_path: Path
) -> None:
    known = tmp_path / "known_hosts"
    known.write_text("")
    pool = HostPool(changed(settings, known_hosts=known))
    async with pool.host(address) as host:
        with pytest.raises(SealringError):
            await host.run("exit 0")
        known.write_text((spec.ssh / "known_hosts").read_text())
        assert (await host.run("echo in")).stdout == "in\n"
    await pool.close()


# Who we are


async def test_an_expired_certificate_is_seen_before_sshd_is_asked(
    spec: LabSpec, settings: SshSettings, address: str
) -> None:
    now = datetime.now(UTC)
    key = write_user(spec, "late", valid_after=now - timedelta(days=2), valid_before=now - timedelta(days=1))
    late = changed(settings, private_key=key, certificate=key.with_name("late-cert.pub"), port=1)
    error = await refused(late, address)
    assert (error.code, error.error_class) == ("ssh.certificate-invalid", ErrorClass.STOP)
    assert "expired" in error.message
    assert "BEGIN" not in str(error)


async def test_a_certificate_of_another_authority_or_principal_is_refused_by_sshd(
    spec: LabSpec, settings: SshSettings, address: str
) -> None:
    for name, how in (("foreign", {"authority": "foreign_user_ca"}), ("guest", {"principals": ["guest"]})):
        key = write_user(spec, name, **how)
        error = await refused(
            changed(settings, private_key=key, certificate=key.with_name(f"{name}-cert.pub")), address
        )
        assert (error.code, error.error_class) == ("ssh.auth-refused", ErrorClass.STOP)


async def test_a_key_of_another_certificate_or_with_open_mode_is_refused(
    spec: LabSpec, settings: SshSettings, address: str, tmp_path: Path
) -> None:
    key = write_user(spec, "second")
    assert (await refused(changed(settings, private_key=key), address)).code == "ssh.certificate-invalid"
    loose = tmp_path / "loose"
    loose.write_bytes(key.read_bytes())
    loose.chmod(0o644)
    error = await refused(changed(settings, private_key=loose), address)
    assert (error.code, error.remedy) == ("ssh.key-unusable", f"chmod 600 {loose}")


@pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="ssh-agent is not installed")
async def test_the_agent_is_used_when_no_key_is_named(
    spec: LabSpec, settings: SshSettings, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_host(spec, spec.ring[0], HostOptions(authorized_keys=spec.ssh / "deploy.pub"))
    monkeypatch.setenv("HOME", str(tmp_path))
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            await asyncio.sleep(0.01)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        plain = changed(settings, private_key=None, certificate=None)
        assert (await refused(plain, address)).code == "ssh.auth-refused"
        subprocess.run(["ssh-add", "-q", str(spec.ssh / "deploy")], check=True)
        pool = HostPool(plain)
        async with pool.host(address) as host:
            assert (await host.run("echo in")).stdout == "in\n"
        await pool.close()
    finally:
        agent.terminate()
        agent.wait()
