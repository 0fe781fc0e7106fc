"""An expired ring in memory: nobody sees anybody until the last node is renewed; all else is demanded as ever."""

from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.testing import WorkflowEnvironment

from sealring.errors import refuse
from sealring.models.cluster import RolloutSettings
from sealring.models.evidence import Verification
from sealring.models.node import ClusterView
from sealring.models.rollout import (
    Activated,
    BarrierQuestion,
    ClusterQuestion,
    FlipOrder,
    NodeOrder,
    NodeState,
    Phase,
    Readiness,
    RingAnswer,
    RingQuestion,
    RolloutReport,
    VerifyOrder,
)
from tests.workflow.fakes import FakeRing, blocking, distrusted
from tests.workflow.story import N1, N2, N3, deploy, ended, report_of, run

WAIVED = ("node.expired", "node.service", "ring.node-down", "ring.schema-disagreement", "ring.observers")


class ExpiredRing(FakeRing):
    """What was served at the beginning has expired: nobody is seen up until all serve something else."""

    def __init__(self, *, reload: str = "forced", **more: Any) -> None:
        super().__init__(rules=RolloutSettings(ring_patience=timedelta(0)), **more)
        self.expired = dict(self.serving)
        self.reload = reload
        self.dead: set[str] = set()  # not up, whatever they serve
        self.orders: list[NodeOrder] = []

    def over(self, address: str) -> bool:
        return self.serving[address] == self.expired.get(address)

    @property
    def apart(self) -> set[str]:
        """Who is not seen up by everybody."""
        return set(self.nodes) if any(map(self.over, self.nodes)) else self.dead

    @activity.defn
    async def observe_cluster(self, question: ClusterQuestion) -> ClusterView:
        view = await super().observe_cluster(question)
        nodes = tuple(
            seen.model_copy(
                update={
                    "expired": "native shows a leaf that is over" if self.over(seen.node.address) else "",
                    "up": seen.node.address not in self.apart,
                    "contact": seen.node.address == N2,
                    "reload": self.reload,
                }
            )
            for seen in view.nodes
        )
        return view.model_copy(update={"nodes": nodes, "source": "nodetool"})

    @activity.defn
    async def check_ring(self, question: RingQuestion) -> RingAnswer:
        await self._enter("check_ring", "")
        down = [f for address in sorted(self.apart) for f in blocking("ring.node-down", address).findings]
        return RingAnswer(findings=tuple(f for f in down if f.check not in question.waive))

    @activity.defn
    async def observe_barrier(self, question: BarrierQuestion) -> Readiness:
        await self._enter("observe_barrier", question.before)
        return Readiness(findings=tuple(f for a in sorted(self.apart) for f in blocking("ring.node-down", a).findings))

    @activity.defn
    async def validate_node(self, order: NodeOrder) -> Readiness:
        said = await self._enter("validate_node", order.node.address)
        self.orders.append(order)
        return said or (blocking("node.expired", order.node.address) if self.over(order.node.address) else Readiness())

    @activity.defn
    async def verify_node(self, order: VerifyOrder) -> Verification:
        assert order.order.alone, "its peers are asked, who cannot see it"
        return await super().verify_node(order)

    @activity.defn
    async def rollback_node(self, flip: FlipOrder) -> Activated:
        await self._enter("rollback_node", flip.order.node.address)
        assert flip.generation == self.expired[flip.order.node.address]
        raise refuse("rollback.expired", "the generation before expired", "deploy new material to this node")

    @property
    def activities(self) -> list[Any]:
        return [*super().activities, self.observe_barrier]


def emergency(cluster: str, **more: Any) -> dict[str, Any]:
    return deploy(cluster, goal="renew-expired", reason="nobody renewed", **more)


def flips(ring: FakeRing) -> list[str]:
    return [address for step, address in ring.calls if step == "activate_generation"]


def waves(report: RolloutReport) -> list[list[str]]:
    assert report.plan is not None
    return [[target.node.address for target in wave.targets] for wave in report.plan.waves]


