"""Issuing for a whole ring: a node that fails does not keep the others, and every door says what it wants."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowFailureError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from sealring.errors import refuse
from sealring.models.issuing import Issued, IssueOrder, IssueReport
from sealring.models.material import CertificateFacts
from sealring.temporal.failures import problem_of
from sealring.temporal.policies import CONTROL_QUEUE, DEPLOY_QUEUE
from tests.workflow.fakes import FakeRing
from tests.workflow.story import N1, N2, N3
from workflows.issuing import AT_ONCE, MaterialIssue

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FACTS = CertificateFacts(
    sha256="a" * 64,
    subject="",
    issuer="CN=vault",
    serial="1",
    not_before=NOW,
    not_after=NOW + timedelta(days=30),
    key="EC secp256r1",
)


class FakePki:
    """Issues, and counts how many at once."""

    def __init__(self, *refused: str) -> None:
        self.refused, self.asked, self.now, self.most = refused, list[str](), 0, 0

    @activity.defn
    async def issue_node(self, order: IssueOrder) -> Issued:
        self.asked.append(order.node.address)
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        if order.node.address in self.refused:
            raise refuse("vault.denied", "update is denied", "add the rule", node=order.node.address)
        return Issued(generation="b" * 64, leaf=FACTS, anew=True, key_at=f"{order.path}/x")


@asynccontextmanager
async def serving(environment: WorkflowEnvironment, ring: FakeRing, pki: FakePki) -> AsyncIterator[None]:
    client = environment.client
    async with (
        Worker(client, task_queue=CONTROL_QUEUE, workflows=[MaterialIssue]),
        Worker(client, task_queue=DEPLOY_QUEUE, activities=[*ring.activities, pki.issue_node]),
    ):
        yield


async def issue(environment: WorkflowEnvironment, given: Any, *, identity: str) -> IssueReport:
    report: IssueReport = await environment.client.execute_workflow(
        "MaterialIssue", given, id=identity, task_queue=CONTROL_QUEUE, result_type=IssueReport
    )
    return report


async def test_a_node_that_is_refused_does_not_keep_the_others(temporal_dev: WorkflowEnvironment) -> None:
    pki = FakePki(N2)
    async with serving(temporal_dev, FakeRing(), pki):
        report = await issue(temporal_dev, {"cluster": "pki1", "path": "/d/june"}, identity="tls-issue/pki1")
    assert not report.complete
    assert {node.address: node.problem and node.problem.code for node in report.nodes} == {
        N1: None,
        N2: "vault.denied",
        N3: None,
    }
    assert [node.issued and node.issued.key_at for node in report.nodes] == ["/d/june/x", None, "/d/june/x"]


async def test_only_the_named_nodes_are_asked_and_not_too_many_at_once(temporal_dev: WorkflowEnvironment) -> None:
    some, many = FakePki(), FakePki()
    async with serving(temporal_dev, FakeRing(), some):
        given = {"cluster": "pki2", "path": "/d", "nodes": [N3]}
        assert (await issue(temporal_dev, given, identity="tls-issue/pki2")).complete
    assert some.asked == [N3]
    async with serving(temporal_dev, FakeRing(nodes=25), many):
        assert (await issue(temporal_dev, {"cluster": "pki3", "path": "/d"}, identity="tls-issue/pki3")).complete
    assert (len(many.asked), many.most <= AT_ONCE) == (25, True)


@pytest.mark.parametrize(
    ("given", "identity", "code"),
    [
        ({"cluster": "pki4", "path": "/d"}, "another", "input.workflow-id"),
        ({"cluster": "pki4", "path": "/d", "nodes": ["10.9.9.9"]}, "tls-issue/pki4", "plan.unknown-node"),
        ({"cluster": "pki4", "path": "relative"}, "tls-issue/pki4", "input.invalid"),
        ({"cluster": "pki4", "path": "/d", "key": "x"}, "tls-issue/pki4", "input.invalid"),
        ("text", "tls-issue/pki4", "input.invalid"),
    ],
)
async def test_what_cannot_be_asked_is_refused_and_nobody_is_bothered(
    temporal_dev: WorkflowEnvironment, given: Any, identity: str, code: str
) -> None:
    pki = FakePki()
    async with serving(temporal_dev, FakeRing(), pki):
        with pytest.raises(WorkflowFailureError) as caught:
            await issue(temporal_dev, given, identity=identity)
    assert problem_of(caught.value).code == code
    assert pki.asked == []
