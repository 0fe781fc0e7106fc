"""What nodes print and answer, as members, opinions and findings; versions; the log."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities import verify
from sealring.cassandra import observe
from sealring.cassandra.members import (
    Account,
    Member,
    Opinion,
    Pulse,
    members_from_gossip,
    members_from_tables,
    newcomers,
    opinion,
    opinions_from_status,
    pulses,
)
from sealring.cassandra.nodetool import parse_gossip, parse_status
from sealring.cassandra.ring_findings import ring_findings
from sealring.cassandra.system_log import of_last_start, reload_outcome, start_failure
from sealring.cassandra.versions import parse_version, reload_support
from sealring.errors import refuse
from sealring.models.cluster import ClusterFile, NodeRef
from sealring.models.evidence import Verdict
from sealring.models.node import ClusterView, NodeView

# Printed by Cassandra 5.0.9, shortened.
STATUS = """Datacenter: dc1
===============
Status=Up/Down
|/ State=Normal/Leaving/Joining/Moving
--  Address     Load        Tokens  Owns (effective)  Host ID                               Rack
UN  127.0.0.51  79.78 KiB   1       66.7%             91418818-b384-4e42-bf2b-9263fd481f3d  rack1
DN  127.0.0.52  ?           1       66.7%             0585a31a-df1c-4e90-87cc-aca845075cb2  rack2

Datacenter: dc2
===============
Status=Up/Down
|/ State=Normal/Leaving/Joining/Moving
--  Address     Load        Tokens  Owns (effective)  Host ID                               Rack
UJ  2001:db8::1  138.94 KiB  1       ?                 7ff77ee3-f635-451a-a35b-b95fc4efcb4c  rack3

"""
GOSSIP = """/127.0.0.51
  generation:1795254275
  heartbeat:63
  STATUS:29:NORMAL,-9223372036854775808
  LOAD:32:147406.0
  SCHEMA:23:d03783d7-b468-3c1a-82f1-8e30b2edde8b
  DC:12:dc1
  RACK:14:rack1
  RELEASE_VERSION:5:5.0.9
  HOST_ID:2:91418818-b384-4e42-bf2b-9263fd481f3d
  NATIVE_ADDRESS_AND_PORT:3:10.0.0.51:9042
  STATUS_WITH_PORT:28:NORMAL,-9223372036854775808
  TOKENS:27:<hidden>
host.example/2001:db8::1
  generation:1795254276
  heartbeat:2147483647
  RELEASE_VERSION:5:4.0.18
  HOST_ID:2:7ff77ee3-f635-451a-a35b-b95fc4efcb4c
  RPC_ADDRESS:3:2001:db8::2
  STATUS:16:BOOT,1
/127.0.0.99
  generation:1
  heartbeat:1
  HOST_ID:2:00000000-0000-0000-0000-000000000009
  STATUS_WITH_PORT:28:LEFT,1,2
