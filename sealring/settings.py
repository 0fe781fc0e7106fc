"""The engine's own configuration, typed: from `sealring.toml` and from environment variables `SEALRING_*`.

A variable wins over the file. The file is looked for at $SEALRING_CONFIG, else in the working directory. What
belongs to one ring is in that ring's cluster file (`load_cluster`).
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import yaml
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from sealring.errors import refuse
from sealring.local_files import SMALL, at_home, read_small
from sealring.models.base import Line, LocalPath, Port
from sealring.models.cluster import CLUSTER_NAME, ClusterFile, Jump, SshHost
from sealring.plain_yaml import StrictLoader

_WAY_FILES = ("known_hosts", "private_key", "certificate", "password_file")


class Settings(BaseSettings):
    """Where things are. Relative paths are relative to the working directory."""

    model_config = SettingsConfigDict(env_prefix="SEALRING_", extra="forbid", frozen=True, hide_input_in_errors=True)

    temporal_address: Line | None = Field(
        None, description="host:port; default: the stock CLI's profile, or 127.0.0.1:7233."
    )
    temporal_namespace: Line | None = None
    temporal_profile: Line | None = Field(None, description="Profile of the stock Temporal CLI's configuration.")
    temporal_ui: str = Field(
        "http://127.0.0.1:8233",
        pattern=r"^https?://\S+$",
        description="Address of the Temporal UI, for links.",
    )
    clusters: LocalPath = Field(Path("clusters"), description="Directory of cluster files, <name>.yaml each.")
    keyring: LocalPath | None = Field(
        None, description="Keys of the payload codec (0600); none: payloads are not encrypted."
    )
    codec_port: Port = Field(8234, description="Loopback port of the codec server, for Temporal UI and CLI.")
    state: LocalPath = Field(Path(".sealring"), description="Where `sealring up` keeps the Temporal server's file.")

    @property
    def payload_keys(self) -> Path | None:
        """The keyring in use; None: payloads are not encrypted."""
        own = self.state / "keyring.json"
        return self.keyring or (own if own.exists() else None)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, _settings_file())


def _settings_file() -> Path:
    return Path(os.environ.get("SEALRING_CONFIG", "sealring.toml"))


def load_settings() -> Settings:
    """The configuration of this process.

    Raises:
        SealringError: `settings.invalid`, naming each field; `settings.missing-file`, `settings.unreadable`.
    """
    named, file = os.environ.get("SEALRING_CONFIG"), _settings_file()
    if named and not file.is_file():
        raise refuse("settings.missing-file", f"SEALRING_CONFIG: {named} is no file", "correct or unset the variable")
    try:
        if file.exists():
            read_small(file)
        return Settings()
    except OSError as error:
        raise refuse("settings.unreadable", f"{file}: {error.strerror}", "let this user read it") from None
    except ValidationError as error:
        raise refuse(
            "settings.invalid",
            f"settings: {wrong_fields(error)}",
            "correct the named keys in sealring.toml or the variables SEALRING_<KEY>",
        ) from None
    except (ValueError, RecursionError) as error:
        raise refuse("settings.invalid", f"{file}: {error}", "correct the file: it must be TOML") from None


def cluster_name(name: str) -> str:
    """The name, when it can be one.

    Raises:
        SealringError: `cluster.name`.
    """
    if not re.fullmatch(CLUSTER_NAME, name):
        raise refuse("cluster.name", "cluster: not a cluster name", "use letters, digits, dot, dash and underscore")
    return name


def load_cluster(folder: Path, name: str) -> ClusterFile:
    """The cluster file of one ring.

    Raises:
        SealringError: `cluster.*`, naming the file and every field that is wrong.
    """
    return read_cluster(cluster_file(folder, name))


def cluster_file(folder: Path, name: str) -> Path:
    """Where it is.

    Raises:
        SealringError: `cluster.name`, `cluster.unknown`.
    """
    file = folder / f"{cluster_name(name)}.yaml"
    if not file.exists() and not file.is_symlink():
        there = ", ".join(sorted(f.stem for f in folder.glob("*.yaml"))) or "none"
        raise refuse(
            "cluster.unknown",
            f"cluster: {name} has no cluster file at {file}; there: {there}",
            "write one (docs/examples/cluster.yaml) or correct the name",
        )
    return file


def read_cluster(file: Path) -> ClusterFile:
    """Read one cluster file; relative paths in it are relative to its own directory.

    Raises:
        SealringError: `cluster.*`, naming the file and every field that is wrong.
    """
    try:
        if file.stat().st_size > SMALL:
            raise refuse("cluster.too-large", f"{file}: more than {SMALL} bytes", "this is no cluster file")
        text = read_small(file).decode("utf-8-sig")
        content = yaml.load(text, Loader=StrictLoader)  # noqa: S506 - a SafeLoader with more refusals
    except OSError as error:
        raise refuse(
            "cluster.unreadable", f"{file}: {error.strerror}", "make it a regular file that this user may read"
        ) from None
    except UnicodeDecodeError as error:
        raise refuse(
            "cluster.unreadable", f"{file}: byte {error.start} is no UTF-8", "make the file UTF-8 text"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "no YAML"
        raise refuse("cluster.not-yaml", f"{file}{place}: {problem}", "correct the YAML") from None
    if not isinstance(content, dict):
        raise refuse(
            "cluster.not-yaml",
            f"{file}: expected a mapping with `name` and `contact_points`",
            "write them; docs/examples/smallest-cluster.yaml",
        )
    try:
        cluster = ClusterFile.model_validate(content)
    except ValidationError as error:
        raise refuse(
            "cluster.invalid",
            f"{file}: {wrong_fields(error)}",
            "correct the named fields; docs/cluster.schema.json lists all of them",
        ) from None
    if cluster.name != file.stem:
        raise refuse(
            "cluster.name", f"{file}: name: {cluster.name}, expected {file.stem}", "name file and cluster alike"
        )
    return _with_absolute_paths(cluster, file)


def _with_absolute_paths(cluster: ClusterFile, file: Path) -> ClusterFile:
    def absolute(section: object, name: str, fields: Iterable[str]) -> dict[str, Path]:
        found = {}
        for field in fields:
            path = getattr(section, field)
            if path is None:
                continue
            try:
                found[field] = (file.parent / at_home(path)).absolute()
            except OSError as error:
                raise refuse(
                    "cluster.invalid", f"{file}: {name}.{field}: {error.strerror}", "give the path from the root"
                ) from None
        return found

    def chain(jumps: tuple[Jump, ...], name: str) -> tuple[Jump, ...]:
        return tuple(
            jump.model_copy(update=absolute(jump, f"{name}.jump.{i}", _WAY_FILES)) for i, jump in enumerate(jumps)
        )

    def exception(host: SshHost, name: str) -> SshHost:
        jump = None if host.jump is None else chain(host.jump, name)
        return host.model_copy(update={**absolute(host, name, ("password_file",)), "jump": jump})

    hosts = {address: exception(host, f"ssh.hosts.{address}") for address, host in cluster.ssh.hosts.items()}
    ssh = {**absolute(cluster.ssh, "ssh", _WAY_FILES), "jump": chain(cluster.ssh.jump, "ssh"), "hosts": hosts}
    cql = absolute(cluster.cql, "cql", ("ca", "certificate", "private_key", "password_file"))
    vault = absolute(cluster.vault, "vault", ("ca", "token_file", "secret_id_file")) if cluster.vault else {}
    pki = absolute(cluster.pki, "pki", ("ca",)) if cluster.pki else {}
    return cluster.model_copy(
        update={
            "ssh": cluster.ssh.model_copy(update=ssh),
            "cql": cluster.cql.model_copy(update=cql),
            "vault": cluster.vault and cluster.vault.model_copy(update=vault),
            "pki": cluster.pki and cluster.pki.model_copy(update=pki),
        }
    )


def wrong_fields(error: ValidationError) -> str:
    """Every wrong field with what is expected; the value itself is not quoted."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'file'}: {_plain(fault)}" for fault in faults)


def _plain(fault: object) -> str:
    assert isinstance(fault, dict)
    return "unknown key" if fault["type"] == "extra_forbidden" else str(fault["msg"]).removeprefix("Value error, ")
