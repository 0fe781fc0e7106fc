"""The room `sealring.cassandra` on real rings of older Cassandras."""

import pytest

from lab.authority import write_file
from sealring.cassandra.observe import observe_ring
from sealring.cassandra.operate import reload_tls
from sealring.cassandra.ring_findings import ring_findings
from sealring.models.evidence import Verdict, worst
from tests.lab.ring_bench import Bench, install, material, restored

pytestmark = [pytest.mark.long, pytest.mark.ring, pytest.mark.timeout(600)]


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
