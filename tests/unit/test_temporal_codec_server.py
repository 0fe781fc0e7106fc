"""The codec server as a browser, a CLI and a stranger meet it."""

import base64
import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from sealring.errors import SealringError
from sealring.temporal.codec_server import codec_app, serve_codec
from sealring.temporal.keyring import Keyring

UI = "http://127.0.0.1:8233"
KEYRING = Keyring("k1", {"k1": bytes(32)})
PLAIN = {
    "payloads": [
        {
            "metadata": {"encoding": base64.b64encode(b"json/plain").decode()},
            "data": base64.b64encode(b'{"cluster":"prod-eu"}').decode(),
        }
    ]
}


def client_of(keyring: Keyring) -> httpx.AsyncClient:
    """A client of the app itself, with no socket between."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(codec_app(keyring, UI)), base_url="http://127.0.0.1")


@pytest.fixture
async def server() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(KEYRING) as client:
        yield client


async def test_what_it_encodes_it_decodes(server: httpx.AsyncClient) -> None:
    sealed = await server.post("/encode", json=PLAIN)
    assert base64.b64encode(b"prod-eu").decode()[:8] not in sealed.text
    assert sealed.json() != PLAIN
    assert (await server.post("/decode", json=sealed.json())).json() == PLAIN


async def test_plain_payloads_decode_to_themselves(server: httpx.AsyncClient) -> None:
    assert (await server.post("/decode", json=PLAIN)).json() == PLAIN


async def preflight(server: httpx.AsyncClient, origin: str) -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-namespace",
    }
    return await server.options("/decode", headers=headers)


async def test_the_ui_may_use_it_from_a_browser(server: httpx.AsyncClient) -> None:
    assert (await preflight(server, UI)).is_success
    answer = await server.post("/decode", json=PLAIN, headers={"Origin": UI, "X-Namespace": "default"})
    assert answer.headers["access-control-allow-origin"] == UI


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:8234", "null"])
async def test_no_other_page_may(server: httpx.AsyncClient, origin: str) -> None:
    assert not (await preflight(server, origin)).is_success
    answer = await server.post("/decode", json=PLAIN, headers={"Origin": origin})
    assert "access-control-allow-origin" not in answer.headers


async def test_a_page_that_rebinds_its_name_to_this_computer_is_refused(server: httpx.AsyncClient) -> None:
    answer = await server.post("/decode", json=PLAIN, headers={"Host": "evil.example"})
    assert answer.status_code == 400


@pytest.mark.parametrize("body", [b"", b"[]", b'{"payloads": 7}', b"\xff", b"7"])
async def test_a_body_that_is_not_payloads_is_refused(server: httpx.AsyncClient, body: bytes) -> None:
    answer = await server.post("/decode", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "not Temporal payloads" in answer.json()["message"]


async def test_an_unknown_key_is_named(server: httpx.AsyncClient) -> None:
    other = client_of(Keyring("k9", {"k9": bytes(32)}))
    sealed = await other.post("/encode", json=PLAIN)
    answer = await server.post("/decode", json=sealed.json())
    assert answer.status_code == 400
    assert "k9" in answer.json()["message"]


async def test_it_serves_quietly_and_stops(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with serve_codec(KEYRING, port=0, ui_origin=UI) as url, httpx.AsyncClient(timeout=60) as client:
            sealed = (await client.post(f"{url}/encode", json=PLAIN)).json()
            assert (await client.post(f"{url}/decode", json=sealed)).json() == PLAIN
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.post(f"{url}/decode", json=PLAIN)
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]
    assert capfd.readouterr() == ("", "")


async def test_a_busy_port_is_one_clear_error() -> None:
    async with serve_codec(KEYRING, port=0, ui_origin=UI) as url:
        with pytest.raises(SealringError, match="already in use") as caught:
            async with serve_codec(KEYRING, port=int(url.rsplit(":", 1)[1]), ui_origin=UI):
                pass
    assert caught.value.code == "codec-server.port"


async def test_it_listens_on_loopback_only() -> None:
    with pytest.raises(SealringError) as caught:
        async with serve_codec(KEYRING, host="0.0.0.0", port=0, ui_origin=UI):
            pass
    assert caught.value.code == "codec-server.not-loopback"
