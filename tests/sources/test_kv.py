"""Material out of a real OpenBao's KV engine: which secret and version are taken, what is refused and how."""

import pytest

from lab import openbao
from sealring.errors import Actor, ErrorClass, SealringError
from sealring.models.material import MaterialRef
from sealring.pki.material import generation_id
from sealring.sources.base import source_for
from sealring.sources.kv import VERSIONS
from sealring.sources.vault import Vault
from tests.sources.conftest import DELIVERY, NODE, Bao


def ref(path: str = DELIVERY) -> MaterialRef:
    return MaterialRef(provider="vault", path=path)


async def refusal(vault: Vault | None, code: str, path: str = DELIVERY) -> SealringError:
    with pytest.raises(SealringError) as caught:
        await source_for(ref(path), vault).load(ref(path), NODE)
    assert caught.value.code == code, caught.value
    assert caught.value.error_class is ErrorClass.STOP
    return caught.value


async def generation(vault: Vault, planned: str | None = None) -> str:
    return generation_id(await source_for(ref(), vault).load(ref(), NODE, planned))


@pytest.mark.criterion("V1")
@pytest.mark.parametrize("name", [NODE.address, NODE.internode_address])
async def test_a_node_has_a_secret_by_one_of_its_names(bao: Bao, vault: Vault, place: str, name: str) -> None:
    bao.put(f"{DELIVERY}/{name}")
    loaded = await source_for(ref(), vault).load(ref(), NODE)
    assert loaded.trust
    assert "PRIVATE" not in repr(loaded)


async def test_one_secret_may_be_for_all_nodes_and_a_nodes_own_wins(bao: Bao, vault: Vault, place: str) -> None:
    bao.put(DELIVERY)
    shared = await generation(vault)
    bao.put(place)
    assert await generation(vault) != shared


@pytest.mark.criterion("V1")
async def test_what_was_planned_is_delivered_though_a_newer_version_was_written(
    bao: Bao, vault: Vault, place: str
) -> None:
    bao.put(place)
    planned = await generation(vault)
    bao.put(place, tls_key=None)
    bao.put(place)
    assert await generation(vault) != planned
    assert await generation(vault, planned) == planned


async def test_a_planned_version_that_is_gone_is_not_replaced_in_silence(bao: Bao, vault: Vault, place: str) -> None:
    bao.put(place)
    planned = await generation(vault)
    bao.put(place)
    openbao.write(bao.server, place.replace("kv/", "kv/destroy/", 1), {"versions": [1]})
    newest = await generation(vault)
    assert newest != planned
    assert await generation(vault, planned) == newest  # the caller compares, and says material.changed


async def test_versions_are_looked_through_within_a_bound(bao: Bao, vault: Vault, place: str) -> None:
    openbao.write(bao.server, place.replace("kv/", "kv/metadata/", 1), {"max_versions": 2 * VERSIONS})
    bao.put(place)
    planned = await generation(vault)
    for _ in range(VERSIONS):
        bao.put(place)
    assert await generation(vault, planned) != planned


async def test_a_node_without_a_secret_is_told_where_to_put_it(vault: Vault, place: str) -> None:
    error = await refusal(vault, "material.missing-file")
    assert (error.node, error.actor) == (NODE.address, Actor.PKI_ADMIN)
    assert place in error.remedy


async def test_a_missing_field_is_named(bao: Bao, vault: Vault, place: str) -> None:
    bao.put(place, ca_crt=None)
    assert "missing ca.crt;" in (await refusal(vault, "material.missing-file")).message


async def test_two_secrets_for_one_node_are_ambiguous(bao: Bao, vault: Vault, place: str) -> None:
    bao.put(place)
    bao.put(f"{DELIVERY}/{NODE.internode_address}")
    await refusal(vault, "material.ambiguous")


async def test_a_key_that_is_none_is_refused_without_being_quoted(bao: Bao, vault: Vault, place: str) -> None:
    bao.put(place, tls_key="s3cret-words")
    assert "s3cret-words" not in str(await refusal(vault, "material.not-a-key"))


@pytest.mark.parametrize("path", ["kv", "/kv/x", "kv//x", "kv/../sys/mounts", "kv/x?version=1", "kv/x/", "kv/x%2fy"])
async def test_a_path_that_is_none_is_refused_before_anything_is_asked(vault: Vault, path: str) -> None:
    await refusal(vault, "material.path", path)


async def test_a_vault_that_nobody_configured() -> None:
    with pytest.raises(SealringError, match=r"\[vault.not-configured\]"):
        source_for(ref())


@pytest.mark.criterion("Q6")
async def test_a_denied_path_names_path_policies_and_what_to_add(vault: Vault) -> None:
    error = await refusal(vault, "vault.denied", "kv/somebody/else")
    assert "kv/data/somebody/else/10.0.0.1" in error.message
    assert "sealring" in error.message
    assert 'path "kv/data/somebody/else/10.0.0.1" { capabilities = ["read"] }' in error.remedy
