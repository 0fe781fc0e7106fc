"""A TLS client over any pair of streams: a socket of ours, or a channel that another host opened for us."""

import asyncio
import ssl
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

from cryptography import x509

from sealring.pki.certificates import load_der_certificate

_T = TypeVar("_T")
_DER = 2  # _ssl.ENCODING_DER
READ_BYTES = 16 * 1024


def no_password() -> str:
    """For `load_cert_chain`: OpenSSL would ask the terminal for the password of an encrypted key, and wait.

    Raises:
        ValueError: always.
    """
    raise ValueError("the private key is encrypted")


class Reader(Protocol):
    """The reading half of a stream of bytes."""

    async def read(self, n: int, /) -> bytes:
        """Up to n bytes; empty at the end of the stream."""


class Writer(Protocol):
    """The writing half of a stream of bytes."""

    def write(self, data: bytes, /) -> None:
        """Queue bytes."""

    async def drain(self) -> None:
        """Wait until there is room."""

    def close(self) -> None:
        """End the stream."""


Connector = Callable[[str, int], Awaitable[tuple[Reader, Writer]]]


async def direct(host: str, port: int) -> tuple[Reader, Writer]:
    """A TCP connection of this process."""
    return await asyncio.open_connection(host, port)


class TlsClient:
    """A TLS client over a pair of streams, by way of two memory buffers."""

    def __init__(self, context: ssl.SSLContext, address: str, reader: Reader, writer: Writer) -> None:
        self._reader, self._writer = reader, writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=address)

    async def run(self, step: Callable[[], _T]) -> _T:
        """Repeat a step of the session, moving bytes both ways, until it is done; its errors are ssl's."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await self._flush()
                received = await self._reader.read(READ_BYTES)
                if received:
                    self._incoming.write(received)
                else:
                    self._incoming.write_eof()
            else:
                await self._flush()
                return result

    async def read_exactly(self, count: int) -> bytes:
        """That many bytes; EOFError when the other side ends before."""
        data = b""
        while len(data) < count:
            more = await self.run(partial(self.session.read, count - len(data)))
            if not more:
                raise EOFError("the connection was closed")
            data += more
        return data

    async def close_notify(self) -> None:
        """Say that nothing more will come. The other side's answer is still to be read.

        `unwrap` would read it too, but takes an alert for a goodbye.
        """
        with suppress(ssl.SSLWantReadError):
            self.session.unwrap()
        await self._flush()

    def chain(self) -> tuple[x509.Certificate, ...]:
        """All certificates that the other side sent, leaf first, each read whole.

        Raises:
            SealringError: material.not-a-certificate.
        """
        if sys.version_info >= (3, 13):
            sent = self.session.get_unverified_chain()
        else:
            # Up to 3.12 only the inner object has it (bpo-18233); what the outer one offers is the leaf alone.
            sent = [entry.public_bytes(_DER) for entry in self.session._sslobj.get_unverified_chain() or ()]  # type: ignore[attr-defined]
        return tuple(load_der_certificate(der, "what the listener sent") for der in sent)

    async def _flush(self) -> None:
        if self._outgoing.pending:
            self._writer.write(self._outgoing.read())
            await self._writer.drain()
