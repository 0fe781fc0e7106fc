"""A long rollout cuts its history between two waves and goes on: same plan, same token, nothing done twice."""

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.testing import WorkflowEnvironment

from sealring.models.rollout import NodeState, Phase
from sealring.temporal.attributes import register_search_attributes
from sealring.temporal.keyring import Keyring
from sealring.temporal.plugin import sealring_plugin
from tests.conftest import STARTING
from tests.workflow.authorities import RotatingRing
from tests.workflow.fakes import FakeRing
from tests.workflow.story import BY_RELOAD, N1, deploy, serving, start


async def test_the_history_is_cut_between_waves(temporal_cli: str, keyring: Keyring) -> None:
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=temporal_cli,
        dev_server_startup_timeout=STARTING,
        dev_server_extra_args=["--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=60"],
        plugins=[sealring_plugin(keyring)],
    )
    ring = FakeRing()
    async with environment:
        await register_search_attributes(environment.client)
        async with serving(environment, ring):
            handle = await start(environment, deploy("long"))
            report = await handle.result()
            described = await environment.client.get_workflow_handle(handle.id).describe()
    assert described.run_id != handle.first_execution_run_id
    assert report.outcome is Phase.DONE
    assert [node.state for node in report.nodes] == [NodeState.SERVING] * 3
    assert all(node.before for node in report.nodes)
    assert len(report.matrix) == 3
    assert [ring.steps(node.address) for node in report.nodes] == [BY_RELOAD] * 3
    assert [step for step, _ in ring.calls].count("make_plan") == 1
    assert [step for step, _ in ring.calls].count("observe_cluster") == 1
    assert report.started_at < described.start_time


async def test_a_rotation_whose_history_is_cut_between_stages_and_inside_them_does_nothing_twice(
    temporal_cli: str, keyring: Keyring
) -> None:
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=temporal_cli,
        dev_server_startup_timeout=STARTING,
        dev_server_extra_args=["--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=10"],
        plugins=[sealring_plugin(keyring)],
    )
    ring = RotatingRing(nodes=2)
    request = {"goal": "rotate-ca", "material": {"path": "b"}, "old_authority": "drop"}
    async with environment:
        await register_search_attributes(environment.client)
        async with serving(environment, ring):
            handle = await start(environment, {"cluster": "cut", **request})
            report = await handle.result()
    assert report.outcome is Phase.DONE
    assert (ring.holds(), ring.violations) == ({("b", "b")}, [])
    steps = [step for step, _ in ring.calls]
    assert [steps.count(s) for s in ("make_plan", "transfer_material", "activate_generation")] == [1, 6, 6]
    assert [where for step, where in ring.calls if step == "observe_barrier"] == ["identity", "drop", "end"]


@pytest.mark.parametrize("how", ["abort", "cancel"])
async def test_an_abort_in_the_wave_before_the_cut_is_not_forgotten(
    temporal_cli: str, keyring: Keyring, how: str
) -> None:
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=temporal_cli,
        dev_server_startup_timeout=STARTING,
        dev_server_extra_args=["--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=10"],
        plugins=[sealring_plugin(keyring)],
    )
    ring = FakeRing()
    reached, go = ring.hold_at("activate_generation", N1)
    async with environment:
        await register_search_attributes(environment.client)
        async with serving(environment, ring):
            handle = await start(environment, deploy("cut", failure_budget=3))
            await reached.wait()
            await (handle.cancel() if how == "cancel" else handle.execute_update("abort", {}))
            go.set()
            with pytest.raises(WorkflowFailureError):
                await handle.result()
    assert [where for step, where in ring.calls if step == "activate_generation"] == [N1]
