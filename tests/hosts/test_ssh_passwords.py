"""Password logins against real OpenSSH (as root: it takes an account), and against a server that asks oddly."""

import logging
import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import pytest
from pydantic import ValidationError

from lab.spec import SSH_PORT, LabSpec
from sealring.errors import ErrorClass
from sealring.hosts.ssh import HostPool
from sealring.models.cluster import Jump, SshHost, SshSettings
from tests.hosts.ssh_helpers import changed, overrule, preauth_ended, refused, visit

pytestmark = pytest.mark.sshd

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give an account a password that sshd checks")


@dataclass(frozen=True)
class Account:
    name: str
    password: str
    file: Path


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """A user of this computer with a password; gone at the end."""
    name, password = f"sealring-{os.getpid()}", secrets.token_urlsafe(16)
    subprocess.run(["useradd", "--no-create-home", "--home-dir", "/", "--shell", "/bin/sh", name], check=True)
    try:
        subprocess.run(["chpasswd"], input=f"{name}:{password}\n", text=True, check=True)
        yield Account(name, password, secret_file(tmp_path_factory.mktemp("password") / "password", password))
    finally:
        subprocess.run(["userdel", name], check=True)


def secret_file(path: Path, text: str) -> Path:
    path.write_text(f"{text}\n")
    path.chmod(0o600)
    return path


def accept_passwords(spec: LabSpec, account: Account, *more: str) -> None:
    for node in spec.ring:
        overrule(node, f"AllowUsers {account.name} root", "AuthenticationMethods any", *more)


def by_password(settings: SshSettings, account: Account, **values: object) -> SshSettings:
    no_key = {"private_key": None, "certificate": None, "allow_password": True}
    return changed(settings, **no_key, user=account.name, password_file=account.file, **values)


