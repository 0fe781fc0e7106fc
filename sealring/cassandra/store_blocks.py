"""The store blocks of cassandra.yaml: which files, in which format, under which password. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn

from sealring.errors import Actor, SealringError, refuse
from sealring.models.node import StoreFile, StoreFormat

Block = Literal["server", "server-outbound", "client"]
Role = Literal["keystore", "truststore"]

DEFAULT_STORES: Mapping[Role, str] = {  # EncryptionOptions.java
    "keystore": "conf/.keystore",
    "truststore": "conf/.truststore",
}
FILE_FACTORY = "DefaultSslContextFactory"
PEM_FACTORY = "PEMBasedSslContextFactory"
_IMPOSSIBLE = re.compile("[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
INLINE_PEM = ("private_key", "trusted_certificates")  # PEMBasedSslContextFactory.ConfigKey


class StorePasswords:
    """Passwords by store path: an opaque holder that can be neither printed, pickled nor serialised."""

    __slots__ = ("_by_path",)

    def __init__(self, by_path: Mapping[str, str]) -> None:
        self._by_path = dict(by_path)

    def of(self, path: str) -> str:
        """The password of the store at `path` (as in `StoreFile.path`); empty when the configuration names none."""
        return self._by_path[path]

    def moved(self, paths: Mapping[str, str]) -> "StorePasswords":
        """The same passwords under other paths: relative path to absolute path."""
        moved: dict[str, str] = {}
        for path, password in self._by_path.items():
            if moved.setdefault(paths[path], password) != password:
                raise _conflict(paths[path], "cassandra.yaml", "two ways to write its path")
        return StorePasswords(moved)

    def hidden_in(self, text: str) -> str:
        """The text without any of these passwords: what a node prints may hold one bare, with no word before it.

        A password of letters only (`cassandra`) goes where it stands alone, not where it is part of a path or a name.
        """
        for password in sorted(filter(None, self._by_path.values()), key=len, reverse=True):
            bare = re.escape(password)
            text = re.sub(rf"(?<![\w./-]){bare}(?![\w/-]|\.\w)" if password.isalpha() else bare, "[redacted]", text)
        return text

    def __repr__(self) -> str:
        return f"StorePasswords({len(self._by_path)} stores)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("store passwords stay in this process: they cannot be serialised")


@dataclass(frozen=True)
class NamedStore:
    """One store as one block names it."""

    block: Block
    role: Role
    path: str
    password: str
    format: StoreFormat


def block_of(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of the file; an absent one is empty."""
    block = settings.get(name)
    return block if isinstance(block, dict) else {}


def text_of(block: Mapping[str, Any], name: str, where: str) -> str | None:
    """A setting that is one line of text; None when it is absent.

    Raises:
        SealringError: config.unreadable, naming the setting: a list, a map, or text that no file or person can have.
    """
    value = block.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise refused("unreadable", f"{where}: {name} is no text", "mend it; Cassandra would not start")
    if _IMPOSSIBLE.search(value):
        raise refused("unreadable", f"{where}: {name} has a control character", "write it as one line of text")
    return value


def flag(block: Mapping[str, Any], name: str) -> bool:
    """A boolean setting of a block; absent means false."""
    # 5.0 takes true and false; trunk also "optional", which asks for a certificate without insisting.
    return str(block.get(name, "")).strip().lower() in ("true", "yes", "on")


def server_stores(block: Mapping[str, Any], where: str) -> tuple[NamedStore, ...]:
    """The two or three stores of server_encryption_options."""
    server = _stores(block, "server", "server_encryption_options", where)
    outbound = text_of(
        block, "outbound_keystore", where
    )  # 5.0, CASSANDRA-17513: the client side of internode connections
    if not outbound:
        return server
    inbound = server[0]
    password = text_of(block, "outbound_keystore_password", where)
    return (
        *server,
        replace(
            inbound,
            block="server-outbound",
            path=outbound,
            password=inbound.password if password is None else password,
        ),
    )


def client_stores(block: Mapping[str, Any], where: str) -> tuple[NamedStore, ...]:
    """The one or two stores of client_encryption_options."""
    stores = _stores(block, "client", "client_encryption_options", where)
    if "truststore" not in block and not flag(block, "require_client_auth"):
        return stores[:1]  # Cassandra never opens the default truststore then, and most nodes have none
    return stores


