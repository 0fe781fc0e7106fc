"""The room `sealring.cassandra` on the real ring: seen, probed, reloaded, restarted, and told what is wrong with it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from lab.authority import LOOPBACK, Authority, Identity, pkcs12_stores, write_file
from lab.engine import configure_engine
from lab.node_config import STORES, served_stores
from lab.ring import start_node, stop_node, store_password, wait_up
from lab.spec import LabSpec, NodeSpec
from sealring.cassandra.back import Return, wait_back
from sealring.cassandra.inventory import Inspection, inventory, restart_because
from sealring.cassandra.observe import observe_ring
from sealring.cassandra.operate import drain, reload_tls, restart
from sealring.cassandra.probe import ClientIdentity, judge, probe
from sealring.cassandra.ring_findings import ring_findings
from sealring.errors import SealringError
from sealring.hosts.ssh import Host, HostPool
from sealring.models.cluster import ClusterFile, Listener, NodeRef
from sealring.models.evidence import Finding, Served, Verdict, worst
from sealring.pki.certificates import fingerprint, load_certificates

pytestmark = [pytest.mark.ring, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Bench:
    """A ring and what the engine knows of it."""

    spec: LabSpec
    cluster: ClusterFile
    pool: HostPool
    nodes: tuple[NodeRef, ...]

    def peers_of(self, node: NodeRef) -> tuple[NodeRef, ...]:
        return tuple(other for other in self.nodes if other != node)

    async def inspect(self, node: NodeRef) -> Inspection:
        async with self.pool.host(node.address) as host:
            return await inventory(host, self.cluster, node)

    async def look(self, listener: Listener, through: str = "", *, anonymous: bool = False) -> Served:
        cql = self.cluster.cql
        assert cql.certificate
        assert cql.private_key
        identity = None if anonymous else ClientIdentity(cql.certificate, cql.private_key)
        roots = load_certificates((self.spec.authority / "ca.crt").read_bytes(), "ca.crt")
        if not through:
            return await probe(listener, identity=identity, roots=roots)
        async with self.pool.host(through) as host:
            return await probe(listener, vantage=through, open=host.forward, identity=identity, roots=roots)


@pytest.fixture
async def bench(whole_ring: LabSpec) -> AsyncIterator[Bench]:
    configure_engine(whole_ring)
    cluster = ClusterFile.model_validate(yaml.safe_load(whole_ring.cluster_file.read_text()))
    pool = HostPool(cluster.ssh)
    view = await observe_ring(cluster, pool.host)
    yield Bench(whole_ring, cluster, pool, tuple(node.node for node in view.nodes))
    await pool.close()


def material(spec: LabSpec, node: NodeSpec, authority: Authority | None = None) -> Identity:
    return (authority or Authority.open(spec.authority)).issue([node.address, LOOPBACK])


def install(spec: LabSpec, node: NodeSpec, identity: Identity) -> str:
    """Put a new keystore on the node by rename; returns the leaf's fingerprint."""
    keystore, _ = pkcs12_stores(identity, Authority.open(spec.authority).trusted, store_password(spec))
    write_file(served_stores(spec, node) / STORES[0], keystore, 0o600)
    return fingerprint(x509.load_pem_x509_certificate(identity.certificate))


@asynccontextmanager
async def restored(spec: LabSpec, node: NodeSpec) -> AsyncIterator[Path]:
    """The node's keystore, put back at the end by rename."""
    path = served_stores(spec, node) / STORES[0]
    good = path.read_bytes()
    try:
        yield path
    finally:
        write_file(path, good, 0o600)


def failed(findings: tuple[Finding, ...]) -> set[str]:
    return {finding.check for finding in findings if finding.verdict is Verdict.FAIL}


async def start_over(bench: Bench, node: NodeRef, after: Callable[[Host, Return], Awaitable[None]]) -> None:
    """Restart a node as an activity does, and do something while it comes up."""
    found = (await bench.inspect(node)).inventory
    async with bench.pool.host(node.address) as host:
        await drain(host, bench.cluster)
        mark = await restart(host, bench.cluster, found)
        await after(host, Return(bench.cluster, node, found, bench.peers_of(node), mark))


async def test_every_host_is_inventoried(bench: Bench) -> None:
    for node, spec in zip(bench.nodes, bench.spec.ring, strict=True):
        inspection = await bench.inspect(node)
        found = inspection.inventory
        assert found.config_path == str(spec.conf / "cassandra.yaml")
        assert found.log_dir == str(spec.logs)
        assert found.pid > 0
        assert {(store.role, store.blocks, store.format) for store in found.stores} == {
            ("keystore", ("server", "client"), "PKCS12"),
            ("truststore", ("server", "client"), "PKCS12"),
        }
        assert {str(listener) for listener in found.listeners} == {
            f"internode {spec.address}:7000",
            f"native {spec.address}:9042",
        }
        assert (found.client_auth, found.endpoint_verification, found.drift) == (True, True, ())
        assert inspection.passwords.of(found.stores[0].path) == store_password(bench.spec)
        assert restart_because("5.0.9", inspection) == ()


