"""Waivers: how they are written, when they hold, and what they can never do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sealring.errors import SealringError
from sealring.models.cluster import ConsistencyLevel
from sealring.models.evidence import Finding, Verdict
from sealring.models.rollout import RolloutRequest
from sealring.models.topology import Topology
from sealring.models.waiver import Waiver
from sealring.planning.slack import Promise, promises
from sealring.planning.waivers import in_force, refuse_expired, refuse_needless, weigh
from tests.unit.rings_by_hand import ring

NOW = datetime(2026, 11, 21, tzinfo=UTC)
END = NOW + timedelta(days=10)
LEVELS: tuple[ConsistencyLevel, ...] = ("ONE", "QUORUM", "LOCAL_QUORUM", "ALL")
pytestmark = pytest.mark.criterion("N20")


def waivers(*given: Any) -> tuple[Waiver, ...]:
    request = RolloutRequest.model_validate({"cluster": "c", "goal": "rollback", "waive": given})
    assert RolloutRequest.model_validate_json(request.model_dump_json()) == request, "as histories keep it"
    return request.waive


def finding(check: str, verdict: Verdict) -> Finding:
    return Finding(check=check, verdict=verdict, message="m", node="10.0.0.1")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("material.chain", "material.chain without an end: no reason given"),
        ("material.chain:until=2026-12-01T00:00Z", "material.chain until 2026-12-01T00:00:00Z: no reason given"),
        ("material.chain:reason=a test", "material.chain without an end: a test"),
        (
            "verify.vantages:until=2026-12-01T01:00+01:00,reason=rack 2, moved: TICKET-7",
            "verify.vantages until 2026-12-01T00:00:00Z: rack 2, moved: TICKET-7",
        ),
        ({"code": "material.chain", "reason": "a test"}, "material.chain without an end: a test"),
    ],
)
def test_text_and_fields_say_the_same(given: Any, said: str) -> None:
    (waiver,) = waivers(given)
    assert str(waiver) == said


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("everything", "waive.0.code"),
        ("material.chain:until=2026-12-01T00:00", "timezone"),
        ("material.chain:until=tomorrow", "waive.0.until"),
        ("material.chain:untill=2026-12-01T00:00Z", "CODE:until=TIME"),
        ("verify.served", "needs an end and a reason"),
        ("verify.served:until=2026-12-01T00:00Z", "needs an end and a reason"),
        ("verify.served:reason=because", "needs an end and a reason"),
        ({"code": "material.chain", "for": "ever"}, "waive.0.for"),
        (7, "waive.0"),
    ],
)
def test_what_is_no_waiver_is_refused_by_its_place(given: Any, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        waivers(given)
    places = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in caught.value.errors()]
    assert any(words in place and place.startswith("waive.0") for place in places), places


def test_one_that_is_over_is_refused_by_name() -> None:
    given = waivers("material.chain", f"material.usage:until={END.isoformat()},reason=old CA")
    refuse_expired(given, END - timedelta(seconds=1))
    with pytest.raises(SealringError) as caught:
        refuse_expired(given, END)
    assert caught.value.code == "waiver.expired"
    assert "material.usage until 2026-12-01T00:00:00Z: old CA" in caught.value.message
    assert "material.chain" not in caught.value.message


def test_a_failed_check_blocks_again_from_the_end_on() -> None:
    given = waivers(f"material.usage:until={END.isoformat()}")
    failed = finding("material.usage", Verdict.FAIL)
    before = weigh([failed], given, END - timedelta(seconds=1))
    assert before.standing == ()
    assert [(f.check, f.verdict) for f in before.notes] == [("waiver.used", Verdict.WARN)]
    after = weigh([failed], given, END)
    assert after.standing == (failed,)
    assert [(f.check, f.verdict) for f in after.notes] == [("waiver.expired", Verdict.WARN)]
    assert in_force(given, NOW) == ("material.usage",)
    assert in_force(given, END) == ()


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.INCONCLUSIVE])
def test_proof_that_failed_is_never_waived_only_proof_that_could_not_be_had(verdict: Verdict) -> None:
    given = waivers(f"verify.served:until={END.isoformat()},reason=r")
    weighed = weigh([finding("verify.served", verdict)], given, NOW)
    assert bool(weighed.standing) == (verdict is Verdict.FAIL)
    assert [f.check for f in weighed.notes] == ([] if verdict is Verdict.FAIL else ["waiver.used"])


def test_other_checks_stand() -> None:
    seen = (finding("material.chain", Verdict.FAIL), finding("material.usage", Verdict.FAIL))
    assert weigh(seen, waivers("material.chain"), NOW).standing == seen[1:]
    assert weigh([finding("material.chain", Verdict.WARN)], waivers("material.chain"), NOW).notes == ()


@pytest.mark.criterion("D7")
@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (("plan.quorum.lone",), ""),
        (("material.chain",), ""),
        (("plan.quorum.lone", "plan.quorum.orders"), "plan.quorum.orders: every range of it can spare a replica"),
        (("plan.quorum.lonely",), "plan.quorum.lonely: no such keyspace. Keyspaces that cannot spare a replica: lone"),
    ],
)
def test_a_keyspace_is_waived_only_where_it_must_be(codes: tuple[str, ...], words: str) -> None:
    topology = with_lone_keyspace(ring(6, 3, 4, 3))
    if not words:
        refuse_needless(codes, topology)
        return
    with pytest.raises(SealringError) as caught:
        refuse_needless(codes, topology)
    assert caught.value.code == "waiver.keyspace"
    assert words in caught.value.message


@pytest.mark.criterion("D7")
@settings(max_examples=40)
@given(st.integers(3, 9), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.sampled_from(LEVELS))
def test_a_waiver_spares_one_replica_where_none_could_be_and_changes_nothing_else(
    nodes: int, racks: int, tokens: int, factor: int, level: ConsistencyLevel
) -> None:
    topology = with_lone_keyspace(ring(nodes, racks, tokens, factor, level=level))
    strict, lifted = limits_of(promises(topology)), limits_of(promises(topology, {"orders", "lone"}))
    assert strict.keys() == lifted.keys()
    for replicas, slack in strict.items():
        assert lifted[replicas] == max(1, slack)


def with_lone_keyspace(topology: Topology) -> Topology:
    """And one whose every range has a single replica."""
    given = topology.model_dump()
    given["keyspaces"] += ({"name": "lone", "replication": {"class": "SimpleStrategy", "replication_factor": 1}},)
    return Topology.model_validate(given)


def limits_of(found: tuple[Promise, ...]) -> dict[int, int]:
    """The smallest slack of each set of replicas."""
    tightest: dict[int, int] = {}
    for promise in found:
        for replicas in promise.sets:
            tightest[replicas] = min(promise.slack(replicas), tightest.get(replicas, 99))
    return tightest
