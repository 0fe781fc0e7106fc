"""sealring's own runs of the race: whole rollouts on as many hosts, with a stand-in for Cassandra behind each.

The stand-in (`lab.standin`) speaks TLS and CQL for all nodes, so that the unmodified engine can plan, reload and prove.
Its cost is the ring's and not the controller's; on a machine that everything shares it makes the rollout slower.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import yaml

from bench.engine import Engine, engine
from bench.measure import Measured
from bench.nodetool import calls, count_calls
from bench.rollouts import measured_rollout
from lab import hosts, lifecycle, ring, tools
from lab.node_config import STORES
from lab.spec import NET, STAND_IN, TEMPORAL_PORT, LabSpec, NodeSpec

FIRST = 4
_NET = NET + 4  # the hosts of the other tools are below, a checkout has eight nets
CLUSTER: Mapping[str, Mapping[str, Any]] = {
    "ssh": {"max_logins": 32},
    "rollout": {"strategy": "zone-aware", "max_parallel": 64, "settle": 0},
}
"""What an operator of a large fleet would set; all else is as shipped. A wait is no work: `settle` is left out."""


@contextmanager
def sealring(nodes: int) -> Iterator[Callable[[], Measured]]:
    """Everything up: ring, hosts, engine. Yields what runs one rollout of all nodes."""
    root = tools.cache() / "bench" / "own"
    spec = LabSpec(root, cassandra=STAND_IN, nodes=nodes, first=FIRST, net=_NET, temporal_port=TEMPORAL_PORT + 3)
    shutil.rmtree(root, ignore_errors=True)
    try:
        ring.prepare(spec)
        for node in spec.ring:
            four_stores(node)
        count_calls(spec)
        ring.start_ring(spec)
        hosts.start_hosts(spec, tools.sshd(print))
        with engine(spec, CLUSTER) as running:
            yield partial(roll_out, running)
    finally:
        lifecycle.down(spec)
        shutil.rmtree(root, ignore_errors=True)


def roll_out(running: Engine) -> Measured:
    """New material for every node, brought there and proven; then looked at on the disks.

    Raises:
        AssertionError: a host is not as it should be.
    """
    spec = running.spec
    material = running.deliver()
    before = {node.name: _in_force(node) for node in spec.ring}
    called = {node.name: calls(node).count("reloadssl") for node in spec.ring}
    words = ("rollout", "start", "lab", "-m", str(material), "--json")
    measured, report = measured_rollout(running, *words)
    assert len(report.nodes) == len(spec.ring), f"{len(report.nodes)} nodes in the report"
    for node in spec.ring:
        there = {_digest(path.read_bytes()) for path in node.tls.rglob("*") if path.is_file()}
        same = before[node.name] & _in_force(node)
        assert not same, f"{node.name}: {len(same)} files in force are still the old ones"
        lost = before[node.name] - there
        assert not lost, f"{node.name}: {len(lost)} of the old files are kept nowhere"
        reloads = calls(node).count("reloadssl") - called[node.name]
        assert reloads == 1, f"{node.name}: reload was called {reloads} times"
    return measured


def four_stores(node: NodeSpec) -> None:
    """Give native connections stores of their own, so that a generation is four files."""
    file = node.conf / "cassandra.yaml"
    content = yaml.safe_load(file.read_text())
    for key, name in zip(("keystore", "truststore"), STORES, strict=True):
        content["client_encryption_options"][key] = str(node.tls / f"client-{name}")
        shutil.copy(node.tls / name, node.tls / f"client-{name}")
    file.write_text(yaml.safe_dump(content, sort_keys=False))


def _in_force(node: NodeSpec) -> set[str]:
    return {_digest((node.tls / f"{block}{name}").read_bytes()) for block in ("", "client-") for name in STORES}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
