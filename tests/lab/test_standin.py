"""The stand-in by itself: what a driver meets, what its service manager sees, and when its stores are read."""

import os
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cassandra import InvalidRequest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.policies import WhiteListRoundRobinPolicy
from cassandra.protocol import SyntaxException

from lab.authority import Authority, write_file
from lab.ring import restart_node, service, view, wait_up
from lab.spec import LabSpec, NodeSpec
from lab.standin import frames
from lab.standin.files import SHOWN
from sealring.cassandra.operate import reload_tls
from sealring.hosts.shell import load_script
from tests.lab.ring_bench import Bench, install, material, restored

pytestmark = pytest.mark.timeout(600)
STAND_IN = pytest.mark.parametrize("ring", ["stand-in"], indirect=True)
ANY = pytest.mark.parametrize(
    "ring", [pytest.param("5.0", marks=[pytest.mark.ring, pytest.mark.long]), "stand-in"], indirect=True
)


def client(spec: LabSpec) -> ssl.SSLContext:
    folder = spec.authority / "client"
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


@contextmanager
def session(spec: LabSpec, **how: Any) -> Iterator[Session]:
    """A driver as an application has it: it reads the schema, the tokens and the peers."""
    first = spec.ring[0].address
    profile = ExecutionProfile(load_balancing_policy=WhiteListRoundRobinPolicy([first]), request_timeout=60)
    profiles = {EXEC_PROFILE_DEFAULT: profile}
    patient = {"connect_timeout": 60, "control_connection_timeout": 60}
    cluster = Cluster([first], ssl_context=client(spec), execution_profiles=profiles, **patient, **how)
    try:
        yield cluster.connect()
    finally:
        cluster.shutdown()


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.05)


