"""`sealring preflight` on the stand-in, over real SSH, CQL, TLS and Temporal: what it finds; and nothing changes."""

import json
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from lab import hosts
from lab.authority import LOOPBACK, Authority, pkcs12_stores, write_file
from lab.ring import find, store_password
from lab.spec import LabSpec, NodeSpec
from sealring.models.evidence import Verdict
from sealring.models.preflight import PreflightReport
from starters.exits import Exit
from tests.lab.engine import Engine, running
from tests.unit.test_preflight_report import read

pytestmark = [pytest.mark.timeout(600), pytest.mark.parametrize("ring", ["stand-in"], indirect=True)]

STANDS_STILL = frozenset({"logs", "service.json", "console.log"})  # what the node and its service manager write


@pytest.fixture(scope="module")
def engine(ring: LabSpec) -> Iterator[Engine]:
    with running(ring) as engine:
        yield engine


def disks(spec: LabSpec) -> dict[str, tuple[str, ...]]:
    """Every file and folder of every node: what it is, whose, how old, with which content."""
    found: dict[str, tuple[str, ...]] = {}
    for node in spec.ring:
        for folder, folders, files in os.walk(node.home):
            folders[:] = [name for name in folders if name not in STANDS_STILL]
            for path in [Path(folder), *(Path(folder, name) for name in files if name not in STANDS_STILL)]:
                status = path.lstat()
                content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
                about = f"{status.st_mode:o} {status.st_uid} {status.st_gid} {status.st_mtime_ns} {status.st_ino}"
                found[str(path)] = (about, content.hex())
    return found


def drafts() -> set[Path]:
    return {path for folder in ("/dev/shm", "/tmp") for path in Path(folder).glob(".sealring-preflight.*")}


def no_draft_stays() -> bool:
    """Other rings on this computer may be looked at right now; what is left behind stays for good."""
    left, deadline = drafts(), time.monotonic() + 60
    while left and time.monotonic() < deadline:
        time.sleep(0.2)
        left &= drafts()
    return not left


def preflight(engine: Engine, delivery: Path, *words: str) -> tuple[int, PreflightReport]:
    """Run it; whatever it found, nothing on any node is another than before."""
    before = disks(engine.spec)
    done = engine.cli("preflight", "lab", "-m", str(delivery), "--json", *words)
    assert disks(engine.spec) == before
    assert no_draft_stays()
    assert done.stdout, done.stderr
    return done.returncode, PreflightReport.model_validate_json(done.stdout)


def troubles(report: PreflightReport, address: str) -> dict[str, Verdict]:
    (node,) = [node for node in report.nodes if node.address == address]
    return {check: v for check in report.checks if (v := node.verdict_of(check)) not in (None, Verdict.PASS)}


def works(report: PreflightReport) -> dict[str, str]:
    """What each node has to say anyway here: the stand-in is no Java."""
    return {node.address: str(set(troubles(report, node.address)) - {"node.jvm-store"}) for node in report.nodes}


def reload(node: NodeSpec) -> None:
    subprocess.run([node.bin / "nodetool", "reloadssl"], check=True, capture_output=True)


@contextmanager
def rows(node: NodeSpec, **told: object) -> Iterator[None]:
    """The node tells of work in flight."""
    file = node.home / "rows.json"
    file.write_text(json.dumps(told))
    try:
        yield
    finally:
        file.unlink()


@pytest.mark.criterion("F10", "F6", "F7")
def test_a_good_delivery_is_ready_and_every_check_tells_what_it_saw(
    engine: Engine, whole_ring: LabSpec, tmp_path: Path
) -> None:
    html = tmp_path / "report.html"
    code, report = preflight(engine, engine.deliver(), "--html", str(html))
    assert (code, report.ready, report.standing) == (Exit.DONE, True, ())
    assert works(report) == {node.address: "set()" for node in whole_ring.ring}
    assert len(report.checks) > 35
    assert all(finding.message for finding in report.all_findings)
    page = read(html.read_text())
    assert all(node.address in page.text for node in whole_ring.ring)


@pytest.mark.criterion("F1", "F2", "F3", "F9")
def test_each_nodes_bad_part_of_a_delivery_is_named(engine: Engine, whole_ring: LabSpec) -> None:
    n1, n2, n3 = (node.address for node in whole_ring.ring)
    delivery = engine.deliver({"n1": "wrong-key", "n2": "foreign-ca", "n3": "expired"})
    code, report = preflight(engine, delivery)
    assert code == Exit.REFUSED
    found = {address: set(troubles(report, address)) - {"node.jvm-store"} for address in (n1, n2, n3)}
    assert found[n1] == {"material.key-matches-leaf"}
    assert {"material.chain", "material.trusted-by-peers", "node.clients"} <= found[n2]
    assert "material.expired" in found[n3]
    waive = [f"--waive={code}" for code in ("material.chain", "material.trusted-by-peers", "trust.states")]
    code, report = preflight(engine, delivery, "-n", n2, *waive)
    assert (code, report.standing) == (Exit.DONE, ())
    assert {note.check for note in report.notes} == {"waiver.used"}
    code, report = preflight(engine, delivery, "-n", n1, *waive)
    assert {finding.check for finding in report.standing} == {"material.key-matches-leaf"}


