"""The cluster file (what an operator writes about a ring) and the identity of a node.

A cluster file needs only `name` and `contact_points`; all else has a default or is discovered.
Durations are ISO 8601 (`PT30S`) or a number of seconds.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from sealring.models.base import Fact, Input

ClusterName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Duration = Annotated[timedelta, Field(gt=timedelta(0))]
Apply = Literal["auto", "reload", "restart"]
_SEGMENT = "[A-Za-z0-9_-][A-Za-z0-9_.-]*"  # of a path in a vault: no dot segments


class SshHost(Input):
    """Where one node's SSH server listens, when that is not the node's own address."""

    host: str | None = Field(None, description="Host name or address; default: the node's address.")
    port: Port | None = Field(None, description="Default: the port of the ssh section.")


class SshSettings(Input):
    """How hosts are reached. Host keys are always verified; there is no switch for that."""

    user: str | None = Field(None, description="Login name; default: the user the worker runs as.")
    port: Port = 22
    known_hosts: Path = Field(
        Path("~/.ssh/known_hosts"), description="OpenSSH known_hosts file; @cert-authority lines are honoured."
    )
    private_key: Path | None = Field(None, description="Private key file (0600); default: the SSH agent.")
    certificate: Path | None = Field(None, description="OpenSSH user certificate that belongs to private_key.")
    vault_role: str | None = Field(
        None,
        pattern=f"^({_SEGMENT}/)+sign/{_SEGMENT}$",
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
    max_logins: int = Field(8, ge=1, description="Logins in progress at once, per worker.")
    max_channels: int = Field(8, ge=1, description="Channels open at once on one connection; sshd allows 10.")
    hosts: dict[str, SshHost] = Field(default_factory=dict, description="Exceptions, by node address.")

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
    ca: Path | None = Field(None, description="PEM file of the authorities that sign the nodes' certificates.")
    certificate: Path | None = Field(None, description="Client certificate (PEM, with chain) for mutual TLS.")
    private_key: Path | None = Field(None, description="Private key of the client certificate (PEM, 0600).")
    username: str | None = None
    password_file: Path | None = Field(None, description="File (0600) that holds the password of username.")
    connect_timeout: Duration = timedelta(seconds=10)


class ServiceSettings(Input):
    """How Cassandra is run on a node."""

    name: str = Field("cassandra", pattern=r"^[A-Za-z0-9@_.:-]+$", description="systemd unit.")
    nodetool: str = Field("nodetool", pattern=r"^[A-Za-z0-9_./-]+$", description="Command or absolute path.")
    config: str | None = Field(
        None, description="Path of cassandra.yaml on the nodes; default: asked of the running process."
    )
    start_timeout: Duration = Field(timedelta(minutes=5), description="Until the node serves and its peers see it up.")
    drain_timeout: Duration = Field(timedelta(minutes=2), description="Then the service is stopped anyway.")
    sudo: Literal["auto", "never"] = Field("auto", description="auto: `sudo -n`, and only where it is needed.")
    keep_generations: int = Field(5, ge=2, description="Generations kept on a node's disk.")


class MaterialPolicy(Input):
    """What a certificate must satisfy to be put on a node."""

    min_rsa_bits: int = Field(2048, ge=1024)
    curves: tuple[str, ...] = Field(("secp256r1", "secp384r1", "secp521r1"), description="Allowed EC curves.")
    min_remaining: Duration = Field(timedelta(days=1), description="Validity left when it is delivered.")
    max_validity: Duration = Field(timedelta(days=825), description="Longer-lived leaves are warned about.")
    clock_margin: timedelta = Field(timedelta(minutes=1), description="notBefore lies this far before every clock.")
    names: tuple[str, ...] = Field((), description="DNS names every node's certificate must carry (what clients use).")


class RolloutSettings(Input):
    """Defaults for rollouts of this cluster; a request may override the ones it has too."""

    wave: Literal["node", "rack"] = Field("node", description="What is activated together.")
    max_parallel: int = Field(10, ge=1, description="Nodes of a rack wave at once; preparation uses it too.")
    apply: Apply = Field("auto", description="auto: reload where the version can, restart where it must.")
    allow_restart: bool = Field(True, description="Whether auto may restart a node that a reload did not convince.")
    failure_budget: int = Field(0, ge=0, description="Nodes that may fail (and be rolled back) before the plan stops.")
    on_failure: Literal["stop", "ask"] = Field("stop", description="ask: wait for `resolve` before giving up.")
    decision_timeout: Duration = Field(timedelta(hours=1), description="Then the safe default (stop) is taken.")
    verification_required: bool = Field(True, description="false: findings after activation are only reported.")
    rollback_on_failure: bool = Field(True, description="false: a failed node is left for a person.")
    vantages: int = Field(2, ge=1, description="Peers through which every listener is probed, besides the worker.")
    settle: timedelta = Field(timedelta(seconds=3), description="A node must stay well this long.")


class VaultSettings(Input):
    """The vault (HashiCorp Vault or OpenBao) that `vault` references are read from and that signs SSH keys.

    Secrets by reference only.
    """

    address: str = Field(
        pattern=r"^https://[A-Za-z0-9.\[\]:-]+/?$", description="https://host:port; its certificate is verified."
    )
    ca: Path | None = Field(None, description="PEM file of the authorities that sign it; default: the system's.")
    namespace: str | None = Field(None, pattern=r"^[A-Za-z0-9_./-]+$")
    token_file: Path | None = Field(None, description="File (0600) with a token; read again when it is refused.")
    role_id: str | None = Field(None, description="AppRole to log in with, instead of a token.")
    secret_id_file: Path | None = Field(None, description="File (0600) with the AppRole's secret id.")
    approle_mount: str = Field("approle", pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")
    timeout: Duration = Field(timedelta(seconds=10), description="Connecting, and each silence in an answer.")

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        approle = self.role_id is not None and self.secret_id_file is not None
        half = (self.role_id is None) != (self.secret_id_file is None)
        if half or approle == (self.token_file is not None):
            raise ValueError("give either token_file, or role_id with secret_id_file")
        return self


class ClusterFile(Input):
    """One ring. Docs: docs/examples/cluster.yaml; JSON schema: docs/cluster.schema.json."""

    name: ClusterName
    contact_points: tuple[str, ...] = Field(min_length=1, description="Addresses of some nodes; the rest is found.")
    ssh: SshSettings = SshSettings()
    cql: CqlSettings = CqlSettings()
    service: ServiceSettings = ServiceSettings()
    policy: MaterialPolicy = MaterialPolicy()
    rollout: RolloutSettings = RolloutSettings()
    vault: VaultSettings | None = Field(
        None, description="Needed for material whose provider is `vault`, and by ssh.vault_role."
    )

    @model_validator(mode="after")
    def _role_of_a_vault(self) -> Self:
        if self.ssh.vault_role is not None and self.vault is None:
            raise ValueError("ssh.vault_role needs the section vault")
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

    def __str__(self) -> str:
        return self.address
