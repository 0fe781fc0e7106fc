"""Before each wave: nobody holds us, the ring is whole now, and the plan's proof holds on what is seen now."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from sealring.models.evidence import Finding
    from sealring.models.node import ClusterView
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
    from workflows.problems import Ended, blocking, stop

WAIT = ("plan.ring-degraded",)
"""Reasons for no plan that pass by themselves."""

Answer = TypeVar("Answer")

PAUSE = timedelta(seconds=10)  # gossip needs seconds to agree again after a node came back


class Gate(NodeChildren):
    """The part of a rollout that lets a wave begin. The workflow provides what `Steered` needs."""

    held_after = 0  # waves done, at the last hold
    ordered_after = 0  # waves done, when what remains was put in order by load
    waiting_since: datetime | None = None

    async def gate(self) -> Wave | None:
        """The next wave, as it may be activated now; None when something happened first: then it is asked again.

        A ring that is not whole is waited for, then asked about; healthy nodes are never taken back for it. A ring that
        has changed since the plan was made gets a new plan for the nodes that remain.
        """
        wave = self.next_wave()
        assert wave is not None, "asked while waves are left"
        place = f"before {wave.name}"
        answer = await self.patiently(
            place, "is the ring whole?", lambda: self.look_at_ring(wave), lambda told: told.blocking
        )
        by_load = self.plan_in_hand.rules.strategy == "load-aware" and self.ordered_after != self.progress.waves_done
        if answer.changed or by_load:
            await self.plan_again(place, by_load=not answer.changed)
            return None
        if await self.held():
            return None  # much may have happened meanwhile
        self.waiting_since = None
        return narrowed(wave, answer.unproven)

    async def patiently(
        self,
        place: str,
        question: str,
        look: Callable[[], Awaitable[Answer]],
        against: Callable[[Answer], tuple[Finding, ...]],
    ) -> Answer:
        """Look until nothing speaks against going on; what does is waited for, then asked about."""
        while True:
            self.progress.enter(Phase.ACTIVATING, f"{place}: {question}")
            answer = await look()
            found = against(answer)
            if not found:
                return answer
            await self.wait_or_ask(place, blocking(found[0]))

    async def wait_or_ask(self, place: str, problem: Problem) -> None:
        """Wait a little for what passes by itself; when it has not for long enough, ask."""
        self.waiting_since = self.waiting_since or workflow.now()
        if workflow.now() - self.waiting_since < self.plan_in_hand.rules.ring_patience:
            self.progress.enter(Phase.ACTIVATING, f"{place}: {problem.message}")
            await workflow.sleep(PAUSE, summary="wait for the ring to be whole")
        else:
            await self.ask_about_ring(problem, ("retry", "stop"))
            self.waiting_since = None

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
                waive=in_force(self.request.waivers, workflow.now()),
                fingerprint=self.plan_in_hand.topology,
                restarts=tuple(t.node.address for t in wave.targets if t.apply == "restart"),
                fallbacks=tuple(t.node.address for t in wave.targets if t.may_restart),
            )
            answer = await calls.check_ring(question)
            self.stop_if_aborted()
            if not self.progress.steering.paused:
                return answer

    async def plan_again(self, place: str, *, by_load: bool) -> None:
        """The ring is another than the one that was planned for: plan what remains, on what is seen now.

        What is only smaller or more careful goes on, with an entry in the report; anything else is a person's decision.
        Where the load alone has changed, another order is what was asked for.
        """
        old, why = self.plan_in_hand, "the load is another" if by_load else "the ring has changed"
        self.progress.enter(Phase.PLANNING, f"{why}: what remains is planned again")
        view = await calls.observe_cluster(ClusterQuestion(cluster=self.request.cluster))
        left = remainder(old, self.progress.waves_done, view)
        self.progress.findings += tuple(f for f in left.findings if f not in self.progress.findings)
        if not left.nodes:
            nothing = left.plan.model_copy(update={"stages": ()})
            self.progress.decide_again(joined(old, self.progress.waves_done, nothing))
            return
        try:
            newer = await calls.make_plan(await self.facts(view, left.nodes))
        except ActivityError as error:
            problem = problem_of(error)
            if problem.code not in WAIT:
                raise
            await self.wait_or_ask(place, problem)
            return
        if others := with_other_content(left.plan, newer):
            message = f"{', '.join(others[:5])}: the delivery now holds other content than was planned"
            raise Ended(Phase.FAILED, stop("material.changed", message, "start again with what is there now"))
        newer = newer.model_copy(update={"material": old.material})  # its digest is over the nodes that were asked for
        difference = plan_difference(left.plan, newer)
        told = "; ".join(difference.lines[:10]) or "the same waves"
        if not (difference.careful or (by_load and not difference.added and not difference.otherwise)):
            changed = stop("plan.changed", f"{why}, and so has the plan: {told}", "go on with the new plan, or stop")
            await self.ask_about_ring(changed, ("go-on", "stop"))
        self.ordered_after = self.progress.waves_done
        self.progress.decide_again(joined(old, self.progress.waves_done, newer))
        self.progress.remark(f"{why}, planned again: {told}")

    async def facts(self, view: ClusterView, nodes: tuple[str, ...]) -> PlanQuestion:
        """What a plan for these nodes is made from; empty: all nodes."""
        request = self.request.model_copy(update={"nodes": nodes})
        if request.material is None:
            return PlanQuestion(request=request, view=view)
        question = MaterialQuestion(view=view, ref=request.material, nodes=nodes)
        if request.goal == "rotate-ca":
            rotation = await calls.resolve_rotation(question)
            return PlanQuestion(request=request, view=view, rotation=rotation)
        material = await calls.resolve_material(question)
        return PlanQuestion(request=request, view=view, material=material)

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
