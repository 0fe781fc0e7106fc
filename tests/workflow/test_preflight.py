"""A preflight alone: no node keeps the others, not too many at once, and a large ring's report stays small."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowFailureError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from sealring.errors import passing, refuse
from sealring.models.cluster import NodeRef, RolloutSettings
from sealring.models.evidence import Finding, Verdict
from sealring.models.material import MaterialRef
from sealring.models.plan import Target
from sealring.models.preflight import PreflightReport, PreflightRequest, PreflightSurvey
from sealring.models.rollout import NodeOrder, Readiness
from sealring.models.trust import TrustQuestion
from sealring.temporal.failures import problem_of
from sealring.temporal.policies import CONTROL_QUEUE, DEPLOY_QUEUE
from workflows.preflight import MOST_NODES_WITH_EVIDENCE, RingPreflight

AT_ONCE = 4


def target(number: int) -> Target:
    address = f"10.0.{number // 250}.{number % 250 + 1}"
    node = NodeRef(
        host_id=f"h{number}", address=address, internode_address=address, datacenter="dc1", rack=f"r{number % 3}"
    )
    return Target(node=node, generation="a" * 64, leaf_sha256="b" * 64, apply="reload", may_restart=True)


class FakeLooks:
    """Nodes that answer, one that is away."""

    def __init__(self, nodes: int, away: str = "") -> None:
        self.nodes, self.away = nodes, away
        self.now = self.most = self.tries = 0
        self.orders: list[NodeOrder] = []

    @activity.defn
    async def survey_ring(self, request: PreflightRequest) -> PreflightSurvey:
        down = Finding(check="ring.node-down", verdict=Verdict.FAIL, message="down")
        return PreflightSurvey(
            material=MaterialRef(path=request.material.path, digest="c" * 64),
            targets=tuple(target(number) for number in range(self.nodes)),
            rules=RolloutSettings(max_parallel=AT_ONCE),
            findings=(down,) if request.cluster == "degraded" else (),
        )

    @activity.defn
    async def simulate_trust(self, question: TrustQuestion) -> Readiness:
        assert question.material is not None
        if self.away:
            raise refuse("cql.credentials", "cql.ca cannot be used", "mend it")
        good = Finding(check="trust.states", verdict=Verdict.PASS, message="all pairs")
        return Readiness(findings=(good,))

    @activity.defn
    async def preflight_alone(self, order: NodeOrder) -> Readiness:
        address = order.node.address
        if address == self.away:
            self.tries += 1
            raise passing("ssh.refused", "nobody listens", "start sshd", node=address)
        self.orders.append(order)
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.01)
        self.now -= 1
        good = Finding(check="node.stores", verdict=Verdict.PASS, message="x" * 300, node=address)
        old = Finding(check="node.uptime", verdict=Verdict.WARN, message="old", node=address)
        return Readiness(findings=(good, old))


@asynccontextmanager
async def serving(environment: WorkflowEnvironment, looks: FakeLooks) -> AsyncIterator[None]:
    activities: list[Callable[..., Any]] = [looks.survey_ring, looks.simulate_trust, looks.preflight_alone]
    async with (
        Worker(environment.client, task_queue=CONTROL_QUEUE, workflows=[RingPreflight]),
        Worker(environment.client, task_queue=DEPLOY_QUEUE, activities=activities),
    ):
        yield


async def preflight(
    environment: WorkflowEnvironment, looks: FakeLooks, cluster: str, *, identity: str = "", **more: Any
) -> PreflightReport:
    async with serving(environment, looks):
        report: PreflightReport = await environment.client.execute_workflow(
            "RingPreflight",
            {"cluster": cluster, "material": {"path": "/d/june"}, **more},
            id=identity or f"tls-preflight/{cluster}",
            task_queue=CONTROL_QUEUE,
            result_type=PreflightReport,
        )
    return report


@pytest.mark.criterion("F10")
async def test_every_node_is_looked_at_some_at_a_time(temporal_skipping: WorkflowEnvironment) -> None:
    looks = FakeLooks(12)
    report = await preflight(temporal_skipping, looks, "all")
    assert [node.address for node in report.nodes] == [target(i).node.address for i in range(12)]
    assert 1 < looks.most <= AT_ONCE
    assert {order.material for order in looks.orders} == {report.material}, "pinned by what the survey saw"
    assert report.ready
    assert all(node.verdict_of("node.stores") is Verdict.PASS and len(node.findings) == 2 for node in report.nodes)


@pytest.mark.criterion("F4")
async def test_a_node_that_is_away_is_told_after_some_tries(temporal_skipping: WorkflowEnvironment) -> None:
    away = target(1).node.address
    looks = FakeLooks(3, away)
    report = await preflight(temporal_skipping, looks, "away")
    assert looks.tries == 3
    trust, finding = report.standing
    assert (trust.check, trust.verdict) == ("trust.unknown", Verdict.INCONCLUSIVE)
    assert "[cql.credentials]" in trust.message
    assert (finding.check, finding.node) == ("node.reachable", away)
    assert "[ssh.refused]" in finding.message
    assert finding.remedy == "start sshd"
    assert len([node for node in report.nodes if len(node.findings) == 2]) == 2


@pytest.mark.criterion("F9")
async def test_waivers_are_weighed_as_a_rollout_would(temporal_skipping: WorkflowEnvironment) -> None:
    report = await preflight(temporal_skipping, FakeLooks(1), "degraded")
    assert [finding.check for finding in report.standing] == ["ring.node-down"]
    report = await preflight(
        temporal_skipping, FakeLooks(1), "degraded", waive=["ring.node-down:reason=decommissioned"]
    )
    assert report.ready
    assert [note.check for note in report.notes] == ["waiver.used"]


async def test_a_large_ring_keeps_only_the_codes_of_what_passed(temporal_skipping: WorkflowEnvironment) -> None:
    report = await preflight(temporal_skipping, FakeLooks(MOST_NODES_WITH_EVIDENCE + 1), "large")
    assert {node.passed for node in report.nodes} == {("node.stores",)}
    assert {finding.verdict for node in report.nodes for finding in node.findings} == {Verdict.WARN}
    assert report.nodes[0].verdict_of("node.stores") is Verdict.PASS


@pytest.mark.parametrize(
    ("identity", "more", "code"),
    [
        ("mine", {}, "input.workflow-id"),
        ("", {"waive": ["material.expired"]}, "input.invalid"),
        ("", {"waive": ["material.chain:until=2020-01-01T00:00Z"]}, "waiver.expired"),
        ("", {"unknown": 1}, "input.invalid"),
    ],
)
async def test_doors(temporal_skipping: WorkflowEnvironment, identity: str, more: dict[str, Any], code: str) -> None:
    with pytest.raises(WorkflowFailureError) as caught:
        await preflight(temporal_skipping, FakeLooks(1), "doors", identity=identity, **more)
    assert problem_of(caught.value).code == code
