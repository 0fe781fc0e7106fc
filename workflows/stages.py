"""The stages of a rollout: what must be seen to hold before one begins, its preparation, and the point of no return.

A deployment has one stage, and nothing is between. A CA rotation has up to three; what lets one begin is observed when
it begins, so it is also when an earlier run did the stages before, and after the history was cut between two.
"""

from contextlib import suppress
from typing import Literal

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from sealring.models.evidence import Finding, Verdict
    from sealring.models.plan import Plan, Stage, StageKind
    from sealring.models.problem import Problem
    from sealring.models.rollout import BarrierQuestion, Phase, Readiness
    from sealring.models.steering import RING, Decision
    from sealring.planning.waivers import weigh
    from workflows import calls
    from workflows.gate import Gate
    from workflows.problems import Ended, objection, stop

MOST_TOLD = 12  # of who may still need the old authority, in a question


class Stages(Gate):
    """The part of a rollout that goes from stage to stage. The workflow provides `prepare_everywhere`."""

    async def prepare_everywhere(self, change: tuple[Stage, ...]) -> None:
        """Prepare all nodes of these stages."""
        raise NotImplementedError

    def check_nodes(self) -> None:
        """A ring with two groups that trust differently is what a rotation must never leave behind."""
        if self.request.goal == "rotate-ca" and self.request.nodes:
            raise Ended(
                Phase.REFUSED,
                stop(
                    "rotation.some-nodes",
                    "nodes: a CA rotation is about every node of the ring",
                    "leave `nodes` out; nodes that need nothing are left alone",
                ),
            )

    async def enter_stage(self) -> None:
        """Before the first wave of a stage: its barrier, the point of no return, its preparation."""
        stage, before = self.plan_in_hand.stage_of(self.progress.waves_done), self.progress.stage
        if before is not None and before.kind == stage.kind:
            return
        if stage.kind == "identity":
            await self.barrier("identity")
        elif stage.kind == "drop":
            await self.point_of_no_return()
        self.progress.await_stage(stage)
        # Stages of one kind are one change, in parts: it is prepared, and looked at, as a whole.
        change = tuple(each for each in self.plan_in_hand.stages if each.kind == stage.kind)
        await self.prepare_everywhere(change)
        await self.simulate_trust(change)

    async def foresee(self, newer: Plan) -> None:
        """What remains of the change in hand; the next one is looked at when it begins."""
        in_hand = self.progress.stage
        change = tuple(each for each in newer.stages if in_hand is not None and each.kind == in_hand.kind)
        if change:
            await self.simulate_trust(change)

    async def simulate_trust(self, change: tuple[Stage, ...]) -> None:
        """Who could not talk to whom, in some state of these stages? Then it goes no further."""
        weighed = await self.weigh_trust(change)
        if weighed.standing:
            begun = self.progress.waves_done > 0
            stage = change[0].name if begun else ""
            raise Ended(Phase.FAILED if begun else Phase.REFUSED, objection(weighed.standing, stage))

    async def finish_stages(self) -> None:
        """A rotation's last stage ends like its others, with what all nodes hold; an emergency proves the ring here."""
        if self.request.goal in ("rotate-ca", "renew-expired"):
            await self.barrier("end")

    async def barrier(self, before: Literal["identity", "drop", "end"]) -> Readiness:
        """Wait until what the stages so far were for is seen on every node; then ask, as about any ring."""

        async def look() -> Readiness:
            await self.clear_to_start()
            question = BarrierQuestion(
                cluster=self.request.cluster,
                before=before,
                material=self.request.material,
                targets=self.progress.given(),
            )
            answer = await calls.observe_barrier(question)
            self.stop_if_aborted()
            return answer

        def against(answer: Readiness) -> tuple[Finding, ...]:
            return weigh(answer.findings, self.request.waive, workflow.now()).standing

        place = "before the end" if before == "end" else f'before "{_named(self.plan_in_hand.stages, before)}"'
        answer = await self.patiently(place, "does it hold on every node?", look, against)
        self.waiting_since = None
        notes = weigh(answer.findings, self.request.waive, workflow.now()).notes
        self.keep(*notes, *(f for f in answer.findings if f.verdict is Verdict.WARN))
        return answer

    async def point_of_no_return(self) -> None:
        """Every node serves the new leaf. From here on the old authority's certificates are refused."""
        wish, rules = self.request.old_authority, self.plan_in_hand.rules
        if wish == "keep":  # clients may still need the old one
            await self.barrier("end")
            raise Ended(Phase.DONE, note=f"both authorities stay trusted, as asked; {self.go_on()} drops the old one")
        answer = await self.barrier("drop")
        if rules.authority_hold:
            await self.hold()
        if wish == "ask":
            deadline = workflow.now() + rules.decision_timeout
            problem = self.last_question(answer)
            decision = Decision(node=RING, problem=problem, options=("drop", "stop"), deadline=deadline)
            if await self.ask(decision) != "drop":
                raise Ended(
                    Phase.ABORTED,
                    stop(
                        "rotation.old-authority-kept",
                        "the old authority was not dropped: every node serves the new leaf and trusts both",
                        f"when nothing needs the old one any more: {self.go_on()}",
                    ),
                )
        if wish == "ask" or rules.authority_hold:
            await self.barrier("drop")  # it may be hours since

    async def hold(self) -> None:
        """Both are trusted for a while, so that clients can follow."""
        until = workflow.now() + self.plan_in_hand.rules.authority_hold
        self.progress.enter(Phase.ACTIVATING, f"both authorities are trusted until {until:%Y-%m-%d %H:%M:%SZ} at least")
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self.progress.steering.aborted,
                timeout=until - workflow.now(),
                timeout_summary="authority_hold",
            )
        self.stop_if_aborted()

    def last_question(self, answer: Readiness) -> Problem:
        """What is about to be dropped, and who may still need it."""
        dropped = [f.message for f in answer.findings if f.check == "barrier.old-authority"]
        seen = [f.message for f in answer.findings if f.check == "barrier.live-client"]
        clients = "; ".join(seen[:MOST_TOLD]) or "none seen"
        more = f"; and {len(seen) - MOST_TOLD} more" if len(seen) > MOST_TOLD else ""
        return stop(
            "rotation.point-of-no-return",
            f"{'; '.join(dropped)}. After this, whoever presents or trusts only that is cut off, and going back "
            f"needs a rotation of its own. Connected now (their certificates cannot be seen): {clients}{more}",
            "drop when all of them have a certificate of the new authority and trust it; stop leaves both trusted",
        )

    def go_on(self) -> str:
        """The command that goes on from here."""
        material = self.request.material
        assert material is not None
        return f"sealring ca rotate {self.request.cluster} -m {material.path} --old-authority drop"


def _named(stages: tuple[Stage, ...], kind: StageKind) -> str:
    return next(stage.name for stage in stages if stage.kind == kind)
