"""Waivers: how they are written, when they hold, and what they can never do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from sealring.errors import SealringError
from sealring.models.evidence import Finding, Verdict
from sealring.models.rollout import RolloutRequest
from sealring.models.waiver import Waiver
from sealring.planning.waivers import in_force, refuse_expired, weigh

NOW = datetime(2026, 11, 21, tzinfo=UTC)
END = NOW + timedelta(days=10)
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
