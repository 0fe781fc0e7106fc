"""Nodes that join the ring while it is worked on: who may be taken into the waves that are left, and who is left alone.

Whatever is the matter with a newcomer, it ends no rollout: it is left alone, and the report says why.
"""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from sealring.errors import Actor
    from sealring.models.cluster import NodeRef
    from sealring.models.evidence import Finding, Verdict
    from sealring.models.node import ClusterView
    from sealring.models.plan import Plan, Stage
    from sealring.models.rollout import MaterialQuestion, NodeState, Phase, PlanQuestion, RingQuestion
    from sealring.models.trust import TrustQuestion
    from sealring.planning.remainder import LEFT, left_alone, taken_in, unbegun, without
    from sealring.planning.waivers import Weighed, weigh
    from sealring.temporal.failures import problem_of
    from workflows import calls
    from workflows.children import NodeChildren
    from workflows.problems import complaint

MARGIN = timedelta(hours=1)
"""What is delivered must outlast the rollout; pauses and decisions take time too."""


class Newcomers(NodeChildren):
    """The part of a rollout that knows nodes which no plan knew. The workflow provides `refused`, empty."""

    refused: set[str]  # newcomers with whom no plan can be made

    def keep(self, *findings: Finding) -> None:
        """For the report, each once."""
        self.progress.findings += tuple(f for f in findings if f not in self.progress.findings)

    def why_alone(self, plan: Plan) -> str:
        """Why no newcomer is taken in at all; empty: it may be."""
        if plan.rules.newcomers == "leave":
            return "rollout.newcomers: leave"
        if self.request.goal != "deploy":
            return f"a {self.request.goal} is about the nodes that were there"
        if self.request.nodes:
            return "some nodes were asked for, by their addresses"
        pinned = self.request.material is not None and self.request.material.digest is not None
        return "the delivery is pinned to the content of the nodes that were there" if pinned else ""

    async def welcome(self, plan: Plan, view: ClusterView, newcomers: tuple[str, ...]) -> tuple[str, ...]:
        """Those that may be planned for: the delivery has something for them, and it is sound."""
        why, material = self.why_alone(plan), self.request.material
        if why or material is None:
            self.keep(*(left_alone(address, why) for address in newcomers))
            return ()
        welcome = []
        unreadable = {seen.node.address: seen.problem for seen in view.nodes if seen.problem}
        for address in newcomers:
            if address in unreadable:
                self.keep(left_alone(address, unreadable[address]))
                continue
            try:
                found = await calls.resolve_material(MaterialQuestion(view=view, ref=material, nodes=(address,)))
                delivered = [f for f in found.findings if f.node in ("", address)]
                standing = weigh(delivered, self.request.waive, workflow.now()).standing
                why = f"{standing[0].message} ({standing[0].check})" if standing else ""
            except ActivityError as error:
                why = str(problem_of(error))
            if why:
                self.keep(left_alone(address, why))
            else:
                welcome.append(address)
        return tuple(welcome)

    async def facts(self, view: ClusterView, nodes: tuple[str, ...], *, again: bool = False) -> PlanQuestion:
        """What a plan for these nodes is made from; empty: all nodes. `again`: for what remains of a plan."""
        request = self.request.model_copy(update={"nodes": nodes})
        if request.material is None:
            return PlanQuestion(request=request, view=view, again=again)
        # A pin is over all nodes that were asked for; of what remains each node's content is compared by itself.
        ref = request.material.model_copy(update={"digest": None}) if again else request.material
        question = MaterialQuestion(view=view, ref=ref, nodes=nodes)
        if request.goal == "rotate-ca":
            rotation = await calls.resolve_rotation(question)
            return PlanQuestion(request=request, view=view, rotation=rotation, again=again)
        material = await calls.resolve_material(question)
        return PlanQuestion(request=request, view=view, material=material, again=again)

    async def take_in(self, newcomers: tuple[str, ...]) -> None:
        """Prepare those that are in the plan by now; who is not ready, or not trusted, is left out again."""
        plan, done = self.progress.plan, self.progress.waves_done
        assert plan is not None
        self.progress.enter(Phase.PREPARING, f"newcomers are prepared: {', '.join(newcomers)}")
        room = asyncio.Semaphore(plan.rules.max_parallel)
        unfit: dict[str, str] = {}

        async def prepare(address: str) -> None:
            target = next(target for target in plan.targets if target.node.address == address)
            async with room:
                outcome = await self.prepare(target)
            if outcome.state is not NodeState.PREPARED:
                unfit[address] = str(outcome.problem or complaint(outcome))

        work = [address for address in newcomers if address not in plan.unchanged]
        await asyncio.gather(*(prepare(address) for address in work))
        ready = [address for address in work if address not in unfit]
        self.stop_if_aborted()
        if ready:
            change = unbegun(without(plan, unfit, done), done)
            standing = (await self.weigh_trust(change)).standing
            unfit |= {address: f"{standing[0].message} ({standing[0].check})" for address in ready if standing}
        for address in newcomers:
            self.keep(left_alone(address, unfit[address]) if address in unfit else taken_in(address))
        if unfit:
            self.progress.decide_again(without(plan, unfit, done))

    async def has_left(self, node: NodeRef) -> bool:
        """Whether a node that failed is no longer in the ring: then nothing is the matter with the rollout."""
        try:
            answer = await calls.check_ring(RingQuestion(cluster=self.request.cluster, begun=True, wave=(node,)))
        except ActivityError:
            return False  # nobody tells: it counts as it is
        if answer.changed:
            message = "it left the ring while it was worked on: what was done there is gone"
            self.keep(
                Finding(check=LEFT, verdict=Verdict.WARN, message=message, actor=Actor.OPERATOR, node=node.address)
            )
        return answer.changed

    async def weigh_trust(self, change: tuple[Stage, ...]) -> Weighed:
        """Who could not talk to whom, in some state of these stages? Their generations are on the disks already."""
        plan = self.progress.plan
        assert plan is not None
        self.progress.enter(Phase.PREPARING, "trust between all nodes is simulated in every state of the plan")
        lasts = timedelta(seconds=plan.forecast.most) if plan.forecast else timedelta()
        part = plan.model_copy(update={"stages": change})
        question = TrustQuestion(cluster=plan.cluster, plan=part, until=workflow.now() + 2 * lasts + MARGIN)
        answer = await calls.simulate_trust(question)
        weighed = weigh(answer.findings, self.request.waive, workflow.now())
        self.keep(*weighed.notes, *(f for f in answer.findings if f.verdict is not Verdict.PASS))
        self.stop_if_aborted()
        return weighed

    def stop_if_aborted(self) -> None:
        """Asked before every step that starts something new."""
        raise NotImplementedError
