"""Logging in to a real OpenBao, and everything that can stand in the way."""

import asyncio
import os
import signal
import ssl
from pathlib import Path

import pytest
from pydantic import ValidationError

from lab import openbao, state
from lab.authority import Authority, write_file
from sealring.errors import ErrorClass, SealringError
from sealring.models.vault import VaultSettings
from sealring.sources.vault import Vault
from tests.sources.conftest import HOST, Bao

PATH = "kv/data/cassandra/prod/10.0.0.1"


def by_token(bao: Bao, file: Path, token: str) -> Vault:
    write_file(file, token.encode(), 0o600)
    return Vault(VaultSettings(address=bao.server.address, ca=bao.server.ca, token_file=file))


async def error_of(vault: Vault) -> SealringError:
    with pytest.raises(SealringError) as caught:
        await vault.read(PATH)
    return caught.value


async def refused(vault: Vault, code: str) -> SealringError:
    error = await error_of(vault)
    assert (error.code, error.error_class) == (code, ErrorClass.STOP), error
    return error


async def passes(vault: Vault, code: str) -> SealringError:
    error = await error_of(vault)
    assert (error.code, error.error_class) == (code, ErrorClass.RETRY), error
    return error


def revoke(bao: Bao, token: str) -> None:
    openbao.write(bao.server, "auth/token/revoke", {"token": token})


@pytest.mark.criterion("Q6")
async def test_a_revoked_token_is_followed_by_a_new_login(bao: Bao, vault: Vault, place: str) -> None:
    bao.put(place)
    assert await vault.read(PATH)
    first = vault._token
    revoke(bao, first)
    assert await vault.read(PATH)
    assert vault._token != first


async def test_many_readers_share_one_login(bao: Bao, approle: VaultSettings, place: str) -> None:
    bao.put(place)
    assert approle.secret_id_file is not None
    write_file(approle.secret_id_file, bao.secret_id(num_uses=1).encode(), 0o600)  # a second login would be refused
    vault = Vault(approle)
    assert all(await asyncio.gather(*(vault.read(PATH) for _ in range(20))))
    await vault.close()


@pytest.mark.criterion("Q6")
async def test_a_revoked_token_is_read_again_from_its_file(bao: Bao, tmp_path: Path, place: str) -> None:
    bao.put(place)
    token, file = bao.token(), tmp_path / "token"
    vault = by_token(bao, file, token)
    assert await vault.read(PATH)
    revoke(bao, token)
    error = await refused(vault, "vault.token-refused")
    assert str(file) in error.message
    assert token not in str(error)
    write_file(file, bao.token().encode(), 0o600)
    assert await vault.read(PATH)
    await vault.close()


@pytest.mark.criterion("Q6")
async def test_a_wrong_secret_id_is_refused_and_not_quoted(approle: VaultSettings) -> None:
    assert approle.secret_id_file is not None
    write_file(approle.secret_id_file, b"0f3c-wrong", 0o600)
    assert "0f3c-wrong" not in str(await refused(Vault(approle), "vault.login-refused"))


@pytest.mark.criterion("Q6")
@pytest.mark.parametrize(
    ("content", "mode", "word"), [(b"t", 0o640, "0640"), (b"\n", 0o600, "one line"), (b"a\nb", 0o600, "one line")]
)
async def test_a_secret_file_that_is_not_fit_is_not_used(
    bao: Bao, tmp_path: Path, content: bytes, mode: int, word: str
) -> None:
    vault = by_token(bao, tmp_path / "token", "")
    write_file(tmp_path / "token", content, mode)
    assert word in (await refused(vault, "vault.secret-file")).message


async def test_a_missing_secret_file_is_named(bao: Bao, tmp_path: Path) -> None:
    settings = VaultSettings(address=bao.server.address, ca=bao.server.ca, token_file=tmp_path / "none")
    assert str(tmp_path / "none") in (await refused(Vault(settings), "vault.secret-file")).message


async def test_tokens_are_in_no_picture_of_the_vault(bao: Bao, tmp_path: Path, place: str) -> None:
    token = bao.token()
    vault = by_token(bao, tmp_path / "token", token)
    await vault.read(PATH)
    assert token not in f"{vault!r} {vault.settings!r} {vault._http!r} {vault._http.headers!r}"


async def test_a_vault_of_another_authority_is_not_asked(bao: Bao, approle: VaultSettings, tmp_path: Path) -> None:
    Authority.open(tmp_path / "other")
    await passes(Vault(approle.model_copy(update={"ca": tmp_path / "other" / "ca.crt"})), "vault.tls")


async def test_an_unusable_ca_file_is_refused(approle: VaultSettings, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for file in ("empty", "none"):
        with pytest.raises(SealringError, match=r"\[vault.settings\]"):
            Vault(approle.model_copy(update={"ca": tmp_path / file}))


@pytest.mark.criterion("V1")
async def test_a_vault_killed_and_started_again_is_sealed_then_reads_on(bao: Bao, vault: Vault, place: str) -> None:
    bao.put(place)
    before = await vault.read(PATH)
    os.kill(state.alive(bao.server.root)[openbao.ROLE], signal.SIGKILL)
    openbao.stop(bao.server)  # until it is gone
    try:
        await passes(vault, "vault.unreachable")
        openbao.launch(bao.server)
        await passes(vault, "vault.sealed")
        openbao.unseal(bao.server)
    finally:
        openbao.stop(bao.server)
        openbao.launch(bao.server)
        openbao.unseal(bao.server)
    assert await vault.read(PATH) == before


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "vault.standby", ErrorClass.RETRY),
        (472, "vault.standby", ErrorClass.RETRY),
        (473, "vault.standby", ErrorClass.RETRY),
        (307, "vault.standby", ErrorClass.RETRY),
        (500, "vault.failing", ErrorClass.RETRY),
        (400, "vault.refused", ErrorClass.STOP),
        (None, "vault.timeout", ErrorClass.RETRY),
    ],
)
async def test_answers_that_a_healthy_vault_does_not_give(
    bao: Bao, tmp_path: Path, status: int | None, code: str, kind: ErrorClass
) -> None:
    answered = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if status is None:
            await answered.wait()
        else:
            writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: 2\r\n\r\n{{}}".encode())
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    folder = bao.server.folder / "tls"
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    server = await asyncio.start_server(answer, HOST, 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    write_file(tmp_path / "token", b"t", 0o600)
    vault = Vault(
        VaultSettings(
            address=f"https://{HOST}:{port}",
            ca=bao.server.ca,
            token_file=tmp_path / "token",
            timeout=0.3 if status is None else 10,
        )
    )
    error = await error_of(vault)
    answered.set()
    assert (error.code, error.error_class) == (code, kind)
    await vault.close()
    server.close()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"role_id": "r"},
        {"secret_id_file": "/s"},
        {"role_id": "r", "secret_id_file": "/s", "token_file": "/t"},
        {"role_id": "r", "token_file": "/t"},
        {"token_file": "/t", "address": "http://vault:8200"},
        {"token_file": "/t", "address": "https://user:word@vault"},
        {"token_file": "/t", "token": "x"},
    ],
)
def test_settings_that_leave_a_doubt_are_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        VaultSettings.model_validate({"address": "https://vault:8200"} | fields)
