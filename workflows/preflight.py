"""One ring, looked at before a rollout: every check on every node, and nothing changed."""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from sealring.errors import refuse
    from sealring.models.evidence import Finding, Verdict
    from sealring.models.plan import Plan, Stage, Target, Wave
    from sealring.models.preflight import NodePreflight, PreflightReport, PreflightRequest, PreflightSurvey
    from sealring.models.rollout import NodeOrder
    from sealring.models.trust import TrustQuestion
    from sealring.planning.waivers import refuse_expired, weigh
    from sealring.temporal.failures import problem_of
    from workflows import calls
    from workflows.doors import one_argument

ID = "tls-preflight"  # the workflow's id is `tls-preflight/<cluster>`: one at a time, and none waits for a rollout
LASTS = timedelta(hours=2)
"""What is delivered must outlast a rollout."""

MOST_NODES_WITH_EVIDENCE = 50  # a payload may have 2 MB: of a larger ring, what passed is told by its code alone


@workflow.defn(name="RingPreflight")
class RingPreflight:
    """Looks at ring and delivery, then at as many nodes at once as the cluster file allows."""

    @workflow.init
    def __init__(self, request: PreflightRequest | None = None) -> None:
        """Temporal hands the same argument to `run`."""
        self.request = one_argument(request, PreflightRequest, '{"cluster": NAME, "material": {"path": DELIVERY}}')
        self.nodes = 0
        self.done = 0

    @workflow.run
    async def run(self, request: PreflightRequest | None = None) -> PreflightReport:
        """A node that cannot be looked at does not keep the others."""
        named, wanted = workflow.info().workflow_id, f"{ID}/{self.request.cluster}"
        if named != wanted:
            raise refuse("input.workflow-id", f"workflow id: {named}, expected {wanted}", f"use {wanted}")
        begun = workflow.now()
        refuse_expired(self.request.waive, begun)
        survey = await calls.survey_ring(self.request)
        self.nodes = len(survey.targets)
        room = asyncio.Semaphore(survey.rules.max_parallel)
        trust = asyncio.create_task(self.trust(survey))
        nodes = await asyncio.gather(*(self.node(target, survey, room) for target in survey.targets))
        ring = (*survey.findings, *await trust)
        found = (*ring, *(finding for node in nodes for finding in node.findings))
        weighed = weigh(found, self.request.waive, workflow.now())
        return PreflightReport(
            cluster=self.request.cluster,
            material=survey.material,
            ring=ring,
            nodes=tuple(nodes),
            standing=weighed.standing,
            waived=self.request.waive,
            notes=weighed.notes,
            started_at=begun,
            finished_at=workflow.now(),
            requester=self.request.requester,
        )

    async def trust(self, survey: PreflightSurvey) -> tuple[Finding, ...]:
        """Who could not talk to whom with the delivery in force, in whatever order nodes get it."""
        wave = Wave(name="the rollout", targets=survey.targets, because="any order")
        plan = Plan(cluster=self.request.cluster, goal="deploy", stages=(Stage(name="any order", waves=(wave,)),))
        question = TrustQuestion(
            cluster=self.request.cluster, plan=plan, until=workflow.now() + LASTS, material=survey.material
        )
        try:
            return (await calls.simulate_trust(question)).findings
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            problem = problem_of(error)
            message = f"the simulation of trust gave no answer: [{problem.code}] {problem.message}"
            return (
                Finding(
                    check="trust.unknown",
                    verdict=Verdict.INCONCLUSIVE,
                    message=message,
                    remedy=problem.remedy,
                    actor=problem.actor,
                ),
            )

    async def node(self, target: Target, survey: PreflightSurvey, room: asyncio.Semaphore) -> NodePreflight:
        """One node."""
        order = NodeOrder(
            cluster=self.request.cluster,
            rollout=workflow.info().first_execution_run_id,
            target=target,
            material=survey.material,
            rules=survey.rules,
        )
        async with room:
            begun = workflow.time()
            try:
                findings = (await calls.preflight_alone(order)).findings
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                findings = (_unreached(target, error),)
            self.done += 1
        passed: tuple[str, ...] = ()
        if self.nodes > MOST_NODES_WITH_EVIDENCE:
            passed = tuple(dict.fromkeys(f.check for f in findings if f.verdict is Verdict.PASS))
            findings = tuple(f for f in findings if f.verdict is not Verdict.PASS)
        return NodePreflight(
            address=target.node.address,
            place=f"{target.node.datacenter}/{target.node.rack}",
            findings=findings,
            passed=passed,
            seconds=round(workflow.time() - begun, 3),
        )

    @workflow.query(description="How many nodes were looked at, of how many.")
    def status(self) -> str:
        """See description."""
        return f"{self.done} of {self.nodes} nodes looked at" if self.nodes else "the ring is looked at"


def _unreached(target: Target, error: ActivityError) -> Finding:
    problem = problem_of(error)
    return Finding(
        check="node.reachable",
        verdict=Verdict.FAIL,
        message=f"[{problem.code}] {problem.message}",
        remedy=problem.remedy,
        actor=problem.actor,
        node=target.node.address,
    )
