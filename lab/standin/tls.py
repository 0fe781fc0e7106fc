"""The server's side of TLS on one connection, over memory buffers.

asyncio's own would drop the alert that tells a client why it is refused, and cannot change certificates between
connections.
"""

import asyncio
import ssl
from collections.abc import Callable

from lab.standin.stores import StoreError

_READ = 65536


class TlsServer(asyncio.Protocol):
    """One connection. `opened` and `received` are for the protocol inside.

    Args:
        context: asked once a connection, so that a reload counts for new connections only.
        connections: this connection is among them while it lives.
    """

    def __init__(self, context: Callable[[], ssl.SSLContext], connections: set["TlsServer"]) -> None:
        self._context, self._connections = context, connections
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._transport: asyncio.Transport | None = None
        self._ready = False
        self.session: ssl.SSLObject | None = None

    def opened(self) -> bool:
        """The handshake is over; False ends the connection."""
        return True

    def received(self, data: bytes) -> None:
        """Something was said."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        try:
            context = self._context()
        except StoreError:
            transport.abort()
            return
        self._connections.add(self)
        self.session = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Bytes from the wire."""
        self._incoming.write(data)
        try:
            self._advance()
        except ssl.SSLWantReadError:
            self._flush()
        except (ssl.SSLError, EOFError):  # a goodbye, or a refusal: what is to be said about it is in the buffer
            self.end()

    def send(self, data: bytes) -> None:
        """Say something."""
        if self.session is not None:
            self.session.write(data)

    def peer(self) -> tuple[str, int]:
        """Address and port of the other side."""
        assert self._transport
        address: tuple[str, int] = self._transport.get_extra_info("peername")
        return address

    def end(self) -> None:
        """Say what is left to say, and close."""
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def abort(self) -> None:
        """Close at once, as a process does that is killed."""
        if self._transport is not None:
            self._transport.abort()

    def _advance(self) -> None:
        assert self.session is not None
        if not self._ready:
            self.session.do_handshake()
            self._ready = True
            if not self.opened():
                raise EOFError
        while data := self.session.read(_READ):
            self.received(data)
        self.session.unwrap()  # the other side said goodbye: so do we
        raise EOFError

    def _flush(self) -> None:
        if self._transport is not None and self._outgoing.pending:
            self._transport.write(self._outgoing.read())
