"""When proof cannot be had: the bypass (refused when over, loud while it holds, ended in time), and the checklist."""

from datetime import timedelta

import pytest
from rich.console import Console
from temporalio import activity
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from sealring.errors import passing
from sealring.models.cluster import RolloutSettings
from sealring.models.evidence import Finding, Verdict, Verification
from sealring.models.rollout import NodeState, Phase, RingAnswer, RingQuestion
from sealring.models.steering import RolloutStatus
from starters.show import show_report, show_status
from starters.show_plans import show_plan
from tests.workflow.fakes import FakeRing, blocking, distrusted, generation
from tests.workflow.story import N1, N2, deploy, ended, report_of, run, serving, start, until
from workflows.page import render

pytestmark = pytest.mark.criterion("N20")
HOUR = timedelta(hours=1)


async def ending_in(environment: WorkflowEnvironment, time: timedelta, code: str = "material.lifetime") -> str:
    """A waiver that ends some time from now, by the server's clock."""
    return f"{code}:until={(await environment.get_current_time() + time).isoformat()},reason=a test"


def blind(address: str) -> Verification:
    """One of two vantages saw the intended leaf, the other saw nothing."""
    findings = (
        Finding(check="verify.vantages", verdict=Verdict.INCONCLUSIVE, message="1 of 2 vantages", node=address),
        Finding(check="verify.served", verdict=Verdict.PASS, message="leaf compared", node=address),
    )
    return Verification(verdict=Verdict.INCONCLUSIVE, findings=findings)


