"""The checklist for a person: its commands are run as they stand, against a real listener and real files."""

import asyncio
import hashlib
import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from lab.authority import Authority, write_identity
from sealring.models.cluster import Listener, NodeRef
from sealring.models.evidence import Finding, Served, Verdict, Verification
from sealring.models.node import Generation
from sealring.models.plan import Target
from sealring.models.rollout import MatrixRow, NodeOutcome, NodeState
from sealring.pki.certificates import fingerprint
from sealring.planning.by_hand import checklist, unproven
from tests.workflow.fakes import FAR_OFF

pytestmark = pytest.mark.criterion("N20")
HERE = "127.0.0.1"
NEW, OLD = "a" * 64, "b" * 64
NODE = NodeRef(host_id="n", address=HERE, internode_address=HERE, datacenter="dc1", rack="r1")
PEER = NODE.model_copy(update={"host_id": "p", "address": "127.0.0.2"})
BEFORE = Generation(id=OLD, leaf_sha256="d" * 64, not_after=FAR_OFF)
ANSWERS = ("sealring rollout resolve lab 127.0.0.1 retry",)


def target(leaf: str = "c" * 64) -> Target:
    return Target(node=NODE, generation=NEW, leaf_sha256=leaf, apply="reload", may_restart=True, vantages=(PEER,))


def seen(*ports: int, host: str = HERE) -> tuple[Served, ...]:
    return tuple(
        Served(listener=Listener(kind="native", address=host, port=port), vantage=vantage)
        for port in ports
        for vantage in ("worker", PEER.address)
    )


async def shell(command: str, path: str = "") -> str:
    environment = os.environ | ({"PATH": f"{path}:{os.environ['PATH']}"} if path else {})
    process = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE, env=environment)
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return out.decode()


@pytest.mark.parametrize("mutual", [False, True])
async def test_the_fingerprint_command_prints_what_the_checklist_expects(tmp_path: Path, mutual: bool) -> None:
    authority = Authority.open(tmp_path / "ca")
    identity = authority.issue([HERE])
    write_identity(tmp_path / "node", identity, authority.trusted)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "node" / "tls.crt", tmp_path / "node" / "tls.key")
    if mutual:  # nothing is presented: the server's certificate is to be seen all the same
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(tmp_path / "node" / "ca.crt")
    leaf = fingerprint(x509.load_pem_x509_certificate(identity.certificate))
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), HERE, 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        row = MatrixRow(address=HERE, intended=leaf, on_disk="", served=seen(port))
        lines = checklist(target(leaf), NodeOutcome(address=HERE, state=NodeState.BROKEN), row, ANSWERS)
        (command,) = (line.strip() for line in lines if "s_client" in line)
        said = await shell(command)
    printed = said.strip().partition("=")[2]
    assert len(printed) == 95
    assert [line.split() for line in lines if printed in line] == [["new", printed]]


async def test_the_digest_command_compares_the_files_in_force_with_the_generation(tmp_path: Path) -> None:
    tls = tmp_path / "client's tls"
    folder = tls / "generations" / NEW
    folder.mkdir(parents=True)
    store = tls / "keystore.p12"
    store.write_bytes(b"a store")
    digest = hashlib.sha256(b"a store").hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  keystore.p12\n")
    (tmp_path / "ssh").write_text('#!/bin/sh\nshift\nexec sh -c "$1"\n')  # as sshd runs it
    (tmp_path / "ssh").chmod(0o755)
    proof = Verification(verdict=Verdict.INCONCLUSIVE, served=seen(9042), tls_dir=str(tls), stores=(str(store),))
    outcome = NodeOutcome(address=HERE, state=NodeState.SERVING, generation=NEW, verification=proof)
    (command,) = (line.strip() for line in checklist(target(), outcome, None, ANSWERS) if "sha256sum" in line)
    said = await shell(command, str(tmp_path))
    assert said.splitlines() == [f"{digest}  {store}", f"{digest}  keystore.p12"]


def test_it_names_listeners_once_peers_both_certificates_and_the_answer() -> None:
    outcome = NodeOutcome(address=HERE, state=NodeState.BROKEN, before=BEFORE)
    row = MatrixRow(address=HERE, intended="", on_disk="", served=seen(9042, 7000) + seen(9042, host="fd00::1"))
    text = "\n".join(checklist(target(), outcome, row, ANSWERS))
    assert text.count("-connect 127.0.0.1:9042 ") == text.count("-connect 127.0.0.1:7000 ") == 1
    assert "-connect [fd00::1]:9042 " in text
    assert f"new    {':'.join(['CC'] * 32)}" in text, "nobody knows which of both is in force"
    assert f"before {':'.join(['DD'] * 32)}" in text
    assert "ssh 127.0.0.2 nodetool status" in text
    assert text.endswith(ANSWERS[0])


def test_what_is_known_to_be_in_force_is_expected_alone() -> None:
    outcome = NodeOutcome(address=HERE, state=NodeState.ROLLED_BACK, before=BEFORE, generation=BEFORE.id)
    text = "\n".join(checklist(target(), outcome, None, ANSWERS))
    assert "before DD:" in text
    assert "CC:" not in text
    assert "-connect 127.0.0.1:PORT " in text
    assert "TLS_DIR, STORES: where" in text, "what nobody saw is said to be missing"


@pytest.mark.parametrize("state", sorted(NodeState))
@pytest.mark.parametrize("verdict", sorted(Verdict))
def test_who_needs_one(state: NodeState, verdict: Verdict) -> None:
    proof = Verification(verdict=verdict, findings=(Finding(check="verify.served", verdict=verdict, message=""),))
    expected = state is NodeState.BROKEN or verdict is Verdict.INCONCLUSIVE
    assert unproven(NodeOutcome(address=HERE, state=state, verification=proof)) == expected
