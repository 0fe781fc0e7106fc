"""What the twin has found, each as small as it can be told."""

import logging
from collections.abc import Generator, Iterator
from datetime import timedelta
from typing import Any

import pytest

from sealring.errors import refuse
from sealring.models.evidence import Finding, Verdict
from sealring.models.rollout import NodeOrder, NodeState, Phase, Readiness, VerifyOrder
from sealring.models.steering import Resolution
from tests.twin.play import CLUSTER, Stage
from tests.twin.run import CONVERTER

REQUEST = {"cluster": CLUSTER, "material": {"path": "b"}}


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def sound(**rules: Any) -> Iterator[Stage]:
    """Rings whose delivery can come through, at once, with nothing drawn to go wrong."""
    for seed in range(20):
        stage = Stage(seed)
        scenario = stage.scenario
        if scenario.sound and not scenario.rotates and not scenario.infeasible and len(stage.ring.nodes) < 10:
            stage.activities.settings = stage.activities.settings.model_copy(update=rules)
            yield stage


@pytest.mark.parametrize(
    ("step", "prefix"), [("transfer_material", "tls-prepare"), ("activate_generation", "tls-node")]
)
def test_a_pause_that_comes_after_the_abort_holds_no_node(step: str, prefix: str) -> None:
    """Seed 120 of the first day: the cancel met a step that ended well all the same, and so was swallowed; the pause
    that came behind it held the node before its next step. Nobody could resume what was being aborted.
    """
    met = 0
    for stage in sound():
        said = False

        def begins(name: str, owner: str, stage: Stage = stage) -> None:
            nonlocal said
            if name == step and not said and owner.startswith(prefix):
                said = True
                stage.server.cancel(stage.server.open[f"tls-rollout/{CLUSTER}"])
                stage.server.cancel(stage.server.open[owner])
                stage.world.after(0.15, lambda: stage.server.signal(stage.server.open[owner], "pause"))

        stage.server.on_attempt = begins
        report = stage.rollout(REQUEST)
        if said:
            met += 1
            assert report is not None, f"it hangs: {stage.world.last[-5:]}"
            assert report.outcome in (Phase.ABORTED, Phase.DONE)  # Done when it was the last node
            assert stage.world.now < 3600
    assert met > 2


def test_a_broken_node_stays_broken_when_its_retry_is_refused() -> None:
    """Seed 96 of the first day: the report called a node "refused" that was down, and the failure budget, which a
    broken node spends at once, had room for one that was refused.
    """
    met = 0
    for stage in sound(failure_budget=2, on_failure="ask", strategy="rolling", decision_timeout=timedelta(hours=1)):
        broken: list[str] = []
        honest_look, honest_proof = stage.activities.validate_node, stage.activities.verify_node

        def proof(
            order: VerifyOrder, broken: list[str] = broken, honest: Any = honest_proof
        ) -> Generator[Any, None, Any]:
            address = order.order.node.address
            if not broken or address in broken:
                broken.append(address)
                raise refuse("verify.impossible", "cannot be seen", "look", node=address)
            return (yield from honest(order))

        def look(order: NodeOrder, broken: list[str] = broken, honest: Any = honest_look) -> Generator[Any, None, Any]:
            if order.node.address in broken:
                yield 1.0
                found = Finding(
                    check="node.service", verdict=Verdict.FAIL, message="not running", node=order.node.address
                )
                return Readiness(findings=(found,))
            return (yield from honest(order))

        def decide(stage: Stage = stage, broken: list[str] = broken) -> None:
            run = stage.server.open.get(f"tls-rollout/{CLUSTER}")
            if run is not None and len(set(broken)) == 1:
                answer = CONVERTER.to_payloads([Resolution(node=broken[0], action="retry")])[0]
                stage.server.update(run, "resolve", answer)

        stage.server.handlers |= {"verify_node": proof, "validate_node": look}
        stage.world.after(1800, decide)
        report = stage.rollout(REQUEST)
        assert report is not None
        if report.outcome is Phase.FAILED and broken:
            met += 1
            outcome = next(o for o in report.nodes if o.address == broken[0])
            assert outcome.state is NodeState.BROKEN
            assert outcome.problem is not None
            assert any(f.check == "node.service" for f in outcome.findings)
            assert not any(o.state is NodeState.SERVING for o in report.nodes)
    assert met > 2