@as_root
@pytest.mark.criterion("A2")
async def test_a_password_login_works_and_leaves_a_line(
    spec: LabSpec, settings: SshSettings, address: str, account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    accept_passwords(spec, account, "PasswordAuthentication yes", "KbdInteractiveAuthentication no")
    pool = HostPool(by_password(settings, account))
    with caplog.at_level(logging.DEBUG):
        async with pool.host(address) as host:
            assert not host.passwords
            assert (await host.run("id -un")).stdout == f"{account.name}\n"
            assert host.passwords == (f"{account.name} at {address}:{SSH_PORT} (method password)",)
    await pool.close()
    audit = [r.getMessage() for r in caplog.records if "ssh.password-login" in r.getMessage()]
    assert len(audit) == 1
    for words in (f"node={address}", f"user={account.name}", "method=password", f"password_file={account.file}"):
        assert words in audit[0]
    assert account.password not in caplog.text


@as_root
@pytest.mark.criterion("A2")
async def test_keyboard_interactive_by_pam(
    spec: LabSpec, settings: SshSettings, address: str, account: Account
) -> None:
    accept_passwords(spec, account, "PasswordAuthentication no", "KbdInteractiveAuthentication yes", "UsePAM yes")
    pool = HostPool(by_password(settings, account))
    async with pool.host(address) as host:
        assert (await host.run("id -un")).stdout == f"{account.name}\n"
        assert host.passwords == (f"{account.name} at {address}:{SSH_PORT} (method keyboard-interactive)",)
    await pool.close()


@as_root
@pytest.mark.criterion("A2")
async def test_a_wrong_password_is_refused_after_one_try(
    spec: LabSpec, settings: SshSettings, address: str, account: Account, tmp_path: Path
) -> None:
    accept_passwords(spec, account, "PasswordAuthentication yes", "KbdInteractiveAuthentication yes")
    log = spec.ring[0].logs / "sshd.log"
    before = log.read_text().count("Failed password") if log.exists() else 0
    wrong = secret_file(tmp_path / "wrong", "no-such-password")
    error = await refused(changed(by_password(settings, account), password_file=wrong), address)
    assert (error.code, error.error_class) == ("ssh.auth-refused", ErrorClass.STOP)
    assert f"password of {wrong}" in error.message
    assert "no-such-password" not in f"{error} {error!r} {error.__cause__!r}"
    assert (await preauth_ended(spec.ring[0], account.name, 1)).count("Failed password") == before + 1


@as_root
@pytest.mark.criterion("A2")
async def test_a_node_of_its_own_password_behind_a_bastion_of_another(
    spec: LabSpec, settings: SshSettings, account: Account, tmp_path: Path
) -> None:
    accept_passwords(spec, account, "PasswordAuthentication yes")
    near, far = (node.address for node in spec.ring)
    wrong = secret_file(tmp_path / "wrong", "no-such-password")
    jump = Jump(host=near, port=SSH_PORT, password_file=account.file)
    hosts = {far: SshHost(password_file=account.file)}
    ways = changed(by_password(settings, account), password_file=wrong, jump=(jump,), hosts=hosts)
    pool = HostPool(ways)
    async with pool.host(far) as host:
        await host.run("exit 0")
        assert [words.split(" ")[2] for words in host.passwords] == [f"{near}:{SSH_PORT}", f"{far}:{SSH_PORT}"]
    await pool.close()
    error = await refused(changed(ways, jump=(jump.model_copy(update={"password_file": wrong}),)), far)
    assert error.code == "ssh.jump-auth-refused"


@pytest.mark.criterion("A2")
async def test_a_key_goes_first_and_no_password_is_sent_then(
    settings: SshSettings, address: str, tmp_path: Path
) -> None:
    file = secret_file(tmp_path / "password", "unused")
    pool = HostPool(changed(settings, allow_password=True, password_file=file))
    async with pool.host(address) as host:
        await host.run("exit 0")
        assert host.passwords == ()
    await pool.close()


@pytest.mark.criterion("A2")
def test_passwords_are_off_until_they_are_allowed() -> None:
    for values, name in (
        ({"password_file": "p"}, "password_file"),
        ({"hosts": {"10.0.0.1": {"password_file": "p"}}}, "hosts.10.0.0.1.password_file"),
        ({"jump": [{"host": "b", "password_file": "p"}]}, "jump.0.password_file"),
        ({"hosts": {"h": {"jump": [{"host": "b", "password_file": "p"}]}}}, "hosts.h.jump.0.password_file"),
    ):
        with pytest.raises(ValidationError, match=f"{name}: password logins need allow_password: true"):
            SshSettings.model_validate(values)
        SshSettings.model_validate({**values, "allow_password": True})


@pytest.mark.criterion("A2")
@pytest.mark.parametrize(("content", "mode"), [("secret\n", 0o644), ("", 0o600), ("two\nlines\n", 0o600), (None, 0)])
async def test_a_password_file_that_cannot_be_used_is_refused_by_name(
    settings: SshSettings, address: str, tmp_path: Path, content: str | None, mode: int
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    error = await refused(changed(settings, allow_password=True, password_file=file), address)
    assert (error.code, error.error_class) == ("ssh.password-unusable", ErrorClass.STOP)
    assert "ssh.password_file: " in error.message
    assert str(file) in error.message
    assert "secret" not in f"{error}"


# What a server may ask


Challenge = bool | tuple[str, str, str, Sequence[tuple[str, bool]]]


@dataclass
class Asking(asyncssh.SSHServer):
    """A server that asks by keyboard-interactive, whatever it is told to ask; notes what it gets."""

    prompts: list[list[tuple[str, bool]]]
    answers: list[Sequence[str]] = field(default_factory=list)

    def password_auth_supported(self) -> bool:
        return False

    def kbdint_auth_supported(self) -> bool:
        return True

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Challenge:
        return ("", "", "", self.prompts[0])

    def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> Challenge:
        self.answers.append(list(responses))
        if len(self.answers) < len(self.prompts):
            return ("", "", "", self.prompts[len(self.answers)])
        return self.answers[0] == ["right"]


@pytest.fixture
async def asking(spec: LabSpec, settings: SshSettings, tmp_path: Path) -> AsyncIterator[tuple[Asking, SshSettings]]:
    server = Asking([[("Password: ", False)]])
    key = asyncssh.generate_private_key("ssh-ed25519")

    async def handle(process: "asyncssh.SSHServerProcess[str]") -> None:
        process.exit(0)

    acceptor = await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[key], server_factory=lambda: server, process_factory=handle
    )
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{acceptor.get_port()} {key.export_public_key().decode()}")
    no_key = {"private_key": None, "certificate": None, "allow_password": True, "user": "deploy"}
    file = secret_file(tmp_path / "password", "right")
    yield server, changed(settings, port=acceptor.get_port(), known_hosts=known, password_file=file, **no_key)
    acceptor.close()
    await acceptor.wait_closed()


@pytest.mark.criterion("A2")
async def test_a_hidden_question_for_the_password_is_answered_and_an_empty_one_too(
    asking: tuple[Asking, SshSettings],
) -> None:
    server, settings = asking
    server.prompts.append([])
    pool = HostPool(settings)
    await visit(pool, "127.0.0.1")
    await pool.close()
    assert server.answers == [["right"], []]


@pytest.mark.criterion("A2")
@pytest.mark.parametrize(
    "prompts",
    [
        [[("Verification code: ", False)]],
        [[("Password: ", True)]],
        [[("Password: ", False), ("Code: ", False)]],
        [[("Password: ", False)], [("New password: ", False)]],
    ],
    ids=["another-word", "shown", "two-at-once", "a-second-time"],
)
async def test_nothing_else_is_answered(
    asking: tuple[Asking, SshSettings], prompts: list[list[tuple[str, bool]]]
) -> None:
    server, settings = asking
    server.prompts = prompts
    error = await refused(settings, "127.0.0.1")
    assert error.code == "ssh.auth-refused"
    assert server.answers in ([], [["right"]]), "once at most"
