"""Before each wave: nobody holds us, the ring is whole now, and the plan's proof holds on what is seen now."""

from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from sealring.models.plan import Plan, Wave
    from sealring.models.problem import Problem
    from sealring.models.rollout import ClusterQuestion, MaterialQuestion, Phase, PlanQuestion, RingAnswer, RingQuestion
    from sealring.models.steering import RING, Decision
    from sealring.planning.difference import plan_difference
    from sealring.planning.remainder import joined, narrowed, remainder, with_other_content
    from sealring.planning.waivers import in_force
    from sealring.temporal.failures import problem_of
    from workflows import calls
    from workflows.children import NodeChildren
    from workflows.problems import Ended, stop

WAIT = ("plan.ring-degraded",)
"""Reasons for no plan that pass by themselves."""

PAUSE = timedelta(seconds=10)  # gossip needs seconds to agree again after a node came back


class Gate(NodeChildren):
    """The part of a rollout that lets a wave begin. The workflow provides what `Steered` needs."""

    held_after = 0  # waves; the last hold

    async def gate(self) -> Wave | None:
        """The next wave, as it may be activated now; None when no wave is left.

        A ring that is not whole is waited for, then asked about; healthy nodes are never taken back for it. A ring that
        has changed since the plan was made gets a new plan for the nodes that remain.
        """
        since: datetime | None = None
        ordered = self.plan_in_hand.rules.strategy != "load-aware" or self.progress.waves_done == 0
        while True:
            wave = self.next_wave()
            if wave is None:
                return None
            self.progress.enter(Phase.ACTIVATING, f"before {wave.name}: is the ring whole?")
            answer = await self.look_at_ring(wave)
            trouble = _trouble(answer)
            if trouble is None and not answer.changed and ordered:
                if await self.held():
                    continue  # much may have happened meanwhile
                return narrowed(wave, answer.unproven)
            if trouble is None:
                trouble = await self.plan_again(by_load=not answer.changed)
                ordered = trouble is None
            if trouble is None:
                continue
            since = since or workflow.now()
            if workflow.now() - since < self.plan_in_hand.rules.ring_patience:
                self.progress.enter(Phase.ACTIVATING, f"before {wave.name}: {trouble.message}")
                await workflow.sleep(PAUSE, summary="wait for the ring to be whole")
            else:
                await self.ask_about_ring(trouble, ("retry", "stop"))
                since = None

    async def held(self) -> bool:
        """Hold once behind a stage after which a person is to look; whether that was now."""
        done, waves, ended = self.progress.waves_done, 0, None
        for stage in self.plan_in_hand.stages:
            waves += len(stage.waves)
            ended = stage if waves == done else ended
        if ended is None or not ended.hold or self.held_after == done:
            return False
        self.held_after = done
        self.progress.steering = self.progress.steering.holding(f"{ended.name} is done: look at it, then resume")
        await self.clear_to_start()
        return True

    def next_wave(self) -> Wave | None:
        """The first wave that was not begun."""
        waves, done = self.plan_in_hand.waves, self.progress.waves_done
        return waves[done] if done < len(waves) else None

    @property
    def plan_in_hand(self) -> Plan:
        """The plan, once there is one."""
        assert self.progress.plan is not None
        return self.progress.plan

    async def look_at_ring(self, wave: Wave) -> RingAnswer:
        """The ring as it is when nobody holds us: what is said during a look counts before its answer."""
        while True:
            await self.clear_to_start()
            question = RingQuestion(
                cluster=self.request.cluster,
                waive=in_force(self.request.waive, workflow.now()),
                fingerprint=self.plan_in_hand.topology,
                restarts=tuple(t.node.address for t in wave.targets if t.apply == "restart"),
                fallbacks=tuple(t.node.address for t in wave.targets if t.may_restart),
            )
            answer = await calls.check_ring(question)
            self.stop_if_aborted()
            if not self.progress.steering.paused:
                return answer

    async def plan_again(self, *, by_load: bool) -> Problem | None:
        """The ring is another than the one that was planned for: plan what remains, on what is seen now.

        What is only smaller or more careful goes on, with an entry in the report; anything else is a person's decision.
        Where the load alone has changed, another order is what was asked for.

        Returns:
            Why there is no plan now, when the ring was not whole in that moment.
        """
        old, why = self.plan_in_hand, "the load is another" if by_load else "the ring has changed"
        self.progress.enter(Phase.PLANNING, f"{why}: what remains is planned again")
        view = await calls.observe_cluster(ClusterQuestion(cluster=self.request.cluster))
        left = remainder(old, self.progress.waves_done, view)
        self.progress.findings += tuple(f for f in left.findings if f not in self.progress.findings)
        if not left.nodes:
            self.progress.decide_again(
                joined(old, self.progress.waves_done, left.plan.model_copy(update={"stages": ()}))
            )
            return None
        request = self.request.model_copy(update={"nodes": left.nodes})
        material = None
        if request.material is not None:
            question = MaterialQuestion(view=view, ref=request.material, nodes=left.nodes)
            material = await calls.resolve_material(question)
        try:
            newer = await calls.make_plan(PlanQuestion(request=request, view=view, material=material))
        except ActivityError as error:
            problem = problem_of(error)
            if problem.code not in WAIT:
                raise
            return problem
        if others := with_other_content(left.plan, newer):
            message = f"{', '.join(others[:5])}: the delivery now holds other content than was prepared"
            raise Ended(Phase.FAILED, stop("material.changed", message, "start again with what is there now"))
        newer = newer.model_copy(update={"material": old.material})  # its digest is over the nodes that were asked for
        difference = plan_difference(left.plan, newer)
        told = "; ".join(difference.lines[:10]) or "the same waves"
        if not (difference.careful or (by_load and not difference.added and not difference.otherwise)):
            remedy = "go on with the new plan, or stop and start again"
            await self.ask_about_ring(
                stop("plan.changed", f"{why}, and so has the plan: {told}", remedy), ("go-on", "stop")
            )
        self.progress.decide_again(joined(old, self.progress.waves_done, newer))
        self.progress.remark(f"{why}, planned again: {told}")
        return None

    async def ask_about_ring(self, problem: Problem, options: tuple[str, ...]) -> None:
        """Ask a person where the cluster's rules say so; returns when the answer is to go on."""
        rules = self.plan_in_hand.rules
        if rules.on_failure == "stop":
            raise Ended(Phase.FAILED, problem)
        deadline = workflow.now() + rules.decision_timeout
        if await self.ask(Decision(node=RING, problem=problem, options=options, deadline=deadline)) == "stop":
            raise Ended(Phase.FAILED, problem)

    async def ask(self, decision: Decision) -> str:
        """A question to a person; without an answer in time the safe default is taken."""
        self.progress.steering = self.progress.steering.asking(decision)
        self.progress.enter(Phase.ACTIVATING, f"a person decides about {decision.node}")
        try:
            await workflow.wait_condition(
                lambda: self.progress.steering.resolution is not None or self.progress.steering.aborted,
                timeout=decision.deadline - workflow.now(),
                timeout_summary=f"decision about {decision.node}",
            )
        except TimeoutError:
            self.progress.remark(f"no decision about {decision.node} in time: {decision.default}")
        answer = self.progress.steering.resolution
        self.progress.steering = self.progress.steering.asking(None)
        self.stop_if_aborted()
        return answer.action if answer else decision.default

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


def _trouble(answer: RingAnswer) -> Problem | None:
    for first in answer.blocking:
        return Problem(code=first.check, message=first.message, actor=first.actor, remedy=first.remedy, node=first.node)
    return None
