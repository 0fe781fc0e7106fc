"""A client for the Temporal server, from the same profiles and environment as the stock `temporal` CLI."""

import asyncio
import getpass
import socket
from datetime import timedelta
from pathlib import Path

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.service import RPCError, RPCStatusCode

from sealring.errors import Actor, SealringError, passing, refuse
from sealring.settings import Settings
from sealring.temporal.keyring import load_keyring
from sealring.temporal.plugin import sealring_plugin

DEFAULT_ADDRESS = "127.0.0.1:7233"
CONNECT_SECONDS = 15.0


async def connect(
    *,
    address: str | None = None,
    namespace: str | None = None,
    profile: str | None = None,
    keyring_path: Path | None = None,
    timeout: float = CONNECT_SECONDS,
) -> Client:
    """Connect, with the product's plugin applied, and make sure that the namespace is there.

    Address, namespace, TLS and API key come from the profile of Temporal's TOML file and from `TEMPORAL_*` variables,
    as for the `temporal` CLI; `address` and `namespace` win over both.

    Args:
        address: host:port.
        namespace: Temporal namespace.
        profile: profile in the TOML file; its default profile without.
        keyring_path: the file of the payload keys; without, payloads are not encrypted.
        timeout: seconds until the attempt to connect is given up.

    Raises:
        SealringError: `temporal.profile`, `temporal.unreachable` (class retry), `temporal.refused`,
            `temporal.namespace-missing`, and those of `load_keyring`.
    """
    plugin = sealring_plugin(load_keyring(keyring_path) if keyring_path else None)
    config = _profile(profile)
    target = _target(address, config)
    space = namespace or config.get("namespace") or "default"
    try:
        async with asyncio.timeout(timeout):
            client = await Client.connect(
                target,
                namespace=space,
                api_key=config.get("api_key"),
                tls=config.get("tls"),
                rpc_metadata=config.get("rpc_metadata", {}),
                plugins=[plugin],
                identity=identity(),
            )
            request = DescribeNamespaceRequest(namespace=space)
            await client.workflow_service.describe_namespace(request, timeout=timedelta(seconds=timeout))
    except (RuntimeError, TimeoutError) as error:
        raise _unreachable(target, str(error)) from None
    except RPCError as error:
        raise _rejected(target, space, error) from None
    return client


async def client_for(settings: Settings) -> Client:
    """A client as the settings say.

    Raises:
        SealringError: `temporal.*`, `keyring.*`.
    """
    return await connect(
        address=settings.temporal_address,
        namespace=settings.temporal_namespace,
        profile=settings.temporal_profile,
        keyring_path=settings.payload_keys,
    )


def address_for(settings: Settings) -> str:
    """host:port that `client_for` connects to.

    Raises:
        SealringError: `temporal.profile`.
    """
    return _target(settings.temporal_address, _profile(settings.temporal_profile))


def identity() -> str:
    """`user@host`: shown in histories. Self-asserted, so it informs and proves nothing."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's bare user id
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _profile(name: str | None) -> ClientConnectConfig:
    try:
        return ClientConfig.load_client_connect_config(name)
    except (RuntimeError, ValueError) as error:
        raise refuse(
            "temporal.profile",
            f"cannot read Temporal profile {name or 'default'}: {error}",
            "list the profiles with: temporal config list",
        ) from None


def _target(address: str | None, config: ClientConnectConfig) -> str:
    return address or config.get("target_host") or DEFAULT_ADDRESS


def _unreachable(target: str, why: str) -> SealringError:
    return passing(
        "temporal.unreachable",
        f"no Temporal server answers at {target}{': ' if why else ''}{why}",
        f"start it, or correct the address; this tells whether it is there: temporal operator cluster health "
        f"--address {target}",
        actor=Actor.OPERATOR,
    )


def _rejected(target: str, namespace: str, error: RPCError) -> SealringError:
    if error.status is RPCStatusCode.NOT_FOUND:
        return refuse(
            "temporal.namespace-missing",
            f"the Temporal server at {target} has no namespace {namespace}",
            f"create it: temporal operator namespace create --namespace {namespace} --address {target}",
        )
    if error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED):
        return refuse(
            "temporal.refused",
            f"the Temporal server at {target} refuses this client in namespace {namespace}: {error.message}",
            "correct the API key or the client certificate in the Temporal profile",
        )
    return _unreachable(target, error.message)
