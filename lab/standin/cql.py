"""A client's connection to the native port: frames in, answers out."""

import re
import ssl
from collections.abc import Callable
from hashlib import md5
from typing import TYPE_CHECKING, Any

from lab.standin import frames
from lab.standin.frames import Frame
from lab.standin.select import Select, Unanswerable, answer, select
from lab.standin.tables import TABLES
from lab.standin.tls import TlsServer

if TYPE_CHECKING:
    from lab.standin.node import Node

_USE = re.compile(r'\s*USE\s+"?\w+"?\s*;?\s*', re.IGNORECASE)


class CqlServer(TlsServer):
    """One client. What it asks for is answered at once: nothing here waits for anything."""

    def __init__(self, node: "Node", context: Callable[[], ssl.SSLContext], connections: set[TlsServer]) -> None:
        super().__init__(context, connections)
        self.node = node
        self.options: dict[str, str] = {}
        self.version = 4
        self.requests = 0
        self._buffer, self._content = bytearray(), bytearray()
        self._framed = False  # v5, from the message after STARTUP on
        self._prepared: dict[bytes, Select] = {}

    def received(self, data: bytes) -> None:
        """Answer every whole message in it."""
        self._buffer += data
        try:
            while message := self._next():
                self._say(message)
        except ValueError:
            self.abort()  # a checksum is wrong: what follows cannot be read

    def facts(self) -> dict[str, Any]:
        """Its row of `system_views.clients`."""
        address, port = self.peer()
        cipher = (self.session.cipher() if self.session else None) or ("", "", 0)
        return {
            "address": address,
            "port": port,
            "hostname": address,
            "username": "anonymous",
            "connection_stage": "ready" if self.options else "establishing",
            "client_options": self.options,
            "driver_name": self.options.get("DRIVER_NAME"),
            "driver_version": self.options.get("DRIVER_VERSION"),
            "keyspace_name": None,
            "protocol_version": self.version,
            "request_count": self.requests,
            "ssl_cipher_suite": cipher[0],
            "ssl_enabled": True,
            "ssl_protocol": self.session.version() if self.session else None,
        }

    def _next(self) -> Frame | None:
        while self._framed and (content := frames.take_segment(self._buffer)) is not None:
            self._content += content
        return frames.take_frame(self._content if self._framed else self._buffer)

    def _say(self, message: Frame) -> None:
        if message.version not in frames.VERSIONS:
            words = f"Invalid or unsupported protocol version ({message.version}); supported versions are "
            body = frames.error(frames.PROTOCOL_ERROR, words + "(3/v3, 4/v4, 5/v5, 6/v6-beta)")
            self.send(frames.frame(frames.VERSIONS[-1], message.stream, frames.ERROR, body))
            return
        self.requests += 1
        self.version = message.version
        try:
            opcode, body = self._answer(message)
        except Unanswerable as error:
            opcode, body = frames.ERROR, error.body
        reply = frames.frame(message.version, message.stream, opcode, body)
        self.send(b"".join(frames.segments(reply)) if self._framed else reply)
        if message.opcode == frames.STARTUP and message.version >= 5:
            self._framed = True

    def _answer(self, message: Frame) -> tuple[int, bytes]:
        match message.opcode:
            case frames.OPTIONS:
                versions = ["3/v3", "4/v4", "5/v5", "6/v6-beta"]
                offered = {"PROTOCOL_VERSIONS": versions, "COMPRESSION": [], "CQL_VERSION": ["3.4.7"]}
                return frames.SUPPORTED, frames.string_multimap(offered)
            case frames.STARTUP:
                self.options = frames.string_map(message.body)
                return frames.READY, b""
            case frames.REGISTER:
                return frames.READY, b""
            case frames.QUERY:
                return self._query(frames.long_string(message.body))
            case frames.PREPARE:
                return self._prepare(frames.long_string(message.body))
            case frames.EXECUTE:
                identity, _ = frames.take_string(message.body)
                if identity not in self._prepared:
                    more = len(identity).to_bytes(2) + identity
                    raise Unanswerable(frames.UNPREPARED, "Prepared query was not found", more)
                return frames.RESULT, answer(self.node, self._prepared[identity])
        raise Unanswerable(frames.PROTOCOL_ERROR, f"The stand-in does not answer messages of kind {message.opcode:#x}")

    def _query(self, statement: str) -> tuple[int, bytes]:
        if _USE.fullmatch(statement):
            return frames.RESULT, frames.KEYSPACE + frames.string(statement.split()[1].strip('";'))
        return frames.RESULT, answer(self.node, select(statement))

    def _prepare(self, statement: str) -> tuple[int, bytes]:
        chosen = select(statement)
        identity = md5(statement.encode(), usedforsecurity=False).digest()
        self._prepared[identity] = chosen
        table = TABLES[chosen.table]
        keyspace, _, name = chosen.table.partition(".")
        return frames.RESULT, frames.prepared(
            self.version, identity, keyspace, name, [table.columns[i] for i in chosen.columns]
        )
