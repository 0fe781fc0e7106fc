"""One ring: observe, plan, prepare everywhere, activate wave by wave, report."""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from sealring.errors import SealringError
    from sealring.models.plan import Plan, Target, Wave
    from sealring.models.problem import Problem
    from sealring.models.rollout import (
        ClusterQuestion,
        MaterialQuestion,
        MatrixQuestion,
        NodeState,
        Phase,
        PlanQuestion,
        Readiness,
        RingQuestion,
        RolloutReport,
        RolloutRun,
    )
    from sealring.models.steering import Decision
    from sealring.planning.budget import budget_spent, failed_nodes
    from sealring.planning.waivers import in_force, refuse_expired
    from sealring.temporal.failures import problem_of
    from workflows import calls
    from workflows.children import NodeChildren
    from workflows.doors import one_argument
    from workflows.problems import complaint, refusal, stop
    from workflows.progress import Progress

GATE_TRIES = 12
GATE_PAUSE = timedelta(seconds=10)  # gossip needs seconds to agree again after a node came back


class Ended(Exception):
    """The rollout goes no further."""

    def __init__(self, phase: Phase, problem: Problem | None = None, note: str = "") -> None:
        """How, and why."""
        super().__init__(phase)
        self.note = note
        self.phase = phase
        self.problem = problem


