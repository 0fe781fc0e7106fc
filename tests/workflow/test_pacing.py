"""The gate takes what the ring bears."""

from itertools import accumulate, pairwise

import pytest
from temporalio.testing import WorkflowEnvironment

from sealring.models.rollout import Phase
from tests.workflow.fakes import FakeRing, blocking
from tests.workflow.story import deploy, run
from tests.workflow.test_gate import flips, known

pytestmark = pytest.mark.criterion("H14")


def waves_of(ring: FakeRing, sizes: list[int]) -> list[set[str]]:
    """What went at once."""
    went = flips(ring)
    return [set(went[a:b]) for a, b in pairwise((0, *accumulate(sizes)))]


async def test_after_a_look_at_a_busy_ring_waves_are_halved_and_grow_by_one_again(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = known(nodes=9, strategy="fastest")
    ring.fail("check_ring", "", blocking("ring.busy", "127.0.0.5"))
    report = await run(temporal_skipping, ring, deploy("busy", apply="restart"))
    assert report.outcome is Phase.DONE
    assert report.plan is not None
    assert [len(wave.targets) for wave in report.plan.waves] == [1, 2, 3, 3]
    assert [{t.node.address for t in wave.targets} for wave in report.plan.waves] == waves_of(ring, [1, 2, 3, 3])
    assert [(f.check, f.verdict.value) for f in report.findings] == [("ring.narrowed", "warn")]
    assert "127.0.0.5: not good: from wave 1 on 1 at once" in report.findings[0].message


async def test_a_quiet_ring_is_worked_on_as_planned(temporal_skipping: WorkflowEnvironment) -> None:
    ring = known(nodes=9, strategy="fastest")
    report = await run(temporal_skipping, ring, deploy("quiet", apply="restart"))
    assert report.plan is not None
    assert [len(wave.targets) for wave in report.plan.waves] == [3, 3, 3]
    assert report.findings == ()
