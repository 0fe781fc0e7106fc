"""One node, activated: the new generation put in force, served and proven, or the old one put back and proven."""

import asyncio
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from sealring.errors import ErrorClass
    from sealring.models.evidence import BLOCKING, Finding, Verdict, Verification
    from sealring.models.problem import Problem
    from sealring.models.rollout import (
        FlipOrder,
        NodeOrder,
        NodeOutcome,
        NodeState,
        RestartOrder,
        RingQuestion,
        VerifyOrder,
    )
    from sealring.models.steering import Command, NodeStep
    from sealring.planning.waivers import in_force, weigh
    from sealring.temporal.failures import problem_of
    from workflows import calls
    from workflows.doors import NO_PAYLOAD, one_argument, signalled
    from workflows.problems import blocking, stop
    from workflows.steps import Steps

RELOAD = "apply.reload"
"""Failed: Cassandra said that it could not read the stores. A restart with them would not come up."""

NODE_DOWN = "ring.node-down"

MOST_FINDINGS = 12  # of one verification, in a report that a thousand nodes share


RECENT = timedelta(seconds=30)
"""A look at the ring that is not older still counts: between the gate and a drain lie seconds, when nobody holds us."""

PAUSE = timedelta(seconds=10)  # gossip needs seconds to agree again after a node came back


class NotSpared(Exception):
    """The replicas of this node are needed: others of their ranges are away."""

    def __init__(self, problem: Problem) -> None:
        """Why."""
        super().__init__(problem.message)
        self.problem = problem


@workflow.defn(name="NodeActivation")
class NodeActivation:
    """activate · reload | drain + restart · verify · settle; on failure: roll back · verify.

    It always ends with an outcome that names the generation in force. A cancel is not an emergency brake: it stops the
    node from going further, and what was put in force but not proven is taken back.
    """

    @workflow.init
    def __init__(self, order: NodeOrder | None = None) -> None:
        """Temporal hands the same order to `run`."""
        self.order = one_argument(order, NodeOrder, "what a CertificateRollout gives it: start that one")
        self.steps = Steps()
        self.stopping = False
        self.methods: list[str] = []
        self.findings: tuple[Finding, ...] = ()
        self.spared_at = self.order.looked_at  # a wave begins with a look at the ring

    @workflow.run
    async def run(self, order: NodeOrder | None = None) -> NodeOutcome:
        """Tell the story in a task of its own, so that a cancel reaches us and not the step in hand."""
        story = asyncio.create_task(self.story())
        try:
            return await asyncio.shield(story)
        except asyncio.CancelledError:
            self.stopping = True
            self.steps.paused = False
            return await story

    async def story(self) -> NodeOutcome:
        """What happens to the node."""
        target = self.order.target
        if self.stop_wanted():
            return self.outcome(NodeState.UNTOUCHED, problem=_stopped())
        try:
            async with self.steps.step("activate"):
                await calls.activate_generation(FlipOrder(order=self.order, generation=target.generation))
            verification = await self.serve(target.generation, target.leaf_sha256, target.apply)
            problem = self.objection(verification) or await self.settle()
            if problem is None:
                return self.outcome(NodeState.SERVING, target.generation, verification=verification)
        except ActivityError as error:
            problem = problem_of(error)
            if problem.code == "node.busy":  # it belongs to another rollout: hands off
                return self.outcome(NodeState.UNTOUCHED, problem=problem)
        except NotSpared as needed:
            problem = needed.problem
        return await self.take_back(problem)

    async def serve(self, generation: str, leaf_sha256: str, method: str) -> Verification:
        """Make Cassandra serve what is in force, and look: reload, and restart only if the reload was not enough."""
        if method == "restart":
            await self.restart()
            return await self.verify(generation, leaf_sha256)
        refused = await self.reload()
        verification = await self.verify(generation, leaf_sha256)
        reload_was_idle = _only_the_old_leaf(verification)
        if reload_was_idle and not refused and self.order.target.may_restart and not self.stop_wanted():
            await self.restart()
            return await self.verify(generation, leaf_sha256)
        return verification

    async def reload(self) -> bool:
        """Reload; true when Cassandra says that it refused the stores."""
        self.methods.append("reload")
        async with self.steps.step("reload"):
            applied = await calls.reload_tls(self.order)
        return any(f.check == RELOAD and f.verdict is Verdict.FAIL for f in applied.findings)

    async def restart(self) -> None:
        """Drain, then restart exactly once: the drained process's start time tells a repeated call that it is done."""
        async with self.steps.step("drain"):
            await self.still_spared()
            self.methods.append("restart")
            drained = await calls.drain_node(self.order)
        async with self.steps.step("restart"):
            await calls.restart_node(RestartOrder(order=self.order, started_at=drained.started_at))

    async def still_spared(self) -> None:
        """A node that was held, or took long, or is tried again: look at the ring before its replicas go away.

        A node that was restarted already is on its way back, whatever the others do; so is one that is down.

        Raises:
            NotSpared: for longer than the ring's rules have patience.
        """
        since: datetime | None = None
        address = self.order.node.address
        while not self.spared_lately() and "restart" not in self.methods:
            asked = workflow.now()
            waived = in_force(self.order.waive, asked)
            question = RingQuestion(
                cluster=self.order.cluster,
                waive=waived,
                fingerprint=self.order.topology,
                restarts=(address,),
                beside=self.order.beside,
                begun=True,
            )
            answer = await calls.check_ring(question)
            against = [f for f in answer.blocking if (f.check, f.node) != (NODE_DOWN, address)]
            if not against and not answer.changed:
                self.spared_at = asked
                return
            since = since or asked
            if self.stop_wanted() or asked - since >= self.order.rules.ring_patience:
                raise NotSpared(blocking(against[0]) if against else _moved(address))
            await workflow.sleep(PAUSE, summary="wait until the replicas of this node can be spared")

    def spared_lately(self) -> bool:
        """Whether a look at the ring still counts."""
        return self.spared_at is not None and workflow.now() - self.spared_at <= RECENT

    async def verify(self, generation: str, leaf_sha256: str) -> Verification:
        """Served or it did not happen."""
        order = VerifyOrder(order=self.order, generation=generation, leaf_sha256=leaf_sha256)
        async with self.steps.step("verify"):
            return await calls.verify_node(order)

    async def settle(self) -> Problem | None:
        """Stays it well? Then tidy up. Returns why it is not well.

        When only the tidying up failed, a node that was proven to serve is not taken back for it.
        """
        try:
            async with self.steps.step("settle"):
                answer = await calls.settle_node(self.order)
        except ActivityError as error:
            self.findings += (_untidy(problem_of(error)),)
            return None
        return _doubt(answer.findings)

    def objection(self, verification: Verification) -> Problem | None:
        """Why the node cannot stay as it is, or None; what speaks against it is kept for the report.

        Only proof that could not be had can be waived, and only on the way forward: the way back is proven, or a
        person looks.
        """
        waivers = tuple(w for w in self.order.waive if w.code.startswith("verify."))
        weighed = weigh(verification.findings, waivers, workflow.now())
        against = tuple(f for f in verification.findings if f.verdict is not Verdict.PASS)
        self.findings += (*weighed.notes, *against[:MOST_FINDINGS])
        doubt = _doubt(weighed.standing)
        if doubt is not None and self.stop_wanted():
            return _stopped()
        return doubt if self.order.rules.verification_required else None

    async def take_back(self, problem: Problem) -> NodeOutcome:
        """Put the previous generation in force again and prove that it is served."""
        before = self.order.before
        if before is None or not self.order.rules.rollback_on_failure:
            return self.outcome(NodeState.BROKEN, problem=problem)
        in_force = ""
        try:
            async with self.steps.step("rollback"):
                await calls.rollback_node(FlipOrder(order=self.order, generation=before.id))
            in_force = before.id
            # A node that was restarted runs the bad generation or does not run at all; any other still holds the old.
            verification = await self.serve(
                before.id, before.leaf_sha256, "restart" if "restart" in self.methods else "reload"
            )
            doubt = _doubt(verification.findings) or await self.settle()
        except ActivityError as error:
            return self.outcome(NodeState.BROKEN, in_force, _no_way_back(problem, problem_of(error)))
        if doubt is not None:
            return self.outcome(NodeState.BROKEN, before.id, _no_way_back(problem, doubt), verification)
        return self.outcome(NodeState.ROLLED_BACK, before.id, problem, verification)

    def stop_wanted(self) -> bool:
        """Asked before every step that goes further; a cancel that raced with a result is seen here too."""
        return self.stopping or workflow.cancellation_reason() is not None

    def outcome(
        self,
        state: NodeState,
        generation: str = "",
        problem: Problem | None = None,
        verification: Verification | None = None,
    ) -> NodeOutcome:
        """What is told to the rollout."""
        return NodeOutcome(
            address=self.order.node.address,
            state=state,
            generation=generation,
            method="+".join(dict.fromkeys(self.methods)),
            problem=problem,
            verification=verification,
            findings=self.findings,
            timings=self.steps.timings,
        )

    @workflow.query(description="The step in hand and how long the others took.")
    def status(self) -> NodeStep:
        """See description."""
        return self.steps.status()

    @workflow.signal(description="Hold before the next step, whatever state the node is in.")
    def pause(self, given: RawValue = NO_PAYLOAD) -> None:
        """See description."""
        self.steps.hold(True, signalled(given, Command))

    @workflow.signal(description="Go on.")
    def resume(self, given: RawValue = NO_PAYLOAD) -> None:
        """See description."""
        self.steps.hold(False, signalled(given, Command))