async def test_an_expired_ring_is_renewed_and_then_seen_whole(temporal_skipping: WorkflowEnvironment) -> None:
    ring = ExpiredRing()
    report = await run(temporal_skipping, ring, emergency("expired"))
    assert report.outcome is Phase.DONE
    assert {node.state for node in report.nodes} == {NodeState.SERVING}
    assert waves(report) == [[N3], [N1, N2]]
    assert [where for step, where in ring.calls if step == "observe_barrier"] == ["end"]
    assert tuple(waiver.code for waiver in report.waived) == WAIVED
    assert all(waiver.reason == "expired-ring emergency: nobody renewed" for waiver in report.waived)
    assert {f.check for node in report.nodes for f in node.findings} >= {"waiver.used", "node.expired"}
    assert report.plan is not None
    assert report.plan.topology == "", "nothing is proven"
    assert any("EMERGENCY (nobody renewed): no quorum is proven" in risk for risk in report.plan.risks)
    assert not any(target.may_restart for target in report.plan.targets)
    assert all(row.consistent for row in report.matrix)


async def test_where_nothing_reloads_a_seed_is_restarted_first(temporal_skipping: WorkflowEnvironment) -> None:
    ring = ExpiredRing(reload="none")
    report = await run(temporal_skipping, ring, emergency("restarts"))
    assert report.outcome is Phase.DONE
    assert waves(report) == [[N2], [N1], [N3]]
    assert [a for step, a in ring.calls if step == "restart_node"] == [N2, N1, N3]


async def test_a_ring_whose_leaves_are_good_is_no_emergency(temporal_skipping: WorkflowEnvironment) -> None:
    ring = ExpiredRing()
    ring.expired = {}
    error = await ended(temporal_skipping, ring, emergency("good"))
    report = report_of(error)
    assert error.type == "RolloutRefused"
    assert report.problem is not None
    assert report.problem.code == "plan.not-expired"
    assert ring.steps(N1) == []


async def test_an_ordinary_rollout_of_an_expired_ring_is_refused(temporal_skipping: WorkflowEnvironment) -> None:
    ring = ExpiredRing()
    report = report_of(await ended(temporal_skipping, ring, deploy("ordinary")))
    assert report.problem is not None
    assert report.problem.code == "plan.ring-degraded"
    assert report.waived == ()


@pytest.mark.parametrize("step", ["preflight_node", "validate_node"])
async def test_what_does_not_depend_on_the_ring_blocks_as_ever(
    temporal_skipping: WorkflowEnvironment, step: str
) -> None:
    ring = ExpiredRing()
    ring.fail(step, N2, blocking("material.trusted-by-peers", N2))
    report = report_of(await ended(temporal_skipping, ring, emergency(f"bad-{step.partition('_')[0]}")))
    assert report.outcome is Phase.REFUSED
    assert flips(ring) == []


async def test_trust_that_would_break_blocks_as_ever(temporal_skipping: WorkflowEnvironment) -> None:
    ring = ExpiredRing()
    ring.fail("simulate_trust", "", blocking("trust.states", N2))
    report = report_of(await ended(temporal_skipping, ring, emergency("distrust")))
    assert report.problem is not None
    assert (report.outcome, report.problem.code) == (Phase.REFUSED, "trust.states")
    assert flips(ring) == []


async def test_a_node_that_fails_stays_on_the_new_generation_and_the_same_command_goes_on(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring, name = ExpiredRing(), "forward"
    ring.fail("verify_node", N3, distrusted(N3))
    report = report_of(await ended(temporal_skipping, ring, emergency(name)))
    assert report.outcome is Phase.FAILED
    assert report.problem is not None
    assert report.problem.code == "rollback.expired"
    assert (flips(ring), ring.on_disk[N3] != ring.expired[N3]) == ([N3], True)
    assert {o.address: o.state for o in report.nodes}[N3] is NodeState.BROKEN
    assert any(N3 in line for line in report.by_hand)
    again = await run(temporal_skipping, ring, emergency(name))
    assert again.outcome is Phase.DONE
    assert flips(ring) == [N3, N1, N2]
    assert again.plan is not None
    assert any(f"left alone, because nothing of them has expired: {N3}" in risk for risk in again.plan.risks)


async def test_what_was_waived_on_the_way_is_demanded_at_the_end(temporal_skipping: WorkflowEnvironment) -> None:
    ring = ExpiredRing()
    ring.dead = {N2}
    error = await ended(temporal_skipping, ring, emergency("dead"))
    report = report_of(error)
    assert error.type == "RolloutFailed"
    assert report.problem is not None
    assert (report.problem.code, report.problem.node) == ("ring.node-down", N2)
    assert {node.state for node in report.nodes} == {NodeState.SERVING}, "and nobody is taken back for it"
