"""The sections of the cluster file about a vault: where material and signatures come from."""

from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from sealring.models.base import Duration, Input, Lifetime, Line, LocalPath

SEGMENT = "[A-Za-z0-9_-][A-Za-z0-9_.-]*"
"""Of a path in a vault: no dot segments."""


class VaultSettings(Input):
    """The vault (HashiCorp Vault or OpenBao) that `vault` references are read from and that signs SSH keys.

    Secrets by reference only.
    """

    address: str = Field(
        pattern=r"^https://[A-Za-z0-9.\[\]:-]+/?$", description="https://host:port; its certificate is verified."
    )
    ca: LocalPath | None = Field(None, description="PEM file of the authorities that sign it; default: the system's.")
    namespace: str | None = Field(None, pattern=r"^[A-Za-z0-9_./-]+$")
    token_file: LocalPath | None = Field(None, description="File (0600) with a token; read again when it is refused.")
    role_id: Line | None = Field(None, description="AppRole to log in with, instead of a token.")
    secret_id_file: LocalPath | None = Field(None, description="File (0600) with the AppRole's secret id.")
    approle_mount: str = Field("approle", pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")
    timeout: Duration = Field(timedelta(seconds=10), description="Connecting, and each silence in an answer.")

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        approle = self.role_id is not None and self.secret_id_file is not None
        half = (self.role_id is None) != (self.secret_id_file is None)
        if half or approle == (self.token_file is not None):
            raise ValueError("give either token_file, or role_id with secret_id_file")
        return self


class PkiSettings(Input):
    """Keys made on the nodes, certificates from the vault's PKI engine: with this section no private key of a node is
    ever read by a worker.
    """

    vault_role: str = Field(
        pattern=f"^({SEGMENT}/)+sign/{SEGMENT}$",
        description="Where the vault's PKI engine signs requests, as in `bao write`: pki-nodes/sign/cassandra.",
    )
    ttl: Lifetime = Field(timedelta(days=90), description="Life to ask for; the role's max_ttl bounds it.")
    key: Literal["ec-p256", "rsa-3072"] = Field("ec-p256", description="Kind of the keys that nodes make.")
    ca: LocalPath | None = Field(
        None, description="PEM file of the authorities that nodes shall trust; default: the root in the vault's answer."
    )
