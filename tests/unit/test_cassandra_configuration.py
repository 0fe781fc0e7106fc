"""cassandra.yaml as data, in the styles of 4.0, 4.1 and 5.0."""

import copy
import json
import pickle
from dataclasses import asdict

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from sealring.cassandra.configuration import (
    Configuration,
    address_drift,
    listeners,
    parse_configuration,
    settings_drift,
)
from sealring.cassandra.store_blocks import StorePasswords
from sealring.errors import SealringError
from sealring.models.cluster import NodeRef

NODE = NodeRef(host_id="h", address="10.0.0.1", internode_address="10.1.0.1", datacenter="dc1", rack="r1")

V5 = """
cluster_name: lab
listen_address: 10.1.0.1
rpc_address: 0.0.0.0
broadcast_rpc_address: 10.0.0.1
storage_port: 7010
native_transport_port: 9142
server_encryption_options:
  internode_encryption: all
  legacy_ssl_storage_port_enabled: false
  keystore: /etc/cassandra/tls/server.p12
  keystore_password: server-secret
  outbound_keystore: /etc/cassandra/tls/outbound.p12
  outbound_keystore_password: outbound-secret
  truststore: /etc/cassandra/tls/trust.p12
  truststore_password: trust-secret
  store_type: PKCS12
  require_client_auth: true
  require_endpoint_verification: true
client_encryption_options:
  enabled: true
  keystore: /etc/cassandra/tls/client.p12
  keystore_password: client-secret
  truststore: /etc/cassandra/tls/trust.p12
  truststore_password: trust-secret
  store_type: PKCS12
  require_client_auth: false
"""
V40 = """
server_encryption_options:
    internode_encryption: dc
    enable_legacy_ssl_storage_port: true
    keystore: conf/.keystore
    keystore_password: cassandra
    truststore: conf/.truststore
    truststore_password: cassandra
    # More advanced defaults below:
    # store_type: JKS
client_encryption_options:
    enabled: true
    keystore: conf/.keystore
    keystore_password: cassandra
"""
PEM = """
client_encryption_options:
  enabled: true
  ssl_context_factory:
    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory
    parameters: {private_key_password: pem-secret}
  keystore: /etc/cassandra/tls/tls.pem
  truststore: /etc/cassandra/tls/ca.pem
  require_client_auth: true
"""


def stores(configuration: Configuration) -> dict[str, tuple[str, tuple[str, ...], str]]:
    return {s.path: (s.role, s.blocks, s.format) for s in configuration.stores}


def refused(text: str) -> SealringError:
    with pytest.raises(SealringError) as caught:
        parse_configuration(text, "/etc/cassandra/cassandra.yaml")
    assert not caught.value.retryable
    assert caught.value.remedy
    return caught.value


def test_all_store_blocks_of_5_0_and_a_shared_truststore() -> None:
    found = parse_configuration(V5)
    assert stores(found) == {
        "/etc/cassandra/tls/server.p12": ("keystore", ("server",), "PKCS12"),
        "/etc/cassandra/tls/trust.p12": ("truststore", ("server", "client"), "PKCS12"),
        "/etc/cassandra/tls/outbound.p12": ("keystore", ("server-outbound",), "PKCS12"),
        "/etc/cassandra/tls/client.p12": ("keystore", ("client",), "PKCS12"),
    }
    assert found.passwords.of("/etc/cassandra/tls/outbound.p12") == "outbound-secret"
    assert found.passwords.of("/etc/cassandra/tls/trust.p12") == "trust-secret"
    assert found.client_auth
    assert found.endpoint_verification
    assert [str(one) for one in listeners(found, NODE)] == ["internode 10.1.0.1:7010", "native 10.0.0.1:9142"]


def test_4_0_style_with_legacy_port_and_default_store_type() -> None:
    found = parse_configuration(V40)
    assert stores(found) == {
        "conf/.keystore": ("keystore", ("server", "client"), "JKS"),
        "conf/.truststore": (
            "truststore",
            ("server",),
            "JKS",
        ),  # the client block needs none: it asks for no certificate
    }
    assert found.legacy_port
    assert found.internode_ports == (7000, 7001)
    assert found.native_ports == (9042,)
    assert not found.client_auth


def test_pem_factory_with_files() -> None:
    found = parse_configuration(PEM)
    assert stores(found) == {
        "/etc/cassandra/tls/tls.pem": ("keystore", ("client",), "PEM"),
        "/etc/cassandra/tls/ca.pem": ("truststore", ("client",), "PEM"),
    }
    assert found.passwords.of("/etc/cassandra/tls/tls.pem") == "pem-secret"
    assert found.passwords.of("/etc/cassandra/tls/ca.pem") == ""
    assert listeners(found, NODE)[0].kind == "native"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("{private_key_password: pem-secret}", "{private_key: SECRET}"), "config.inline-pem"),
        (("{private_key_password: pem-secret}", "[{trusted_certificates: SECRET}]"), "config.inline-pem"),
        (("org.apache.cassandra.security.PEMBasedSslContextFactory", "com.example.VaultFactory"), "config.ssl-factory"),
        (("keystore: /etc", "keystore_password_file: /run/SECRET\n  keystore: /etc"), "config.password-file"),
        (("ca.pem", "tls.pem"), "config.combined-store"),
        (("enabled: true", "enabled: false"), "config.no-tls"),
        (("client_encryption_options:", "client_encryption_options: [SECRET"), "config.unreadable"),
    ],
)
def test_what_cannot_be_worked_with_is_refused_without_being_quoted(change: tuple[str, str], code: str) -> None:
    assert change[0] in PEM
    error = refused(PEM.replace(*change))
    assert error.code == code
    assert "SECRET" not in str(error)
    assert error.__cause__ is None


