"""After rollouts that went well, that were refused and that were taken back: no secret is where it does not belong."""

import json
import tomllib
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload

from lab.ring import find
from lab.scan import ProcessWatch, search
from lab.secret_places import lab_secrets, scan_lab
from lab.spec import LabSpec
from sealring.models.rollout import NodeState
from sealring.settings import Settings
from sealring.temporal.codec import EncryptionCodec
from sealring.temporal.connect import client_for
from sealring.temporal.keyring import load_keyring
from starters.exits import Exit
from tests.lab.engine import Engine, running
from tests.lab.seen import states

pytestmark = [pytest.mark.timeout(900), pytest.mark.parametrize("ring", ["stand-in"], indirect=True)]


@pytest.fixture(scope="module")
def engine(ring: LabSpec) -> Iterator[Engine]:
    with running(ring) as engine:
        yield engine


@pytest.mark.criterion("Q6")
async def test_no_secret_is_left_where_it_does_not_belong(engine: Engine, whole_ring: LabSpec) -> None:
    victim = find(whole_ring, "n2").address
    waive = ["--waive", "material.chain", "--waive", "material.trusted-by-peers", "--waive", "trust.states"]
    with ProcessWatch() as watch:
        code, _ = engine.rollout("-m", str(engine.deliver()))
        assert code == Exit.DONE
        code, _ = engine.rollout("-m", str(engine.deliver({"n2": "wrong-key"})))
        assert code == Exit.REFUSED
        code, report = engine.rollout("-m", str(engine.deliver({"n2": "foreign-ca"})), "--nodes", victim, *waive)
        assert (code, states(report)) == (Exit.FAILED, {victim: NodeState.ROLLED_BACK})
    wanted = lab_secrets(whole_ring)  # of all three deliveries too
    assert watch.rounds > 100
    assert watch.leaks(wanted) == set()
    assert scan_lab(whole_ring) == set()
    # What is encrypted in the database would hide a secret from that look: it is decrypted and looked at too.
    told = [content async for content in histories(engine)]
    assert len(told) > 5
    assert any(victim.encode() in content for content in told), "they were decrypted"
    assert [search(content, wanted) for content in told] == [set()] * len(told)
    # And the look itself finds what is there.
    planted = whole_ring.root / "planted.log"
    planted.write_text(json.dumps({"read": (whole_ring.root / "store-password").read_text()}))
    try:
        assert {leak.place for leak in scan_lab(whole_ring)} == {str(planted)}
    finally:
        planted.unlink()


async def histories(engine: Engine) -> Any:
    """Every workflow's history as JSON, its payloads decrypted."""
    settings = Settings(**tomllib.loads(engine.settings.read_text()))
    assert settings.payload_keys is not None
    codec = EncryptionCodec(load_keyring(settings.payload_keys))
    client = await client_for(settings)
    async for listed in client.list_workflows():
        handle = client.get_workflow_handle(listed.id, run_id=listed.run_id)
        yield await decrypted(codec, json.loads((await handle.fetch_history()).to_json()))


async def decrypted(codec: EncryptionCodec, value: Any) -> bytes:
    """All payloads below a JSON value, one after another."""
    if isinstance(value, dict) and {"metadata", "data"} <= set(value):
        metadata = {key: b64decode(text) for key, text in value["metadata"].items()}
        (payload,) = await codec.decode([Payload(metadata=metadata, data=b64decode(value["data"]))])
        return payload.data + b"\n"
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return b"".join([await decrypted(codec, each) for each in below])