async def test_a_waiver_that_is_over_is_refused_by_name_before_the_ring_is_looked_at(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = FakeRing()
    over = await ending_in(temporal_skipping, -timedelta(seconds=1))
    error = await ended(temporal_skipping, ring, deploy("over", waive=["material.chain", over]))
    problem = report_of(error).problem
    assert error.type == "RolloutRefused"
    assert problem
    assert problem.code == "waiver.expired"
    assert "material.lifetime until" in problem.message
    assert "material.chain" not in problem.message
    assert ring.calls == []


async def test_a_waiver_in_use_is_loud_in_plan_status_page_and_report(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing()
    ring.fail("preflight_node", N2, blocking("material.lifetime", N2))
    waiver = await ending_in(temporal_skipping, HOUR)
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, deploy("loud", waive=[waiver, "material.chain"]))
        report = await handle.result()
        status = await handle.query("status", result_type=RolloutStatus)
    assert report.outcome is Phase.DONE
    assert report.plan
    screen = Console(width=400, record=True)
    for picture in (show_plan(report.plan), show_status(status, {}), render(status), show_report(report)):
        screen.print(picture)
        shown = screen.export_text()
        assert ("WAIVED: " in shown) or ("**WAIVED**: " in shown)
        assert str(report.waived[0]) in shown
        assert "material.chain without an end: no reason given" in shown
    used = [f.message for n in report.nodes for f in n.findings if f.check == "waiver.used"]
    assert used == [f"material.lifetime was fail, and waived: {report.waived[0]}"]


@pytest.mark.criterion("V8", "N19")
async def test_an_inconclusive_proof_is_no_pass(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing()
    ring.fail("verify_node", N1, blind(N1))
    report = report_of(await ended(temporal_skipping, ring, deploy("blind")))
    assert report.nodes[0].state is NodeState.ROLLED_BACK
    assert ring.serving[N1] == generation("a", 0).id
    assert report.problem
    assert report.problem.code == "verify.vantages"


async def test_proof_that_could_not_be_had_is_bypassed_for_a_time(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing()
    ring.fail("verify_node", N1, blind(N1))
    waiver = await ending_in(temporal_skipping, HOUR, "verify.vantages")
    report = await run(temporal_skipping, ring, deploy("bypass", waive=[waiver]))
    node = report.nodes[0]
    assert (report.outcome, node.state) == (Phase.DONE, NodeState.SERVING)
    assert node.verification
    assert node.verification.verdict is Verdict.INCONCLUSIVE, "the report does not call it proven"
    assert [f.check for f in node.findings] == ["waiver.used", "verify.vantages"]


async def test_proof_that_failed_is_not_bypassed(temporal_skipping: WorkflowEnvironment) -> None:
    ring = FakeRing()
    ring.fail("verify_node", N1, distrusted(N1))
    waiver = await ending_in(temporal_skipping, HOUR, "verify.trusted")
    report = report_of(await ended(temporal_skipping, ring, deploy("no-bypass", waive=[waiver])))
    assert report.nodes[0].state is NodeState.ROLLED_BACK


async def test_a_waiver_that_ends_on_the_way_counts_no_more_when_the_node_is_prepared_again(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = FakeRing(nodes=1, rules=RolloutSettings(on_failure="ask", decision_timeout=10 * HOUR))
    ring.fail("preflight_node", N1, blocking("material.lifetime", N1), blocking("material.lifetime", N1))
    ring.fail("verify_node", N1, distrusted(N1))
    waiver = await ending_in(temporal_skipping, HOUR)
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, deploy("ends", waive=[waiver]))
        await until(handle, lambda s: s.phase is Phase.NEEDS_DECISION)
        assert ring.steps(N1).count("activate_generation") == 1
        await temporal_skipping.sleep(2 * HOUR)
        await handle.execute_update("resolve", {"node": N1, "action": "retry"}, result_type=RolloutStatus)
        status = await until(handle, lambda s: s.decision and s.nodes[0].state is NodeState.REFUSED)
        assert status.decision.problem.code == "material.lifetime", "it is asked again, not taken for done"
        assert ring.steps(N1).count("activate_generation") == 1, "nothing was put in force without the waiver"
        nodes = await handle.query("nodes")
        checks = [finding["check"] for finding in nodes[0]["findings"]]
        assert {"waiver.used", "waiver.expired"} <= set(checks)
        await handle.terminate()


class Asked(FakeRing):
    """Notes which checks of the ring are waived, each time it is asked."""

    def __init__(self) -> None:
        super().__init__(nodes=1)
        self.waived: list[tuple[str, ...]] = []

    @activity.defn
    async def check_ring(self, question: RingQuestion) -> RingAnswer:
        self.waived.append(question.waive)
        return await super().check_ring(question)


async def test_at_each_gate_only_what_holds_by_then_is_waived(temporal_skipping: WorkflowEnvironment) -> None:
    ring = Asked()
    busy = passing("ssh.lost", "the link was lost")
    busy.retry_after = timedelta(minutes=12)
    ring.fail("check_ring", "", busy, blocking("ring.schema-disagreement", ""))  # then the gate asks anew
    waiver = await ending_in(temporal_skipping, timedelta(minutes=10), "ring.node-down")
    report = await run(temporal_skipping, ring, deploy("gate-ends", waive=[waiver]))
    assert report.outcome is Phase.DONE
    assert ring.waived == [("ring.node-down",), ("ring.node-down",), ()], "one look in two attempts, then the next look"


async def test_the_decision_and_the_report_carry_a_checklist_for_a_person(
    temporal_skipping: WorkflowEnvironment,
) -> None:
    ring = FakeRing(nodes=1, rules=RolloutSettings(on_failure="ask"))
    ring.fail("verify_node", N1, distrusted(N1), distrusted(N1))  # the way back is not proven either
    async with serving(temporal_skipping, ring):
        handle = await start(temporal_skipping, deploy("by-hand"))
        status = await until(handle, lambda s: s.phase is Phase.NEEDS_DECISION)
        screen = Console(width=400, record=True)
        screen.print(show_status(status, {}))
        for shown in (screen.export_text(), render(status)):
            assert f"prove {N1} by hand:" in shown
            assert "openssl s_client -connect" in shown
            assert f"sealring rollout resolve by-hand {N1} retry" in shown
        after = await handle.execute_update("resolve", {"node": N1, "action": "stop"}, result_type=RolloutStatus)
        assert (after.phase, after.decision) != (Phase.NEEDS_DECISION, status.decision), "the answer was taken"
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    report = report_of(caught.value.cause)
    assert report.nodes[0].state is NodeState.BROKEN
    assert report.by_hand[0] == f"prove {N1} by hand:"
    assert f"-connect {N1}:9042 " in "\n".join(report.by_hand), "the matrix has seen its listener"
    assert "sealring rollout start by-hand" in report.by_hand[-1]
    screen.print(show_report(report))
    assert report.by_hand[0] in screen.export_text()


async def test_a_rollout_that_is_proven_has_no_checklist(temporal_skipping: WorkflowEnvironment) -> None:
    assert (await run(temporal_skipping, FakeRing(), deploy("proven"))).by_hand == ()