def systemctl(node: NodeSpec, *words: str) -> dict[str, str]:
    """What the node's own tool prints."""
    done = subprocess.run([node.bin / "systemctl", *words], capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def log(node: NodeSpec) -> str:
    return (node.logs / "system.log").read_text()


@STAND_IN
def test_a_driver_as_applications_have_it_reads_ring_and_schema(whole_ring: LabSpec) -> None:
    with session(whole_ring) as asked:
        assert asked.cluster.protocol_version == 5
        hosts = asked.cluster.metadata.all_hosts()
        assert {(h.address, h.datacenter, h.rack) for h in hosts} == {
            (n.address, n.datacenter, n.rack) for n in whole_ring.ring
        }
        assert all(host.release_version == "5.0.9" for host in hosts)
        assert "system_auth" in asked.cluster.metadata.keyspaces
        prepared = asked.prepare("SELECT peer, tokens FROM system.peers_v2")
        assert {row.peer for row in asked.execute(prepared)} == {n.address for n in whole_ring.ring[1:]}
        own = asked.execute("SELECT driver_name, ssl_enabled, protocol_version FROM system_views.clients").all()
        assert ("Apache Cassandra Python Driver", True, 5) in own


@STAND_IN
def test_an_older_protocol_is_spoken_too(whole_ring: LabSpec) -> None:
    with session(whole_ring, protocol_version=4) as asked:
        (row,) = asked.execute("SELECT * FROM system.local WHERE key='local'")
        assert (row.cluster_name, row.rpc_address) == ("lab", whole_ring.ring[0].address)
        (row,) = asked.execute(asked.prepare("SELECT key FROM system.local"))
        assert row.key == "local"


@STAND_IN
def test_what_it_cannot_answer_is_an_error(whole_ring: LabSpec) -> None:
    with session(whole_ring) as asked:
        for statement in ("SELECT * FROM system.nothing", "SELECT * FROM no.table", "SELECT nothing FROM system.local"):
            with pytest.raises(InvalidRequest):
                asked.execute(statement)
        with pytest.raises(SyntaxException):
            asked.execute("INSERT INTO app.data (key) VALUES (1)")


@STAND_IN
def test_what_a_look_asks_of_systemctl_is_answered_as_the_service_manager_does(whole_ring: LabSpec) -> None:
    assert f"systemctl show -p {SHOWN} " in load_script("status"), "else every look takes the long way"
    node = whole_ring.ring[0]
    quickly = systemctl(node, "show", "-p", SHOWN, "cassandra")
    asked = systemctl(node, "show", *(word for name in SHOWN.split(",") for word in ("-p", name)), "cassandra")
    assert quickly == asked
    assert asked["MainPID"] == service(node)["MainPID"]
    assert systemctl(node, "show", "-p", SHOWN, "another")["LoadState"] == "not-found"


def test_a_long_answer_takes_several_segments_and_a_broken_one_is_noticed() -> None:
    message = os.urandom(3 * frames.SEGMENT_BYTES // 2)
    sent = list(frames.segments(message))
    assert len(sent) == 2
    buffer = bytearray(b"".join(sent))
    taken = [frames.take_segment(buffer), frames.take_segment(buffer)]
    assert b"".join(part or b"" for part in taken) == message
    assert frames.take_segment(buffer) is None
    for at in (0, 1000):
        broken = bytearray(sent[1])
        broken[at] ^= 1
        with pytest.raises(ValueError, match="broken"):
            frames.take_segment(broken)


@STAND_IN
async def test_a_killed_node_is_down_at_once_and_comes_back_as_another_generation(bench: Bench) -> None:
    first, victim = bench.spec.ring[0], bench.spec.ring[1]
    before, pid = service(victim), int(service(victim)["MainPID"])
    generations = await bench.generations(first.address)
    path = (victim.tls / "keystore.p12").resolve()
    good = path.read_bytes()
    write_file(path, b"", 0o600)  # it stays away until it was looked at
    try:
        os.kill(pid, signal.SIGKILL)
        until(lambda: service(victim)["ActiveState"] == "activating")
        assert view(first)[victim.address] == "DN"
        assert view(victim) == {}
        shown = systemctl(victim, "show", "-p", SHOWN, "cassandra")
        assert (shown["ActiveState"], shown["MainPID"]) == ("activating", "0")
    finally:
        write_file(path, good, 0o600)
    until(lambda: service(victim)["ActiveState"] == "active")
    wait_up(bench.spec)
    assert int(service(victim)["NRestarts"]) > int(before["NRestarts"])  # nobody started it
    assert int(service(victim)["MainPID"]) != pid
    after = await bench.generations(first.address)
    changed = {address for address in generations if generations[address] != after[address]}
    assert changed == {victim.address}


@STAND_IN
@pytest.mark.parametrize(
    ("file", "spoil", "words"),
    [
        ("keystore.p12", lambda path: path.unlink(), "NoSuchFileException"),
        ("keystore.p12", lambda path: write_file(path, path.read_bytes()[:-20], 0o600), "EOFException"),
        ("truststore.p12", lambda path: write_file(path, b"nothing like it", 0o600), "build trust manager"),
        (
            "../cassandra.yaml",
            lambda path: write_file(path, _wrong(path.read_bytes()), 0o600),
            "password was incorrect",
        ),
        ("../cassandra.yaml", lambda path: write_file(path, b"{", 0o600), "Invalid yaml"),
    ],
)
def test_a_node_that_cannot_start_crash_loops_until_it_can(
    whole_ring: LabSpec, file: str, spoil: Callable[[Any], None], words: str
) -> None:
    node = whole_ring.ring[2]
    path = (node.tls / file).resolve()
    good, told = path.read_bytes(), len(log(node))
    try:
        spoil(path)
        restart_node(whole_ring, node.name)
        until(lambda: (told := service(node))["ActiveState"] == "activating" and told["ExecMainStatus"] == "3")
        assert "Exception encountered during startup" in log(node)[told:]
        assert words in log(node)[told:]
        assert view(whole_ring.ring[0])[node.address] == "DN"
    finally:
        write_file(path, good, 0o600)
    wait_up(whole_ring)
    assert int(service(node)["NRestarts"]) > 0  # nobody started it


def _wrong(configuration: bytes) -> bytes:
    return configuration.replace(b"keystore_password: ", b"keystore_password: x")


@STAND_IN
async def test_a_file_counts_from_the_first_connection_on_even_without_a_reload(bench: Bench) -> None:
    node, spec = bench.nodes[1], bench.spec.ring[1]
    found = (await bench.inspect(node)).inventory
    by_kind = {listener.kind: listener for listener in found.listeners}
    shown = (await bench.look(by_kind["internode"])).leaf_sha256
    restart_node(bench.spec, spec.name)
    until(lambda: view(bench.spec.ring[0])[spec.address] == "UN")  # and no client has come yet
    async with restored(bench.spec, spec):
        fresh = install(bench.spec, spec, material(bench.spec, spec))
        assert (await bench.look(by_kind["native"])).leaf_sha256 == fresh
        assert (await bench.look(by_kind["internode"])).leaf_sha256 == shown
    async with bench.pool.host(node.address) as host:
        await reload_tls(host, bench.cluster, found)
    assert (await bench.look(by_kind["native"])).leaf_sha256 == shown


@ANY
async def test_a_connection_outlives_a_reload_and_new_ones_are_shown_the_new_leaf(bench: Bench) -> None:
    node, spec = bench.nodes[0], bench.spec.ring[0]
    found = (await bench.inspect(node)).inventory
    with session(bench.spec) as asked:
        fresh = install(bench.spec, spec, material(bench.spec, spec))
        async with bench.pool.host(node.address) as host:
            await reload_tls(host, bench.cluster, found)
        for listener in found.listeners:
            assert (await bench.look(listener)).leaf_sha256 == fresh
        assert asked.execute("SELECT key FROM system.local").one().key == "local"


@STAND_IN
async def test_nodes_that_stop_trusting_each_other_part_at_the_next_restart_and_not_before(bench: Bench) -> None:
    first, second, third = bench.spec.ring
    stranger = Authority.open(bench.spec.authority / "stranger", "stranger")
    node = bench.nodes[0]
    found = (await bench.inspect(node)).inventory
    async with restored(bench.spec, first):
        install(bench.spec, first, material(bench.spec, first, stranger))
        async with bench.pool.host(node.address) as host:
            await reload_tls(host, bench.cluster, found)
        assert set(view(second).values()) == {"UN"}  # what stands, stands: nothing is to be seen (measured)
        restart_node(bench.spec, second.name)
        until(lambda: second.address in view(second))
        assert (view(second)[first.address], view(first)[second.address]) == ("DN", "DN")
        assert set(view(third).values()) == {"UN"}
    async with bench.pool.host(node.address) as host:
        await reload_tls(host, bench.cluster, found)
    wait_up(bench.spec)