def _doubt(findings: tuple[Finding, ...]) -> Problem | None:
    """What speaks against a node: failures, or checks that gave no answer."""
    bad = [f for f in findings if f.verdict in BLOCKING]
    if not bad:
        return None
    others = f"; and {len(bad) - 1} more findings in the report" if len(bad) > 1 else ""
    return Problem(
        code=bad[0].check,
        message=bad[0].message + others,
        error_class=ErrorClass.ASK,
        actor=bad[0].actor,
        remedy=bad[0].remedy,
        node=bad[0].node,
    )


def _only_the_old_leaf(verification: Verification) -> bool:
    """Whether nothing is wrong but that some listener still shows another leaf: what a restart can mend."""
    bad = {f.check for f in verification.findings if f.verdict is Verdict.FAIL}
    return bad == {"verify.served"}


def _moved(address: str) -> Problem:
    return stop(
        "ring.topology",
        f"the ring changed while {address} was held: nothing proves any more that its replicas can be spared",
        "start the rollout again: what remains is planned on the ring of then",
    )


def _untidy(problem: Problem) -> Finding:
    return Finding(check="settle.incomplete", verdict=Verdict.WARN, message=str(problem), node=problem.node)


def _stopped() -> Problem:
    return stop(
        "rollout.stopped",
        "stopped by request before the node was proven",
        "start the rollout again when you are ready: it goes on from what it finds",
    )


def _no_way_back(first: Problem, second: Problem) -> Problem:
    return second.model_copy(
        update={
            "message": f"{first.message}; then the way back failed: {second.message}",
            "remedy": second.remedy or "look at the node; then deploy known good material to it alone",
        }
    )
