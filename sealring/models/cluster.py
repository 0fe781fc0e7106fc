"""The cluster file (what an operator writes about a ring) and the identity of a node.

A cluster file needs only `name` and `contact_points`; all else has a default or is discovered.
Durations are ISO 8601 (`PT30S`) or a number of seconds.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from sealring.models.base import Address, Duration, Fact, Input, Lifetime, Line, LocalPath, Many, Pause, Port
from sealring.models.vault import SEGMENT, PkiSettings, VaultSettings

CLUSTER_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
ClusterName = Annotated[str, StringConstraints(pattern=CLUSTER_NAME)]
Apply = Literal["auto", "reload", "restart"]


class Jump(Input):
    """A bastion on the way to the nodes, with a policy of its own. What is not said is as for the nodes."""

    host: Address = Field(description="Host name or address, as the hop before it reaches it.")
    port: Port = 22
    user: Line | None = Field(None, min_length=1, description="Login name; default: ssh.user.")
    known_hosts: LocalPath | None = Field(
        None, description="Whom this hop is verified against; default: ssh.known_hosts."
    )
    private_key: LocalPath | None = Field(
        None, description="Default: ssh.private_key with its certificate, or the agent."
    )
    certificate: LocalPath | None = Field(None, description="OpenSSH user certificate that belongs to private_key.")
    password_file: LocalPath | None = Field(
        None, description="Needs ssh.allow_password; ssh.password_file is not sent here."
    )
    max_logins: int = Field(8, ge=1, description="Logins in progress through this hop at once, per worker.")
    max_channels: int = Field(256, ge=1, description="Connections through this hop at once, per worker.")


class SshHost(Input):
    """How one node is reached, where that differs from the ssh section."""

    host: Address | None = Field(None, description="Host name or address; default: the node's address.")
    port: Port | None = Field(None, description="Default: the port of the ssh section.")
    password_file: LocalPath | None = Field(None, description="Needs ssh.allow_password; default: ssh.password_file.")
    jump: tuple[Jump, ...] | None = Field(None, description="Another chain; an empty one: no jump. Default: ssh.jump.")


class BreakerSettings(Input):
    """When connections to a host, or to a whole subnet, are not even tried for a while."""

    failures: int = Field(3, ge=1, description="Connections to a host that fail in a row until its breaker opens.")
    subnet_failures: int = Field(
        5, ge=1, description="Hosts of a subnet that begin to fail, with no success in it, until its breaker opens."
    )
    open_for: Duration = Field(
        timedelta(seconds=30), le=timedelta(minutes=5), description="Then one connection is tried; at most PT5M."
    )
    ipv4_prefix: int = Field(24, ge=1, le=32, description="Length of a subnet's prefix.")
    ipv6_prefix: int = Field(64, ge=1, le=128, description="Length of a subnet's prefix.")


class Limits(Input):
    """What one worker takes of the network, for this ring. Nothing is limited that is not said."""

    logins_per_second: float | None = Field(None, gt=0, description="Logins begun, to nodes and bastions together.")
    logins_per_subnet: int | None = Field(None, ge=1, description="Logins in progress at once in one subnet.")
    bytes_per_second: int | None = Field(None, ge=1024, description="Scripts, files and answers, both directions.")
    link_bytes_per_second: int | None = Field(None, ge=1024, description="What the worker's link to the ring carries.")
    link_share: float = Field(0.5, gt=0, le=1, description="The part of link_bytes_per_second that may be used.")

    @property
    def rate(self) -> float | None:
        """Bytes per second that may be sent and read; None: as many as go through."""
        share = self.link_bytes_per_second and self.link_bytes_per_second * self.link_share
        return min((rate for rate in (self.bytes_per_second, share) if rate), default=None)


class SshSettings(Input):
    """How hosts are reached. Host keys are always verified; there is no switch for that."""

    user: Line | None = Field(None, min_length=1, description="Login name; default: the user the worker runs as.")
    port: Port = 22
    known_hosts: LocalPath = Field(
        Path("~/.ssh/known_hosts"), description="OpenSSH known_hosts file; @cert-authority lines are honoured."
    )
    private_key: LocalPath | None = Field(None, description="Private key file (0600); default: the SSH agent.")
    certificate: LocalPath | None = Field(None, description="OpenSSH user certificate that belongs to private_key.")
    allow_password: bool = Field(False, description="Whether password_file may be used here, in hosts and in jump.")
    password_file: LocalPath | None = Field(
        None, description="File (0600) with the login password; tried after private_key, instead of the agent."
    )
    jump: tuple[Jump, ...] = Field((), description="Bastions on the way to every node, the nearest first.")
    compression: bool = Field(False, description="Compress what is sent: for thin links, costs CPU on both ends.")
    vault_role: str | None = Field(
        None,
        pattern=f"^({SEGMENT}/)+sign/{SEGMENT}$",
        description="Where the vault's SSH engine signs private_key, as in `bao write`: ssh-client/sign/deploy.",
    )
    vault_ttl: Duration = Field(
        timedelta(hours=1), ge=timedelta(minutes=1), description="Life of a certificate that vault_role signs."
    )
    connect_timeout: Duration = Field(timedelta(seconds=30), description="TCP connection and key exchange.")
    login_timeout: Duration = Field(timedelta(seconds=30), description="Authentication.")
    command_timeout: Duration = Field(timedelta(seconds=300), description="One command, start to end.")
    idle_timeout: Duration = Field(
        timedelta(seconds=60), description="Silence after which a host that answers no keep-alive is given up."
    )
    max_logins: int = Field(8, ge=1, le=Many, description="Logins in progress at once, per worker.")
    max_channels: int = Field(8, ge=1, le=Many, description="Channels open at once on one connection; sshd allows 10.")
    breaker: BreakerSettings = BreakerSettings()
    limits: Limits = Limits()
    hosts: dict[Address, SshHost] = Field(default_factory=dict, description="Exceptions, by node address.")

    @model_validator(mode="after")
    def _passwords_are_allowed(self) -> Self:
        if self.allow_password:
            return self
        places = {"password_file": self.password_file}
        places |= {f"jump.{i}.password_file": jump.password_file for i, jump in enumerate(self.jump)}
        for address, host in self.hosts.items():
            places[f"hosts.{address}.password_file"] = host.password_file
            for i, jump in enumerate(host.jump or ()):
                places[f"hosts.{address}.jump.{i}.password_file"] = jump.password_file
        named = [place for place, file in places.items() if file is not None]
        if named:
            raise ValueError(f"{', '.join(named)}: password logins need allow_password: true")
        return self

    @model_validator(mode="after")
    def _one_certificate(self) -> Self:
        if self.vault_role is not None and self.certificate is not None:
            raise ValueError("give either certificate or vault_role")
        if self.vault_role is not None and self.private_key is None:
            raise ValueError("vault_role needs private_key, the key that it signs")
        return self


class CqlSettings(Input):
    """How the ring is observed over CQL."""

    port: Port = 9042
    ca: LocalPath | None = Field(None, description="PEM file of the authorities that sign the nodes' certificates.")
    certificate: LocalPath | None = Field(None, description="Client certificate (PEM, with chain) for mutual TLS.")
    private_key: LocalPath | None = Field(None, description="Private key of the client certificate (PEM, 0600).")
    username: Line | None = None
    password_file: LocalPath | None = Field(None, description="File (0600) that holds the password of username.")
    connect_timeout: Duration = timedelta(seconds=10)


class KnownClient(Input):
    """Clients of the ring that log in with one role: whom to ask before an authority is dropped."""

    role: Line = Field(min_length=1, description="As `system_views.clients` has it in `username`.")
    owner: Line = Field("", description="Who answers for these clients.")
    certificate: LocalPath | None = Field(
        None, description="PEM file with the certificate and chain that they present; no key is needed."
    )


class ServiceSettings(Input):
    """How Cassandra is run on a node."""

    name: str = Field("cassandra", pattern=r"^[A-Za-z0-9@_.:-]+$", description="systemd unit.")
    nodetool: str = Field("nodetool", pattern=r"^[A-Za-z0-9_./-]+$", description="Command or absolute path.")
    config: Line | None = Field(
        None, min_length=1, description="Path of cassandra.yaml on the nodes; default: asked of the running process."
    )
    start_timeout: Duration = Field(timedelta(minutes=5), description="Until the node serves and its peers see it up.")
    drain_timeout: Duration = Field(timedelta(minutes=2), description="Then the service is stopped anyway.")
    sudo: Literal["auto", "never"] = Field("auto", description="auto: `sudo -n`, and only where it is needed.")
    keep_generations: int = Field(5, ge=2, le=Many, description="Generations kept on a node's disk.")
    hold_files: tuple[Annotated[str, StringConstraints(pattern=r"^/[^\x00-\x1f]{1,400}$")], ...] = Field(
        (),
        max_length=20,
        description="Files of other tools on the nodes, there only while those are at work: waves wait for them.",
    )


class MaterialPolicy(Input):
    """What a certificate must satisfy to be put on a node."""

    min_rsa_bits: int = Field(2048, ge=1024, le=16384)
    curves: tuple[str, ...] = Field(("secp256r1", "secp384r1", "secp521r1"), description="Allowed EC curves.")
    min_remaining: Lifetime = Field(timedelta(days=1), description="Validity left when it is delivered.")
    max_validity: Lifetime = Field(timedelta(days=825), description="Longer-lived leaves are warned about.")
    clock_margin: Pause = Field(timedelta(minutes=1), description="notBefore lies this far before every clock.")
    names: tuple[str, ...] = Field((), description="DNS names every node's certificate must carry (what clients use).")


Strategy = Literal["rolling", "canary", "zone-aware", "load-aware", "blue-green", "fastest"]
Batch = Annotated[
    str,
    BeforeValidator(lambda given: str(given) if type(given) is int else given),
    StringConstraints(pattern=r"^([1-9][0-9]{0,4}|[1-9][0-9]?%|100%)$"),
]
"""Nodes of a wave: a number, or percent of the nodes that the rollout works on."""


def formerly_wave(given: Any) -> Any:
    """What `wave` said before there were strategies: in histories, and in cluster files of then."""
    if not isinstance(given, dict) or given.get("wave", "") not in (None, "node", "rack"):
        return given
    strategy = {"node": {"strategy": "rolling"}, "rack": {"strategy": "zone-aware"}}.get(given["wave"], {})
    return strategy | {name: value for name, value in given.items() if name != "wave"}


class RolloutSettings(Input):
    """Defaults for rollouts of this cluster; a request may override the ones it has too."""

    _formerly = model_validator(mode="before")(formerly_wave)

    strategy: Strategy = Field("rolling", description="How waves are formed; docs/planning.md.")
    batch: Batch | None = Field(
        None, description='Most nodes in a wave: 5, or "20%". Default: 1 when rolling, else what is safe.'
    )
    batch_per_rack: int | None = Field(None, ge=1, le=Many, description="Most nodes of one rack in a wave.")
    grow: bool = Field(False, description="Begin with single nodes and double after clean waves, up to batch.")
    green: tuple[Line, ...] = Field(
        (), description="blue-green: what goes first: datacenters, or racks as DATACENTER/RACK."
    )
    reserve: int | None = Field(
        None,
        ge=0,
        le=Many,
        description="Replicas kept back for an unplanned failure, where a range can lose two or more. "
        "Default: 0 for fastest, else 1.",
    )
    max_parallel: int = Field(10, ge=1, le=Many, description="Nodes at once, in waves and in preparation.")
    apply: Apply = Field("auto", description="auto: reload where the version can, restart where it must.")
    allow_restart: bool = Field(True, description="Whether auto may restart a node that a reload did not convince.")
    failure_budget: int = Field(
        0, ge=0, le=Many, description="Nodes that may fail (and be rolled back) before the plan stops."
    )
    on_failure: Literal["stop", "ask"] = Field("stop", description="ask: wait for `resolve` before giving up.")
    ring_patience: Pause = Field(
        timedelta(minutes=2), description="How long a wave waits for a ring that is not whole, before it asks or stops."
    )
    work_patience: Pause = Field(
        timedelta(hours=2),
        description="How long a wave waits for the end of other work on the ring: a node that joins, leaves or moves, "
        "a stream, a repair, another tool; before it asks or stops.",
    )
    newcomers: Literal["leave", "absorb"] = Field(
        "leave",
        description="Nodes that join while everything is deployed. absorb: they are prepared and worked on in the "
        "waves that are left, when the delivery has something for them; leave: they are told.",
    )
    max_pending: int | None = Field(
        None, ge=0, description="Requests that may wait in one node when a wave begins; default: not looked at."
    )
    max_p99: Duration | None = Field(
        None,
        description="How long one request of a hundred to one table of one coordinator may take when a wave begins; "
        "default: not looked at.",
    )
    decision_timeout: Duration = Field(timedelta(hours=1), description="Then the safe default (stop) is taken.")
    verification_required: bool = Field(True, description="false: findings after activation are only reported.")
    rollback_on_failure: bool = Field(True, description="false: a failed node is left for a person.")
    vantages: int = Field(
        2, ge=1, le=Many, description="Peers through which every listener is probed, besides the worker."
    )
    authority_hold: timedelta = Field(
        timedelta(0),
        ge=timedelta(0),
        le=timedelta(days=90),
        description="CA rotation: how long both authorities stay trusted before the old one is dropped.",
    )
    settle: Pause = Field(
        timedelta(seconds=3), description="A node must stay well this long; 0: one look, by its verification."
    )


ConsistencyLevel = Literal[
    "ANY", "ONE", "TWO", "THREE", "LOCAL_ONE", "QUORUM", "LOCAL_QUORUM", "EACH_QUORUM", "SERIAL", "LOCAL_SERIAL", "ALL"
]
"""What of a keyspace must stay possible at every moment. Source: Cassandra's `ConsistencyLevel`."""

KeyspaceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,64}$")]
Promises = Annotated[tuple[ConsistencyLevel, ...], Field(min_length=1)]


class ConsistencySettings(Input):
    """What clients rely on: no step of a rollout makes a read or a write at these levels impossible."""

    default: Promises = Field(("LOCAL_QUORUM",), description="Of keyspaces that are not named.")
    keyspaces: dict[KeyspaceName, Promises] = Field(default_factory=dict, description="By keyspace, not default.")


class ClusterFile(Input):
    """One ring. Docs: docs/examples/cluster.yaml; JSON schema: docs/cluster.schema.json."""

    name: ClusterName
    contact_points: tuple[Address, ...] = Field(min_length=1, description="Addresses of some nodes; the rest is found.")
    ssh: SshSettings = SshSettings()
    cql: CqlSettings = CqlSettings()
    service: ServiceSettings = ServiceSettings()
    policy: MaterialPolicy = MaterialPolicy()
    rollout: RolloutSettings = RolloutSettings()
    consistency: ConsistencySettings = ConsistencySettings()
    vault: VaultSettings | None = Field(
        None, description="Needed for material whose provider is `vault`, by ssh.vault_role and by pki."
    )
    clients: tuple[KnownClient, ...] = Field(
        (), max_length=Many, description="Whose clients they are, for a CA rotation; see docs/ca-rotation.md."
    )
    pki: PkiSettings | None = Field(None, description="Keys of nodes stay on the nodes; see docs/sources.md.")

    @model_validator(mode="after")
    def _role_of_a_vault(self) -> Self:
        if self.ssh.vault_role is not None and self.vault is None:
            raise ValueError("ssh.vault_role needs the section vault")
        if self.pki is not None and self.vault is None:
            raise ValueError("pki.vault_role needs the section vault")
        return self


ListenerKind = Literal["internode", "native"]


class Listener(Fact):
    """One TLS port of a node."""

    kind: ListenerKind
    address: str
    port: Port

    def __str__(self) -> str:
        return f"{self.kind} {self.address}:{self.port}"


class NodeRef(Fact):
    """A node: who it is (host id), where it is, and its place in the ring."""

    host_id: str
    address: str = Field(description="Native (rpc) address: SSH and CQL go there unless the cluster file says else.")
    internode_address: str
    datacenter: str
    rack: str

    @property
    def source_address(self) -> str:
        """Where its own connections come from, and what peers with endpoint verification look for in its certificate.

        Cassandra does not bind the sockets that it dials with: on loopback they all come from one address (measured).
        """
        return "127.0.0.1" if self.internode_address.startswith("127.") else self.internode_address

    def __str__(self) -> str:
        return self.address
