"""Nodes whose sshd allows what docs/security.md says, and one thing less. The block is read from the page."""

import asyncio
import re
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from activities.activate import ActivateActivities
from activities.prepare import PrepareActivities
from activities.rings import Rings
from lab.authority import Authority, client_identity, pkcs12_stores, write_identity
from lab.hosts import HostOptions, configure_host
from lab.keys import user_name
from lab.node_config import STORES, cassandra_yaml
from lab.spec import INTERNODE_PORT, NATIVE_PORT, SSH_PORT, LabSpec, NodeSpec
from sealring.cassandra.probe import CQL_HEADER, CQL_SUPPORTED
from sealring.errors import SealringError
from sealring.hosts.egress import egress
from sealring.hosts.privileges import sudoers_lines
from sealring.models.cluster import Listener, NodeRef, SshSettings
from sealring.models.evidence import Finding, Verdict
from sealring.models.node import ClusterView, NodeView
from sealring.models.plan import Target
from sealring.models.rollout import NodeOrder

pytestmark = pytest.mark.sshd

PAGE = Path(__file__).resolve().parents[2] / "docs" / "security.md"
PASSWORD = "store-pw/7"  # of stores that hold nothing


def block(language: str) -> str:
    """A fenced block of docs/security.md, for the user and the ports of the lab."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


def restrictions(**instead: str) -> str:
    """The sshd block, with the values of some keywords replaced."""
    text = block("sshd_config").replace("Match User deploy", f"Match User {user_name()}")
    for keyword, value in instead.items():
        text, times = re.subn(rf"(?m)^(\s+{keyword} ).*$", rf"\g<1>{value}", text)
        assert times == 1, f"{keyword} is not in the block"
    return text


def ref(node: NodeSpec) -> NodeRef:
    return NodeRef(
        host_id=node.name,
        address=node.address,
        internode_address=node.address,
        datacenter=node.datacenter,
        rack=node.rack,
    )


def build(stack: AsyncExitStack, spec: LabSpec, node: NodeSpec, authority: Authority) -> None:
    """Stores, cassandra.yaml, and a systemctl that names a process started with the arguments of Cassandra's."""
    node.tls.mkdir(parents=True, exist_ok=True)
    (node.conf / "cassandra.yaml").write_text(cassandra_yaml(spec, node, PASSWORD))
    identity = authority.issue([node.address, "127.0.0.1"])
    for name, content in zip(STORES, pkcs12_stores(identity, authority.trusted, PASSWORD), strict=True):
        (node.tls / name).write_bytes(content)
    write_identity(node.home / "served", identity, authority.trusted)
    named = f"-Dcassandra.config={(node.conf / 'cassandra.yaml').as_uri()}"
    command = [sys.executable, "-ISBc", "import sys; sys.stdin.read()", named]
    process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE))  # ends when the test does
    shown = f"LoadState=loaded\nActiveState=active\nSubState=running\nMainPID={process.pid}\nNRestarts=0"
    (node.bin / "systemctl").write_text(f"#!/bin/sh\n[ $1 = show ] && echo '{shown}'\n")
    (node.bin / "systemctl").chmod(0o755)


