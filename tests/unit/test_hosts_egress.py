"""What must be open in the network, from a cluster file and a view of the ring."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from activities.cluster import ClusterActivities
from sealring.hosts.egress import egress
from sealring.models.cluster import ClusterFile, Listener, NodeRef
from sealring.models.egress import Egress
from sealring.models.node import ClusterView, NodeView
from sealring.models.rollout import ClusterQuestion
from starters.cli import app
from starters.exits import Exit

CLUSTER = ClusterFile.model_validate(
    {
        "name": "prod",
        "contact_points": ["10.0.1.1"],
        "ssh": {"port": 2200, "hosts": {"10.0.1.2": {"host": "192.0.2.2", "port": 22}}},
        "cql": {"port": 9142},
    }
)


def node(last: int, *ports: tuple[str, int]) -> NodeView:
    """A node whose internode address is in a network of its own."""
    address, internode = f"10.0.1.{last}", f"10.9.1.{last}"
    ref = NodeRef(host_id=f"h{last}", address=address, internode_address=internode, datacenter="dc1", rack="r1")
    found = tuple(
        Listener.model_validate({"kind": kind, "address": internode if kind == "internode" else address, "port": port})
        for kind, port in ports
    )
    return NodeView(node=ref, version="5.0.9", up=True, normal=True, listeners=found)


def view(*nodes: NodeView) -> ClusterView:
    return ClusterView(cluster="prod", observed_at=datetime.now(UTC), observers=(), nodes=nodes)


@pytest.mark.criterion("Q7")
def test_every_target_of_every_worker_is_named_once_and_nothing_else() -> None:
    seen = view(node(1, ("internode", 7000), ("native", 9142)), node(2, ("internode", 7000), ("native", 9142)))
    found = egress(CLUSTER, seen, temporal="temporal.internal:7233")
    assert [(t.origin, t.host, t.port, t.purpose) for t in found.targets] == [
        ("control worker", "temporal.internal", 7233, "Temporal"),
        ("deploy worker", "10.0.1.1", 2200, "SSH"),
        ("deploy worker", "10.0.1.1", 9142, "CQL, handshakes on the native port"),
        ("deploy worker", "10.0.1.2", 9142, "CQL, handshakes on the native port"),
        ("deploy worker", "10.9.1.1", 7000, "handshakes on the internode port"),
        ("deploy worker", "10.9.1.2", 7000, "handshakes on the internode port"),
        ("deploy worker", "192.0.2.2", 22, "SSH"),
        ("deploy worker", "temporal.internal", 7233, "Temporal"),
        ("nodes", "10.0.1.1", 9142, "handshakes on the native port"),
        ("nodes", "10.0.1.2", 9142, "handshakes on the native port"),
        ("nodes", "10.9.1.1", 7000, "handshakes on the internode port"),
        ("nodes", "10.9.1.2", 7000, "handshakes on the internode port"),
    ]
    assert found.permit_open == ("10.0.1.1:9142", "10.0.1.2:9142", "10.9.1.1:7000", "10.9.1.2:7000")
    assert found.unread == ()


@pytest.mark.criterion("Q7")
def test_bastions_and_the_vault_are_targets_too() -> None:
    settings = {
        "name": "prod",
        "contact_points": ["10.0.1.1"],
        "ssh": {"jump": [{"host": "192.0.2.1", "port": 2222}, {"host": "10.0.0.1"}]},
        "vault": {"address": "https://vault.internal", "token_file": "/run/token"},
    }
    found = egress(ClusterFile.model_validate(settings), view(node(1)), temporal="temporal.internal:7233")
    assert {(t.origin, t.host, t.port) for t in found.targets if t.purpose in ("SSH", "vault")} == {
        ("deploy worker", "192.0.2.1", 2222),
        ("bastions", "10.0.0.1", 22),
        ("bastions", "10.0.1.1", 22),
        ("deploy worker", "vault.internal", 443),
    }


def told(monkeypatch: pytest.MonkeyPatch, folder: Path, seen: ClusterView, *words: str) -> tuple[int, str]:
    """`sealring cluster egress` with a ring that looks like this: exit code and answer."""

    async def observed(self: ClusterActivities, question: ClusterQuestion) -> ClusterView:
        return seen

    monkeypatch.setattr(ClusterActivities, "observe_cluster", observed)
    (folder / "prod.yaml").write_text("{name: prod, contact_points: [10.0.1.1]}")
    settings = {"SEALRING_CLUSTERS": str(folder), "SEALRING_TEMPORAL_ADDRESS": "temporal.internal:7233"}
    done = CliRunner().invoke(app, ["cluster", "egress", "prod", *words], env=settings)
    return done.exit_code, done.stdout


@pytest.mark.criterion("Q7")
def test_the_command_prints_it_for_people_and_for_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = view(node(1, ("internode", 7000), ("native", 9042)))
    code, shown = told(monkeypatch, tmp_path, seen)
    assert code == 0
    assert "PermitOpen 10.0.1.1:9042 10.9.1.1:7000" in shown
    assert re.search(r"deploy worker +10.0.1.1 +22 +SSH", shown)
    code, shown = told(monkeypatch, tmp_path, seen, "--json")
    assert code == 0
    assert Egress.model_validate_json(shown).targets[0].host == "temporal.internal"
    code, shown = told(monkeypatch, tmp_path, view(node(1)))
    assert code == Exit.REFUSED
    assert "host not read: 10.0.1.1" in shown


def test_a_node_that_was_not_read_is_named() -> None:
    found = egress(CLUSTER, view(node(1, ("native", 9042)), node(2)), temporal="127.0.0.1:7233")
    assert found.unread == ("10.0.1.2",)
    assert ("192.0.2.2", 22) in {(t.host, t.port) for t in found.targets}, "SSH is needed to read it"


def test_an_ipv6_address_is_written_as_sshd_reads_it() -> None:
    ref = NodeRef(host_id="h", address="fd00::1", internode_address="fd00::1", datacenter="dc1", rack="r1")
    seen = NodeView(
        node=ref,
        version="5.0.9",
        up=True,
        normal=True,
        listeners=(Listener(kind="native", address="fd00::1", port=9042),),
    )
    found = egress(CLUSTER, view(seen), temporal="[fd00::9]:7233")
    assert found.permit_open == ("[fd00::1]:9042",)
    assert found.targets[0].host == "fd00::9"
