"""A node that bad input is tried on."""

from collections.abc import AsyncIterator, Iterator

import pytest

from lab.hosts import start_hosts, stop_hosts
from lab.spec import SSH_PORT, LabSpec
from lab.tools import sshd
from sealring.hosts.ssh import HostPool
from sealring.models.cluster import SshSettings


@pytest.fixture(scope="session")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSpec]:
    """One node with an sshd, and nothing else; away from the addresses of other tests."""
    spec = LabSpec(root=tmp_path_factory.mktemp("hosts"), nodes=1, first=195)
    for node in spec.ring:
        node.bin.mkdir(parents=True)
    start_hosts(spec, sshd())
    yield spec
    stop_hosts(spec)


@pytest.fixture
def address(spec: LabSpec) -> str:
    """The node's address."""
    return spec.ring[0].address


@pytest.fixture
async def pool(spec: LabSpec) -> AsyncIterator[HostPool]:
    """Connections of the deploy user."""
    files = {"private_key": spec.ssh / "deploy", "certificate": spec.ssh / "deploy-cert.pub"}
    pool = HostPool(SshSettings(port=SSH_PORT, known_hosts=spec.ssh / "known_hosts", **files))
    yield pool
    await pool.close()
