"""An expired ring: what is one, in which order it is mended, and what the plan says of itself."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from sealring.cassandra.expiry import expiry
from sealring.errors import SealringError
from sealring.models.checks import CHECKS, EMERGENCY, Severity
from sealring.models.cluster import Listener, RolloutSettings
from sealring.models.evidence import Served
from sealring.models.node import ClusterView, NodeView
from sealring.models.plan import Plan
from sealring.models.rollout import PlanQuestion, RolloutRequest
from sealring.planning.plan import make_plan
from starters.cli import app
from starters.exits import Exit
from tests.unit.test_planning import NEW, delivery, node, view

NOW = datetime(2026, 11, 22, tzinfo=UTC)
OVER = "internode shows a leaf that is over"
GENERATION = {"id": NEW, "leaf_sha256": NEW, "not_after": NOW + timedelta(90)}


def served(kind: str, ends: datetime | None) -> Served:
    listener = Listener.model_validate({"kind": kind, "address": "127.0.0.1", "port": 7000})
    return Served(listener=listener, vantage="worker", not_after=ends, leaf_sha256="a" * 64 if ends else "")


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("internode", "native", "disk", "told"),
    [
        (NOW + HOUR, NOW + HOUR, NOW - HOUR, ""),  # what is served counts
        (NOW + HOUR, None, NOW - HOUR, ""),
        (NOW - HOUR, NOW + HOUR, NOW + HOUR, "internode 127.0.0.1:7000 shows a leaf that ended 2026-11-21 23:00:00Z"),
        (NOW, NOW, NOW, "the one on its disk ended 2026-11-22 00:00:00Z"),
        (NOW - HOUR, NOW - HOUR, NOW + HOUR, "the one on its disk is good until 2026-11-22 01:00:00Z"),
        (NOW - HOUR, NOW - HOUR, None, "the stores on its disk cannot be read"),
        (None, None, NOW - HOUR, "no listener shows a leaf; the one on its disk ended"),
        (None, None, NOW + HOUR, ""),  # it does not run, for whatever reason: starting it is no renewal
        (None, None, None, ""),
    ],
)
def test_what_has_expired_is_told_by_listener_and_disk(
    internode: datetime | None, native: datetime | None, disk: datetime | None, told: str
) -> None:
    said = expiry([served("internode", internode), served("native", native)], disk, NOW)
    assert told in said
    assert bool(told) == bool(said)


def ring(*nodes: NodeView, source: str = "nodetool") -> ClusterView:
    return view(*nodes).model_copy(update={"source": source, "observers": ("127.0.0.1",)})


def plan(seen: ClusterView, **request: Any) -> Plan:
    asked = RolloutRequest.model_validate(
        {"cluster": "c", "goal": "renew-expired", "reason": "why", "material": {"path": "/d"}, **request}
    )
    return make_plan(PlanQuestion(request=asked, view=seen, material=delivery(seen)), RolloutSettings())


def refused(code: str, seen: ClusterView, **request: Any) -> str:
    with pytest.raises(SealringError) as caught:
        plan(seen, **request)
    assert caught.value.code == code
    return str(caught.value)


def test_only_a_ring_that_has_expired_is_an_emergency() -> None:
    assert "127.0.0.1" in refused("plan.not-expired", ring(node(1), node(2)))
    refused("plan.not-expired", ring(node(1), node(2, up=False)))
    refused("plan.not-expired", ring(node(1, expired=OVER), node(2)), nodes=("127.0.0.2",))


def test_what_can_still_be_proven_is_no_emergency() -> None:
    some = (node(1, expired=OVER), node(2), node(3))
    assert "node.expired" in refused("plan.ring-whole", ring(*some, source="cql"))
    assert plan(ring(*some)).targets[0].node.address == "127.0.0.1"
    assert plan(ring(some[0], some[1], node(3, up=False), source="cql")).targets
    assert plan(ring(node(1, expired=OVER), node(2, expired=OVER), source="cql")).targets


def test_a_host_that_cannot_be_read_is_named_and_may_be_left_out() -> None:
    seen = ring(node(1, expired=OVER), node(2, problem="[ssh.unreachable] nobody there", up=False))
    assert "127.0.0.2: [ssh.unreachable]" in refused("plan.ring-degraded", seen)
    unheard = ring(node(1, expired=OVER), node(2, expired=OVER, version="", reload="none"))
    assert "127.0.0.2: no node that can be asked knows its version" in refused("plan.ring-degraded", unheard)
    stopped = node(2, expired=OVER, version="", reload="none", restart_because=("Cassandra does not run",))
    assert plan(ring(node(1, expired=OVER), stopped)).waves[1].targets[0].apply == "restart"
    made = plan(seen, nodes=("127.0.0.1",))
    assert [target.node.address for target in made.targets] == ["127.0.0.1"]
    assert not any("left alone" in risk for risk in made.risks), "nobody knows what it shows"


def test_the_plan_says_that_it_is_an_emergency_and_why_nothing_is_proven() -> None:
    made = plan(ring(node(1, expired=OVER, up=False), node(2, expired=OVER), node(3)))
    first, *others = made.risks
    assert first.startswith("EMERGENCY (why): no quorum is proven")
    assert f"127.0.0.1: {OVER}" in others
    assert "the ring as 127.0.0.1 told it through nodetool: not seen up by all of them: 127.0.0.1" in others
    assert "left alone, because nothing of them has expired: 127.0.0.3" in others
    assert any("there is no way back" in risk for risk in others)
    assert any(risk.startswith("WAIVED: node.expired") for risk in made.risks)
    assert (made.topology, made.lower_bound) == ("", 0)
    assert not any(wave.proof for wave in made.waves)


def test_a_node_that_serves_the_new_leaf_already_is_left_alone() -> None:
    done = node(1, served=(NEW,), current=GENERATION)
    made = plan(ring(done, node(2, expired=OVER, up=False)))
    assert [target.node.address for target in made.targets] == ["127.0.0.2"]


KINDS = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=40)


@given(KINDS)
def test_reloads_come_first_and_restarts_one_by_one_with_the_seeds_before_others(
    kinds: list[tuple[bool, bool, bool]],
) -> None:
    nodes = [
        node(
            i + 1, expired=OVER if over else "", contact=seed, reload="forced" if reloads else "none", rack=f"r{i % 3}"
        )
        for i, (over, seed, reloads) in enumerate([(True, True, True), *kinds])
    ]
    made = plan(ring(*nodes))
    facts = {seen.node.address: seen for seen in nodes}
    ways = [wave.targets[0].apply for wave in made.waves]
    assert sorted(ways) == ways, "reload before restart"
    assert len(made.waves[0].targets) == 1, "the first shows what is wrong with a delivery"
    assert all(len(wave.targets) <= made.rules.max_parallel for wave in made.waves)
    assert all(len(wave.targets) == 1 for wave, way in zip(made.waves, ways, strict=True) if way == "restart")
    seeds = [
        facts[t.node.address].contact
        for w, way in zip(made.waves, ways, strict=True)
        if way == "restart"
        for t in w.targets
    ]
    assert sorted(seeds, reverse=True) == seeds
    assert sorted(t.node.address for t in made.targets) == sorted(a for a, seen in facts.items() if seen.expired)
    assert [wave.name for wave in made.waves] == [f"wave {i + 1}" for i in range(len(made.waves))]


@pytest.mark.parametrize(
    "more",
    [{"reason": ""}, {"strategy": "canary"}, {"batch": "2"}, {"material": None}],
    ids=lambda more: next(iter(more)),
)
def test_an_emergency_is_refused_at_the_door_when_it_is_not_whole(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        plan(ring(node(1, expired=OVER)), **more)
    assert next(iter(more)) in str(caught.value)


def test_the_command_asks_for_the_reason() -> None:
    told = CliRunner().invoke(app, ["rollout", "start", "lab", "-m", ".", "--emergency-expired"])
    assert told.exit_code == Exit.MISTAKE
    assert "reason" in told.stderr


def test_what_an_emergency_waives_could_be_waived_by_a_person_too() -> None:
    assert all(CHECKS[code].severity is Severity.NEEDS_WAIVER for code in EMERGENCY)
    asked = RolloutRequest.model_validate({"cluster": "c", "material": {"path": "/d"}, "waive": ["node.vantage"]})
    assert asked.waivers == asked.waive
