"""Each step has its time; when that is spent, the rollout tells the last error's code and remedy, and stops safely."""

from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from sealring.errors import Actor, ErrorClass, SealringError
from sealring.models.rollout import NodeState
from tests.unit.test_temporal_policies import seconds, steps
from tests.workflow.fakes import FakeRing, distrusted, generation
from tests.workflow.story import N1, deploy, ended, report_of

pytestmark = pytest.mark.criterion("N9")
STATES = {
    "observe_cluster": None,  # there is no node yet
    "resolve_material": None,
    "validate_node": NodeState.REFUSED,
    "backup_node": NodeState.REFUSED,
    "transfer_material": NodeState.REFUSED,
    "preflight_node": NodeState.REFUSED,
    "check_ring": NodeState.PREPARED,
    "activate_generation": NodeState.ROLLED_BACK,
    "reload_tls": NodeState.ROLLED_BACK,
    "verify_node": NodeState.ROLLED_BACK,
    "rollback_node": NodeState.BROKEN,
}
MOST = 20  # attempts: more than any of these budgets has room for


class HealedByThen(FakeRing):
    """What hindered the way forward does not hinder the way back."""

    async def _enter(self, step: str, address: str) -> object:
        if step == "rollback_node":
            self.faults = {(name, where): f for (name, where), f in self.faults.items() if name == step}
        return await super()._enter(step, address)


def circuit_open(pause: timedelta) -> SealringError:
    return SealringError(
        "ssh.circuit-open",
        "no connection is tried",
        error_class=ErrorClass.RETRY,
        actor=Actor.NETWORK_ADMIN,
        remedy="bring the link back",
        retry_after=pause,
    )


@pytest.mark.criterion("V8")  # an open breaker is no pass, whichever step it meets
@pytest.mark.parametrize("step", STATES)
async def test_a_step_that_spent_its_time_is_told_with_code_and_remedy(
    temporal_skipping: WorkflowEnvironment, step: str
) -> None:
    ring, state = HealedByThen(nodes=1), STATES[step]
    node = "" if step in ("observe_cluster", "resolve_material", "check_ring") else N1
    pause = timedelta(hours=1) if step == "rollback_node" else timedelta(minutes=2)
    if step == "rollback_node":
        ring.fail("verify_node", N1, distrusted(N1))
    ring.fail(step, node, *(circuit_open(pause) for _ in range(MOST)))
    cluster = f"spent-{step.replace('_', '-')}"
    report = report_of(await ended(temporal_skipping, ring, deploy(cluster)))
    problem = report.problem
    assert problem
    assert (problem.code, problem.actor, problem.remedy) == (
        "ssh.circuit-open",
        Actor.NETWORK_ADMIN,
        "bring the link back",
    )
    assert "gave up when the time for it was spent; no connection is tried" in problem.message
    assert [n.state for n in report.nodes] == ([state] if state else [])
    if state is not NodeState.BROKEN:
        assert ring.serving[N1] == ring.on_disk[N1] == generation("a", 0).id
    tried = len([called for called in ring.calls if called == (step, node)])
    assert 2 <= tried <= seconds(steps()[step], "schedule_to_close_timeout") / pause.total_seconds() + 1
