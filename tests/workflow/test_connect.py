"""Connecting as a process does, to the real server and to none."""

import getpass
import socket
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from sealring.errors import SealringError
from sealring.settings import Settings
from sealring.temporal.codec import EncryptionCodec
from sealring.temporal.connect import address_for, connect


@pytest.fixture(autouse=True)
def no_profile_of_this_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(tmp_path / "absent.toml"))
    for name in ("ADDRESS", "NAMESPACE", "PROFILE", "API_KEY", "TLS"):
        monkeypatch.delenv(f"TEMPORAL_{name}", raising=False)


def address_of(environment: WorkflowEnvironment) -> str:
    return environment.client.service_client.config.target_host


async def test_it_connects_under_the_users_name_with_the_keyring(
    temporal_dev: WorkflowEnvironment, keyring_path: Path
) -> None:
    client = await connect(address=address_of(temporal_dev), keyring_path=keyring_path)
    assert client.identity == f"{getpass.getuser()}@{socket.gethostname()}"
    codec = client.data_converter.payload_codec
    assert isinstance(codec, EncryptionCodec)
    assert (await codec.encode([client.data_converter.payload_converter.to_payload("x")]))[0].metadata[
        "encoding"
    ] == b"binary/encrypted"


async def test_address_and_namespace_come_from_the_clis_profile(
    temporal_dev: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    profiles = tmp_path / "temporal.toml"
    profiles.write_text(f'[profile.staging]\naddress = "{address_of(temporal_dev)}"\nnamespace = "default"\n')
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(profiles))
    client = await connect(profile="staging")
    assert client.service_client.config.target_host == address_of(temporal_dev)
    assert address_for(Settings(temporal_profile="staging")) == address_of(temporal_dev)
    assert address_for(Settings(temporal_profile="staging", temporal_address="here:1")) == "here:1"


async def test_a_parameter_wins_over_the_environment(
    temporal_dev: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "nowhere")
    client = await connect(address=address_of(temporal_dev), namespace="default")
    assert client.namespace == "default"


async def test_an_unreachable_server_is_one_clear_error() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(SealringError) as caught:
            await connect(address=address)
    assert caught.value.code == "temporal.unreachable"
    assert caught.value.retryable
    assert address in caught.value.message


async def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(SealringError) as caught:
            await connect(address=address, timeout=0.5)
    assert caught.value.code == "temporal.unreachable"


async def test_a_missing_namespace_names_the_command(temporal_dev: WorkflowEnvironment) -> None:
    with pytest.raises(SealringError) as caught:
        await connect(address=address_of(temporal_dev), namespace="absent")
    assert caught.value.code == "temporal.namespace-missing"
    assert "namespace create --namespace absent" in caught.value.remedy


async def test_a_missing_profile_is_named() -> None:
    with pytest.raises(SealringError) as caught:
        await connect(profile="absent")
    assert caught.value.code == "temporal.profile"
    assert "absent" in caught.value.message
