"""Before each wave: nobody holds us, the ring is whole now, and the plan's proof holds on what is seen now."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from sealring.models.evidence import Finding, Verdict
    from sealring.models.plan import Plan, Wave
    from sealring.models.problem import Problem
    from sealring.models.rollout import ClusterQuestion, NodeState, Phase, RingAnswer, RingQuestion
    from sealring.models.steering import RING, Decision
    from sealring.planning.difference import plan_difference
    from sealring.planning.pacing import divided, next_width
    from sealring.planning.remainder import (
        joined,
        left_alone,
        narrowed,
        no_bolder,
        remainder,
        with_other_content,
        without,
    )
    from sealring.planning.waivers import USED, in_force
    from sealring.temporal.failures import problem_of
    from workflows import calls
    from workflows.newcomers import Newcomers
    from workflows.problems import Ended, blocking, stop

WAIT = ("plan.ring-degraded",)
"""Reasons for no plan that pass by themselves."""

UNPROVEN = "the ring has changed, and no node tells its tokens and keyspaces over CQL now: nothing would be proven"

Answer = TypeVar("Answer")

PAUSE = timedelta(seconds=10)  # gossip needs seconds to agree again after a node came back
LONGEST_PAUSE = timedelta(minutes=2)  # what takes hours is not asked for every few seconds: each look is in the history

BUSY = "ring.busy"

WORK = ("ring.node-moving", "node.streaming", "node.repair", "node.busy", "node.held")
"""Others are at work on the ring: that takes longer than for a ring to be whole again, and has an end."""


class Gate(Newcomers):
    """The part of a rollout that lets a wave begin. The workflow provides what `Steered` needs."""

    held_after = 0  # waves done, at the last hold
    crowded = ""  # why the next wave had to wait for a ring that was too busy
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
        self.keep(*(f for f in answer.findings if f.check == USED))
        if answer.changed or by_load:
            await self.plan_again(place, by_load=not answer.changed)
            return None
        if await self.held():
            return None  # much may have happened meanwhile
        self.waiting_since = None
        return narrowed(self.paced(wave), answer.unproven)

    def paced(self, wave: Wave) -> Wave:
        """As much of the wave as the ring bears, by how it bore the one before."""
        plan, done = self.plan_in_hand, self.progress.waves_done
        before = plan.waves[done - 1].targets if done else ()
        states = [o.state for t in before if (o := self.progress.outcomes.get(t.node.address))]
        width = next_width(
            self.progress.width,
            len(wave.targets),
            max(len(each.targets) for each in plan.waves[done:]),
            busy=bool(self.crowded),
            clean=all(state is NodeState.SERVING for state in states),
        )
        if self.crowded:
            told = (
                f"{self.crowded}: from {wave.name} on {width} at once, one more after each clean wave, as far as proven"
            )
            self.keep(Finding(check="ring.narrowed", verdict=Verdict.WARN, message=told))
        self.progress.width, self.crowded = width, ""
        self.progress.plan = divided(plan, done, width)
        return self.progress.plan.waves[done]

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
            self.crowded = next((f"{f.node or 'ring'}: {f.message}" for f in found if f.check == BUSY), self.crowded)
            others = next((f for f in found if f.check in WORK), None)
            rules = self.plan_in_hand.rules
            patience = max(rules.work_patience, rules.ring_patience) if others else rules.ring_patience
            await self.wait_or_ask(place, blocking(others or found[0]), patience)

    async def wait_or_ask(self, place: str, problem: Problem, patience: timedelta) -> None:
        """Wait a little for what passes by itself; when it has not for long enough, ask."""
        self.waiting_since = self.waiting_since or workflow.now()
        waited = workflow.now() - self.waiting_since
        if waited < patience:
            self.progress.enter(Phase.ACTIVATING, f"{place}: {problem.message}")
            pause = max(PAUSE, min(LONGEST_PAUSE, waited / 10))
            await workflow.sleep(pause, summary="wait for the ring to be whole")
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
                wave=tuple(t.node for t in wave.targets),
                rollout=self.order(wave.targets[0]).rollout,
            )
            asked = workflow.now()
            answer = await calls.check_ring(question)
            self.stop_if_aborted()
            if not self.progress.steering.paused:
                self.looked_at = asked
                return answer

    async def plan_again(self, place: str, *, by_load: bool) -> None:
        """The ring is another than the one that was planned for: plan what remains, on what is seen now.

        What is only smaller or more careful goes on, with an entry in the report; anything else is a person's decision.
        Where the load alone has changed, another order is what was asked for.
        """
        old, why = self.plan_in_hand, "the load is another" if by_load else "the ring has changed"
        self.progress.enter(Phase.PLANNING, f"{why}: what remains is planned again")
        view = await calls.observe_cluster(ClusterQuestion(cluster=self.request.cluster))
        whole = not self.request.nodes and self.request.goal != "rollback"
        left = remainder(old, self.progress.waves_done, view, whole=whole)
        self.keep(*left.findings)
        newcomers = await self.welcome(old, view, tuple(a for a in left.newcomers if a not in self.refused))
        if not left.nodes and not newcomers:
            nothing = left.plan.model_copy(update={"stages": ()})
            self.progress.decide_again(joined(old, self.progress.waves_done, nothing))
            return
        try:
            newer = await calls.make_plan(await self.facts(view, (*left.nodes, *newcomers), again=True))
        except ActivityError as error:
            problem = problem_of(error)
            if problem.code in WAIT:
                await self.wait_or_ask(place, problem, old.rules.ring_patience)
                return
            if not newcomers:
                raise
            self.keep(*(left_alone(address, str(problem)) for address in newcomers))
            self.refused |= set(newcomers)  # asked for again without them
            return
        if old.topology and not newer.topology and newer.takes_away:
            stopped = stop("ring.topology", UNPROVEN, "let CQL be open to two nodes, then retry")
            await self.wait_or_ask(place, stopped, old.rules.ring_patience)
            return
        if others := with_other_content(left.plan, newer, newcomers):
            message = f"{', '.join(others[:5])}: the delivery now holds other content than was planned"
            raise Ended(Phase.FAILED, stop("material.changed", message, "start again with what is there now"))
        newer = no_bolder(left.plan, newer)
        newer = newer.model_copy(update={"material": old.material})  # its digest is over the nodes that were asked for
        difference = plan_difference(left.plan, without(newer, newcomers))  # that they are new was asked for
        told = "; ".join(difference.lines[:10]) or "the same waves"
        if not (difference.careful or (by_load and not difference.added and not difference.bolder)):
            changed = stop("plan.changed", f"{why}, and so has the plan: {told}", "go on with the new plan, or stop")
            await self.ask_about_ring(changed, ("go-on", "stop"))
        if not difference.careful:
            await self.foresee(newer)
        self.ordered_after = self.progress.waves_done
        self.progress.forget(newcomers)
        self.progress.decide_again(joined(old, self.progress.waves_done, newer))
        self.progress.remark(f"{why}, planned again: {told}")
        if newcomers:
            await self.take_in(newcomers)

    async def foresee(self, newer: Plan) -> None:
        """Another order has other states: end where two nodes could not talk in one of them."""
        raise NotImplementedError

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

    def stop_wanted(self) -> bool:
        """Whether nothing new may be started."""
        return self.progress.steering.aborted or workflow.cancellation_reason() is not None

    def stop_if_aborted(self) -> None:
        """Asked before every step that starts something new; a cancel that raced with a result is seen here too."""
        if self.stop_wanted():
            reason = self.progress.steering.reason or "cancelled"
            raise Ended(Phase.ABORTED, stop("rollout.aborted", reason, "start it again when you are ready"))
