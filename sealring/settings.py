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
from sealring.models.cluster import ClusterFile, Jump, SshHost

MAX_CLUSTER_FILE = 1024 * 1024
_WAY_FILES = ("known_hosts", "private_key", "certificate", "password_file")


class Settings(BaseSettings):
    """Where things are. Relative paths are relative to the working directory."""

    model_config = SettingsConfigDict(env_prefix="SEALRING_", extra="forbid", frozen=True, hide_input_in_errors=True)

    temporal_address: str | None = Field(
        None, description="host:port; default: the stock CLI's profile, or 127.0.0.1:7233."
    )
    temporal_namespace: str | None = None
    temporal_profile: str | None = Field(None, description="Profile of the stock Temporal CLI's configuration.")
    temporal_ui: str = Field("http://127.0.0.1:8233", description="Address of the Temporal UI, for links.")
    clusters: Path = Field(Path("clusters"), description="Directory of cluster files, <name>.yaml each.")
    keyring: Path | None = Field(
        None, description="Keys of the payload codec (0600); none: payloads are not encrypted."
    )
    codec_port: int = Field(8234, description="Loopback port of the codec server, for Temporal UI and CLI.")
    state: Path = Field(Path(".sealring"), description="Where `sealring up` keeps the Temporal server's file.")

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
        file = Path(os.environ.get("SEALRING_CONFIG", "sealring.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file)


def load_settings() -> Settings:
    """The configuration of this process.

    Raises:
        SealringError: `settings.invalid`, naming each field.
    """
    named = os.environ.get("SEALRING_CONFIG")
    if named and not Path(named).is_file():
        raise refuse("settings.missing-file", f"SEALRING_CONFIG: {named} is no file", "correct or unset the variable")
    try:
        return Settings()
    except ValidationError as error:
        raise refuse(
            "settings.invalid",
            f"settings: {wrong_fields(error)}",
            "correct the named keys in sealring.toml or the variables SEALRING_<KEY>",
        ) from None
    except ValueError as error:
        raise refuse("settings.invalid", f"sealring.toml: {error}", "correct the file: it must be TOML") from None


def load_cluster(folder: Path, name: str) -> ClusterFile:
    """The cluster file of one ring.

    Raises:
        SealringError: `cluster.*`, naming the file and every field that is wrong.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", name):
        raise refuse("cluster.name", "cluster: not a cluster name", "use letters, digits, dot, dash and underscore")
    file = folder / f"{name}.yaml"
    if not file.is_file():
        there = ", ".join(sorted(f.stem for f in folder.glob("*.yaml"))) or "none"
        raise refuse(
            "cluster.unknown",
            f"cluster: {name} has no cluster file at {file}; there: {there}",
            "write one (docs/examples/cluster.yaml) or correct the name",
        )
    return read_cluster(file)


def read_cluster(file: Path) -> ClusterFile:
    """Read one cluster file; relative paths in it are relative to its own directory.

    Raises:
        SealringError: `cluster.*`, naming the file and every field that is wrong.
    """
    try:
        if file.stat().st_size > MAX_CLUSTER_FILE:
            raise refuse("cluster.too-large", f"{file}: more than {MAX_CLUSTER_FILE} bytes", "this is no cluster file")
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise refuse("cluster.unreadable", f"{file}: {error}", "make the file readable UTF-8 text") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or type(error).__name__
        raise refuse("cluster.not-yaml", f"{file}{place}: {problem}", "correct the YAML") from None
    if not isinstance(content, dict):
        raise refuse("cluster.not-yaml", f"{file}: expected a mapping with `name` and `contact_points`", "see docs")
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
    return _with_absolute_paths(cluster, file.parent)


def _with_absolute_paths(cluster: ClusterFile, folder: Path) -> ClusterFile:
    def absolute(section: object, fields: Iterable[str]) -> dict[str, Path]:
        paths = {name: getattr(section, name) for name in fields}
        return {name: (folder / path.expanduser()).absolute() for name, path in paths.items() if path is not None}

    def chain(jumps: tuple[Jump, ...]) -> tuple[Jump, ...]:
        return tuple(jump.model_copy(update=absolute(jump, _WAY_FILES)) for jump in jumps)

    def exception(host: SshHost) -> SshHost:
        jump = None if host.jump is None else chain(host.jump)
        return host.model_copy(update={**absolute(host, ("password_file",)), "jump": jump})

    hosts = {address: exception(host) for address, host in cluster.ssh.hosts.items()}
    ways = {**absolute(cluster.ssh, _WAY_FILES), "jump": chain(cluster.ssh.jump), "hosts": hosts}
    ssh = cluster.ssh.model_copy(update=ways)
    cql = cluster.cql.model_copy(update=absolute(cluster.cql, ("ca", "certificate", "private_key", "password_file")))
    return cluster.model_copy(update={"ssh": ssh, "cql": cql})


def wrong_fields(error: ValidationError) -> str:
    """Every wrong field with what is expected; the value itself is not quoted."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'file'}: {_plain(fault)}" for fault in faults)


def _plain(fault: object) -> str:
    assert isinstance(fault, dict)
    return "unknown key" if fault["type"] == "extra_forbidden" else str(fault["msg"])
