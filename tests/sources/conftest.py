"""One real OpenBao for the tests of this folder: a KV engine, an AppRole that may read one delivery, nothing more."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lab import openbao
from lab.authority import Authority, write_file
from lab.openbao import OpenBao
from sealring.models.cluster import NodeRef
from sealring.models.vault import VaultSettings
from sealring.sources.vault import Vault

HOST = "127.0.0.1"
DELIVERY = "kv/cassandra/prod"
NODE = NodeRef(host_id="0a-1b", address="10.0.0.1", internode_address="192.168.0.1", datacenter="dc1", rack="r1")


@dataclass(frozen=True)
class Bao:
    """The server, who may log in, and an authority that issues for its KV engine."""

    server: OpenBao
    role_id: str
    authority: Authority

    def secret_id(self, **options: Any) -> str:
        secret: str = openbao.write(self.server, "auth/approle/role/sealring/secret-id", options)["data"]["secret_id"]
        return secret

    def token(self, **options: Any) -> str:
        body = {"policies": ["sealring"], "no_parent": True} | options
        token: str = openbao.write(self.server, "auth/token/create", body)["auth"]["client_token"]
        return token

    def put(self, place: str, **change: str | None) -> bytes:
        """A new version with a leaf of its own; its key."""
        identity = self.authority.issue([NODE.address])
        fields = {
            "tls.crt": identity.certificate.decode(),
            "tls.key": identity.key.decode(),
            "ca.crt": self.authority.trusted.decode(),
        } | {name.replace("_", "."): value for name, value in change.items()}
        mount, _, rest = place.partition("/")
        openbao.write(self.server, f"{mount}/data/{rest}", {"data": {k: v for k, v in fields.items() if v is not None}})
        return identity.key


@pytest.fixture(scope="session")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    root = tmp_path_factory.mktemp("vault")
    server = OpenBao(root, HOST, *openbao.free_ports(HOST))
    openbao.start(server, Authority.open(root / "authority"))
    openbao.write(server, "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
    openbao.write(server, "sys/policies/acl/sealring", {"policy": openbao.reading_policy(DELIVERY)})
    openbao.write(server, "sys/auth/approle", {"type": "approle"})
    openbao.write(server, "auth/approle/role/sealring", {"token_policies": ["sealring"], "token_ttl": "1h"})
    openbao.write(server, "auth/approle/role/sealring/role-id", {"role_id": "sealring-deploy"})
    yield Bao(server, "sealring-deploy", Authority.open(root / "material"))
    openbao.stop(server)


@pytest.fixture
def approle(bao: Bao, tmp_path: Path) -> VaultSettings:
    write_file(tmp_path / "secret-id", bao.secret_id().encode() + b"\n", 0o600)
    return VaultSettings(
        address=bao.server.address,
        ca=bao.server.ca,
        role_id=bao.role_id,
        secret_id_file=tmp_path / "secret-id",
        timeout=timedelta(seconds=10),
    )


@pytest.fixture
async def vault(approle: VaultSettings) -> AsyncIterator[Vault]:
    vault = Vault(approle)
    yield vault
    await vault.close()


@pytest.fixture
def place(bao: Bao) -> Iterator[str]:
    """Where the node's secret is; gone with all versions after the test."""
    yield f"{DELIVERY}/{NODE.address}"
    for left in (DELIVERY, *(f"{DELIVERY}/{name}" for name in (NODE.address, NODE.internode_address))):
        openbao.delete(bao.server, left.replace("kv/", "kv/metadata/", 1))