"""
# Written by Cassandra 5.0.9 with a keystore cut short, stack frames left out.
TLS_FAILURE = """\
INFO  [main] 2026-11-21 09:56:25,983 YamlConfigurationLoader.java:103 - Configuration location: file:/c.yaml
ERROR [main] 2026-11-21 09:56:28,132 CassandraDaemon.java:887 - Exception encountered during startup
org.apache.cassandra.exceptions.ConfigurationException: Failed to initialize SSL
\tat org.apache.cassandra.config.DatabaseDescriptor.applySslContext(DatabaseDescriptor.java:1284)
Caused by: javax.net.ssl.SSLException: failed to build key manager store for secure connections
\t... 6 common frames omitted
Caused by: java.io.EOFException: null
\t... 11 common frames omitted
"""
NEXT_START = (
    "INFO  [main] 2026-11-21 09:56:31,349 YamlConfigurationLoader.java:103 - Configuration location: file:/c/x.yaml\n"
)
ME = NodeRef(host_id="a", address="10.0.0.1", internode_address="10.0.0.1", datacenter="dc1", rack="r1")


def test_nodetool_status_is_read_for_all_datacenters() -> None:
    lines = parse_status(STATUS)
    assert [(line.address, line.up, line.normal, line.datacenter, line.rack) for line in lines] == [
        ("127.0.0.51", True, True, "dc1", "rack1"),
        ("127.0.0.52", False, True, "dc1", "rack2"),
        ("2001:db8::1", True, False, "dc2", "rack3"),
    ]
    assert lines[1].host_id == "0585a31a-df1c-4e90-87cc-aca845075cb2"
    assert opinions_from_status(lines)["127.0.0.52"] == Opinion(up=False, normal=True)
    assert parse_status("nodetool: Failed to connect to '127.0.0.1:7199'") == ()


def test_nodetool_gossipinfo_gives_members_without_those_that_left() -> None:
    first, second = members_from_gossip(parse_gossip(GOSSIP))
    assert first.node == NodeRef(
        host_id="91418818-b384-4e42-bf2b-9263fd481f3d",
        address="10.0.0.51",
        internode_address="127.0.0.51",
        datacenter="dc1",
        rack="rack1",
    )
    assert first.version == "5.0.9"
    assert first.schema_version == "d03783d7-b468-3c1a-82f1-8e30b2edde8b"
    assert (second.node.internode_address, second.node.address) == ("2001:db8::1", "2001:db8::2")
    assert parse_gossip(GOSSIP)[1].heartbeat == 2147483647


def test_members_from_the_system_tables() -> None:
    common = {"data_center": "dc1", "rack": "r1", "release_version": "5.0.9"}
    schema, other = UUID(int=7), UUID(int=8)
    local = common | {"host_id": UUID(int=1), "broadcast_address": "10.0.0.1", "rpc_address": "10.9.0.1"}
    peer = common | {"host_id": UUID(int=2), "peer": "10.0.0.2", "native_address": "10.9.0.2", "schema_version": other}
    unheard = common | {"host_id": None, "peer": "10.0.0.3", "native_address": None, "schema_version": None}
    members = members_from_tables(local | {"schema_version": schema}, (peer, unheard))
    assert [(m.node.address, m.node.internode_address, m.schema_version) for m in members] == [
        ("10.9.0.1", "10.0.0.1", str(schema)),
        ("10.9.0.2", "10.0.0.2", str(other)),
    ]


def gossip_row(address: str, **changes: Any) -> dict[str, Any]:
    row = {
        "address": address,
        "host_id": f"id-{address}",
        "generation": 10,
        "heartbeat": 100,
        "status_with_port": "NORMAL,-1",
        "dc": "dc1",
        "rack": "r1",
        "release_version": "5.0.9",
        "schema": "s",
        "native_address_and_port": f"{address}:9042",
    }
    return row | changes


def test_a_joining_node_is_a_newcomer_and_one_that_left_is_not() -> None:
    rows = (gossip_row("10.0.0.1", status_with_port="BOOT,1"), gossip_row("10.0.0.2", status_with_port="LEFT,1"))
    (new,) = newcomers((), rows)
    assert new.node.address == "10.0.0.1"
    assert newcomers((new,), rows) == ()


def seen(connections: int | None = 1, later: dict[str, Any] | None = None) -> Opinion:
    outbound = () if connections is None else ({"address": "10.0.0.2", "active_connections": connections},)
    address = "10.0.0.1" if connections is None else "10.0.0.2"
    before = pulses((gossip_row(address),), outbound, ME)
    after = pulses((gossip_row(address, **{"heartbeat": 101, **(later or {})}),), outbound, ME)
    return opinion(before.get(address), after.get(address))


def test_up_needs_a_heartbeat_and_a_connection() -> None:
    assert seen() == Opinion(up=True, normal=True)
    assert seen(connections=None).up, "the observer has no connection to itself"
    assert not seen(later={"heartbeat": 100}).up, "its heart stands still"
    assert not seen(connections=0).up, "its heartbeat comes through others only: a split"
    assert seen(later={"generation": 11, "heartbeat": 1}).up, "it was restarted"
    assert not seen(later={"status_with_port": "shutdown,true"}).up
    assert seen(later={"status_with_port": "MOVING,1"}) == Opinion(up=True, normal=False)
    assert opinion(None, Pulse(1, 1, "NORMAL", 1)) == Opinion(up=False, normal=False)


def ring(*nodes: NodeView, source: str = "cql", observers: int = 2) -> ClusterView:
    return ClusterView.model_validate(
        {
            "cluster": "lab",
            "observed_at": datetime.now(UTC),
            "observers": [f"10.0.0.{i + 1}" for i in range(observers)],
            "nodes": nodes,
            "schema_versions": sorted({node.schema_version for node in nodes}),
            "source": source,
        }
    )


def node(last: int, *, up: bool = True, normal: bool = True, schema: str = "s") -> NodeView:
    ref = ME.model_copy(update={"address": f"10.0.0.{last}", "host_id": str(last)})
    return NodeView(node=ref, version="5.0.9", up=up, normal=normal, schema_version=schema)


@pytest.mark.parametrize(
    ("view", "failing"),
    [
        (ring(node(1), node(2)), set()),
        (ring(node(1), node(2, up=False)), {"ring.node-down"}),
        (ring(node(1), node(2, normal=False)), {"ring.node-moving"}),
        (ring(node(1), node(2, up=False, normal=False)), {"ring.node-down"}),
        (ring(node(1), node(2, schema="t")), {"ring.schema-disagreement"}),
        (ring(node(1), node(2), observers=1), {"ring.observers"}),
        (ring(node(1), observers=1), set()),
    ],
)
def test_ring_findings(view: ClusterView, failing: set[str]) -> None:
    findings = ring_findings(view)
    assert {finding.check for finding in findings if finding.verdict is Verdict.FAIL} == failing
    assert {finding.check for finding in findings} == {
        "ring.node-down",
        "ring.node-moving",
        "ring.schema-disagreement",
        "ring.observers",
    }
    assert all(finding.remedy for finding in findings if finding.verdict is not Verdict.PASS)


def test_the_nodetool_fallback_is_warned_about() -> None:
    findings = ring_findings(ring(node(1), node(2), source="nodetool"))
    assert [finding.check for finding in findings if finding.verdict is Verdict.WARN] == ["ring.observers"]


@pytest.mark.parametrize(
    ("version", "reload"),
    [
        ("3.11.16", "none"),
        ("4.0-beta4", "by-mtime"),
        ("4.0.18", "by-mtime"),
        ("4.1.3", "by-mtime"),
        ("4.1.4", "forced"),
        ("4.1.10", "forced"),
        ("5.0-rc1", "forced"),
        ("5.0.9-SNAPSHOT", "forced"),
        ("", "none"),
    ],
)
def test_reload_support_by_version(version: str, reload: str) -> None:
    assert reload_support(version) == reload


@given(st.text(max_size=20))
def test_any_version_text_is_read(text: str) -> None:
    assert len(parse_version(text)) == 3


def test_what_the_log_says_of_a_reload() -> None:
    updated = "INFO - SSL certificates have been updated for server_encryption_options. Resetting the ssl contexts"
    failed = "ERROR - Failed to hot reload the SSL Certificates! Please check the certificate files for x."
    assert reload_outcome(updated) == "updated"
    assert reload_outcome(f"{updated}\n{failed}") == "failed"
    assert reload_outcome("INFO - nothing of interest") == "silent"


def test_a_start_that_fails_for_tls_is_told_from_others() -> None:
    for text in (TLS_FAILURE, TLS_FAILURE + NEXT_START):
        failure = start_failure(text)
        assert failure is not None
        assert failure.tls
        assert "Failed to initialize SSL" in failure.message
        assert failure.message.endswith("java.io.EOFException: null")
    other = start_failure(TLS_FAILURE.replace("Failed to initialize SSL", "Invalid yaml"))
    assert other is not None
    assert not other.tls
    assert start_failure(NEXT_START) is None
    assert start_failure(TLS_FAILURE.split("org.apache")[0]) is None, "its trace is still to come"


def test_what_the_start_before_wrote_is_not_held_against_this_one() -> None:
    began, _, failed = TLS_FAILURE.partition("\n")
    assert of_last_start(failed) == "", "it began before the mark"
    assert start_failure(of_last_start(failed + NEXT_START)) is None
    assert start_failure(of_last_start(f"{failed}{NEXT_START}{began}\n{failed}{NEXT_START}{failed}"))


@pytest.mark.parametrize(
    ("answered", "asked", "verdict"), [((1, 2), 2, Verdict.PASS), ((2,), 1, Verdict.PASS), ((1, 1, 1), 3, Verdict.FAIL)]
)
async def test_an_observer_that_was_slow_is_asked_again_before_it_speaks_against_a_node(
    monkeypatch: pytest.MonkeyPatch, answered: tuple[int, ...], asked: int, verdict: Verdict
) -> None:
    looks = iter(answered)

    async def view(_: str) -> ClusterView:
        return ring(node(1), node(2), observers=next(looks))

    monkeypatch.setattr(verify, "RING_PAUSES", (0.0, 0.0))
    rings: Any = SimpleNamespace(view=view)
    bench: Any = SimpleNamespace(cluster=SimpleNamespace(name="lab"), node=ME)
    found = await verify.VerifyActivities(rings)._ring(bench)
    assert next(f.verdict for f in found if f.check == "ring.observers") is verdict
    assert len(answered) - len(list(looks)) == asked


async def test_observers_that_disagree_are_both_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """One has not heard of a node that joined, nor of a schema change."""

    def member(number: int, schema: str) -> Member:
        place = NodeRef(
            host_id=f"h{number}", address=f"n{number}", internode_address=f"n{number}", datacenter="dc1", rack="r1"
        )
        return Member(place, "5.0.9", schema)

    def account(by: int, *members: Member) -> Account:
        up = {m.node.address: Opinion(up=True, normal=True) for m in members}
        return Account(member(by, "").node, members, up)

    async def accounts(*_: object) -> tuple[Account, ...]:
        first = account(1, member(1, "old"), member(2, "old"))
        return first, account(2, member(1, "old"), member(2, "new"), member(3, "new"))

    monkeypatch.setattr(observe, "_accounts_by_cql", accounts)
    cluster = ClusterFile.model_validate({"name": "c", "contact_points": ["127.0.0.1"]})
    view = await observe.observe_ring(cluster, lambda _: None)  # type: ignore[arg-type,return-value]
    assert {seen.node.host_id: seen.up for seen in view.nodes} == {"h1": True, "h2": True, "h3": False}
    assert view.schema_versions == ("new", "old")
    failed = {found.check for found in ring_findings(view) if found.verdict is Verdict.FAIL}
    assert failed == {"ring.node-down", "ring.schema-disagreement"}


# Printed by Cassandra 5.0.9, shortened: a node that has heard nobody since it started, as in a ring that has expired.
ALONE_GOSSIP = """/127.0.0.51
  generation:0
  heartbeat:-1
  TOKENS: not present
