"""A keyspace that can spare no replica: its waiver, from the plan through the gate into the report."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from sealring.models.rollout import NodeState, Phase
from sealring.models.steering import RolloutStatus
from sealring.models.topology import Topology
from tests.workflow.fakes import FakeRing
from tests.workflow.story import N1, N2, N3, deploy, ended, report_of, run, serving, start, until
from tests.workflow.test_gate import ended_of, flips, known, topology

WAIVED = "plan.quorum.lone"


def lone(ring: FakeRing, factor: int = 1) -> Topology:
    """The ring with a keyspace of so many replicas."""
    given = topology(ring).model_dump()
    replication = {"class": "SimpleStrategy", "replication_factor": factor}
    given["keyspaces"] += ({"name": "lone", "replication": replication},)
    return Topology.model_validate(given)


def with_lone(**rules: Any) -> FakeRing:
    ring = known(**rules)
    ring.topology = lone(ring)
    return ring


@pytest.mark.criterion("D7")
async def test_without_its_waiver_it_is_refused_and_with_it_the_report_says_so(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = with_lone()
    error = await ended(temporal_skipping, ring, deploy("lone", apply="restart"))
    assert error.type == "RolloutRefused"
    assert f"--waive {WAIVED}" in error.message
    assert flips(ring) == []
    report = await run(temporal_skipping, ring, deploy("lone", apply="restart", waive=[WAIVED]))
    assert report.outcome is Phase.DONE
    assert flips(ring) == [N1, N2, N3]
    assert [(f.check, f.message.split()[0]) for f in report.findings] == [("waiver.used", WAIVED)]
    assert [str(w).split()[0] for w in report.waived] == [WAIVED]
    assert report.plan is not None
    assert any("lone may be unavailable" in risk for risk in report.plan.risks)


@pytest.mark.criterion("D7")
@pytest.mark.parametrize("keyspace", ["app", "lonely"])
async def test_one_that_needs_none_or_is_not_there_is_refused_by_name(
    temporal_skipping: WorkflowEnvironment, keyspace: str
) -> None:
    ring = known()
    error = await ended(temporal_skipping, ring, deploy(keyspace, waive=[f"plan.quorum.{keyspace}"]))
    problem = report_of(error).problem
    assert problem is not None
    assert problem.code == "waiver.keyspace"
    assert f"plan.quorum.{keyspace}" in problem.message
    assert flips(ring) == []


@pytest.mark.criterion("D7")
async def test_a_waiver_that_the_ring_needs_no_longer_ends_no_rollout(temporal_skipping: WorkflowEnvironment) -> None:
    ring = with_lone()
    reached, go = ring.hold_at("settle_node", N1)
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, deploy("raised", apply="restart", waive=[WAIVED]))
        await reached.wait()
        ring.topology = lone(ring, factor=3)
        go.set()
        report = await handle.result()
    assert report.outcome is Phase.DONE
    assert flips(ring) == [N1, N2, N3]


@pytest.mark.criterion("D7")
async def test_from_its_end_on_the_next_wave_waits_and_a_person_is_asked(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = with_lone(on_failure="ask", ring_patience=0)
    reached, go = ring.hold_at("settle_node", N1)
    async with serving(temporal_skipping, ring):
        now = await temporal_skipping.get_current_time()
        end = (now if now.tzinfo else now.replace(tzinfo=UTC)) + timedelta(hours=1)
        request = deploy("over", apply="restart", waive=[f"{WAIVED}:until={_text(end)},reason=r"])
        handle = await start(temporal_skipping, request)
        await reached.wait()
        await handle.execute_update("pause", {})
        go.set()
        await until(handle, lambda s: s.nodes[0].state is NodeState.SERVING)
        await temporal_skipping.sleep(3700)
        await handle.execute_update("resume", {})
        status: RolloutStatus = await until(handle, lambda s: s.phase is Phase.NEEDS_DECISION)
        assert status.decision is not None
        assert status.decision.problem.code == "ring.quorum"
        assert "lone" in status.decision.problem.message
        await handle.execute_update("resolve", {"node": "ring", "action": "stop"})
        report = report_of(await ended_of(handle))
    assert report.outcome is Phase.FAILED
    assert flips(ring) == [N1]


def _text(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
