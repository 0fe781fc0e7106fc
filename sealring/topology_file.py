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
from sealring.planning.replicas import replication_of
from sealring.settings import wrong_fields

_EXAMPLE = "an example is docs/examples/topology.yaml"

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
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "no YAML"
        place = f"line {mark.line + 1}: " if mark else ""
        raise _wrong("topology.not-yaml", file, f"{place}{problem}"[:300], "correct it: YAML or JSON") from None
    except (ValueError, RecursionError) as error:
        raise _wrong("topology.not-yaml", file, str(error)[:300], "correct it: YAML or JSON") from None
    if not isinstance(content, dict):
        raise _wrong("topology.not-yaml", file, "expected a mapping with name, nodes and keyspaces", _EXAMPLE)
    try:
        topology = Topology.model_validate(content)
        for keyspace in topology.keyspaces:
            replication_of(keyspace, {node.datacenter for node in topology.nodes})
    except SealringError as error:
        raise _wrong("topology.invalid", file, error.message, error.remedy) from None
    except ValidationError as error:
        fields = wrong_fields(error).split("; ")
        more = f"; and {len(fields) - 20} more" if len(fields) > 20 else ""
        raise _wrong(
            "topology.invalid",
            file,
            "; ".join(fields[:20]) + more,
            f"correct the named fields; {_EXAMPLE}",
        ) from None
    return topology


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
