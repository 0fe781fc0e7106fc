"""The real ring: it is what it claims, its nodes behave under their service manager, and `down` leaves nothing."""

import os
import shutil
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

import pytest
from cryptography import x509

from lab import faults, lifecycle, state, tools
from lab import ring as life
from lab.authority import Authority, client_identity
from lab.spec import INTERNODE_PORT, NATIVE_PORT, LabSpec, NodeSpec
from tests.lab.conftest import TEMPORAL_PORT, fresh, processes_below

pytestmark = [pytest.mark.ring, pytest.mark.timeout(900)]
T = TypeVar("T")


def until(ask: Callable[[], T], good: Callable[[T], bool], timeout: float = 180.0) -> T:
    end = time.monotonic() + timeout
    while not good(answer := ask()):
        assert time.monotonic() < end, f"still {answer!r} after {timeout} s"
        time.sleep(0.1)
    return answer


def served(spec: LabSpec, node: NodeSpec, port: int, *, with_certificate: bool = True) -> x509.Certificate:
    """The leaf that the node serves to a client of the lab."""
    client = client_identity(spec, Authority.open(spec.authority))
    context = ssl.create_default_context(cafile=client / "ca.crt")
    if with_certificate:
        context.load_cert_chain(client / "tls.crt", client / "tls.key")
    with (
        socket.create_connection((node.address, port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname=node.address) as connection,
    ):
        if port == NATIVE_PORT:  # TLS 1.3: a refused client learns of it when it reads
            connection.sendall(bytes.fromhex("040000000500000000"))
            if not connection.recv(1):
                raise ssl.SSLError("closed")
        leaf = connection.getpeercert(binary_form=True)
    assert leaf is not None
    return x509.load_der_x509_certificate(leaf)


def pid(node: NodeSpec) -> int:
    return int(life.service(node).get("MainPID", 0))


def test_every_node_is_up_to_every_other_and_has_its_own_rack(ring: LabSpec) -> None:
    for node in ring.ring:
        assert life.view(node) == {other.address: "UN" for other in ring.ring}
    nodes = life.status(ring)
    assert [(n.service, n.native, n.seen) for n in nodes] == [("active", True, "UN")] * 3
    assert {n.rack for n in nodes} == {"rack1", "rack2", "rack3"}


@pytest.mark.parametrize("port", [NATIVE_PORT, INTERNODE_PORT])
def test_every_listener_serves_the_leaf_of_its_node(ring: LabSpec, port: int) -> None:
    for node in ring.ring:
        leaf = served(ring, node, port)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert node.address in [str(address) for address in names.get_values_for_type(x509.IPAddress)]


def test_a_client_without_a_certificate_is_refused(ring: LabSpec) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        served(ring, ring.ring[0], NATIVE_PORT, with_certificate=False)


def test_the_process_tells_where_its_files_are(ring: LabSpec) -> None:
    for node in ring.ring:
        words = Path(f"/proc/{pid(node)}/cmdline").read_bytes().split(b"\0")
        assert f"-Dcassandra.config={(node.conf / 'cassandra.yaml').as_uri()}".encode() in words
        assert f"-Dcassandra.logdir={node.logs}".encode() in words


def test_restart_gives_a_new_process_that_comes_back(whole_ring: LabSpec) -> None:
    node = whole_ring.ring[1]
    before = pid(node)
    life.restart_node(whole_ring, "n2")
    assert pid(node) not in (0, before)
    assert state.start_ticks(before) is None
    life.wait_up(whole_ring)
    assert life.service(node)["NRestarts"] == "0"


def test_a_killed_node_is_brought_back_by_its_service_manager(whole_ring: LabSpec) -> None:
    node = whole_ring.ring[2]
    before, restarts = pid(node), int(life.service(node)["NRestarts"])
    life.kill_node(whole_ring, "n3")
    until(lambda: pid(node), lambda now: now not in (0, before))
    assert int(life.service(node)["NRestarts"]) == restarts + 1
    life.wait_up(whole_ring)


@pytest.mark.long
def test_a_node_with_a_corrupt_keystore_crash_loops_until_it_is_healed(whole_ring: LabSpec) -> None:
    node = whole_ring.ring[0]
    faults.corrupt(node, "keystore.p12")
    try:
        life.restart_node(whole_ring, "n1")  # no error: a service manager's word is not proof
        until(lambda: int(life.service(node)["NRestarts"]), lambda restarts: restarts >= 2)
        until(lambda: life.view(whole_ring.ring[1])[node.address], lambda seen: seen == "DN")
    finally:
        faults.corrupt(node, "keystore.p12")
    life.wait_up(whole_ring)


def test_a_stopped_node_stays_stopped(whole_ring: LabSpec) -> None:
    life.stop_node(whole_ring, "n2")
    status = {node.name: node for node in life.status(whole_ring)}
    assert (status["n2"].service, status["n2"].pid, status["n2"].native) == ("inactive", 0, False)
    life.start_node(whole_ring, "n2")
    life.wait_up(whole_ring)


@pytest.fixture
def small() -> Iterator[LabSpec]:
    """A lab of one node, not up, in the layout that the shared ring does not have."""
    spec = LabSpec(
        tools.cache() / "test-ring" / "small", nodes=1, first=41, layout="slots", temporal_port=TEMPORAL_PORT + 3
    )
    fresh(spec)
    yield spec
    lifecycle.down(spec)
    shutil.rmtree(spec.root)


@pytest.mark.long
def test_down_leaves_nothing_even_after_crashes(small: LabSpec) -> None:
    said: list[str] = []
    lifecycle.up(small, said.append)
    node = small.ring[0]
    assert any("answers clients" in line for line in said)
    assert set(state.alive(small.root)) == {"supervisor:n1", "sshd", "engine"}
    assert served(small, node, NATIVE_PORT).subject.rfc4514_string() == "CN=n1"
    java = pid(node)
    os.kill(state.alive(small.root)["supervisor:n1"], signal.SIGKILL)
    until(lambda: state.start_ticks(java), lambda ticks: ticks is None, timeout=5)  # it takes its node along
    lifecycle.down(small)
    assert processes_below(small.root) == []
    lifecycle.up(small, engine=False)  # the same data, the same stores
    assert served(small, node, NATIVE_PORT).subject.rfc4514_string() == "CN=n1"


@pytest.mark.long
@pytest.mark.parametrize("version", ["4.1", "4.0"])
def test_older_versions_form_a_ring_too(version: Literal["4.1", "4.0"]) -> None:
    spec = LabSpec(tools.cache() / "test-ring" / f"old-{version}", cassandra=version, datacenters=2, first=45)
    fresh(spec)
    try:
        lifecycle.up(spec, engine=False)
        assert {n.datacenter for n in life.status(spec)} == {"dc1", "dc2"}
        assert set(life.view(spec.ring[2]).values()) == {"UN"}
        assert served(spec, spec.ring[2], INTERNODE_PORT).subject.rfc4514_string() == "CN=n3"
    finally:
        lifecycle.down(spec)
    assert processes_below(spec.root) == []
