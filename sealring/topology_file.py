"""A ring as a person writes it down for the planner, in YAML or JSON: docs/planning.md, docs/topology.schema.json."""

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from sealring.errors import SealringError, refuse
from sealring.local_files import read_small
from sealring.models.topology import Topology
from sealring.plain_yaml import StrictLoader
from sealring.settings import wrong_fields

LARGEST = 32 << 20
"""Bytes; ten thousand nodes with 16 tokens are five million."""


class _LargeLoader(StrictLoader):
    """A topology is longer than a configuration: a thousand nodes with 256 tokens."""

    max_nodes = 500_000


def read_topology(file: Path) -> Topology:
    """Read one topology file.

    Raises:
        SealringError: `topology.*`, naming the file and every field or line that is wrong.
    """
    try:
        text = read_small(file, LARGEST).decode("utf-8-sig")
        content = _parsed(text)
    except OSError as error:
        raise _wrong("topology.unreadable", file, f"{error.strerror}", "name a file that can be read") from None
    except UnicodeDecodeError:
        raise _wrong("topology.unreadable", file, "not UTF-8", "save it as UTF-8") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        words = " ".join(str(error).split())
        raise _wrong("topology.not-yaml", file, words[:300], "correct it: it must be YAML or JSON") from None
    if not isinstance(content, dict):
        raise _wrong("topology.not-yaml", file, "expected a mapping with name, nodes and keyspaces", "see the example")
    try:
        return Topology.model_validate(content)
    except ValidationError as error:
        fields = wrong_fields(error).split("; ")
        more = f"; and {len(fields) - 20} more" if len(fields) > 20 else ""
        raise _wrong(
            "topology.invalid",
            file,
            "; ".join(fields[:20]) + more,
            "correct the named fields: docs/examples/topology.yaml",
        ) from None


def _parsed(text: str) -> Any:
    if text.lstrip().startswith("{"):  # JSON is fifty times faster to read than YAML
        return json.loads(text, object_pairs_hook=_no_key_twice)
    return yaml.load(text, Loader=_LargeLoader)  # noqa: S506 - a SafeLoader with more refusals


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(n for n in names if names.count(n) > 1)[:60]} stands twice")
    return made


def _wrong(code: str, file: Path, what: str, remedy: str) -> SealringError:
    return refuse(code, f"{str(file)!r:.300}: {what}", remedy)