/127.0.0.52
  generation:1795254276
  heartbeat:120
  SCHEMA:17:d03783d7-b468-3c1a-82f1-8e30b2edde8b
  DC:13:dc1
  RACK:15:rack2
  RELEASE_VERSION:6:5.0.9
  HOST_ID:3:0585a31a-df1c-4e90-87cc-aca845075cb2
  NATIVE_ADDRESS_AND_PORT:4:127.0.0.52:9042
  STATUS_WITH_PORT:22:NORMAL,-3074457345618258603
"""
ALONE_STATUS = """Datacenter: dc1
--  Address     Load        Tokens  Owns (effective)  Host ID                               Rack
UN  127.0.0.52  133.39 KiB  1       66.7%             0585a31a-df1c-4e90-87cc-aca845075cb2  rack2
DN  127.0.0.51  ?           1       66.7%             91418818-b384-4e42-bf2b-9263fd481f3d  rack1
"""


@pytest.mark.parametrize("heard", [True, False], ids=["the other answers", "nobody else answers"])
async def test_a_node_that_has_heard_nobody_is_no_witness_of_who_the_others_are(
    monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    first = GOSSIP.partition("host.example")[0]
    told = {"127.0.0.52": (ALONE_GOSSIP, ALONE_STATUS), "127.0.0.51": (first, STATUS.partition("\n\n")[0] + "\n")}

    @asynccontextmanager
    async def hosts(address: str) -> AsyncIterator[Any]:
        if address == "127.0.0.51" and not heard:
            raise refuse("ssh.unreachable", "nobody there", "")
        yield address

    async def answer(shell: Any, *_: Any) -> tuple[str, ...]:
        return told[shell]

    async def shut(*_: Any) -> tuple[()]:
        return ()

    monkeypatch.setattr(observe, "nodetool", answer)
    monkeypatch.setattr(observe, "_accounts_by_cql", shut)
    cluster = ClusterFile(name="lab", contact_points=("127.0.0.52",))
    seen = await observe.observe_ring(cluster, hosts)
    other, alone = seen.nodes
    assert (other.node.host_id, other.node.rack) == ("91418818-b384-4e42-bf2b-9263fd481f3d", "rack1")
    assert (alone.node.address, alone.up, other.up) == ("127.0.0.52", not heard, False)
    if heard:
        assert (other.node.address, other.version, other.reload) == ("10.0.0.51", "5.0.9", "forced")
        assert seen.observers == ("127.0.0.52", "10.0.0.51")
    else:
        assert (other.node.address, other.version) == ("127.0.0.51", ""), "what it keeps of a node that it never heard"
        assert seen.observers == ("127.0.0.52",)
