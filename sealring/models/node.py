"""What is found on a host and in the ring: the inventory of one node, its generations, its view of the others."""

from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from sealring.models.base import Fact, Sha256
from sealring.models.cluster import Listener, NodeRef

StoreFormat = Literal["PKCS12", "JKS", "PEM"]
Layout = Literal["slots", "in-place"]


class StoreFile(Fact):
    """One store file that cassandra.yaml names; two blocks may name the same file.

    Source: Cassandra's `EncryptionOptions` and `FileBasedSslContextFactory`.
    """

    role: Literal["keystore", "truststore"]
    blocks: tuple[str, ...] = Field(description="`server`, `server-outbound`, `client`.")
    path: str = Field(description="Absolute, as the configuration means it (symbolic links not resolved).")
    format: StoreFormat


class NodeInventory(Fact):
    """What the host tells about its Cassandra, without any secret."""

    config_path: str
    service_user: str
    service_group: str
    pid: int
    started_at: str = Field(description="Start of the running process: clock ticks since boot, from /proc/<pid>/stat.")
    log_dir: str = ""
    stores: tuple[StoreFile, ...]
    listeners: tuple[Listener, ...]
    layout: Layout
    tls_dir: str = Field(description="Holds `generations/` and `current`.")
    state_dir: str = Field(description="Holds intent.json.")
    client_auth: bool = Field(description="Whether internode or native listeners ask for a client certificate.")
    endpoint_verification: bool
    drift: tuple[str, ...] = Field((), description="Settings that differ between disk and the running node.")


class Generation(Fact):
    """One generation on a node's disk: the public part of its manifest."""

    id: Sha256
    leaf_sha256: Sha256
    not_after: AwareDatetime
    trust: tuple[Sha256, ...] = ()
    adopted: bool = Field(False, description="Found on the node, not delivered by a rollout.")


class Change(Fact):
    """What the last rollout that was done with a node had changed there."""

    rollout: str = Field(description="Its run; `RUN/STAGE/DELIVERY` when it brought what has a digest.")
    before: str = Field(description="Generation in force before it; empty when there was none.")
    after: str = Field(description="Generation in force after it: the same as before when it was rolled back.")
    at: datetime = Field(description="By the node's clock.")

    @property
    def change(self) -> str:
        """The same for all nodes that the same stage of the same delivery changed, in whichever run."""
        what = self.rollout.partition("/")[2]
        return what if "/" in what else self.rollout


class DiskState(Fact):
    """A node's generations, and which files are in force."""

    current: Generation | None = Field(None, description="Where `current` points; None before the first backup.")
    previous: Generation | None = None
    generations: tuple[Sha256, ...] = ()
    in_force: bool = Field(False, description="Whether the files that cassandra.yaml names are those of `current`.")
    whole: bool = Field(False, description="Whether the files kept of `current` have the digests of its manifest.")
    intent: str = Field("", description="Rollout id of an unfinished change; empty when there is none.")
    last: Change | None = None


class NodeView(Fact):
    """A node as the ring and its host see it, small enough for a thousand of them."""

    node: NodeRef
    version: str = Field(description="release_version, `5.0.9`.")
    up: bool = Field(description="Seen up by every observer.")
    normal: bool = Field(description="Neither joining, leaving nor moving.")
    schema_version: str = ""
    listeners: tuple[Listener, ...] = ()
    layout: Layout = "in-place"
    current: Generation | None = None
    previous: Generation | None = None
    last: Change | None = None
    served: tuple[str, ...] = Field((), description="Distinct leaf fingerprints that its listeners show now.")
    expired: str = Field(
        "",
        description="In words, which of its listeners show an expired leaf, and what lies on its disk; where it does "
        "not run, the disk alone. Empty: nothing that it shows has expired.",
    )
    contact: bool = Field(False, description="Whether it is a contact point of the cluster file: a seed, usually.")
    reload: Literal["forced", "by-mtime", "none"] = Field(
        "none", description="forced: 4.1.4+ and 5.0 (CASSANDRA-18681); by-mtime: 4.0 to 4.1.3; none: before 4.0."
    )
    restart_because: tuple[str, ...] = Field((), description="Why a reload cannot be enough on this node.")
    problem: str = Field("", description="Why the host could not be read; empty when it was.")


class ClusterView(Fact):
    """The ring as observed. Nodes are in order of datacenter, rack, address."""

    cluster: str
    observed_at: datetime
    observers: tuple[str, ...] = Field(description="Addresses of the nodes that were asked.")
    nodes: tuple[NodeView, ...]
    schema_versions: tuple[str, ...] = ()
    source: Literal["cql", "nodetool"] = "cql"
