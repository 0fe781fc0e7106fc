"""One ring: observe, plan, prepare everywhere, activate wave by wave, report."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from sealring.errors import SealringError
    from sealring.models.plan import Plan, Stage, Target, Wave
    from sealring.models.rollout import (
        ClusterQuestion,
        MatrixQuestion,
        NodeState,
        Phase,
        RolloutReport,
        RolloutRun,
    )
    from sealring.models.steering import Decision
    from sealring.planning.budget import budget_spent, failed_nodes
    from sealring.planning.remainder import LEFT
    from sealring.planning.waivers import refuse_expired
    from sealring.temporal.failures import problem_of
    from workflows import calls
    from workflows.doors import one_argument
    from workflows.problems import Ended, complaint, refusal, stop
    from workflows.progress import Progress
    from workflows.stages import Stages


@workflow.defn(name="CertificateRollout")
class CertificateRollout(Stages):
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
        self.refused = set()

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
                self.check_nodes()
                plan = await self.make_plan()
                if self.request.dry_run:
                    raise Ended(Phase.DONE, note="a dry run: the plan is the result, nothing was changed")
                if not plan.targets:
                    raise Ended(Phase.DONE, note="every node serves its generation already")
            await self.activate_in_waves()
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
        facts = await self.facts(view, request.nodes)
        material = facts.material or facts.rotation
        self.progress.findings += material.findings if material else ()
        self.progress.enter(Phase.PLANNING, "the plan is made")
        plan = await calls.make_plan(facts)
        self.progress.decide_on(plan)
        return plan

    async def prepare_everywhere(self, change: tuple[Stage, ...]) -> None:
        """Prepare all nodes of these stages; one that is not ready stops the rollout before any of them is touched."""
        self.progress.enter(Phase.PREPARING, "nodes are validated and backed up, the new generation is transferred")
        room = asyncio.Semaphore(self.plan_in_hand.rules.max_parallel)

        async def prepare(target: Target) -> None:
            async with room:
                await self.clear_to_start()
                await self.prepare(target)

        results = await asyncio.gather(*(prepare(t) for stage in change for t in stage.targets), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        self.stop_if_aborted()
        refused = [o for o in self.progress.outcomes.values() if o.state in (NodeState.REFUSED, NodeState.UNTOUCHED)]
        if refused:
            phase = Phase.REFUSED if self.nothing_touched() else Phase.FAILED
            raise Ended(phase, refusal(refused, change[0].name if phase is Phase.FAILED else ""))

    async def activate_in_waves(self) -> None:
        """Wave by wave; between two waves no child runs, so the history may be cut there."""
        while self.next_wave() is not None:
            await self.enter_stage()
            wave = await self.gate()
            if wave is None:
                continue
            self.progress.wave_in_hand = self.progress.waves_done + 1
            self.progress.enter(Phase.ACTIVATING, f"{wave.name}: {', '.join(str(t.node) for t in wave.targets)}")
            await asyncio.gather(*(self.activate(target, wave.targets) for target in wave.targets))
            await self.weigh(wave)
            self.progress.waves_done += 1
            if workflow.info().is_continue_as_new_suggested():
                await workflow.wait_condition(workflow.all_handlers_finished)
                if not self.stop_wanted():  # the next run would not know of it
                    workflow.continue_as_new(self.progress.carry())
        await self.finish_stages()

    async def weigh(self, wave: Wave) -> None:
        """After a wave: go on within the failure budget, else stop, or ask where the cluster's rules say so."""
        plan = self.plan_in_hand
        targets = {target.node.address: target for target in wave.targets}
        while budget_spent(self.progress.counted(), plan.rules.failure_budget):
            failed = failed_nodes(self.progress.counted())[-1]
            problem = failed.problem or complaint(failed)
            self.stop_if_aborted()
            if failed.address in targets and await self.has_left(targets[failed.address].node):
                self.progress.skipped.add(failed.address)
                continue
            if plan.rules.on_failure == "stop" or failed.address not in targets:
                raise Ended(Phase.FAILED, problem)
            deadline = workflow.now() + plan.rules.decision_timeout
            match await self.ask(Decision(node=failed.address, problem=problem, deadline=deadline)):
                case "retry":
                    outcome = await self.prepare(targets[failed.address])
                    if outcome.state is NodeState.PREPARED:
                        outcome = await self.activate(targets[failed.address], looked=False)
                    # What was not touched again is as broken as it was.
                    if failed.state is NodeState.BROKEN and outcome.state in (NodeState.REFUSED, NodeState.UNTOUCHED):
                        self.progress.still_broken(failed)
                case "skip":
                    self.progress.skipped.add(failed.address)
                case _:
                    raise Ended(Phase.FAILED, problem)

    def nothing_touched(self) -> bool:
        """Whether no node's activation was begun."""
        return self.progress.wave_in_hand == 0

    async def prove(self) -> None:
        """The served-certificate matrix, when anything was touched. It is evidence: its failure changes no outcome."""
        plan = self.progress.plan
        if plan is None or self.nothing_touched():
            return
        self.progress.enter(Phase.REPORTING, "every listener is probed for the report")
        gone = {finding.node for finding in self.progress.findings if finding.check == LEFT}
        there = tuple(target for target in plan.targets if target.node.address not in gone)
        try:
            answer = await calls.served_matrix(MatrixQuestion(cluster=self.request.cluster, targets=there))
            self.progress.matrix = answer.rows
        except FailureError as error:
            self.progress.remark(f"no matrix: {problem_of(error)}")

    async def cancelled(self) -> None:
        """Cancel is abort."""
        self.progress.steering = self.progress.steering.aborting(workflow.cancellation_reason() or "cancelled")
        await self._relay("abort")