def test_a_replica_that_dies_while_a_node_is_held_before_its_drain_is_not_the_second_one_away() -> None:
    late = 0
    for stage in sound(apply="restart", strategy="rolling"):
        told = False

        def begins(name: str, owner: str, stage: Stage = stage) -> None:
            nonlocal told
            if name != "activate_generation" or told:
                return
            told = True
            rollout, others = (
                stage.server.open[f"tls-rollout/{CLUSTER}"],
                [a for a in stage.ring.nodes if a not in owner],
            )
            stage.server.signal(rollout, "pause")
            for address in others[:2]:
                node = stage.ring.nodes[address]
                stage.world.after(60, lambda node=node: stage.ring.out(node, "fault", "down"))  # type: ignore[misc]
            stage.world.after(3600, lambda: stage.server.signal(rollout, "resume"))

        stage.server.on_attempt = begins
        stage.rollout(REQUEST)
        late += stage.watch.late
        if late:
            break
    assert not late


def test_nodes_that_are_put_in_order_by_load_may_be_left_without_the_restart_that_none_of_them_was_to_have() -> None:
    """Seeds 45 and 156 of the twin with rotations. Of the nodes that remain the first is alone, so the new plan let it
    be restarted after its reload; the old one had it in company and did not. That was asked about as another plan:
    `load-aware` ended with `plan.changed` wherever nodes reload and may be restarted.
    """
    met = 0
    for stage in sound(strategy="load-aware", apply="auto", allow_restart=True, on_failure="stop", failure_budget=0):
        if any(node.reload != "forced" for node in stage.ring.nodes.values()):
            continue
        report = stage.rollout(REQUEST)
        met += 1
        assert report is not None
        assert report.outcome is Phase.DONE, report.problem
        assert not any(outcome.method != "reload" for outcome in report.nodes)
    assert met > 2


def test_a_broken_node_that_is_tried_again_is_drained_only_when_the_ring_can_spare_it() -> None:
    """Seed 210 of the twin with rotations: another replica had died while a person was asked about a broken node. The
    retry took the node away on the look of the gate before its wave, half an hour old.
    """
    met = 0
    rules = {"apply": "restart", "strategy": "rolling", "on_failure": "ask", "decision_timeout": timedelta(hours=1)}
    for stage in sound(failure_budget=0, **rules):
        broken: list[str] = []

        def begins(name: str, owner: str, stage: Stage = stage, broken: list[str] = broken) -> None:
            if name == "verify_node" and not broken:
                broken.append(owner.rsplit("/", 1)[1])
                stage.server.terminate(stage.server.open[owner])  # it is up, and nobody knows how far it came

        def die(stage: Stage = stage, broken: list[str] = broken) -> None:
            for need in stage.ring.needs_of[broken[0]] if broken else ():
                lost = sorted(need.replicas - {broken[0]})[: len(need.replicas) - need.required]
                for node in map(stage.ring.nodes.__getitem__, lost):
                    stage.ring.out(node, "fault", "down")
                return

        def decide(stage: Stage = stage, broken: list[str] = broken) -> None:
            run = stage.server.open.get(f"tls-rollout/{CLUSTER}")
            if run is not None and broken:
                stage.server.update(
                    run, "resolve", CONVERTER.to_payloads([Resolution(node=broken[0], action="retry")])[0]
                )

        stage.server.on_attempt = begins
        stage.world.after(900, die)
        stage.world.after(1800, decide)
        stage.rollout(REQUEST)
        met += bool(broken)
        assert not [v for v in stage.world.violations if " quorum: " in v], stage.world.violations
    assert met > 2