async def listen(stack: AsyncExitStack, node: NodeSpec) -> None:
    """The node's TLS ports: internode ends with the client's goodbye, native answers one OPTIONS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=node.home / "served" / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(node.home / "served" / "tls.crt", node.home / "served" / "tls.key")

    async def native(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(CQL_HEADER.size):
            writer.write(CQL_HEADER.pack(0x84, 0, 0, CQL_SUPPORTED, 0))
        writer.close()

    async def internode(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    for port, talk in ((NATIVE_PORT, native), (INTERNODE_PORT, internode)):
        server = await asyncio.start_server(talk, node.address, port, ssl=context)
        stack.callback(server.close)


@pytest.fixture
async def rings(spec: LabSpec, settings: SshSettings, tmp_path: Path) -> AsyncIterator[Rings]:
    """Two nodes with TLS listeners and stores, and the cluster file of their ring. sshd is left to the test."""
    authority = Authority.open(spec.authority)
    client = client_identity(spec, authority)
    first = spec.ring[0]
    identity = {"certificate": str(client / "tls.crt"), "private_key": str(client / "tls.key")}
    cluster = {
        "name": "lab",
        "contact_points": [first.address],
        "ssh": settings.model_dump(mode="json", include={"port", "known_hosts", "private_key", "certificate"}),
        "cql": {"ca": str(client / "ca.crt"), "connect_timeout": 1, **identity},
    }
    async with AsyncExitStack() as stack:
        for node in spec.ring:
            build(stack, spec, node, authority)
            await listen(stack, node)
        (tmp_path / "lab.yaml").write_text(yaml.safe_dump(cluster))
        rings = Rings(tmp_path)
        stack.push_async_callback(rings.close)
        yield rings


def order_for(spec: LabSpec) -> NodeOrder:
    """The first node, seen from the second."""
    node, peer = (ref(n) for n in spec.ring)
    target = Target(
        node=node, generation="0" * 64, leaf_sha256="0" * 64, apply="reload", may_restart=False, vantages=(peer,)
    )
    return NodeOrder(cluster="lab", rollout="r1", target=target)


async def preflight(spec: LabSpec, rings: Rings) -> tuple[Finding, ...]:
    """The findings of `validate_node` on the first node."""
    return (await PrepareActivities(rings).validate_node(order_for(spec))).findings


def restrict(spec: LabSpec, **instead: str) -> None:
    for node in spec.ring:
        configure_host(spec, node, HostOptions(sftp=False, restrictions=restrictions(**instead)))


@pytest.mark.criterion("Q5")
async def test_what_the_page_allows_is_enough(spec: LabSpec, rings: Rings) -> None:
    restrict(spec)
    await is_enough(spec, rings)


@pytest.mark.criterion("Q7")
async def test_what_egress_prints_is_enough(spec: LabSpec, rings: Rings) -> None:
    ring = tuple(
        NodeView(
            node=ref(node),
            version="5.0.9",
            up=True,
            normal=True,
            listeners=(
                Listener(kind="internode", address=node.address, port=INTERNODE_PORT),
                Listener(kind="native", address=node.address, port=NATIVE_PORT),
            ),
        )
        for node in spec.ring
    )
    view = ClusterView(cluster="lab", observed_at=datetime.now(UTC), observers=(), nodes=ring)
    restrict(spec, PermitOpen=" ".join(egress(rings.file("lab"), view, temporal="127.0.0.1:7233").permit_open))
    await is_enough(spec, rings)


async def is_enough(spec: LabSpec, rings: Rings) -> None:
    findings = {finding.check: finding for finding in await preflight(spec, rings)}
    assert [f for f in findings.values() if f.verdict is Verdict.FAIL] == []
    assert findings["node.vantage"].message == "4 handshakes seen, all listeners from all vantages"


@pytest.mark.criterion("Q5")
@pytest.mark.parametrize(
    ("keyword", "value", "blind"),
    [
        ("AllowTcpForwarding", "no", {"internode", "native"}),
        ("PermitOpen", f"*:{INTERNODE_PORT}", {"native"}),
        ("PermitOpen", f"*:{NATIVE_PORT}", {"internode"}),
    ],
)
async def test_one_thing_less_fails_before_anything_is_changed(
    spec: LabSpec, rings: Rings, keyword: str, value: str, blind: set[str]
) -> None:
    restrict(spec, **{keyword: value})
    node, peer = (n.address for n in spec.ring)
    findings = await preflight(spec, rings)
    failed = [f for f in findings if f.verdict is Verdict.FAIL]
    assert {f.check for f in failed} == {"node.vantage"}
    assert {f.message.split()[0] for f in failed} == blind
    assert all(f"{node}:" in f.message and f"seen from {peer}" in f.message for f in failed)
    assert all("[ssh.forward-prohibited]" in f.message and "PermitOpen" in f.remedy for f in failed)
    assert not (spec.ring[0].tls / "generations").exists()


@pytest.mark.criterion("Q5")
async def test_no_other_port_can_be_reached_through_a_node(spec: LabSpec, rings: Rings) -> None:
    restrict(spec)
    node, peer = (n.address for n in spec.ring)
    async with rings.pool(rings.file("lab")).host(node) as host:
        _, writer = await host.forward(peer, NATIVE_PORT)
        writer.close()
        with pytest.raises(SealringError) as caught:
            await host.forward(peer, SSH_PORT)  # it listens, and is not in PermitOpen
    assert caught.value.code == "ssh.forward-prohibited"


@pytest.mark.criterion("Q5", "A7")
def test_the_page_names_the_sudoers_lines_that_preflight_proves() -> None:
    assert tuple(block("sudoers").splitlines()) == sudoers_lines("deploy", "cassandra", "cassandra")


def nodetool_says(node: NodeSpec, words: str) -> None:
    (node.bin / "nodetool").write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 2\n")
    (node.bin / "nodetool").chmod(0o755)


@pytest.mark.criterion("Q6")
async def test_what_a_node_says_is_told_without_its_store_passwords(spec: LabSpec, rings: Rings) -> None:
    activities, node = ActivateActivities(rings), spec.ring[0]
    nodetool_says(node, f"error: cannot read {PASSWORD}")
    (reload,) = (await activities.reload_tls(order_for(spec))).findings
    assert "error: cannot read [redacted]" in reload.message
    (drain,) = (await activities.drain_node(order_for(spec))).findings
    assert "error: cannot read [redacted]" in drain.message
    nodetool_says(node, f"error: Failed to connect to {PASSWORD}")
    with pytest.raises(SealringError) as caught:
        await activities.reload_tls(order_for(spec))
    assert caught.value.code == "nodetool.unreachable"
    assert PASSWORD not in f"{caught.value} {caught.value!r}"
