"""The failure twin, a little of it: `make twin SEEDS=2000` plays much more.

Nothing here needs a server or a process; a seed that fails prints the command that replays it.
"""

import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from functools import wraps
from itertools import count
from typing import Any

import pytest

from sealring.errors import passing
from sealring.models.node import ClusterView
from sealring.models.plan import Stage as PlanStage
from sealring.models.plan import Wave
from sealring.models.rollout import BarrierQuestion, NodeOrder, Phase, PlanQuestion, Readiness, RingAnswer, RingQuestion
from sealring.models.topology import Topology
from sealring.models.trust import TrustQuestion
from tests.twin.activities import NAMES
from tests.twin.keyspaces import TIGHT
from tests.twin.play import Result, Stage, play, way_back

SEEDS = 50
BLOCK = 10
ROTATIONS = [s for s in range(60) if (at := Stage(s)).scenario.rotates and len(at.ring.nodes) < 7][:4]


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_no_invariant_is_broken(first: int) -> None:
    for seed in range(first, first + BLOCK):
        result = play(seed)
        assert not result.violations, f"python -m tests.twin --seed {seed}: {result.violations}"


def test_a_seed_plays_the_same_again_also_in_another_process() -> None:
    digests = [play(seed).digest for seed in (2, 5, 11)]
    assert digests == [play(seed).digest for seed in (2, 5, 11)]
    program = (
        "import logging; logging.disable(50)\n"
        "from tests.twin.play import play\n"
        "print(*[play(seed).digest for seed in (2, 5, 11)])"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert other.stdout.split() == digests


# -- a broken product is caught: each twist breaks one promise, and some seed must show it


def anything(stage: Stage) -> bool:
    return True


def rotating(stage: Stage) -> bool:
    return stage.scenario.rotates


def caught(
    twist: Callable[[Stage], None], kind: str, *, seeds: int = 60, among: Callable[[Stage], bool] = anything
) -> Result:
    for seed in (seed for seed in range(seeds) if among(Stage(seed))):
        result = play(seed, twist=twist)
        if any(f" {kind}: " in violation for violation in result.violations):
            return result
    pytest.fail(f"{seeds} seeds, and nobody saw the broken {kind}")


def calm(stage: Stage) -> Stage:
    """Nothing goes wrong, nobody speaks."""
    stage.scenario = replace(stage.scenario, people=0, faults=0)
    return stage


def steady(stage: Stage, **rules: Any) -> None:
    """A scenario in which nodes are restarted and the delivery is good."""
    stage.scenario = replace(
        stage.scenario, people=0, settings=stage.scenario.settings.model_copy(update={"apply": "restart", **rules})
    )
    stage.activities.settings = stage.scenario.settings


def test_a_gate_that_always_passes_is_caught() -> None:
    def twist(stage: Stage) -> None:
        steady(stage)
        honest = stage.activities.check_ring

        def blind(question: RingQuestion) -> Generator[Any, None, Any]:
            yield from honest(question)
            return RingAnswer()

        stage.server.handlers["check_ring"] = blind
        stage.mess.kinds = (stage.mess.node_dies,)

    caught(twist, "quorum")


def test_a_plan_that_restarts_everything_at_once_is_caught() -> None:
    def twist(stage: Stage) -> None:
        steady(stage)
        honest = stage.activities.make_plan

        def hasty(question: PlanQuestion) -> Generator[Any, None, Any]:
            plan = yield from honest(question)
            if not plan.waves:
                return plan
            wave = Wave(name="all", targets=plan.targets, because="hurry")
            return plan.model_copy(update={"stages": (PlanStage(name="all", waves=(wave,)),)})

        stage.server.handlers["make_plan"] = hasty
        look = stage.activities.check_ring

        def trusting(question: RingQuestion) -> Generator[Any, None, Any]:
            return (yield from look(question.model_copy(update={"restarts": ()})))

        stage.server.handlers["check_ring"] = trusting  # else the gate's own proof holds the wave

    caught(twist, "quorum")


def test_a_preflight_that_lets_trust_be_dropped_first_is_caught() -> None:
    def twist(stage: Stage) -> None:
        blind_to_trust(stage)

    caught(twist, "trust")


def blind_to_trust(stage: Stage) -> None:
    def careless(order: NodeOrder) -> Generator[Any, None, Any]:
        yield 1.0
        return Readiness()

    def blind(question: TrustQuestion) -> Generator[Any, None, Any]:
        yield 1.0
        return Readiness()

    stage.server.handlers["preflight_node"] = careless
    stage.server.handlers["simulate_trust"] = blind


def test_a_barrier_that_always_holds_is_caught() -> None:
    """Only between stages is it seen what a process trusts: a reload that did nothing left the files right."""

    def twist(stage: Stage) -> None:
        blind_barrier(calm(stage))
        stage.scenario = replace(stage.scenario, faults=3)
        stage.mess.steps, stage.mess.kinds = ("reload_tls",), (stage.mess.reload_ignored,)

    caught(twist, "trust", among=rotating, seeds=200)


def test_a_barrier_that_forgets_who_needs_the_old_authority_is_caught() -> None:
    def twist(stage: Stage) -> None:
        blind_barrier(calm(stage))
        stage.scenario = replace(stage.scenario, request=stage.scenario.request | {"old_authority": "drop"})
        stage.ring.clients = {"old"}

    caught(twist, "client", among=rotating)


def blind_barrier(stage: Stage) -> None:
    def blind(question: BarrierQuestion) -> Generator[Any, None, Any]:
        yield 1.0
        return Readiness()

    stage.server.handlers["observe_barrier"] = blind


def test_stages_in_another_order_are_caught() -> None:
    """The new leaf first; whoever looks at files is blind, else none of it would be begun."""

    def twist(stage: Stage) -> None:
        blind_barrier(calm(stage))
        honest = stage.activities.make_plan

        def turned(question: PlanQuestion) -> Generator[Any, None, Any]:
            plan = yield from honest(question)
            return plan.model_copy(update={"stages": tuple(s for s in plan.stages if s.kind != "trust")})

        stage.server.handlers["make_plan"] = turned
        blind_to_trust(stage)

    caught(twist, "trust", among=rotating)


def test_a_planner_that_takes_what_no_keyspace_can_lose_is_caught() -> None:
    def twist(stage: Stage) -> None:
        steady(calm(stage))
        honest = stage.activities.topology

        def loose(view: ClusterView) -> Topology:
            topology = honest(view)
            return topology.model_copy(update={"keyspaces": tuple(k for k in topology.keyspaces if k.name != TIGHT)})

        stage.activities.topology = loose  # type: ignore[method-assign]

    caught(twist, "quorum", among=lambda stage: stage.scenario.infeasible)


def test_what_no_keyspace_can_lose_is_reloaded_or_waived_or_refused() -> None:
    """Nothing goes wrong, so every ring of each kind must end the same way."""
    met: Counter[str] = Counter()
    for stage in map(Stage, range(120)):
        scenario = stage.scenario
        tight = any(keyspace.name == TIGHT for keyspace in stage.ring.keyspaces)
        if not tight or not scenario.sound or scenario.rotates or len(stage.ring.nodes) > 9:
            continue
        report = stage.rollout(scenario.request)
        assert report is not None
        assert not stage.world.violations
        methods = {outcome.method for outcome in report.nodes}
        restarts = scenario.settings.apply == "restart" or {n.reload for n in stage.ring.nodes.values()} == {"none"}
        met["refused" if scenario.infeasible else "waived" if restarts else "reloaded"] += 1
        if scenario.infeasible:
            assert (report.outcome, report.problem and report.problem.code) == (Phase.REFUSED, "plan.quorum")
        else:
            assert report.outcome is Phase.DONE, report.problem
            assert methods == {"restart" if restarts else "reload"}
    assert set(met) == {"refused", "waived", "reloaded"}, met


def test_a_rotation_is_taken_back_from_each_of_its_stages_and_then_completed() -> None:
    """At every barrier a person aborts, then asks for the way back; the ring is what it was before that stage."""
    met: Counter[str] = Counter()
    for seed in ROTATIONS:
        for number in (1, 2):
            stage = Stage(seed)
            if stage.scenario.hidden or stage.scenario.infeasible:
                continue
            looks = count(1)

            def begins(step: str, owner: str, stage: Stage = stage, looks: Any = looks, number: int = number) -> None:
                if step == "observe_barrier" and next(looks) == number:
                    stage.server.cancel(stage.server.open[owner], "a person")

            stage.ring.clients.clear()
            stage.server.on_attempt = begins
            before = {a: (n.disk_key.issuer, n.disk_trust) for a, n in stage.ring.nodes.items()}
            stopped = stage.rollout(stage.scenario.request)
            assert stopped is not None
            reached = {(n.disk_key.issuer, n.disk_trust) for n in stage.ring.nodes.values()}
            changed = reached != set(before.values())
            met[f"aborted at {number}"] += stopped.outcome is Phase.ABORTED and changed
            stage.server.on_attempt = lambda step, owner: None
            if stopped.outcome is Phase.ABORTED and changed:
                back = stage.rollout(way_back(stage.scenario))
                assert back is not None
                assert back.outcome is Phase.DONE, back.problem
                assert {(n.disk_key.issuer, n.disk_trust) for n in stage.ring.nodes.values()} != reached
            done = stage.rollout(stage.scenario.request | {"old_authority": "drop"})
            assert done is not None
            assert done.outcome is Phase.DONE, done.problem
            assert not stage.world.violations
    assert met["aborted at 1"] > 1
    assert met["aborted at 2"] > 1


def test_an_activation_that_skips_the_proof_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    from sealring.models.evidence import Verdict, Verification
    from workflows.activation import NodeActivation

    async def unproven(self: NodeActivation, generation: str, leaf_sha256: str) -> Verification:
        return Verification(verdict=Verdict.PASS)

    monkeypatch.setattr(NodeActivation, "verify", unproven)
    caught(lambda stage: None, "report", seeds=150, among=lambda stage: stage.scenario.hidden)


def lose_first_answers(stage: Stage, step: str, honest: Callable[[Any], Generator[Any, None, Any]]) -> None:
    """What a step did is done, and nobody hears of it, once on each node."""
    lost = set()

    @wraps(honest)  # the server reads from it what the argument is
    def deaf(order: Any) -> Generator[Any, None, Any]:
        answer = yield from honest(order)
        if str(order)[:300] not in lost:
            lost.add(str(order)[:300])
            raise passing("ssh.lost", "the link broke")
        return answer

    stage.server.handlers[step] = deaf


STEPS = sorted(set(NAMES) - {"make_plan"})
OF_ROTATIONS = ("observe_barrier", "resolve_rotation", "activate_generation")


@pytest.mark.parametrize(
    ("step", "seeds"),
    [*((step, range(6)) for step in STEPS if step not in OF_ROTATIONS), *((step, ROTATIONS) for step in OF_ROTATIONS)],
)
def test_a_step_whose_answer_is_lost_is_finished_by_the_same_call(step: str, seeds: Iterable[int]) -> None:
    def twist(stage: Stage) -> None:
        calm(stage)
        lose_first_answers(stage, step, stage.server.handlers[step])

    for seed in seeds:
        result = play(seed, twist=twist)
        assert not result.violations, f"seed {seed}: {result.violations}"


def test_a_restart_that_does_not_look_first_is_caught() -> None:
    def twist(stage: Stage) -> None:
        steady(calm(stage))
        honest = stage.activities.restart_node

        @wraps(honest)
        def again(order: Any) -> Generator[Any, None, Any]:
            node = stage.ring.nodes[order.order.node.address]
            stage.ring.on_restart(node, order.started_at)
            return (yield from honest(order.model_copy(update={"started_at": str(node.started)})))

        lose_first_answers(stage, "restart_node", again)

    caught(twist, "restart")


def test_a_workflow_that_is_not_deterministic_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    from workflows import calls

    numbers = count()
    monkeypatch.setattr(calls, "short", lambda digest: f"{digest[:12]}-{next(numbers)}")
    result = next(r for r in map(play, range(60)) if r.violations)
    assert "replay" in result.violations[0]
