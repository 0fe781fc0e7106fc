"""The activities that read material, on a real OpenBao that is killed between planning and delivering."""

import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from activities.material import MaterialActivities
from activities.rings import Rings
from activities.rotation import load_planned
from lab import openbao, state
from sealring.errors import ErrorClass, SealringError
from sealring.models.material import MaterialRef
from sealring.models.node import ClusterView, NodeView
from sealring.models.plan import Target
from sealring.models.rollout import MaterialQuestion, NodeOrder
from sealring.models.vault import VaultSettings
from sealring.pki.material import Material
from tests.sources.conftest import DELIVERY, NODE, Bao

REF = MaterialRef(provider="vault", path=DELIVERY)


@pytest.fixture
async def rings(approle: VaultSettings, tmp_path: Path) -> AsyncIterator[Rings]:
    file = {"name": "prod", "contact_points": [NODE.address], "vault": approle.model_dump(mode="json")}
    (tmp_path / "prod.yaml").write_text(yaml.safe_dump(file))
    rings = Rings(tmp_path)
    yield rings
    await rings.close()


async def nothing() -> Material:
    raise AssertionError("a whole delivery needs nothing of the node")


async def planned(rings: Rings, ref: MaterialRef = REF) -> tuple[MaterialRef, NodeOrder]:
    """What resolving says, and the order that a plan makes of it."""
    view = ClusterView(
        cluster="prod",
        observed_at=datetime.now(UTC),
        observers=(NODE.address,),
        nodes=(NodeView(node=NODE, version="5.0.9", up=True, normal=True),),
    )
    resolved = await MaterialActivities(rings).resolve_material(MaterialQuestion(view=view, ref=ref))
    assert resolved.ref.digest
    (material,) = resolved.nodes
    target = Target(
        node=NODE,
        generation=material.generation,
        leaf_sha256=material.leaf.sha256,
        apply="reload",
        may_restart=False,
    )
    return resolved.ref, NodeOrder(cluster="prod", rollout="r1", target=target, material=resolved.ref)


@pytest.mark.criterion("V1")
async def test_a_vault_killed_after_planning_is_waited_for_and_gives_what_was_planned(
    bao: Bao, rings: Rings, place: str
) -> None:
    bao.put(place)
    _, order = await planned(rings)
    bao.put(place)  # newer than the plan
    os.kill(state.alive(bao.server.root)[openbao.ROLE], signal.SIGKILL)
    openbao.stop(bao.server)  # until it is gone
    vault = rings.vault(rings.file("prod"))
    try:
        with pytest.raises(SealringError) as caught:
            await load_planned(order, vault, nothing)
        assert (caught.value.error_class, caught.value.node) == (ErrorClass.RETRY, NODE.address)
    finally:
        openbao.launch(bao.server)
        openbao.unseal(bao.server)
    material = await load_planned(order, vault, nothing)
    assert rings.vault(rings.file("prod")) is vault, "the token is kept between activities"
    assert "PRIVATE" not in repr(material)


async def test_what_was_planned_and_is_gone_is_refused(bao: Bao, rings: Rings, place: str) -> None:
    bao.put(place)
    _, order = await planned(rings)
    bao.put(place)
    openbao.write(bao.server, place.replace("kv/", "kv/destroy/", 1), {"versions": [1]})
    with pytest.raises(SealringError, match=r"\[material.changed\]"):
        await load_planned(order, rings.vault(rings.file("prod")), nothing)


async def test_a_pinned_reference_to_other_content_is_refused(bao: Bao, rings: Rings, place: str) -> None:
    bao.put(place)
    pinned, _ = await planned(rings)
    bao.put(place)
    with pytest.raises(SealringError, match=r"\[material.changed\]"):
        await planned(rings, pinned)
