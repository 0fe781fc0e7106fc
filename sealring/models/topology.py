"""A ring as a planner needs it: who holds which tokens, how keyspaces are replicated, what was promised of them.

Written by a person (`sealring rollout plan --topology FILE`, docs/planning.md) or observed in a ring.
"""

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from sealring.models.base import Address, Input, Line
from sealring.models.cluster import ClusterName, ConsistencyLevel, KeyspaceName

Place = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,200}$")]
"""Name of a datacenter or a rack: Cassandra takes any text, blanks and slashes too. One line, as it is shown."""

LOCAL_KEYSPACES = frozenset({"system", "system_schema", "system_views", "system_virtual_schema"})
"""Every node holds its own: no other replica could stand in, and none needs to."""

SYSTEM_PROMISES: dict[str, tuple[ConsistencyLevel, ...]] = {"system_distributed": ("ONE",), "system_traces": ("ANY",)}
"""What Cassandra itself asks of its keyspaces (`SystemDistributedKeyspace`, `TraceKeyspace`)."""


class RingNode(Input):
    """One node and its place."""

    address: Address
    datacenter: Place = "dc1"
    rack: Place = "rack1"
    tokens: tuple[int, ...] = Field(min_length=1, description="As `nodetool ring` shows them.")
    state: Literal["up", "down", "suspect"] = Field("up", description="suspect: up, but not to be counted on.")
    host_id: Line = ""
    seed: bool = False
    version: Line = ""
    os: Line = Field("", description="What distinguishes hosts beside the version; a canary is taken of each.")
    load: float = Field(0.0, ge=0, description="Any measure; the least loaded node goes first.")


class Keyspace(Input):
    """One keyspace and what its clients rely on."""

    name: KeyspaceName
    replication: dict[str, int | str] = Field(
        description="As in CREATE KEYSPACE: class NetworkTopologyStrategy with a factor for each datacenter, "
        "or SimpleStrategy with replication_factor."
    )
    consistency: tuple[ConsistencyLevel, ...] = Field(
        min_length=1, description="What must stay possible. Default: LOCAL_QUORUM; of system keyspaces: what they need."
    )

    @model_validator(mode="before")
    @classmethod
    def _usual_promise(cls, given: Any) -> Any:
        if isinstance(given, dict) and "consistency" not in given:
            usual = SYSTEM_PROMISES.get(str(given.get("name")), ("LOCAL_QUORUM",))
            return given | {"consistency": usual}
        return given


class Topology(Input):
    """A ring at one moment."""

    name: ClusterName
    nodes: tuple[RingNode, ...] = Field(min_length=1)
    keyspaces: tuple[Keyspace, ...] = Field(
        min_length=1, description="All of them, system_auth and its like too: what is not named is not protected."
    )

    @model_validator(mode="after")
    def _nothing_twice(self) -> Self:
        for what, names in (
            ("nodes: address", [node.address for node in self.nodes]),
            ("nodes: token", [token for node in self.nodes for token in node.tokens]),
            ("keyspaces: name", [keyspace.name for keyspace in self.keyspaces]),
        ):
            seen: set[object] = set()
            twice = next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]
            if twice is not None:
                raise ValueError(f"{what} {twice} stands twice")
        return self

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what a proof rests on: who is where, tokens and replication; not over who is up."""
        places = sorted((n.host_id, n.address, n.datacenter, n.rack, sorted(n.tokens)) for n in self.nodes)
        promises = sorted((k.name, sorted(k.replication.items()), sorted(k.consistency)) for k in self.keyspaces)
        return hashlib.sha256(json.dumps([places, promises], separators=(",", ":")).encode()).hexdigest()
