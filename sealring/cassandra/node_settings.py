"""What cassandra.yaml says beside its stores that a rotation may stumble over. Pure: the parsed file in, facts out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from posixpath import join
from typing import Any

from sealring.cassandra.store_blocks import block_of

MUTUAL_TLS_INTERNODE = "MutualTlsInternodeAuthenticator"
SPIFFE = "SpiffeCertificateValidator"
DEFAULT_HINT_WINDOW = timedelta(hours=3)  # Config.max_hint_window

_UNITS = {"": 0.001, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"([0-9]{1,15})\s*(d|h|m|s|ms|)")
_BLOCKS = ("server_encryption_options", "client_encryption_options")


@dataclass(frozen=True)
class NodeSettings:
    """Settings of one node.

    Args:
        data: data_file_directories; empty when the file names none.
        commitlog: commitlog_directory; empty when the file names none.
        ciphers: cipher_suites by section, where a section names some.
        longest_validity: the shortest max_certificate_validity_period, where one is set (CASSANDRA-18951).
        hint_window: max_hint_window; zero: no hints are kept.
        peer_validator: class that takes the identity from a peer's certificate, when internode_authenticator asks for
            mutual TLS; else empty.
        trusted_identities: trusted_peer_identities of it; empty: whatever the node's own certificate says at its start.
    """

    data: tuple[str, ...] = ()
    commitlog: str = ""
    ciphers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    longest_validity: timedelta | None = None
    hint_window: timedelta = DEFAULT_HINT_WINDOW
    peer_validator: str = ""
    trusted_identities: tuple[str, ...] = ()

    def folders(self, storage: str) -> tuple[tuple[str, ...], str]:
        """Data and commit log, with Cassandra's defaults below its storage folder; empty when that is not known."""
        data = self.data or ((join(storage, "data"),) if storage else ())
        return data, self.commitlog or (join(storage, "commitlog") if storage else "")


def node_settings(settings: Mapping[str, Any]) -> NodeSettings:
    """Read the parsed file. What is not understood counts as not set: Cassandra's own parser judges it."""
    blocks = {name: block_of(settings, name) for name in _BLOCKS}
    periods = [span for b in blocks.values() if (span := duration(b.get("max_certificate_validity_period")))]
    name, parameters = _class(settings.get("internode_authenticator"))
    mutual = name == MUTUAL_TLS_INTERNODE
    validator = str(parameters.get("validator_class_name") or "").rpartition(".")[2] if mutual else ""
    window = settings.get("max_hint_window", settings.get("max_hint_window_in_ms"))
    hints = str(settings.get("hinted_handoff_enabled", "true")).strip().lower() != "false"
    return NodeSettings(
        data=tuple(_texts(settings.get("data_file_directories"))),
        commitlog=next(iter(_texts(settings.get("commitlog_directory"))), ""),
        ciphers=tuple((name, found) for name, b in blocks.items() if (found := tuple(_texts(b.get("cipher_suites"))))),
        longest_validity=min(periods, default=None),
        hint_window=(duration(window) or DEFAULT_HINT_WINDOW) if hints else timedelta(0),
        peer_validator=(validator or SPIFFE) if mutual else "",
        trusted_identities=tuple(_texts(parameters.get("trusted_peer_identities"))) if mutual else (),
    )


def duration(given: Any) -> timedelta | None:
    """A duration as 4.1 and later write it (`365d`, `10h`), or a number of milliseconds as before; None: not one."""
    match = _DURATION.fullmatch(str(given or "").strip())
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    return timedelta(seconds=min(seconds, 10**10)) if seconds else None


def _class(given: Any) -> tuple[str, Mapping[str, Any]]:
    """Name without package, and parameters: of a setting that is a name, or a map with class_name and parameters."""
    if isinstance(given, str):
        return given.strip().rpartition(".")[2], {}
    if not isinstance(given, dict):
        return "", {}
    parameters = given.get("parameters")
    if isinstance(parameters, list):
        parameters = parameters[0] if parameters else {}
    return str(given.get("class_name") or "").strip().rpartition(".")[2], (
        parameters if isinstance(parameters, dict) else {}
    )


def _texts(given: Any) -> list[str]:
    """A list of texts, or one text with commas."""
    items = given.split(",") if isinstance(given, str) else given if isinstance(given, list) else []
    clean = (str(item).strip() for item in items if isinstance(item, str))
    return [item for item in clean if item and item.isprintable()]
