"""What is concluded from what a node tells: would it come back, would it take the material, what is it doing?"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from sealring.cassandra.configuration import parse_configuration
from sealring.cassandra.fitness import file_findings, fitness_findings, heap_bytes
from sealring.cassandra.judging import Judge
from sealring.cassandra.node_settings import NodeSettings, duration
from sealring.cassandra.suitability import Node, client_finding, suitability_findings
from sealring.cassandra.work import TABLES, Work, parse_work, work_findings
from sealring.hosts.condition import Condition, Room, StoreLink, last_start
from sealring.models.evidence import Finding
from sealring.models.node import NodeInventory, StoreFile
from sealring.pki.material import Material
from tests.unit.pki_maker import GOOD, ISSUING, OTHER_ROOT, ROOT, make, material

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
RELOAD, RESTART = Judge("10.0.0.1", restarts=False), Judge("10.0.0.1", restarts=True)
GIB = 1 << 30
WELL = Condition(
    enabled="enabled",
    available_bytes=6 * GIB,
    resident_bytes=4 * GIB,
    rooms=(Room("/data", 100 * GIB, 500 * GIB),),
    commitlog_bytes=64 << 20,
    start_took=timedelta(seconds=40),
)
STORES = (
    StoreFile(role="keystore", blocks=("server", "client"), path="/tls/keystore.p12", format="PKCS12"),
    StoreFile(role="truststore", blocks=("server",), path="/tls/truststore.p12", format="PKCS12"),
)
INVENTORY = NodeInventory(
    config_path="/etc/cassandra/cassandra.yaml",
    service_user="cassandra",
    service_group="cassandra",
    pid=7,
    started_at="1",
    stores=STORES,
    listeners=(),
    layout="in-place",
    tls_dir="/tls",
    state_dir="/tls/.sealring",
    client_auth=True,
    endpoint_verification=True,
)


def verdicts(findings: tuple[Finding, ...]) -> dict[str, str]:
    for finding in findings:
        assert finding.message
        assert (finding.verdict == "pass") == (finding.remedy == "")
    return {finding.check: finding.verdict.value for finding in findings}


def fitness(condition: Condition, judge: Judge = RESTART, *, days: int = 10, timeout: int = 300) -> dict[str, str]:
    return verdicts(
        fitness_findings(
            condition,
            ["/usr/bin/java", "-Xms1G", "-Xmx4G"],
            judge,
            started=NOW - timedelta(days=days),
            now=NOW,
            start_timeout=timedelta(seconds=timeout),
        )
    )


def test_a_node_that_would_come_back_passes() -> None:
    assert set(fitness(WELL).values()) == {"pass"}
    assert len(fitness(WELL)) == 5


@pytest.mark.criterion("F5", "F6")
@pytest.mark.parametrize(
    ("change", "check", "restart", "reload"),
    [
        ({"enabled": "disabled"}, "node.autostart", "warn", "warn"),
        ({"available_bytes": 0}, "node.memory", "fail", "warn"),
        ({"rooms": (Room("/data", 100 << 20, 500 * GIB),)}, "node.data-space", "fail", "warn"),
        ({"rooms": (Room("/data", 2 * GIB, 500 * GIB),)}, "node.data-space", "warn", "warn"),
        ({"start_took": timedelta(minutes=6)}, "node.long-start", "fail", "warn"),
        ({"start_took": timedelta(minutes=3)}, "node.long-start", "warn", "warn"),
        ({"commitlog_bytes": 8 * GIB}, "node.long-start", "warn", "warn"),
    ],
)
def test_what_a_restart_would_stumble_over_counts_in_full_before_one(
    change: dict[str, Any], check: str, restart: str, reload: str
) -> None:
    condition = replace(WELL, **change)
    assert {c: v for c, v in fitness(condition).items() if v != "pass"} == {check: restart}
    assert {c: v for c, v in fitness(condition, RELOAD).items() if v != "pass"} == {check: reload}


def test_a_node_that_was_not_started_for_long_is_told() -> None:
    assert fitness(WELL, days=400)["node.uptime"] == "warn"


def test_what_is_not_known_is_not_judged() -> None:
    assert fitness_findings(Condition(), [], RESTART, started=None, now=NOW, start_timeout=timedelta(1)) == ()
    assert fitness(replace(WELL, enabled="static"))["node.autostart"] == "pass"


@pytest.mark.parametrize(
    ("arguments", "size"),
    [(["-Xmx512m"], 512 << 20), (["-Xmx8G", "-Xmx2g"], 2 * GIB), (["-Xmx1024"], 1024), (["-Xmx"], None), ([], None)],
)
def test_the_heap_is_the_last_one_named(arguments: list[str], size: int | None) -> None:
    assert heap_bytes(arguments) == size


def test_the_last_whole_start_of_a_log_counts() -> None:
    began, serves = "Configuration location: x", "Starting listening for CQL clients on x"
    lines = [f"INFO [main] 2026-11-21 10:{m}:00,123 {w}" for m, w in (("00", began), ("02", serves), ("10", began))]
    assert last_start(lines) == timedelta(minutes=2)
    assert last_start([*lines, "no time here", f"INFO 2026-11-21 10:10:30,000 {serves}"]) == timedelta(seconds=30)
    assert last_start(lines[1:2]) is None


def link(store: StoreFile, **changes: Any) -> StoreLink:
    return replace(StoreLink(store.path, store.path, f"1:{store.path}", 1, False), **changes)


@pytest.mark.parametrize(
    ("change", "banner", "expected"),
    [
        ({}, "", {}),
        ({}, "# Managed by Puppet", {"node.managed": "warn"}),
        ({"real": "/etc/pki/k.p12"}, "", {"node.store-link": "warn"}),
        ({"mounted": True}, "", {"node.store-mount": "fail"}),
        ({"inode": "1:/tls/truststore.p12", "names": 2}, "", {"node.shared-store": "warn"}),
    ],
)
def test_where_the_stores_really_are(change: dict[str, Any], banner: str, expected: dict[str, str]) -> None:
    condition = Condition(links=(link(STORES[0], **change), link(STORES[1])), banner=banner)
    found = verdicts(file_findings(condition, INVENTORY, RELOAD))
    assert {check: verdict for check, verdict in found.items() if verdict != "pass"} == expected


def test_links_of_ours_are_none_to_speak_of() -> None:
    ours = StoreLink("/tls/current/k.p12", "/tls/generations/abc/k.p12", "1:1", 1, False)
    slots = INVENTORY.model_copy(update={"layout": "slots"})
    assert verdicts(file_findings(Condition(links=(ours,)), slots, RELOAD))["node.store-link"] == "pass"


YAML = """
server_encryption_options:
  internode_encryption: all
  keystore: k
  truststore: t
  cipher_suites: [TLS_AES_128_GCM_SHA256]
