"""Real OpenSSH servers on two loopback addresses, shared by the tests of this folder."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lab.hosts import configure_host, restore, start_hosts, stop_hosts
from lab.spec import SSH_PORT, LabSpec
from lab.tools import sshd
from sealring.hosts.ssh import HostPool
from sealring.models.cluster import SshSettings
from sealring.models.node import Layout
from tests.hosts.local_shell import LocalShell
from tests.hosts.node import Node, make_node


@pytest.fixture(scope="session")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSpec]:
    """Two nodes with an sshd each, and nothing else."""
    spec = LabSpec(
        root=tmp_path_factory.mktemp("hosts"), nodes=2, first=151
    )  # away from tests/lab: both run in one session
    for node in spec.ring:
        node.bin.mkdir(parents=True)
    start_hosts(spec, sshd())
    yield spec
    stop_hosts(spec)


@pytest.fixture(autouse=True)
def _usual_hosts(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that cuts a link or changes an sshd leaves the next one the usual hosts."""
    yield
    if "spec" in request.fixturenames:
        spec: LabSpec = request.getfixturevalue("spec")
        for node in spec.ring:
            configure_host(spec, node)
            restore(spec, node)


@pytest.fixture
def address(spec: LabSpec) -> str:
    """The address of the first node."""
    return spec.ring[0].address


@pytest.fixture
def settings(spec: LabSpec) -> SshSettings:
    """How the deploy user reaches the nodes."""
    return SshSettings(
        port=SSH_PORT,
        known_hosts=spec.ssh / "known_hosts",
        private_key=spec.ssh / "deploy",
        certificate=spec.ssh / "deploy-cert.pub",
    )


@pytest.fixture
async def pool(settings: SshSettings) -> AsyncIterator[HostPool]:
    """A pool that is closed at the end."""
    pool = HostPool(settings)
    yield pool
    await pool.close()


@pytest.fixture
def node_home(spec: LabSpec) -> Path:
    """The folder of the first node."""
    return spec.ring[0].home


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter; pytest's own are for one user only."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=["slots", "in-place"])
def layout(request: pytest.FixtureRequest) -> Layout:
    chosen: Layout = request.param
    return chosen


@pytest.fixture
def node(tmp_path: Path, layout: Layout) -> Node:
    return make_node(tmp_path / "node", layout)


@pytest.fixture(params=["dash", "bash"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> LocalShell:
    program = shutil.which(request.param)
    if program is None:
        pytest.skip(f"{request.param} is not installed")
    return LocalShell(tmp_path, shell=program)
