"""Decrypts for Temporal's UI and CLI: a web server on this computer that turns stored payloads into readable ones.

UI: `temporal server start-dev --ui-codec-endpoint URL`. CLI: `temporal … --codec-endpoint URL`.

Whoever can reach it can read what workflows hold. Hence: loopback only, only the UI's origin may use it from a browser,
and requests under a foreign host name (DNS rebinding) are refused.
"""

import asyncio
import contextlib
import ipaddress
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

import uvicorn
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from temporalio.api.common.v1 import Payload, Payloads

from sealring.errors import SealringError, refuse
from sealring.temporal.codec import EncryptionCodec
from sealring.temporal.keyring import Keyring

MOST_BYTES = 16 * 1024 * 1024
"""Of a request. Temporal's server takes 2 MiB a payload and 4 MiB a message."""


def codec_app(keyring: Keyring, ui_origin: str) -> Starlette:
    """`POST /encode` and `POST /decode`: Temporal's remote codec protocol (protobuf `Payloads` as JSON)."""
    codec = EncryptionCodec(keyring)
    return Starlette(
        routes=[
            Route("/encode", _endpoint(codec.encode), methods=["POST"]),
            Route("/decode", _endpoint(codec.decode), methods=["POST"]),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"]),
            Middleware(
                CORSMiddleware,
                allow_origins=[ui_origin],
                allow_methods=["POST"],
                allow_headers=["content-type", "x-namespace"],  # what the UI's preflight asks for
            ),
        ],
    )


@contextlib.asynccontextmanager
async def serve_codec(keyring: Keyring, *, host: str = "127.0.0.1", port: int, ui_origin: str) -> AsyncIterator[str]:
    """Serve for as long as the context lasts; yields the URL to give to the UI and CLI.

    Args:
        keyring: the keys to decrypt with.
        host: a loopback address.
        port: TCP port; 0 takes a free one.
        ui_origin: scheme, host and port of the Temporal UI, e.g. `http://127.0.0.1:8233`.

    Raises:
        SealringError: `codec-server.not-loopback`, `codec-server.port`.
    """
    listener = _listen(host, port)
    config = uvicorn.Config(
        codec_app(keyring, ui_origin),
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        # The socket listens already: a client that comes before uvicorn accepts simply waits.
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process this is a part of."""
        yield


def _listen(host: str, port: int) -> socket.socket:
    if not ipaddress.ip_address(host).is_loopback:
        raise refuse(
            "codec-server.not-loopback",
            f"the codec server decrypts for whoever reaches it and must not listen on {host}",
            "use 127.0.0.1, and a tunnel from elsewhere: ssh -L",
        )
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise refuse(
            "codec-server.port",
            f"cannot listen on {host}:{port}: {error.strerror}",
            "stop what uses the port, or choose another",
        ) from None


def _endpoint(
    transform: Callable[[Sequence[Payload]], Awaitable[list[Payload]]],
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_BYTES:
                return JSONResponse({"message": f"the body has more than {MOST_BYTES} bytes"}, status_code=413)
        try:
            payloads = _payloads(bytes(body))
        except ValueError:
            return JSONResponse({"message": "the body is not Temporal payloads as JSON"}, status_code=400)
        try:
            done = await transform(payloads)
        except SealringError as error:
            return JSONResponse({"message": str(error)}, status_code=400)
        return Response(json_format.MessageToJson(Payloads(payloads=done)), media_type="application/json")

    return answer


def _payloads(body: bytes) -> Sequence[Payload]:
    """Raises ValueError for anything else."""
    try:
        document = json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(document, dict):
        raise ValueError("not an object")  # json_format would fail with an AttributeError
    try:
        return json_format.ParseDict(document, Payloads()).payloads
    except json_format.ParseError as error:
        raise ValueError("not payloads") from error
