"""A real ring with logins: the ring role of docs/security.md may do what is needed there, and nothing else."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml
from cassandra import Unauthorized

from lab import hosts, lifecycle, ring, tools
from lab.engine import configure_engine
from lab.spec import LabSpec
from sealring.cassandra.cql import Conversation, conversation
from sealring.cassandra.inventory import inventory
from sealring.cassandra.observe import observe_ring
from sealring.errors import SealringError
from sealring.hosts.ssh import HostPool
from sealring.models.cluster import ClusterFile
from tests.lab.conftest import fresh

pytestmark = [pytest.mark.ring, pytest.mark.long, pytest.mark.timeout(1800)]

APPLICATION = (
    "CREATE KEYSPACE app WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
    "CREATE TABLE app.data (key int PRIMARY KEY)",
)

DOCS = Path(__file__).parents[2] / "docs" / "security.md"
OPEN = {
    "authenticator: AllowAllAuthenticator": "PasswordAuthenticator",
    "authorizer: AllowAllAuthorizer": "CassandraAuthorizer",
}


def statements(password: str) -> list[str]:
    """What docs/security.md tells an operator to run."""
    (block,) = re.findall(r"```cql\n(.*?)```", DOCS.read_text(), re.DOTALL)
    return [line.rstrip(";").replace("'...'", f"'{password}'") for line in block.splitlines() if line]


@pytest.fixture(scope="module")
def guarded() -> Iterator[LabSpec]:
    """One node that asks for a password."""
    spec = LabSpec(tools.cache() / "test-ring" / "logins", nodes=1, racks=1, first=51)
    fresh(spec)
    try:
        ring.prepare(spec, print)
        for node in spec.ring:
            file = node.conf / "cassandra.yaml"
            written = file.read_text()
            for line, wanted in OPEN.items():
                assert line in written
                written = written.replace(line, f"{line.partition(':')[0]}: {wanted}")
            file.write_text(written)
        ring.start_ring(spec, print)
        hosts.start_hosts(spec, tools.sshd(print))
        yield spec
    finally:
        lifecycle.down(spec)


def as_role(spec: LabSpec, folder: Path, name: str, password: str) -> ClusterFile:
    configure_engine(spec)
    cluster = ClusterFile.model_validate(yaml.safe_load(spec.cluster_file.read_text()))
    file = folder / name
    file.write_text(password)
    file.chmod(0o600)
    return cluster.model_copy(update={"cql": cluster.cql.model_copy(update={"username": name, "password_file": file})})


@pytest.fixture
async def superuser(guarded: LabSpec, tmp_path: Path) -> AsyncIterator[Conversation]:
    """Cassandra's first role, which it makes some seconds after its first start."""
    cluster = as_role(guarded, tmp_path, "cassandra", "cassandra")
    for _ in range(120):
        try:
            async with conversation(cluster.cql, guarded.ring[0].address) as asked:
                yield asked
                return
        except SealringError as error:
            assert error.code == "cql.login", error
            await asyncio.sleep(1)
    raise AssertionError("there is no first role")


@pytest.mark.criterion("Q5")
async def test_the_ring_role_of_the_docs_is_enough_and_has_nothing_to_spare(
    guarded: LabSpec, superuser: Conversation, tmp_path: Path
) -> None:
    password, address = secrets.token_urlsafe(16), guarded.ring[0].address
    for statement in [*statements(password), *APPLICATION]:
        await superuser.rows(statement)
    cluster = as_role(guarded, tmp_path, "sealring", password)
    pool = HostPool(cluster.ssh)
    try:
        view = await observe_ring(cluster, pool.host)
        assert (view.source, view.observers) == ("cql", (address,))
        async with pool.host(address) as host:
            found = await inventory(host, cluster, view.nodes[0].node, running=True)
        assert found.inventory.drift == ()
        assert found.running is not None
        assert found.running.work.unseen == ()
        async with conversation(cluster.cql, address) as asked:
            for more in ("SELECT * FROM app.data", "SELECT * FROM system_auth.roles", "DROP KEYSPACE app"):
                with pytest.raises(SealringError) as caught:
                    await asked.rows(more)
                assert caught.value.code == "cql.unauthorized"
                assert isinstance(caught.value.__cause__, Unauthorized)
        for table in ("gossip_info", "internode_outbound", "settings", "repairs"):  # one thing less: in another way
            await superuser.rows(f"REVOKE SELECT ON system_views.{table} FROM sealring")
        async with asyncio.timeout(60):  # Cassandra keeps what it knows of rights for `permissions_validity`, 2 s
            while True:
                async with pool.host(address) as host:
                    less = await inventory(host, cluster, view.nodes[0].node, running=True)
                assert less.running is not None
                if (less.running.settings, less.running.work.unseen) == ({}, ("repairs",)):
                    break
                await asyncio.sleep(0.5)
        assert (await observe_ring(cluster, pool.host)).source == "nodetool"
    finally:
        await pool.close()