@pytest.mark.criterion("F9")
def test_a_blocker_cannot_be_waived_anywhere(engine: Engine, whole_ring: LabSpec) -> None:
    delivery = str(engine.deliver())
    for command in (("preflight", "lab"), ("rollout", "start", "lab")):
        for code in ("material.key-matches-leaf", "material.no-such-check"):
            done = engine.cli(*command, "-m", delivery, "--waive", code)
            assert done.returncode == Exit.MISTAKE
            assert code in done.stderr
            allowed = done.stderr.partition("These may be waived: ")[2]
            assert "material.chain," in allowed
            assert "key-matches-leaf" not in allowed


@pytest.mark.criterion("F6")
def test_work_in_flight_and_what_a_host_shows_are_seen(engine: Engine, whole_ring: LabSpec) -> None:
    n1, n2, n3 = whole_ring.ring
    work = {
        "streaming": [{"id": str(uuid4()), "operation": "Bootstrap", "status": "start"}],
        "repairs": [{"id": str(uuid4()), "keyspace_name": "app", "completed": False}],
        "pending_hints": [{"host_id": str(uuid4()), "address": n3.address, "files": 1, "oldest": 1_000_000_000_000}],
    }
    configuration = n2.conf / "cassandra.yaml"
    plain, times = configuration.read_text(), configuration.stat()
    outside = n3.tls / "elsewhere.p12"
    linked = n3.tls / "keystore.p12"
    delivery = engine.deliver()
    try:
        configuration.write_text(f"# This file is managed by Puppet\n{plain}")
        os.utime(configuration, ns=(times.st_atime_ns, times.st_mtime_ns))
        linked.rename(outside)
        linked.symlink_to(outside)
        with rows(n1, **work):
            code, report = preflight(engine, delivery)
            assert code == Exit.DONE, "a reload touches none of it"
            code, restarting = preflight(engine, delivery, "--apply", "restart")
    finally:
        configuration.write_text(plain)
        os.utime(configuration, ns=(times.st_atime_ns, times.st_mtime_ns))
        outside.rename(linked)
    of_n1 = dict.fromkeys(("node.streaming", "node.repair", "node.hints"), Verdict.WARN)
    assert troubles(report, n1.address).items() >= of_n1.items()
    assert "node.managed" in troubles(report, n2.address)
    assert "node.store-link" in troubles(report, n3.address)
    assert code == Exit.REFUSED
    assert {f.check for f in restarting.standing} >= set(of_n1)
    assert {f.node for f in restarting.standing} == {n1.address}


@pytest.mark.criterion("F4")
def test_a_node_that_cannot_be_reached_does_not_hide_the_others(engine: Engine, whole_ring: LabSpec) -> None:
    n1, n2, n3 = whole_ring.ring
    delivery = engine.deliver()
    hosts.cut(whole_ring, n3, "refuse")
    try:
        code, report = preflight(engine, delivery)
    finally:
        hosts.restore(whole_ring, n3)
    assert code == Exit.REFUSED
    (unreached,) = [f for f in report.standing if f.check == "node.reachable"]
    assert unreached.node == n3.address
    assert "[ssh." in unreached.message
    assert troubles(report, n1.address)["material.trusted-by-peers"] is Verdict.INCONCLUSIVE
    assert "node.stores" in report.checks
    assert n2.address in {node.address for node in report.nodes if len(node.findings) > 30}


def test_a_store_password_that_does_not_open_is_a_blocker(engine: Engine, whole_ring: LabSpec) -> None:
    n1 = find(whole_ring, "n1")
    configuration = n1.conf / "cassandra.yaml"
    plain, times = configuration.read_text(), configuration.stat()
    changed = yaml.safe_load(plain)
    for block in ("server_encryption_options", "client_encryption_options"):
        changed[block]["keystore_password"] = changed[block]["truststore_password"] = "not the one"
    delivery = engine.deliver()
    try:
        configuration.write_text(yaml.safe_dump(changed))
        code, report = preflight(engine, delivery, "-n", n1.address)
    finally:
        configuration.write_text(plain)
        os.utime(configuration, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert code == Exit.REFUSED
    assert [f.check for f in report.standing if f.node == n1.address] == ["trust.unknown", "node.stores"]
    assert "not the one" not in report.model_dump_json()


@pytest.mark.criterion("F1")
def test_a_certificate_in_force_that_is_over_is_an_emergency(engine: Engine, whole_ring: LabSpec) -> None:
    n2 = find(whole_ring, "n2")
    authority = Authority.open(whole_ring.authority)
    over = datetime.now(UTC) - timedelta(days=1)
    identity = authority.issue([n2.address, LOOPBACK], not_before=over - timedelta(days=2), not_after=over)
    keystore, _ = pkcs12_stores(identity, authority.trusted, store_password(whole_ring))
    path = n2.tls / "keystore.p12"
    good = path.read_bytes()
    try:
        write_file(path, keystore, 0o600)
        reload(n2)
        code, report = preflight(engine, engine.deliver())
    finally:
        write_file(path, good, 0o600)
        reload(n2)
    assert code == Exit.REFUSED
    assert troubles(report, n2.address)["node.expired"] is Verdict.FAIL