client_encryption_options: {enabled: true, keystore: k, cipher_suites: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, X",
  max_certificate_validity_period: 30d}
internode_authenticator:
  class_name: org.apache.cassandra.auth.MutualTlsInternodeAuthenticator
  parameters:
    validator_class_name: org.apache.cassandra.auth.SpiffeCertificateValidator
    trusted_peer_identities: "spiffe://a/new, spiffe://a/other"
max_hint_window: 3h
data_file_directories: [/data/1, /data/2]
commitlog_directory: /log
"""


def test_what_cassandra_yaml_says_beside_its_stores() -> None:
    found = parse_configuration(YAML).others
    assert dict(found.ciphers)["server_encryption_options"] == ("TLS_AES_128_GCM_SHA256",)
    assert dict(found.ciphers)["client_encryption_options"] == ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "X")
    assert found.longest_validity == timedelta(days=30)
    assert found.peer_validator == "SpiffeCertificateValidator"
    assert found.trusted_identities == ("spiffe://a/new", "spiffe://a/other")
    assert found.hint_window == timedelta(hours=3)
    assert found.folders("/var/lib") == (("/data/1", "/data/2"), "/log")
    assert NodeSettings().folders("/var/lib") == (("/var/lib/data",), "/var/lib/commitlog")
    assert NodeSettings().folders("") == ((), "")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3h", 10800),
        ("365d", 31536000),
        ("10800000", 10800),
        ("", None),
        ("soon", None),
        ("0", None),
        ("9" * 15, 1e10),
        ("9" * 40, None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    found = duration(text)
    assert (found and found.total_seconds()) == seconds


def fits(
    delivered: Material = GOOD,
    *,
    current: Material = GOOD,
    settings: NodeSettings | None = None,
    arguments: tuple[str, ...] = (),
    disabled: tuple[tuple[str, str], ...] = (),
    jmx: tuple[str, ...] = (),
) -> dict[str, str]:
    node = Node(arguments, settings or NodeSettings(), disabled, jmx)
    return verdicts(suitability_findings(node, delivered, current, RELOAD))


def test_a_node_that_asks_for_nothing_special_takes_good_material() -> None:
    assert fits() == {"node.revocation": "pass", "node.jmx-store": "pass"}


def spiffe(uri: str) -> Material:
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
    return material(make("leaf", ISSUING, addresses=(), extra=[(names, False)]), ISSUING, trust=[ROOT])


@pytest.mark.criterion("F1")
def test_a_leaf_that_lives_too_long_for_the_node_fails() -> None:
    assert fits(settings=NodeSettings(longest_validity=timedelta(days=30)))["material.lifetime"] == "fail"
    assert "material.lifetime" not in fits(settings=NodeSettings(longest_validity=timedelta(days=90)))


def test_a_changed_identity_is_refused_unless_the_peers_know_it() -> None:
    mutual = NodeSettings(peer_validator="SpiffeCertificateValidator")
    old, new = spiffe("spiffe://a/old"), spiffe("spiffe://a/new")
    assert fits(old, current=old, settings=mutual)["node.peer-identity"] == "pass"
    assert fits(new, current=old, settings=mutual)["node.peer-identity"] == "fail"
    assert fits(GOOD, current=old, settings=mutual)["node.peer-identity"] == "fail"
    listed = replace(mutual, trusted_identities=("spiffe://a/new",))
    assert fits(new, current=old, settings=listed)["node.peer-identity"] == "pass"
    own = NodeSettings(peer_validator="OurValidator")
    assert fits(new, current=old, settings=own)["node.peer-identity"] == "warn"


@pytest.mark.parametrize(
    ("suite", "verdict"),
    [
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "fail"),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "pass"),
        ("TLS_AES_256_GCM_SHA384", "pass"),
    ],
)
def test_ciphers_must_have_one_for_the_kind_of_key(suite: str, verdict: str) -> None:
    assert fits(settings=NodeSettings(ciphers=(("server_encryption_options", (suite,)),)))["node.ciphers"] == verdict


@pytest.mark.parametrize(
    ("rules", "verdict"),
    [
        ("SSLv3, RC4, MD5withRSA, EC keySize < 224, SHA1 jdkCA & usage TLSServer, ", "pass"),
        ("EC keySize < 384", "fail"),
        ("SHA256withECDSA", "fail"),
        ("SHA256", "fail"),
        (", secp256r1", "fail"),
        ("RSA keySize < 4096", "pass"),
    ],
)
def test_what_the_java_disables(rules: str, verdict: str) -> None:
    assert fits(disabled=(("jdk.tls.disabledAlgorithms", rules),))["node.jvm-algorithms"] == verdict


def test_revocation_needs_a_name_in_the_leaf() -> None:
    checks = ("-Dcom.sun.net.ssl.checkRevocation=true",)
    assert fits(arguments=checks)["node.revocation"] == "fail"
    responder = x509.AccessDescription(
        AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://ocsp.invalid")
    )
    named = make("leaf", ISSUING, extra=[(x509.AuthorityInformationAccess([responder]), False)])
    assert fits(material(named, ISSUING, trust=[ROOT]), arguments=checks)["node.revocation"] == "warn"


def test_jmx_that_shares_a_store_is_told() -> None:
    assert fits(jmx=("/tls/keystore.p12",))["node.jmx-store"] == "warn"


def test_clients_are_told_of_when_the_authority_changes() -> None:
    work = Work(clients=(("app, DataStax Java driver", 12),))
    assert client_finding(work, GOOD, GOOD, RELOAD).verdict == "pass"
    moved = material(make("leaf", OTHER_ROOT), trust=[OTHER_ROOT, ROOT])
    finding = client_finding(work, moved, GOOD, RELOAD)
    assert finding.verdict == "warn"
    assert "12 × app, DataStax Java driver" in finding.message


ROWS: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}


def working(judge: Judge, **rows: Any) -> dict[str, str]:
    return verdicts(work_findings(parse_work(ROWS | rows), judge, now=NOW, hint_window=timedelta(hours=3)))


@pytest.mark.criterion("F6")
def test_a_quiet_node_passes() -> None:
    over = [{"id": 1, "operation": "Repair", "status": "success"}]
    done = [{"id": 1, "keyspace_name": "k", "completed": True}]
    assert set(working(RESTART, streaming=over, repairs=done).values()) == {"pass"}
    compaction = [{"keyspace_name": "k", "table_name": "t", "kind": "compaction"}]
    assert set(working(RESTART, sstable_tasks=compaction).values()) == {"pass"}


@pytest.mark.criterion("F6")
@pytest.mark.parametrize(
    ("table", "row", "check", "restart", "reload"),
    [
        ("streaming", {"id": 1, "operation": "Bootstrap", "status": "start"}, "node.streaming", "fail", "warn"),
        ("repairs", {"id": 1, "keyspace_name": "k", "completed": False}, "node.repair", "fail", "warn"),
        (
            *("sstable_tasks", {"keyspace_name": "k", "table_name": "t", "kind": "validation"}),
            *("node.repair", "fail", "warn"),
        ),
        (
            *("pending_hints", {"host_id": 1, "address": "10.0.0.2", "files": 1, "oldest": datetime(2026, 11, 21, 10)}),
            *("node.hints", "fail", "warn"),
        ),
        (
            *("pending_hints", {"host_id": 1, "address": None, "files": 1, "oldest": NOW - timedelta(minutes=9)}),
            *("node.hints", "warn", "warn"),
        ),
    ],
)
def test_foreign_work_stands_in_the_way_of_a_restart(
    table: str, row: dict[str, Any], check: str, restart: str, reload: str
) -> None:
    assert {c: v for c, v in working(RESTART, **{table: [row]}).items() if v != "pass"} == {check: restart}
    assert {c: v for c, v in working(RELOAD, **{table: [row]}).items() if v != "pass"} == {check: reload}


def test_connections_of_ours_are_no_clients() -> None:
    row = {"username": None, "driver_name": "a driver"}
    ours = row | {"client_options": {"APPLICATION_NAME": "sealring"}}
    assert parse_work({"clients": [row, ours, ours]}).clients == (("anonymous, a driver", 1),)


def test_tables_that_are_not_there_are_not_judged() -> None:
    work = parse_work({"clients": []})
    assert set(work.unseen) == set(TABLES) - {"clients"}
    assert work_findings(work, RESTART, now=NOW, hint_window=timedelta(hours=3)) == ()
