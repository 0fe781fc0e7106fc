"""One short conversation with one node over CQL, over TLS that is always verified.

The driver blocks, so it works in threads. Its session is pinned to the node that was asked: an observer's answer must
be its own, not that of whichever node the driver likes best.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cassandra import AuthenticationFailed, DriverException, InvalidRequest, OperationTimedOut, Unauthorized
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    DefaultConnection,
    ExecutionProfile,
    NoHostAvailable,
    Session,
)
from cassandra.policies import WhiteListRoundRobinPolicy
from cassandra.protocol import StartupMessage
from cassandra.query import dict_factory

from sealring.cassandra.tls import no_password
from sealring.errors import Actor, SealringError, passing, refuse
from sealring.local_files import at_home, read_small
from sealring.models.cluster import CqlSettings

APPLICATION = "sealring"
"""What our connections say of themselves in `system_views.clients` (`client_options`, since 4.1)."""

Rows = tuple[Mapping[str, Any], ...]

# The driver tells at length what we report ourselves, with a code.
logging.getLogger("cassandra").setLevel(logging.CRITICAL)


class _Named(DefaultConnection):  # type: ignore[misc]  # untyped
    """Says in its STARTUP message whose it is: the driver's `application_name` goes to DataStax Insights only."""

    def send_msg(self, msg: Any, *args: Any, **options: Any) -> Any:
        if isinstance(msg, StartupMessage):
            msg.options["APPLICATION_NAME"] = APPLICATION
        return super().send_msg(msg, *args, **options)


def ours(row: Mapping[str, Any]) -> bool:
    """Whether this row of `system_views.clients` is a connection of the engine's own; before 4.1 nobody can tell."""
    return (row.get("client_options") or {}).get("APPLICATION_NAME") == APPLICATION


class Conversation:
    """Questions to one node."""

    def __init__(self, address: str, session: Session, timeout: float) -> None:
        self.address = address
        self._session, self._timeout = session, timeout

    async def rows(self, statement: str) -> Rows | None:
        """The answer; None when this version of Cassandra has no such table.

        Raises:
            SealringError: cql.lost (retry), cql.unauthorized (stop).
        """
        try:
            return tuple(await asyncio.to_thread(self._session.execute, statement, timeout=self._timeout))
        except InvalidRequest:
            return None
        except Unauthorized as error:
            raise refuse(
                "cql.unauthorized",
                f"cql.username may not read what the observation needs: {error}",
                "GRANT SELECT ON system_views.gossip_info, .internode_outbound and .settings to it (docs/security.md)",
                actor=Actor.CASSANDRA_ADMIN,
                node=self.address,
            ) from error
        except (DriverException, NoHostAvailable, OSError) as error:
            raise passing("cql.lost", f"the node stopped answering: {error}", node=self.address) from error


@asynccontextmanager
async def conversation(settings: CqlSettings, address: str) -> AsyncIterator[Conversation]:
    """Open a session with this node alone, and close it at the end.

    Raises:
        SealringError: cql.unreachable (retry: down, busy or filtered), cql.tls (stop: certificate not trusted, or ours
            refused), cql.login (stop), cql.credentials (stop: a file of the cql section cannot be used).
    """
    cluster = _cluster(settings, address)
    timeout = settings.connect_timeout.total_seconds()
    try:
        session = await asyncio.to_thread(_connect, cluster, settings, address)
        yield Conversation(address, session, timeout)
    finally:
        await asyncio.to_thread(cluster.shutdown)


def tls_context(settings: CqlSettings) -> ssl.SSLContext | None:
    """The context that verifies chain and address of every node; None when no authority is named (a plain ring).

    Raises:
        SealringError: cql.credentials.
    """
    if settings.ca is None:
        return None
    # Verifies chain and host name. Not `create_default_context`: that reads the system's authorities too, whose word
    # does not count in a ring, and takes longer than the conversation.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as Java does: what is named is trusted, a root or not
    _usable("cql.ca", settings.ca, context.load_verify_locations)
    if settings.certificate is not None:
        key = settings.private_key
        if key is not None:
            _usable("cql.private_key", key, read_small)
            key = at_home(key)
        _usable("cql.certificate", settings.certificate, lambda path: context.load_cert_chain(path, key, no_password))
    return context


def _cluster(settings: CqlSettings, address: str) -> Cluster:
    timeout = settings.connect_timeout.total_seconds()
    profile = ExecutionProfile(
        load_balancing_policy=WhiteListRoundRobinPolicy([address]), request_timeout=timeout, row_factory=dict_factory
    )
    return Cluster(
        [address],
        port=settings.port,
        ssl_context=tls_context(settings),
        auth_provider=_login(settings),
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        connect_timeout=timeout,
        control_connection_timeout=timeout,
        # What a long-lived application needs and a short conversation pays for:
        schema_metadata_enabled=False,
        token_metadata_enabled=False,
        monitor_reporting_enabled=False,
        connection_class=_Named,
        idle_heartbeat_interval=0,
        executor_threads=2,
    )


def _login(settings: CqlSettings) -> PlainTextAuthProvider | None:
    if settings.username is None or settings.password_file is None:
        return None
    passwords: list[str] = []
    _usable(
        "cql.password_file", settings.password_file, lambda path: passwords.append(read_small(path).decode().strip())
    )
    return PlainTextAuthProvider(settings.username, passwords[0])


def _usable(field: str, path: Path, use: Callable[[Path], object]) -> None:
    try:
        found = at_home(path)
        read_small(found)  # OpenSSL would wait for a named pipe, and read a device for ever
        use(found)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise refuse(
            "cql.credentials",
            f"{field} {path} cannot be used: {error}",
            f"let {field} name a PEM file that the worker can read (keys: not encrypted)",
        ) from error


def _connect(cluster: Cluster, settings: CqlSettings, address: str) -> Session:
    try:
        return cluster.connect()
    except (DriverException, NoHostAvailable, OSError) as error:
        raise _unreachable(error, settings, address) from error


def _unreachable(error: Exception, settings: CqlSettings, address: str) -> SealringError:
    causes = list(error.errors.values()) if isinstance(error, NoHostAvailable) else [error]
    for cause in causes:
        if isinstance(cause, AuthenticationFailed):
            remedy = "mend cql.username and cql.password_file"
            return refuse("cql.login", "the node refused the login", remedy, actor=Actor.OPERATOR, node=address)
        if "CERTIFICATE" in str(cause).upper() or isinstance(cause, ssl.SSLError):
            return refuse(
                "cql.tls",
                f"TLS with port {settings.port} failed: {cause}",
                "let cql.ca hold the authority of the node's certificate, cql.certificate one that the node trusts",
                actor=Actor.PKI_ADMIN,
                node=address,
            )
    late = any(isinstance(cause, OperationTimedOut) for cause in causes)
    reason = "no answer in time" if late else "; ".join(map(str, causes))
    return passing("cql.unreachable", f"CQL on port {settings.port} could not be opened: {reason}", node=address)