@workflow.defn(name="CertificateRollout")
class CertificateRollout(NodeChildren):
    """Brings the nodes of a ring from the generation they serve to the one they should serve.

    The workflow id is `tls-rollout/<cluster>`: it is the cluster's lock. Renewal and rollback take the same way.
    """

    @workflow.init
    def __init__(self, run: RolloutRun | None = None) -> None:
        """Temporal hands the same argument to `run`; a start without one must end, not hang."""
        run = one_argument(run, RolloutRun, '{"cluster": NAME, "material": {"path": DELIVERY}}')
        self.request = run
        self.progress = Progress(run)
        self.children = {}
        self.relaying = asyncio.Lock()

    @workflow.run
    async def run(self, run: RolloutRun | None = None) -> RolloutReport:
        """Tell the story in a task of its own: Cancel in the Temporal UI then does what `abort` does."""
        story = asyncio.create_task(self.story())
        try:
            await asyncio.shield(story)
        except asyncio.CancelledError:
            await self.cancelled()
            await story
            raise
        await workflow.wait_condition(workflow.all_handlers_finished)
        report = self.progress.report(workflow.now())
        if report.outcome is not Phase.DONE:
            raise ApplicationError(
                str(report.problem or report.outcome.value),
                report,
                type=f"Rollout{report.outcome.value}",
                non_retryable=True,
            )
        return report

    async def story(self) -> None:
        """What happens to the ring."""
        try:
            self.check_lock()
            if self.request.carried is None:
                self.check_waivers()
                plan = await self.make_plan()
                if self.request.dry_run:
                    raise Ended(Phase.DONE, note="a dry run: the plan is the result, nothing was changed")
                if not plan.targets:
                    raise Ended(Phase.DONE, note="every node serves its generation already")
                await self.prepare_everywhere(plan)
            assert self.progress.plan is not None
            await self.activate_in_waves(self.progress.plan)
            ending = Ended(Phase.DONE)
        except Ended as ended:
            ending = ended
        except ActivityError as error:
            ending = Ended(Phase.REFUSED if self.nothing_touched() else Phase.FAILED, problem_of(error))
        await self.prove()
        self.progress.problem = ending.problem
        self.progress.enter(ending.phase, ending.note)

    def check_lock(self) -> None:
        """Two rollouts of one ring exclude each other only if both use the id that belongs to the ring."""
        lock = f"tls-rollout/{self.request.cluster}"
        if workflow.info().workflow_id != lock:
            raise Ended(
                Phase.REFUSED,
                stop(
                    "input.workflow-id", f"workflow id: {workflow.info().workflow_id}, expected {lock}", f"use {lock}"
                ),
            )

    def check_waivers(self) -> None:
        """One that is over already is refused by name; one that ends on the way no longer counts from then on."""
        try:
            refuse_expired(self.request.waive, workflow.now())
        except SealringError as error:
            raise Ended(Phase.REFUSED, problem_of(error)) from None

    async def make_plan(self) -> Plan:
        """Observe the ring, look at the delivery, decide."""
        request = self.request
        self.progress.enter(Phase.OBSERVING, "the ring and its hosts are read")
        view = await calls.observe_cluster(ClusterQuestion(cluster=request.cluster))
        material = None
        if request.material is not None:
            question = MaterialQuestion(view=view, ref=request.material, nodes=request.nodes)
            material = await calls.resolve_material(question)
            self.progress.findings += material.findings
        self.progress.enter(Phase.PLANNING, "the plan is made")
        plan = await calls.make_plan(PlanQuestion(request=request, view=view, material=material))
        self.progress.decide_on(plan)
        return plan

    async def prepare_everywhere(self, plan: Plan) -> None:
        """Prepare all nodes; one that is not ready stops the rollout while nothing has been touched."""
        self.progress.enter(Phase.PREPARING, "nodes are validated and backed up, the new generation is transferred")
        room = asyncio.Semaphore(plan.rules.max_parallel)

        async def prepare(target: Target) -> None:
            async with room:
                await self.clear_to_start()
                await self.prepare(target)

        results = await asyncio.gather(*(prepare(t) for t in plan.targets), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        self.stop_if_aborted()
        refused = [o for o in self.progress.outcomes.values() if o.state in (NodeState.REFUSED, NodeState.UNTOUCHED)]
        if refused:
            raise Ended(Phase.REFUSED, refusal(refused))

    async def activate_in_waves(self, plan: Plan) -> None:
        """Wave by wave; between two waves no child runs, so the history may be cut there."""
        for number, wave in enumerate(plan.waves[self.progress.waves_done :], start=self.progress.waves_done + 1):
            self.progress.wave_in_hand = number
            await self.gate(wave)
            self.progress.enter(Phase.ACTIVATING, f"{wave.name}: {', '.join(str(t.node) for t in wave.targets)}")
            await asyncio.gather(*(self.activate(target) for target in wave.targets))
            await self.weigh(wave)
            self.progress.waves_done = number
            if workflow.info().is_continue_as_new_suggested():
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(self.progress.carry())

    async def gate(self, wave: Wave) -> None:
        """Nobody holds us, and the ring is whole now, not only when the plan was made."""
        self.progress.enter(Phase.ACTIVATING, f"before {wave.name}: is the ring whole?")
        for _ in range(GATE_TRIES):
            answer = await self.look_at_ring()
            if not answer.blocking:
                return
            self.progress.enter(Phase.ACTIVATING, f"before {wave.name}: {answer.blocking[0].message}")
            await workflow.sleep(GATE_PAUSE, summary="wait for the ring to be whole")
        first = answer.blocking[0]
        raise Ended(
            Phase.FAILED,
            Problem(code=first.check, message=first.message, actor=first.actor, remedy=first.remedy, node=first.node),
        )

    async def look_at_ring(self) -> Readiness:
        """The ring as it is when nobody holds us: what is said during a look counts before its answer."""
        while True:
            await self.clear_to_start()
            waived = in_force(self.request.waive, workflow.now())
            answer = await calls.check_ring(RingQuestion(cluster=self.request.cluster, waive=waived))
            self.stop_if_aborted()
            if not self.progress.steering.paused:
                return answer

    async def clear_to_start(self) -> None:
        """Wait while paused; go no further when aborted."""
        steering = self.progress.steering
        if steering.paused and not steering.aborted:
            self.progress.publish()
            await workflow.wait_condition(
                lambda: not self.progress.steering.paused or self.progress.steering.aborted,
                timeout_summary="paused",
            )
        self.stop_if_aborted()

    def stop_if_aborted(self) -> None:
        """Asked before every step that starts something new; a cancel that raced with a result is seen here too."""
        if self.progress.steering.aborted or workflow.cancellation_reason() is not None:
            reason = self.progress.steering.reason or "cancelled"
            raise Ended(Phase.ABORTED, stop("rollout.aborted", reason, "start it again when you are ready"))

    async def weigh(self, wave: Wave) -> None:
        """After a wave: go on within the failure budget, else stop, or ask where the cluster's rules say so."""
        plan = self.progress.plan
        assert plan is not None
        targets = {target.node.address: target for target in wave.targets}
        while budget_spent(self.progress.counted(), plan.rules.failure_budget):
            failed = failed_nodes(self.progress.counted())[-1]
            problem = failed.problem or complaint(failed)
            self.stop_if_aborted()
            if plan.rules.on_failure == "stop" or failed.address not in targets:
                raise Ended(Phase.FAILED, problem)
            match await self.ask(failed.address, problem, plan.rules.decision_timeout):
                case "retry":
                    prepared = await self.prepare(targets[failed.address])
                    if prepared.state is NodeState.PREPARED:
                        await self.activate(targets[failed.address])
                case "skip":
                    self.progress.skipped.add(failed.address)
                case _:
                    raise Ended(Phase.FAILED, problem)

    async def ask(self, node: str, problem: Problem, patience: timedelta) -> str:
        """A question to a person; without an answer in time the safe default is taken."""
        decision = Decision(node=node, problem=problem, deadline=workflow.now() + patience)
        self.progress.steering = self.progress.steering.asking(decision)
        self.progress.enter(Phase.ACTIVATING, f"a person decides about {node}")
        try:
            await workflow.wait_condition(
                lambda: self.progress.steering.resolution is not None or self.progress.steering.aborted,
                timeout=patience,
                timeout_summary=f"decision about {node}",
            )
        except TimeoutError:
            self.progress.remark(f"no decision about {node} in time: {decision.default}")
        answer = self.progress.steering.resolution
        self.progress.steering = self.progress.steering.asking(None)
        self.stop_if_aborted()
        return answer.action if answer else decision.default

    def nothing_touched(self) -> bool:
        """Whether no node's activation was begun."""
        return self.progress.wave_in_hand == 0

    async def prove(self) -> None:
        """The served-certificate matrix, when anything was touched. It is evidence: its failure changes no outcome."""
        plan = self.progress.plan
        if plan is None or self.nothing_touched():
            return
        self.progress.enter(Phase.REPORTING, "every listener is probed for the report")
        try:
            answer = await calls.served_matrix(MatrixQuestion(cluster=self.request.cluster, targets=plan.targets))
            self.progress.matrix = answer.rows
        except FailureError as error:
            self.progress.remark(f"no matrix: {problem_of(error)}")

    async def cancelled(self) -> None:
        """Cancel is abort."""
        self.progress.steering = self.progress.steering.aborting(workflow.cancellation_reason() or "cancelled")
        await self._relay("abort")