async def test_the_ring_is_seen_from_two_racks(bench: Bench) -> None:
    view = await observe_ring(bench.cluster, bench.pool.host)
    places = {node.node.address: node.node.rack for node in view.nodes}
    assert [node.node.address for node in view.nodes] == [node.address for node in bench.spec.ring]
    assert len({places[observer] for observer in view.observers}) == 2
    assert all(node.up and node.normal and node.reload == "forced" for node in view.nodes)
    assert worst(ring_findings(view)) is Verdict.PASS


async def test_without_cql_nodetool_tells_the_same(bench: Bench) -> None:
    closed = bench.cluster.model_copy(update={"cql": bench.cluster.cql.model_copy(update={"port": 1})})
    view = await observe_ring(closed, bench.pool.host)
    assert view.source == "nodetool"
    assert len(view.observers) == 2
    by_cql = await observe_ring(bench.cluster, bench.pool.host)
    assert view.nodes == by_cql.nodes
    assert worst(ring_findings(view)) is Verdict.WARN


@pytest.mark.criterion("K5")
async def test_every_listener_shows_its_leaf_to_every_vantage(bench: Bench) -> None:
    for node in bench.nodes:
        for listener in (await bench.inspect(node)).inventory.listeners:
            seen = [await bench.look(listener, through) for through in ("", *(n.address for n in bench.nodes))]
            assert len({served.leaf_sha256 for served in seen}) == 1
            for served in seen:
                assert (served.trusted, served.accepted, served.problem) == (True, True, "")
                assert worst(judge(served, intended=served.leaf_sha256)) is Verdict.PASS


async def test_listeners_refuse_a_stranger_and_show_their_leaf_all_the_same(bench: Bench) -> None:
    for listener in (await bench.inspect(bench.nodes[0])).inventory.listeners:
        served = await bench.look(listener, anonymous=True)
        assert served.leaf_sha256
        assert served.accepted is False


async def test_a_reload_serves_the_new_leaf_and_a_bad_file_does_not_replace_it(bench: Bench) -> None:
    node, spec = bench.nodes[0], bench.spec.ring[0]
    found = (await bench.inspect(node)).inventory
    leaf = install(bench.spec, spec, material(bench.spec, spec))
    async with bench.pool.host(node.address) as host:
        applied = await reload_tls(host, bench.cluster, found)
        assert worst(applied.findings) is Verdict.PASS
        for listener in found.listeners:
            assert (await bench.look(listener)).leaf_sha256 == leaf
        async with restored(bench.spec, spec) as path:
            write_file(path, path.read_bytes()[:300], 0o600)
            applied = await reload_tls(host, bench.cluster, found)
            # Since 4.1.4 nodetool ends with 0 even so: only the log, and the next handshakes, tell.
            assert applied.findings[0].verdict is Verdict.FAIL
            for listener in found.listeners:
                assert (await bench.look(listener)).leaf_sha256 == leaf


async def test_a_node_that_is_down_is_seen_down_by_its_peers(bench: Bench) -> None:
    node, spec = bench.nodes[2], bench.spec.ring[2]
    stop_node(bench.spec, spec.name)
    view = await observe_ring(bench.cluster, bench.pool.host)
    assert [one.node.address for one in view.nodes if not one.up] == [node.address]
    assert node.address not in view.observers
    assert failed(ring_findings(view)) == {"ring.node-down"}
    through_nodetool = bench.cluster.model_copy(update={"cql": bench.cluster.cql.model_copy(update={"port": 1})})
    assert failed(ring_findings(await observe_ring(through_nodetool, bench.pool.host))) == {"ring.node-down"}
    found = await inventory_of_stopped(bench, node)
    assert found.inventory.pid == 0
    assert "Cassandra does not run" in restart_because("5.0.9", found)
    start_node(bench.spec, spec.name)
    wait_up(bench.spec)


async def inventory_of_stopped(bench: Bench, node: NodeRef) -> Inspection:
    found = await bench.inspect(node)
    assert found.inventory.config_path == str(bench.spec.ring[2].conf / "cassandra.yaml")
    return found


