"""The control worker as a process of its own, with its own files and nothing of the deploy worker's."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from sealring.models.rollout import NodeState, Phase
from sealring.temporal.policies import DEPLOY_QUEUE
from tests.workflow.fakes import FakeRing
from tests.workflow.story import deploy, start


@asynccontextmanager
async def control_process(temporal: WorkflowEnvironment, folder: Path, keyring: Path) -> AsyncIterator[None]:
    """`sealring worker control`, polling."""
    shutil.copy(keyring, folder / "keyring.json")
    settings = {
        "temporal_address": temporal.client.service_client.config.target_host,
        "temporal_namespace": temporal.client.namespace,
        "keyring": str(folder / "keyring.json"),
    }
    environment = {"HOME": str(folder), "PATH": os.environ["PATH"]}
    environment |= {f"SEALRING_{name.upper()}": value for name, value in settings.items()}
    program = Path(sys.executable).parent / "sealring"
    process = await asyncio.create_subprocess_exec(
        program, "worker", "control", env=environment, cwd=folder, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        said = await asyncio.wait_for(process.stdout.readline(), 60)
        assert said.startswith(b"control worker polls")
        yield
    finally:
        process.terminate()
        await process.wait()


def files_below(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.rglob("*") if file.is_file())


@pytest.mark.criterion("Q5")
async def test_a_control_worker_needs_no_cluster_file_no_key_and_no_delivery(
    temporal_dev: WorkflowEnvironment, tmp_path: Path, keyring_path: Path
) -> None:
    ring = FakeRing()
    async with (
        control_process(temporal_dev, tmp_path, keyring_path),
        Worker(temporal_dev.client, task_queue=DEPLOY_QUEUE, activities=ring.activities),
    ):
        report = await (await start(temporal_dev, deploy("alone"))).result()
    assert report.outcome is Phase.DONE
    assert {node.state for node in report.nodes} == {NodeState.SERVING}
    assert files_below(tmp_path) == ["keyring.json"], "it had nothing else, and left nothing"
