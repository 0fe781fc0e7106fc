"""The failure twin, a little of it: `make twin SEEDS=2000` plays much more.

Nothing here needs a server or a process; a seed that fails prints the command that replays it.
"""

import logging
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import wraps
from typing import Any

import pytest

from sealring.errors import passing
from sealring.models.plan import Stage as PlanStage
from sealring.models.plan import Wave
from sealring.models.rollout import NodeOrder, PlanQuestion, Readiness, RingAnswer, RingQuestion
from sealring.models.trust import TrustQuestion
from tests.twin.activities import NAMES
from tests.twin.play import Result, Stage, play

SEEDS = 50
BLOCK = 10


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


def caught(twist: Callable[[Stage], None], kind: str, *, seeds: int = 60) -> Result:
    for seed in range(seeds):
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
        def careless(order: NodeOrder) -> Generator[Any, None, Any]:
            yield 1.0
            return Readiness()

        def blind(question: TrustQuestion) -> Generator[Any, None, Any]:
            yield 1.0
            return Readiness()

        stage.server.handlers["preflight_node"] = careless
        stage.server.handlers["simulate_trust"] = blind

    caught(twist, "trust")


def test_an_activation_that_skips_the_proof_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    from sealring.models.evidence import Verdict, Verification
    from workflows.activation import NodeActivation

    async def unproven(self: NodeActivation, generation: str, leaf_sha256: str) -> Verification:
        return Verification(verdict=Verdict.PASS)

    monkeypatch.setattr(NodeActivation, "verify", unproven)
    caught(lambda stage: None, "report", seeds=150)


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


@pytest.mark.parametrize("step", STEPS)
def test_a_step_whose_answer_is_lost_is_finished_by_the_same_call(step: str) -> None:
    def twist(stage: Stage) -> None:
        calm(stage)
        lose_first_answers(stage, step, stage.server.handlers[step])

    for seed in range(6):
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
    from itertools import count

    from workflows import calls

    numbers = count()
    monkeypatch.setattr(calls, "short", lambda digest: f"{digest[:12]}-{next(numbers)}")
    result = next(r for r in map(play, range(60)) if r.violations)
    assert "replay" in result.violations[0]
