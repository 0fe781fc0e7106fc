"""Rollouts that run while a new version is deployed must go on: every recorded history replays."""

import asyncio
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from sealring.temporal.plugin import sealring_plugin
from workers.control import WORKFLOWS

GALLERY = sorted(Path(__file__).parent.glob("*.json"))


def test_there_is_a_gallery() -> None:
    assert len(GALLERY) >= 10


@pytest.mark.parametrize("file", GALLERY, ids=lambda file: file.stem)
def test_a_recorded_history_replays(file: Path) -> None:
    cluster, _, kind = file.stem.partition(".")
    node = "127.0.0.2" if file.stem == "rolled-back.activation" else "127.0.0.1"
    identity = {
        "rollout": f"tls-rollout/{cluster}",
        "preparation": f"tls-prepare/{cluster}/{node}",
        "activation": f"tls-node/{cluster}/{node}",
        "issue": f"tls-issue/{cluster}",
        "preflight": f"tls-preflight/{cluster}",
    }[kind]
    history = WorkflowHistory.from_json(identity, file.read_text())
    replayer = Replayer(workflows=WORKFLOWS, plugins=[sealring_plugin(None)])
    asyncio.run(replayer.replay_workflow(history))
