"""What differs between Cassandra lines, decided from `release_version`. Pure."""

import re
from typing import Literal

Reload = Literal["forced", "by-mtime", "none"]

LEGACY_PORT_RELOADS = (4, 1, 4)  # CASSANDRA-18681; so do forced reloads
HOT_RELOAD = (4, 0, 0)


def parse_version(version: str) -> tuple[int, int, int]:
    """Major, minor and patch of `5.0.9`, `4.1-beta1` or `4.0.18-SNAPSHOT`; (0, 0, 0) when there is no number."""
    numbers = [int(number) for number in re.findall(r"[0-9]{1,9}", re.split(r"[-~+]", version.strip())[0])[:3]]
    return (*numbers, 0, 0, 0)[:3]  # type: ignore[return-value]  # three by construction


def reload_support(version: str) -> Reload:
    """How `nodetool reloadssl` works there.

    "forced": 4.1.4+ and 5.0, every cached context is checked again, and failures are only logged (CASSANDRA-18681).
    "by-mtime": 4.0 to 4.1.3, nothing happens unless the modification time of a file changed.
    "none": before 4.0 there is no such command (CASSANDRA-14222).
    """
    parsed = parse_version(version)
    if parsed < HOT_RELOAD:
        return "none"
    return "forced" if parsed >= LEGACY_PORT_RELOADS else "by-mtime"
