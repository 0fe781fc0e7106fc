"""cassandra.yaml as data: every store it names, their passwords, the TLS ports. Pure: text in, facts out.

Defaults are those of Cassandra's `EncryptionOptions` and `Config`. Store paths stay as written when they are relative:
only the host knows the directory they count from (`inventory`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import yaml

from sealring.cassandra.node_settings import NodeSettings, node_settings
from sealring.cassandra.store_blocks import (
    StorePasswords,
    block_of,
    client_stores,
    flag,
    merged,
    refused,
    server_stores,
    text_of,
)
from sealring.models.cluster import Listener, ListenerKind, NodeRef
from sealring.models.node import StoreFile, StoreFormat
from sealring.models.trust import Demands
from sealring.plain_yaml import BoundedLoader

STORAGE_PORT, SSL_STORAGE_PORT, NATIVE_PORT = 7000, 7001, 9042  # Config.java


@dataclass(frozen=True)
class Configuration:
    """What TLS in one cassandra.yaml comes down to.

    Ports are those that speak TLS (or would, where it is optional). `addresses` are the literal addresses that the file
    pins, by setting; settings that name an interface, a host name or the wildcard are not among them. `settings` are
    the ports and TLS switches that the file names, as `system_views.settings` calls them (4.1 and later).
    """

    stores: tuple[StoreFile, ...]
    passwords: StorePasswords
    internode_ports: tuple[int, ...]
    native_ports: tuple[int, ...]
    legacy_port: bool
    client_auth: bool
    endpoint_verification: bool
    addresses: Mapping[str, str]
    settings: Mapping[str, str]
    others: NodeSettings

    def with_paths(self, paths: Mapping[str, str], formats: Mapping[str, StoreFormat]) -> "Configuration":
        """The same configuration with store paths made absolute (by path as written) and formats as found in the files.

        Two ways to write the same file become one store.
        """
        stores: dict[str, StoreFile] = {}
        for store in self.stores:
            path = paths[store.path]
            blocks = stores[path].blocks if path in stores else ()
            stores[path] = StoreFile(
                role=store.role,
                blocks=(*blocks, *store.blocks),
                path=path,
                format=formats.get(store.path, store.format),
            )
        return replace(self, stores=tuple(stores.values()), passwords=self.passwords.moved(paths))


class _Loader(BoundedLoader):
    """Scalars stay text, except null: a password written as 0123 or 1e5 must not become a number.

    Of a key that stands twice the last counts, as for Cassandra (cassandra.allow_duplicate_config_keys, default true).
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 - the name and the type are PyYAML's
        first: [resolver for resolver in resolvers if resolver[0].rpartition(":")[2] in ("null", "merge")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def parse_configuration(text: str, where: str = "cassandra.yaml") -> Configuration:
    """Read a cassandra.yaml of 4.0, 4.1 or 5.0.

    Args:
        text: the file's content.
        where: its path, for errors.

    Raises:
        SealringError: config.unreadable, config.no-tls, config.inline-pem, config.ssl-factory, config.password-file,
            config.store-type, config.password-conflict, config.combined-store. None of them quotes the file.
    """
    settings = _load(text, where)
    server = block_of(settings, "server_encryption_options")
    client = block_of(settings, "client_encryption_options")
    server_on = text_of(server, "internode_encryption", where) not in (None, "none") or flag(server, "optional")
    client_on = flag(client, "enabled") or flag(client, "optional")
    if not server_on and not client_on:
        raise refused(
            "no-tls",
            f"{where} turns TLS on neither in server_encryption_options nor in client_encryption_options",
            "turn it on (internode_encryption, enabled) and restart the node; there is nothing to renew before",
        )
    named = (server_stores(server, where) if server_on else ()) + (client_stores(client, where) if client_on else ())
    legacy = server_on and _legacy_port(server)
    return Configuration(
        stores=merged(named, where),
        passwords=StorePasswords({store.path: store.password for store in named}),
        internode_ports=_internode_ports(settings, legacy) if server_on else (),
        native_ports=(_native_port(settings),) if client_on else (),
        legacy_port=legacy,
        client_auth=(server_on and flag(server, "require_client_auth"))
        or (client_on and flag(client, "require_client_auth")),
        endpoint_verification=(server_on and flag(server, "require_endpoint_verification"))
        or (client_on and flag(client, "require_endpoint_verification")),
        addresses=_pinned_addresses(settings),
        settings=_switches(settings, server, client),
        others=node_settings(settings),
    )


def listeners(configuration: Configuration, node: NodeRef) -> tuple[Listener, ...]:
    """The TLS listeners of a node, at the addresses that the ring advertises: those that peers and clients dial."""
    return (
        *(Listener(kind="internode", address=node.internode_address, port=p) for p in configuration.internode_ports),
        *(Listener(kind="native", address=node.address, port=p) for p in configuration.native_ports),
    )


def demands(configuration: Configuration) -> Mapping[ListenerKind, Demands]:
    """What the node demands of who connects, by listener; a listener without TLS is absent."""
    blocks: tuple[tuple[ListenerKind, bool, str], ...] = (
        ("internode", bool(configuration.internode_ports), "server_encryption_options"),
        ("native", bool(configuration.native_ports), "client_encryption_options"),
    )
    return {
        kind: Demands(
            client_auth=flag(configuration.settings, f"{block}.require_client_auth"),
            endpoint_verification=flag(configuration.settings, f"{block}.require_endpoint_verification"),
        )
        for kind, on, block in blocks
        if on
    }


def address_drift(configuration: Configuration, node: NodeRef) -> tuple[str, ...]:
    """Addresses that the file pins and the running node does not advertise: the file changed, or it is another node's.

    broadcast_* wins over listen_address and rpc_address, as in Cassandra's `FBUtilities`.
    """
    found = []
    for settings, advertised in (
        (("broadcast_address", "listen_address"), node.internode_address),
        (("broadcast_rpc_address", "rpc_address"), node.address),
    ):
        setting = next((name for name in settings if name in configuration.addresses), None)
        if setting and ip_address(configuration.addresses[setting]) != _ip(advertised):
            found.append(f"{setting} is {configuration.addresses[setting]} on disk, the ring knows {advertised}")
    return tuple(found)


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None  # what a ring says about itself is not always an address


def settings_drift(configuration: Configuration, running: Mapping[str, str]) -> tuple[str, ...]:
    """Ports and TLS switches that differ between the file and the running node.

    Store paths cannot be compared: the node redacts them (measured, 5.0).

    Args:
        configuration: the file.
        running: `system_views.settings` by name; settings that it lacks are not judged.
    """
    return tuple(
        f"{name} is {value} on disk, {running[name]} in the running node"
        for name, value in configuration.settings.items()
        if name in running and running[name].lower() != value.lower()
    )


def _load(text: str, where: str) -> Mapping[str, Any]:
    try:
        settings = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader with fewer resolvers
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        # Not chained: PyYAML quotes the line, which may hold a password.
        refusal = refused("unreadable", f"{where} is not valid YAML{line}", "mend it; Cassandra would not start")
        raise refusal from None
    if not isinstance(settings, dict):
        raise refused("unreadable", f"{where} holds no settings", "point service.config at the node's cassandra.yaml")
    return settings


def _legacy_port(server: Mapping[str, Any]) -> bool:
    # 4.0 called it enable_legacy_ssl_storage_port.
    return any(flag(server, name) for name in ("legacy_ssl_storage_port_enabled", "enable_legacy_ssl_storage_port"))


def _internode_ports(settings: Mapping[str, Any], legacy: bool) -> tuple[int, ...]:
    ports = (_port(settings, "storage_port", STORAGE_PORT),)
    return (*ports, _port(settings, "ssl_storage_port", SSL_STORAGE_PORT)) if legacy else ports


def _native_port(settings: Mapping[str, Any]) -> int:
    # With two ports the encrypted one is native_transport_port_ssl and the other is plain (deprecated in 5.0).
    plain = _port(settings, "native_transport_port", NATIVE_PORT)
    return _port(settings, "native_transport_port_ssl", plain)


def _port(settings: Mapping[str, Any], name: str, default: int) -> int:
    found = text_of(settings, name, "cassandra.yaml") or str(default)
    if not re.fullmatch(r"[0-9]{1,5}", found) or not 0 < int(found) < 65536:
        raise refused("unreadable", f"{name} is not the number of a port", "mend it; Cassandra would not start")
    return int(found)


def _switches(settings: Mapping[str, Any], server: Mapping[str, Any], client: Mapping[str, Any]) -> Mapping[str, str]:
    ports = ("storage_port", "ssl_storage_port", "native_transport_port", "native_transport_port_ssl")
    switches = ("optional", "require_client_auth", "require_endpoint_verification", "store_type")
    places: tuple[tuple[str, Mapping[str, Any], tuple[str, ...]], ...] = (
        ("", settings, ports),
        ("server_encryption_options.", server, ("internode_encryption", *switches)),
        ("client_encryption_options.", client, ("enabled", *switches)),
    )
    return {
        f"{prefix}{name}": section[name].strip()
        for prefix, section, names in places
        for name in names
        if isinstance(section.get(name), str) and section[name]
    }


def _pinned_addresses(settings: Mapping[str, Any]) -> Mapping[str, str]:
    pinned = {}
    for name in ("listen_address", "broadcast_address", "rpc_address", "broadcast_rpc_address"):
        try:
            found = text_of(settings, name, "cassandra.yaml") or ""
            if not ip_address(found).is_unspecified:
                pinned[name] = found
        except ValueError:
            continue  # a host name, or not set: only the node can resolve it
    return pinned
