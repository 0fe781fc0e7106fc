"""A plan under way whose ring has changed: what is left of it, and both plans in one."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from sealring.models.cluster import NodeRef
from sealring.models.node import ClusterView, NodeView
from sealring.models.plan import Plan, Stage, Target, Wave
from sealring.planning.difference import plan_difference
from sealring.planning.remainder import departed, joined, narrowed, no_bolder, remainder, unbegun, without

ID = "a" * 64


def target(number: int, *, may_restart: bool = False) -> Target:
    address = f"127.0.0.{number}"
    ref = NodeRef(host_id=f"h{number}", address=address, internode_address=address, datacenter="dc1", rack="r1")
    return Target(node=ref, generation=ID, leaf_sha256=ID, apply="reload", may_restart=may_restart)


def plan(*stages: list[list[int]], unchanged: tuple[str, ...] = ()) -> Plan:
    count = 0
    made = []
    for name, stage in enumerate(stages):
        waves = []
        for wave in stage:
            count += 1
            waves.append(Wave(name=f"wave {count}", targets=tuple(map(target, wave)), because="so"))
        made.append(Stage(name=f"stage {name}", waves=tuple(waves)))
    return Plan(cluster="c", goal="deploy", stages=tuple(made), unchanged=unchanged)


def ring(*numbers: int) -> ClusterView:
    nodes = tuple(NodeView(node=target(n).node, version="5.0.9", up=True, normal=True) for n in numbers)
    return ClusterView(cluster="c", observed_at=datetime(2026, 1, 1, tzinfo=UTC), observers=(), nodes=nodes)


def numbers(of: Plan) -> list[list[int]]:
    return [[int(t.node.host_id[1:]) for t in wave.targets] for wave in of.waves]


def test_who_left_is_left_out_and_who_joined_is_named() -> None:
    old = plan([[1], [2], [3, 4]], unchanged=("127.0.0.5",))
    left = remainder(old, 1, ring(1, 3, 4, 5, 6))
    assert numbers(left.plan) == [[2], [3, 4]]
    assert left.nodes == ("127.0.0.3", "127.0.0.4")
    assert left.newcomers == ("127.0.0.6",)
    assert remainder(old, 1, ring(1, 3, 4, 5, 6), whole=False).newcomers == ()
    assert [(f.check, f.node) for f in left.findings] == [("ring.node-left", "127.0.0.2")]


def test_another_host_id_at_the_same_address_is_a_newcomer_whether_its_place_was_done_or_not() -> None:
    old = plan([[1], [2], [3]])
    view = ring(1, 2, 3)
    others = [
        seen.model_copy(update={"node": seen.node.model_copy(update={"host_id": f"new-{seen.node.host_id}"})})
        for seen in view.nodes[:2]
    ]
    now = view.model_copy(update={"nodes": (*others, view.nodes[2])})
    left = remainder(old, 1, now)
    assert left.nodes == ("127.0.0.3",)
    assert left.newcomers == ("127.0.0.1", "127.0.0.2")
    assert [(f.check, f.node) for f in left.findings] == [
        ("ring.node-replaced", "127.0.0.1"),
        ("ring.node-replaced", "127.0.0.2"),
    ]
    assert departed([target(1).node], now)
    assert not departed([target(3).node], now)
    nameless = target(1).node.model_copy(update={"host_id": ""})
    assert not departed([nameless], now), "nodetool may not tell host ids"


@given(st.lists(st.integers(1, 3), min_size=1, max_size=6), st.data())
def test_left_out_are_those_that_were_named_and_not_begun(sizes: list[int], data: st.DataObject) -> None:
    fresh = iter(range(1, 100))
    old = plan([[next(fresh) for _ in range(size)] for size in sizes])
    everyone = [n for wave in numbers(old) for n in wave]
    done = data.draw(st.integers(0, len(sizes)))
    out = data.draw(st.sets(st.sampled_from(everyone)))
    left = without(old, {f"127.0.0.{n}" for n in out}, done)
    assert numbers(left)[:done] == numbers(old)[:done]
    rest = [[n for n in wave if n not in out] for wave in numbers(old)[done:]]
    assert numbers(left)[done:] == [wave for wave in rest if wave]


def test_a_stage_that_holds_is_not_lost_in_the_one_before_it() -> None:
    old = plan([[1], [2]], [[3]])
    green, blue = old.stages
    held = old.model_copy(update={"stages": (green.model_copy(update={"hold": True}), blue)})
    both = joined(held, 1, held.model_copy(update={"stages": unbegun(held, 1)}))
    assert [(len(stage.waves), stage.hold) for stage in both.stages] == [(2, True), (1, False)]


STAGES = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=4), min_size=1, max_size=3)


@given(STAGES, STAGES, st.data())
def test_what_was_begun_stays_and_the_new_waves_follow_under_numbers_of_their_own(
    old_sizes: list[list[int]], new_sizes: list[list[int]], data: st.DataObject
) -> None:
    def made(sizes: list[list[int]], first: int) -> Plan:
        fresh = iter(range(first, first + 100))
        return plan(*([[next(fresh) for _ in range(size)] for size in stage] for stage in sizes))

    old, newer = made(old_sizes, 1), made(new_sizes, 101)
    done = data.draw(st.integers(0, len(old.waves)))
    both = joined(old, done, newer)
    assert numbers(both) == numbers(old)[:done] + numbers(newer)
    assert [wave.name for wave in both.waves] == [f"wave {i + 1}" for i in range(len(both.waves))]
    left = remainder(old, done, ring(*(n for wave in numbers(old) for n in wave)))
    assert numbers(left.plan) == numbers(old)[done:]
    assert not left.findings


def test_a_restart_that_is_not_safe_now_does_not_follow_a_reload() -> None:
    wave = Wave(name="w", targets=(target(1, may_restart=True), target(2, may_restart=True)), because="so")
    assert [t.may_restart for t in narrowed(wave, ("127.0.0.2",)).targets] == [True, False]
    assert narrowed(wave, ()) == wave


def test_a_node_that_is_alone_now_gets_no_restart_that_the_plan_in_hand_does_not_allow() -> None:
    def made(*waves: tuple[Target, ...]) -> Plan:
        named = tuple(Wave(name=f"wave {i}", targets=wave, because="so") for i, wave in enumerate(waves, 1))
        return Plan(cluster="c", goal="deploy", stages=(Stage(name="all", waves=named),))

    in_hand = made((target(1, may_restart=True),), (target(2), target(3)))
    newer = made((target(1, may_restart=True),), (target(2, may_restart=True),), (target(3, may_restart=True),))
    assert [t.may_restart for t in no_bolder(in_hand, newer).targets] == [True, False, False]
    assert plan_difference(in_hand, newer).bolder == ("127.0.0.2", "127.0.0.3")
    assert plan_difference(in_hand, no_bolder(in_hand, newer)).careful
    milder = plan_difference(newer, no_bolder(in_hand, newer))
    assert (milder.otherwise, milder.bolder) == (("127.0.0.2", "127.0.0.3"), ())