def test_one_file_with_two_passwords_is_refused() -> None:
    error = refused(V5.replace("client.p12", "server.p12"))
    assert error.code == "config.password-conflict"
    assert "secret" not in str(error)


def test_unknown_store_type_and_unreadable_port_are_refused() -> None:
    assert refused(V5.replace("store_type: PKCS12", "store_type: BKS", 1)).code == "config.store-type"
    assert refused(V5.replace("9142", "many")).code == "config.unreadable"


def test_paths_made_absolute_merge_what_is_one_file() -> None:
    text = V40.replace("truststore: conf/.truststore\n    truststore_password: cassandra\n", "", 1)
    text = text.replace("keystore: conf/.keystore", "keystore: /opt/c/conf/.keystore", 1)
    found = parse_configuration(text)
    assert len(found.stores) == 3
    paths = {"/opt/c/conf/.keystore": "/opt/c/conf/.keystore", "conf/.keystore": "/opt/c/conf/.keystore"}
    moved = found.with_paths(paths | {"conf/.truststore": "/opt/c/conf/.truststore"}, {"conf/.keystore": "PKCS12"})
    assert stores(moved)["/opt/c/conf/.keystore"] == ("keystore", ("server", "client"), "PKCS12")
    assert moved.passwords.of("/opt/c/conf/.keystore") == "cassandra"


def test_optional_encryption_counts_as_a_listener() -> None:
    text = "client_encryption_options: {enabled: false, optional: true, keystore: /k, truststore: /t}"
    found = parse_configuration(text)
    assert found.native_ports == (9042,)
    assert found.internode_ports == ()


def test_two_native_ports() -> None:
    found = parse_configuration(V5 + "native_transport_port_ssl: 9443\n")
    assert found.native_ports == (9443,)


def test_drift_of_addresses_and_settings() -> None:
    found = parse_configuration(V5)
    assert address_drift(found, NODE) == ()
    moved = NODE.model_copy(update={"internode_address": "10.1.0.9"})
    assert "listen_address" in address_drift(found, moved)[0]
    running = {"native_transport_port": "9142", "client_encryption_options.enabled": "true", "storage_port": "7000"}
    assert settings_drift(found, running) == ("storage_port is 7010 on disk, 7000 in the running node",)


def test_passwords_cannot_leave_the_process() -> None:
    configuration = parse_configuration(V5)
    for leak in (repr(configuration), str(configuration.passwords), f"{configuration.passwords!r}"):
        assert "secret" not in leak
    for way in (pickle.dumps, copy.deepcopy, json.dumps, lambda held: TypeAdapter(StorePasswords)):
        with pytest.raises((TypeError, Exception), match=r"serial|schema"):
            way(configuration.passwords)
    with pytest.raises(TypeError):
        asdict(configuration)


@given(st.text(alphabet=st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=30))
def test_any_password_survives_as_it_was_written(password: str) -> None:
    block = {"enabled": True, "keystore": "/k", "truststore": "/t", "keystore_password": password}
    found = parse_configuration(yaml.safe_dump({"client_encryption_options": block}, allow_unicode=True))
    assert found.passwords.of("/k") == password


@pytest.mark.parametrize("plain", ["0123", "1e5", "12:30:45", "0x1F", "yes", "2024-01-01", "1_000"])
def test_passwords_that_look_like_something_else_stay_text(plain: str) -> None:
    text = f"client_encryption_options: {{enabled: true, keystore: /k, keystore_password: {plain}}}"
    assert parse_configuration(text).passwords.of("/k") == plain


@pytest.mark.criterion("Q6")
@pytest.mark.parametrize(
    ("password", "text", "told"),
    [
        ("hU7-x/9", "while scanning hU7-x/9: found a tab", "while scanning [redacted]: found a tab"),
        ("hU7-x/9", "tag:hU7-x/9!", "tag:[redacted]!"),
        ("cassandra", "no 'cassandra' in /etc/cassandra/cassandra.yaml", None),
        ("", "nothing to hide", "nothing to hide"),
    ],
)
def test_passwords_are_hidden_by_value(password: str, text: str, told: str | None) -> None:
    told = told or "no '[redacted]' in /etc/cassandra/cassandra.yaml"
    assert StorePasswords({"/a": password, "/b": ""}).hidden_in(text) == told


def test_the_longer_of_two_passwords_is_hidden_whole() -> None:
    assert StorePasswords({"/a": "x7", "/b": "x7-long"}).hidden_in("said x7-long") == "said [redacted]"