@pytest.mark.criterion("K6")
@pytest.mark.criterion("N1")
@pytest.mark.criterion("N2")
async def test_a_restart_drains_and_is_done_when_the_peers_say_so(bench: Bench) -> None:
    node, spec = bench.nodes[1], bench.spec.ring[1]
    before = (await bench.inspect(node)).inventory
    leaf = install(bench.spec, spec, material(bench.spec, spec))
    waited: list[str] = []

    async def until_back(host: Host, back: Return) -> None:
        applied = await wait_back(host, bench.pool.host, back, progress=waited.append)
        assert {finding.check for finding in applied.findings} == {"start.native", "join.peers"}
        assert worst(applied.findings) is Verdict.PASS
        after = (await bench.inspect(node)).inventory
        assert int(after.started_at) > int(before.started_at)

    await start_over(bench, node, until_back)
    assert waited
    assert "DRAINED" in (spec.logs / "system.log").read_text()
    for listener in before.listeners:
        assert (await bench.look(listener)).leaf_sha256 == leaf


@pytest.mark.criterion("K4")
@pytest.mark.criterion("M1")
async def test_a_node_that_cannot_load_its_stores_is_told_at_once(bench: Bench) -> None:
    node, spec = bench.nodes[1], bench.spec.ring[1]

    async def fails(host: Host, back: Return) -> None:
        with pytest.raises(SealringError) as caught:
            await wait_back(host, bench.pool.host, back)
        assert caught.value.code == "start.tls"
        assert "Failed to initialize SSL" in caught.value.message
        assert not caught.value.retryable
        assert (await bench.inspect(node)).inventory.log_dir == str(spec.logs)  # of a node that crash-loops

    async with restored(bench.spec, spec) as path:
        write_file(path, path.read_bytes()[:300], 0o600)
        await start_over(bench, node, fails)
    # The service manager starts it again by itself; nobody knows the log's mark any more.
    found = (await bench.inspect(node)).inventory
    async with bench.pool.host(node.address) as host:
        await wait_back(host, bench.pool.host, Return(bench.cluster, node, found, bench.peers_of(node)))


@pytest.mark.criterion("M5")
async def test_a_node_that_its_peers_do_not_trust_is_not_back(bench: Bench, tmp_path: Path) -> None:
    node, spec = bench.nodes[2], bench.spec.ring[2]
    hurried = bench.cluster.service.model_copy(update={"start_timeout": timedelta(seconds=60)})
    impatient = bench.cluster.model_copy(update={"service": hurried})

    async def never_joins(host: Host, back: Return) -> None:
        native = next(one for one in back.inventory.listeners if one.kind == "native")
        while not (await bench.look(native)).accepted:  # noqa: ASYNC110 - how long a start takes is the machine's business
            await asyncio.sleep(1)
        lonely = Return(impatient, back.node, back.inventory, back.peers, back.since)
        with pytest.raises(SealringError) as caught:
            await wait_back(host, bench.pool.host, lonely)
        assert caught.value.code == "join.timeout"
        assert "does not see it up" in caught.value.message

    async with restored(bench.spec, spec):
        install(bench.spec, spec, material(bench.spec, spec, Authority.open(tmp_path, "stranger")))
        await start_over(bench, node, never_joins)

    async def joins(host: Host, back: Return) -> None:
        await wait_back(host, bench.pool.host, back)

    await start_over(bench, node, joins)


@pytest.mark.parametrize(("ring", "reload"), [("4.0", "by-mtime"), ("4.1", "forced")], indirect=["ring"])
async def test_older_lines_are_observed_and_reloaded(bench: Bench, reload: str) -> None:
    view = await observe_ring(bench.cluster, bench.pool.host)
    assert view.source == "cql"
    assert len(view.observers) == 2
    assert all(node.up and node.normal and node.reload == reload for node in view.nodes)
    assert worst(ring_findings(view)) is Verdict.PASS
    node, spec = bench.nodes[0], bench.spec.ring[0]
    found = (await bench.inspect(node)).inventory
    assert found.drift == ()
    leaf = install(bench.spec, spec, material(bench.spec, spec))
    async with bench.pool.host(node.address) as host:
        applied = await reload_tls(host, bench.cluster, found)
        assert applied.findings[0].verdict is not Verdict.FAIL
        for listener in found.listeners:
            served = await bench.look(listener)
            assert (served.leaf_sha256, served.accepted) == (leaf, True)
        async with restored(bench.spec, spec) as path:
            write_file(path, path.read_bytes()[:300], 0o600)
            applied = await reload_tls(host, bench.cluster, found)
            # 4.0 ends with 2 and says why; 4.1.4 and later end with 0, and log it.
            assert applied.findings[0].verdict is Verdict.FAIL
            assert (await bench.look(found.listeners[0])).leaf_sha256 == leaf
