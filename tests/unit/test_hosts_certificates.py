"""Certificates by a signer: one call for all who wait, nothing kept that has failed, nothing used that is not ours."""

import asyncio

import asyncssh
import pytest

from sealring.errors import ErrorClass, SealringError, passing
from sealring.hosts.certificates import Certificates

KEY = asyncssh.generate_private_key("ssh-ed25519")
AUTHORITY = asyncssh.generate_private_key("ssh-ed25519")


class Signer:
    """Signs when it is let; counts."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.free = asyncio.Event()
        self.error: SealringError | None = None
        self.valid_before = "+1h"

    async def __call__(self, public_key: str, user: str) -> str:
        self.calls.append((public_key, user))
        await self.free.wait()
        if self.error is not None:
            raise self.error
        key = asyncssh.import_public_key(public_key)
        made = AUTHORITY.generate_user_certificate(key, user, principals=[user], valid_before=self.valid_before)
        return made.export_certificate("openssh").decode()


async def test_all_who_wait_share_one_signing() -> None:
    signer = Signer()
    certificates = Certificates(signer)
    waiting = [asyncio.create_task(certificates.certificate(KEY, "deploy")) for _ in range(20)]
    await asyncio.sleep(0)
    signer.free.set()
    assert len({id(made) for made in await asyncio.gather(*waiting)}) == 1
    await certificates.certificate(KEY, "deploy")
    assert len(signer.calls) == 1
    assert "PRIVATE" not in signer.calls[0][0]


async def test_a_key_and_a_login_name_have_a_certificate_each() -> None:
    signer = Signer()
    signer.free.set()
    certificates = Certificates(signer)
    other = asyncssh.generate_private_key("ssh-ed25519")
    for key, user in ((KEY, "deploy"), (KEY, "jump"), (other, "deploy")):
        made = await certificates.certificate(key, user)
        assert (made.principals, made.key.public_data) == ([user], key.public_data)
    assert len(signer.calls) == 3


async def test_a_failure_is_shared_and_not_kept() -> None:
    signer = Signer()
    signer.error = passing("vault.sealed", "it is sealed")
    certificates = Certificates(signer)
    waiting = [asyncio.create_task(certificates.certificate(KEY, "deploy")) for _ in range(5)]
    await asyncio.sleep(0)
    signer.free.set()
    assert {type(outcome) for outcome in await asyncio.gather(*waiting, return_exceptions=True)} == {SealringError}
    assert len(signer.calls) == 1
    signer.error = None
    await certificates.certificate(KEY, "deploy")


async def test_one_who_gives_up_does_not_take_it_from_the_others() -> None:
    signer = Signer()
    certificates = Certificates(signer)
    one, other = (asyncio.create_task(certificates.certificate(KEY, "deploy")) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.sleep(0)
    signer.free.set()
    assert await other


async def test_closing_ends_a_signing_under_way() -> None:
    certificates = Certificates(Signer())
    waiting = asyncio.create_task(certificates.certificate(KEY, "deploy"))
    await asyncio.sleep(0)
    await certificates.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def _of_a_host() -> str:
    return AUTHORITY.generate_host_certificate(KEY, "h", principals=["h"]).export_certificate("openssh").decode()


def _of_another_key() -> str:
    return AUTHORITY.generate_user_certificate(AUTHORITY, "u").export_certificate("openssh").decode()


def _expired() -> str:
    made = AUTHORITY.generate_user_certificate(KEY, "u", valid_after="20200101", valid_before="20200102")
    return made.export_certificate("openssh").decode()


@pytest.mark.parametrize("text", ["", "ssh-ed25519 AAAA", _of_a_host(), _of_another_key(), _expired()])
async def test_what_is_not_a_certificate_for_us_is_refused(text: str) -> None:
    async def sign(public_key: str, user: str) -> str:
        return text

    with pytest.raises(SealringError) as caught:
        await Certificates(sign).certificate(KEY, "deploy")
    assert (caught.value.code, caught.value.error_class) == ("vault.certificate-unusable", ErrorClass.STOP)
