"""The state of a rollout, in one object: edited by story and messages, read by queries, status page and report."""

from collections.abc import Mapping
from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from sealring.models.evidence import Finding
    from sealring.models.plan import Plan, Stage, Target
    from sealring.models.problem import Problem
    from sealring.models.rollout import (
        ENDINGS,
        Carried,
        MatrixRow,
        NodeOutcome,
        NodeState,
        Phase,
        RolloutReport,
        RolloutRun,
    )
    from sealring.models.steering import NodeStatus, RolloutStatus
    from sealring.planning.budget import failed_nodes
    from sealring.planning.by_hand import MOST_NODES, checklist, unproven
    from sealring.planning.steering import Steering
    from sealring.temporal.attributes import TLS_CLUSTER, TLS_NODES_FAILED, TLS_PHASE, TLS_REQUESTER
    from workflows.page import ROWS, render

SETTLED = frozenset(NodeState) - {NodeState.WAITING, NodeState.PREPARING, NodeState.PREPARED, NodeState.ACTIVATING}


class Progress:
    """Where a rollout is."""

    def __init__(self, run: RolloutRun) -> None:
        """At the beginning, or where the run before this one stopped (continue-as-new)."""
        carried = run.carried
        self.request = run
        self.started_at = carried.started_at if carried else workflow.now()
        self.phase = Phase.ACTIVATING if carried else Phase.OBSERVING
        self.waiting_for = ""
        self.steering = Steering(paused=carried.paused if carried else False)
        self.plan: Plan | None = carried.plan if carried else None
        self.waves_done = carried.waves_done if carried else 0
        self.wave_in_hand = self.waves_done
        self.stage = self.plan.stage_of(self.waves_done - 1) if self.plan and self.waves_done else None
        self.outcomes: dict[str, NodeOutcome] = {o.address: o for o in carried.nodes} if carried else {}
        self.width = carried.width if carried else None
        self.skipped: set[str] = set(carried.skipped) if carried else set()
        self.findings: tuple[Finding, ...] = carried.findings if carried else ()
        self.matrix: tuple[MatrixRow, ...] = ()
        self.problem: Problem | None = None
        self.remarks: tuple[str, ...] = ()
        self.listed: tuple[str, int] | None = None
        self.told: tuple[object, ...] = ()

    def enter(self, phase: Phase, waiting_for: str) -> None:
        """Say what happens now."""
        self.phase = phase
        self.waiting_for = waiting_for
        self.publish()

    def decide_on(self, plan: Plan) -> None:
        """The plan is made: these nodes wait, those need nothing."""
        self.plan = plan
        waiting = {t.node.address: NodeState.WAITING for t in plan.targets}
        unchanged = dict.fromkeys(plan.unchanged, NodeState.UNCHANGED)
        self.outcomes = {a: NodeOutcome(address=a, state=state) for a, state in (waiting | unchanged).items()}

    def decide_again(self, plan: Plan) -> None:
        """What remained was planned anew: who left the ring is out, newcomers may be in, some may need nothing."""
        self.plan = plan
        kept = {target.node.address for target in plan.targets} | set(plan.unchanged)
        fresh = {t.node.address: NodeOutcome(address=t.node.address, state=NodeState.WAITING) for t in plan.targets}
        fresh |= {address: NodeOutcome(address=address, state=NodeState.UNCHANGED) for address in plan.unchanged}
        known = {address: outcome for address, outcome in self.outcomes.items() if address in kept}
        self.outcomes = fresh | known
        for address in plan.unchanged:
            if self.outcomes[address].state in (NodeState.WAITING, NodeState.PREPARED):
                self.mark(address, NodeState.UNCHANGED)

    def forget(self, addresses: tuple[str, ...]) -> None:
        """What was known of nodes at these addresses was of others."""
        self.outcomes = {address: outcome for address, outcome in self.outcomes.items() if address not in addresses}

    def await_stage(self, stage: Stage) -> None:
        """A stage begins; when it is a further one, its nodes wait again."""
        self.stage = stage
        if self.waves_done:
            waiting = {t.node.address: {"state": NodeState.WAITING} for t in stage.targets}
            self.outcomes |= {a: self.outcomes[a].model_copy(update=change) for a, change in waiting.items()}

    def given(self) -> tuple[Target, ...]:
        """What the waves that were done gave to their nodes, the last of each."""
        waves = self.plan.waves[: self.waves_done] if self.plan else ()
        return tuple({target.node.address: target for wave in waves for target in wave.targets}.values())

    def mark(self, address: str, state: NodeState) -> None:
        """A node entered a state whose outcome is still open."""
        self.outcomes[address] = self.outcomes[address].model_copy(update={"state": state})
        self.publish()

    def note(self, outcome: NodeOutcome) -> None:
        """A node's workflow ended; what preparation found out is kept, the news last."""
        earlier = self.outcomes[outcome.address]
        kept = tuple(finding for finding in earlier.findings if finding not in outcome.findings)
        self.outcomes[outcome.address] = outcome.model_copy(
            update={
                "before": outcome.before or earlier.before,
                "findings": kept + outcome.findings,
                "timings": earlier.timings + outcome.timings,
            }
        )
        self.publish()

    def still_broken(self, earlier: NodeOutcome) -> None:
        """A broken node was tried again and not reached; what kept us from it stands in its findings and problem."""
        now = self.outcomes[earlier.address]
        self.outcomes[earlier.address] = now.model_copy(
            update={
                "state": earlier.state,
                "generation": earlier.generation,
                "method": earlier.method,
                "problem": now.problem or earlier.problem,
                "verification": earlier.verification,
            }
        )
        self.publish()

    def counted(self) -> list[NodeOutcome]:
        """Outcomes that count against the failure budget."""
        return [outcome for outcome in self.outcomes.values() if outcome.address not in self.skipped]

    def remark(self, text: str) -> None:
        """Something a person should see on the status page."""
        self.remarks = (*self.remarks[-4:], text)
        self.publish()

    def carry(self) -> RolloutRun:
        """The argument of the next run; only between waves, when no child runs."""
        assert self.plan is not None
        carried = Carried(
            plan=self.plan,
            waves_done=self.waves_done,
            nodes=tuple(self.outcomes.values()),
            skipped=tuple(sorted(self.skipped)),
            findings=self.findings,
            started_at=self.started_at,
            paused=self.steering.paused,
            width=self.width,
        )
        return self.request.model_copy(update={"carried": carried})

    def publish(self) -> None:
        """Show it: search attributes for lists, the details page for a person."""
        if workflow.unsafe.is_read_only():
            return
        listed = (self.shown_phase.value, len(failed_nodes(self.outcomes.values())))
        news = (
            *listed,
            self.waiting_for,
            self.wave_in_hand,
            self._percent(),
            self.steering,
            self.problem,
            self.remarks,
        )
        # Of a large ring the page shows some nodes only, and to write it for each step of each node would cost more
        # than to do the step: there it follows the figures.
        if len(self.outcomes) <= ROWS or news != self.told:
            self.told = news
            workflow.set_current_details(render(self.status(), self.remarks))
        if listed != self.listed:  # each is an event in the history
            self.listed = listed
            workflow.upsert_search_attributes(
                [
                    TLS_CLUSTER.value_set(self.request.cluster),
                    TLS_REQUESTER.value_set(self.request.requester or "unknown"),
                    TLS_PHASE.value_set(listed[0]),
                    TLS_NODES_FAILED.value_set(listed[1]),
                ]
            )

    @property
    def shown_phase(self) -> Phase:
        """The phase, or the pause or decision it is held by."""
        if self.phase in ENDINGS:
            return self.phase
        if self.steering.decision is not None:
            return Phase.NEEDS_DECISION
        return Phase.PAUSED if self.steering.paused else self.phase

    def status(self) -> RolloutStatus:
        """For the `status` query, the watch command and the details page."""
        nodes = tuple(
            NodeStatus(address=o.address, state=o.state, problem=str(o.problem or "")) for o in self.outcomes.values()
        )
        return RolloutStatus(
            cluster=self.request.cluster,
            goal=self.request.goal,
            phase=self.shown_phase,
            waiting_for=self.steering.reason or self.waiting_for,
            commands=_commands(self.request.cluster, self.shown_phase, self.steering),
            stage=self.stage.name if self.stage and self.stage.kind != "deploy" else "",
            wave=self.wave_in_hand,
            waves=len(self.plan.waves) if self.plan else 0,
            nodes=nodes,
            percent=self._percent(),
            seconds_left=self._seconds_left(),
            decision=self.steering.decision,
            problem=self.problem,
            plan_digest=self.plan.digest if self.plan else "",
            by_hand=self.by_hand(),
            waived=tuple(str(waiver) for waiver in self.request.waivers),
            started_at=self.started_at,
        )

    def by_hand(self) -> tuple[str, ...]:
        """Checklists for a person: for the node that a decision is asked about, and for those that were not proven."""
        asked = self.steering.decision.node if self.steering.decision else ""
        doubtful = [o for o in self.outcomes.values() if o.address == asked or unproven(o)]
        if not doubtful or self.plan is None:
            return ()
        doubtful.sort(key=lambda outcome: outcome.address != asked)
        begun = self.plan.waves[: self.wave_in_hand]
        targets = {t.node.address: t for t in (*self.plan.targets, *(t for wave in begun for t in wave.targets))}
        rows = {row.address: row for row in self.matrix}
        cluster = self.request.cluster
        command = {"rollback": "rollback", "rotate-ca": "ca rotate"}.get(self.request.goal, "rollout start")
        again = f"sealring {command} {cluster} ...: what serves its generation already is left alone"
        lines: tuple[str, ...] = ()
        for outcome in doubtful[:MOST_NODES]:
            node = outcome.address
            answers = _commands(cluster, Phase.NEEDS_DECISION, self.steering) if node == asked else (again,)
            lines += checklist(targets[node], outcome, rows.get(node), answers)
        more = [outcome.address for outcome in doubtful[MOST_NODES:]]
        return (*lines, f"and likewise {len(more)} more: {', '.join(more[:20])}") if more else lines

    def _percent(self) -> int:
        if self.phase in ENDINGS:
            return 100
        weights: Mapping[NodeState, float] = {NodeState.PREPARED: 0.4, NodeState.ACTIVATING: 0.5}
        done = sum(1.0 if o.state in SETTLED else weights.get(o.state, 0.0) for o in self.outcomes.values())
        if not self.outcomes:
            return 0
        kinds = list(dict.fromkeys(stage.kind for stage in self.plan.stages)) if self.plan else []
        before = kinds.index(self.stage.kind) if self.stage and self.stage.kind in kinds else 0
        return int(100 * (before + done / len(self.outcomes)) / max(len(kinds), 1))

    def _seconds_left(self) -> float | None:
        """Mean activation time of the nodes done so far, for every wave still to come."""
        if self.plan is None or self.phase in ENDINGS:
            return None
        times = [sum(t.seconds for t in o.timings) for o in self.outcomes.values() if o.state is NodeState.SERVING]
        return round(sum(times) / len(times) * (len(self.plan.waves) - self.waves_done), 1) if times else None

    def report(self, finished_at: datetime | None = None) -> RolloutReport:
        """What happened, for people and machines."""
        return RolloutReport(
            cluster=self.request.cluster,
            goal=self.request.goal,
            outcome=self.phase,
            plan=self.plan,
            plan_digest=self.plan.digest if self.plan else "",
            nodes=tuple(self.outcomes.values()),
            matrix=self.matrix,
            findings=self.findings,
            waived=self.request.waivers,
            by_hand=self.by_hand(),
            problem=self.problem,
            started_at=self.started_at,
            finished_at=finished_at,
            requester=self.request.requester,
            reason=self.request.reason,
        )


def _commands(cluster: str, phase: Phase, steering: Steering) -> tuple[str, ...]:
    if phase in ENDINGS:
        return (f"sealring rollout report {cluster}",)
    if steering.decision is not None:
        node = steering.decision.node
        return tuple(f"sealring rollout resolve {cluster} {node} {action}" for action in steering.decision.options)
    hold = "resume" if steering.paused else "pause"
    return (f"sealring rollout {hold} {cluster}", f"sealring rollout abort {cluster}")