def _stores(block: Mapping[str, Any], name: Block, section: str, where: str) -> tuple[NamedStore, ...]:
    form = _format(block, section, where)
    for setting in ("keystore_password_file", "truststore_password_file", "outbound_keystore_password_file"):
        if block.get(setting):
            raise refused(
                "password-file",
                f"{where}: {section}.{setting} is not supported",
                f"put the password into {section}.{setting.removesuffix('_file')} and restart the node",
            )
    return tuple(
        NamedStore(name, role, text_of(block, role, where) or default, _password(block, role, form, where), form)
        for role, default in DEFAULT_STORES.items()
    )


def _password(block: Mapping[str, Any], role: Role, form: StoreFormat, where: str) -> str:
    if form == "PEM" and role == "truststore":
        return ""  # ignored by the PEM factory
    password = text_of(block, f"{role}_password", where)
    if password is None and form == "PEM":
        password = text_of(_factory(block, where)[1], "private_key_password", where)
    return password or ""


def _factory(block: Mapping[str, Any], where: str) -> tuple[str, Mapping[str, Any]]:
    """Class name without its package, and parameters."""
    factory = block.get("ssl_context_factory")
    factory = factory if isinstance(factory, dict) else {}
    parameters = factory.get("parameters") or {}
    if isinstance(parameters, list):  # snakeyaml takes a list with one map as well
        parameters = parameters[0] if parameters else {}
    if not isinstance(parameters, dict):
        raise refused("unreadable", f"{where}: ssl_context_factory.parameters is no map", "mend it")
    return (text_of(factory, "class_name", where) or FILE_FACTORY).rpartition(".")[2], parameters


def _format(block: Mapping[str, Any], section: str, where: str) -> StoreFormat:
    name, parameters = _factory(block, where)
    if name == PEM_FACTORY:
        inline = next((key for key in INLINE_PEM if parameters.get(key)), None)
        if inline:
            raise refused(
                "inline-pem",
                f"{where}: {section}.ssl_context_factory.parameters.{inline} holds the material itself, which "
                "Cassandra cannot reload and which cannot be replaced without editing this file",
                f"move it into files, name them in {section}.keystore and {section}.truststore, and restart the node",
            )
        return "PEM"
    if name != FILE_FACTORY:
        raise refused(
            "ssl-factory",
            f"{where}: {section}.ssl_context_factory.class_name is {name}: only that class knows where its material is",
            f"use {FILE_FACTORY} or {PEM_FACTORY}, or leave this node out of the rollout",
        )
    declared = (text_of(block, "store_type", where) or "JKS").upper()
    if declared not in ("JKS", "PKCS12"):
        raise refused(
            "store-type",
            f"{where}: {section}.store_type is {declared}, expected JKS or PKCS12",
            "convert the stores to PKCS12 (keytool -importkeystore), set store_type: PKCS12 and restart the node",
        )
    return "PKCS12" if declared == "PKCS12" else "JKS"


def merged(named: tuple[NamedStore, ...], where: str) -> tuple[StoreFile, ...]:
    """One StoreFile for each path, with all the blocks that name it, in the order of first mention."""
    by_path: dict[str, list[NamedStore]] = {}
    for store in named:
        by_path.setdefault(store.path, []).append(store)
    for path, uses in by_path.items():
        if len({use.role for use in uses}) > 1:
            raise refused(
                "combined-store",
                f"{where} names {path} both as keystore and as truststore",
                "keep the trusted authorities in a file of their own and name it in truststore",
            )
        if len({use.password for use in uses}) > 1:
            raise _conflict(path, where, " and ".join(use.block for use in uses))
    return tuple(
        StoreFile(role=uses[0].role, blocks=tuple(use.block for use in uses), path=path, format=uses[0].format)
        for path, uses in by_path.items()
    )


def _conflict(path: str, where: str, places: str) -> SealringError:
    return refused(
        "password-conflict",
        f"{where} names {path} in {places} with different passwords",
        "one of them cannot open the file: give both the same password",
    )


def refused(what: str, message: str, remedy: str) -> SealringError:
    """A configuration that cannot be worked with as it is."""
    return refuse(f"config.{what}", message, remedy, actor=Actor.CASSANDRA_ADMIN)
