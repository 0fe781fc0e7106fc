"""What changed between two plans, and when a new one may go on without being asked for again."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealring.models.cluster import NodeRef, RolloutSettings
from sealring.models.plan import Plan, Stage, Target, Wave
from sealring.models.schedule import Schedule
from sealring.planning.difference import plan_difference
from tests.unit.rings_by_hand import ring
from tests.unit.test_planning_strategies import made


def target(number: int, **facts: Any) -> Target:
    address = f"10.0.0.{number}"
    place = NodeRef(host_id=f"h{number}", address=address, internode_address=address, datacenter="dc1", rack="r1")
    base = {"node": place, "generation": "a" * 64, "leaf_sha256": "b" * 64, "apply": "restart", "may_restart": False}
    return Target.model_validate(base | facts)


def plan(*waves: tuple[int | Target, ...], hold: bool = False, **facts: Any) -> Plan:
    """A plan of waves of nodes by number."""
    told = tuple(
        Wave(name="w", because="", targets=tuple(t if isinstance(t, Target) else target(t) for t in wave))
        for wave in waves
    )
    return Plan(cluster="c", goal="deploy", stages=(Stage(name="s", waves=told, hold=hold),), **facts)


OLD = plan((1, 2, 3), (4, 5))


@pytest.mark.parametrize(
    "new",
    [
        OLD,
        plan((1, 2), (3,), (4, 5)),
        plan((1, 2, 3), (4,)),
        plan((4, 5)),
        plan(),
        plan((3, 1), (5,), (4,)),
        plan((1, 2, 3), (4, 5), hold=True),
        plan((1, 2, 3), (4, 5), risks=("new",), topology="f", lower_bound=2),
    ],
)
def test_parts_of_the_old_waves_in_the_old_order_are_only_smaller_or_more_careful(new: Plan) -> None:
    assert plan_difference(OLD, new).careful
    assert plan_difference(OLD, new).same is (new == OLD)


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (plan((1, 2, 3), (4, 5, 6)), "10.0.0.6"),
        (plan((1, 2, 3, 4), (5,)), "from wave 2 to wave 1: 10.0.0.4"),
        (plan((4, 5), (1, 2, 3)), "from wave 2 to wave 1: 10.0.0.4, 10.0.0.5"),
        (plan((1, 2, 3), (4, target(5, generation="c" * 64))), "10.0.0.5"),
        (plan((1, 2, 3), (4, target(5, apply="reload", may_restart=True))), "10.0.0.5"),
        (plan((1, 2, 3), (4, 5), rules=RolloutSettings(failure_budget=2)), "rules.failure_budget: 0 before, 2 now"),
        (plan((1, 2, 3), (4, 5)).model_copy(update={"goal": "rollback"}), "goal"),
    ],
)
def test_what_is_new_larger_earlier_or_otherwise_is_not(new: Plan, told: str) -> None:
    found = plan_difference(OLD, new)
    assert not found.careful
    assert not found.same
    assert told in found.model_dump_json()


def test_a_hold_may_come_and_may_not_go() -> None:
    held = plan((1, 2), (3,), hold=True)
    assert not plan_difference(held, plan((1, 2), (3,))).careful
    assert plan_difference(plan((1, 2), (3,)), held).careful
    assert plan_difference(held, plan((3,), hold=True)).careful


def test_a_restart_in_an_earlier_stage_of_a_rotation_is_seen() -> None:
    """The last stage alone would look alike."""

    def rotation(**trust: Any) -> Plan:
        facts = {"generation": "c" * 64, "apply": "reload"} | trust
        first, second = plan((target(1, **facts),)), plan((target(1, apply="reload"),))
        return first.model_copy(update={"stages": (*first.stages, *second.stages)})

    old = rotation()
    assert plan_difference(old, old).careful
    for change in ({"apply": "restart"}, {"may_restart": True}):
        found = plan_difference(old, rotation(**change))
        assert (found.careful, found.otherwise) == (False, ("10.0.0.1",))
    assert plan_difference(rotation(may_restart=True), old).careful


def test_without_a_proof_nothing_is_more_careful_but_what_takes_no_replica_away() -> None:
    proven, single = plan((1, 2, 3), topology="f"), plan((1,), (2,), (3,))
    found = plan_difference(proven, single)
    assert not found.careful
    assert "nothing is proven any more" in found.reasons[0]
    reload = target(1, apply="reload")
    assert plan_difference(plan((reload,), topology="f"), plan((reload,))).careful


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 99), st.sampled_from(["rolling", "fastest", "load-aware"]), st.data())
def test_a_schedule_without_some_nodes_is_careful_only_as_its_waves_are_parts(
    seed: int, strategy: str, data: st.DataObject
) -> None:
    old = made(ring(9, 3, 2, 3, seed=seed), strategy=strategy)
    gone = data.draw(st.sets(st.sampled_from([f"10.0.0.{i}" for i in range(1, 10)])))
    stages = tuple(
        stage.model_copy(
            update={
                "waves": tuple(
                    wave.model_copy(update={"nodes": tuple(a for a in wave.nodes if a not in gone)})
                    for wave in stage.waves
                    if set(wave.nodes) - gone
                )
            }
        )
        for stage in old.stages
    )
    new = old.model_copy(update={"stages": stages})
    found = plan_difference(old, new)
    assert found.careful
    assert set(found.dropped) == gone
    assert not gone or not plan_difference(new, old).careful


def test_a_schedule_says_what_else_changed() -> None:
    old = made(ring(6, 3, 2, 3))
    new = made(ring(6, 3, 2, 3, seed=2), reserve=1)
    found = plan_difference(old, new)
    assert any("the ring changed" in reason for reason in found.reasons)
    less = old.model_copy(update={"reserve": 1})
    assert not plan_difference(less, old).careful, "less is kept back"
    assert Schedule.model_validate_json(old.model_dump_json()).digest == old.digest
