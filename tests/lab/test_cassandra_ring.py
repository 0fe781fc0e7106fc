"""The room `sealring.cassandra` on the real ring and its stand-in: seen, probed, reloaded, restarted, at fault."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from lab.authority import Authority, write_file
from lab.ring import start_node, stop_node, store_password, wait_up
from lab.spec import STAND_IN
from sealring.cassandra.back import Return, wait_back
from sealring.cassandra.cql import conversation, ours
from sealring.cassandra.inventory import Inspection, restart_because
from sealring.cassandra.observe import observe_ring
from sealring.cassandra.operate import drain, reload_tls, restart
from sealring.cassandra.probe import judge
from sealring.cassandra.ring_findings import ring_findings
from sealring.cassandra.work import read_work
from sealring.errors import SealringError
from sealring.hosts.ssh import Host
from sealring.models.cluster import NodeRef
from sealring.models.evidence import Finding, Verdict, worst
from tests.lab.ring_bench import Bench, install, material, restored

# The stand-in must not be told from the ring.
RINGS = [pytest.param("5.0", marks=[pytest.mark.ring, pytest.mark.long]), "stand-in"]
pytestmark = [pytest.mark.timeout(600), pytest.mark.parametrize("ring", RINGS, indirect=True)]


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


async def test_a_ring_tells_our_connections_from_those_of_clients(bench: Bench) -> None:
    async with conversation(bench.cluster.cql, bench.nodes[0].address) as asked:
        rows = await asked.rows("SELECT * FROM system_views.clients") or ()
        assert any(map(ours, rows))
        assert (await read_work(asked)).clients == ()


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
    hurried = bench.cluster.service.model_copy(
        update={"start_timeout": timedelta(seconds=5 if bench.spec.cassandra == STAND_IN else 60)}
    )
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
