"""The list of checks: what may be waived, and that nobody asks for a check that is not in it."""

import re

import pytest
from pydantic import ValidationError

from sealring.models.checks import CHECKS, Severity, severity_of, waivable
from sealring.models.evidence import Finding, Verdict
from sealring.models.rollout import RolloutRequest
from sealring.models.waiver import Waiver
from sealring.planning.waivers import weigh
from tests.unit.pki_maker import NOW
from tests.unit.test_docs import ENGINE, ROOT


def refused(*codes: str) -> str:
    with pytest.raises(ValidationError) as caught:
        RolloutRequest.model_validate({"cluster": "c", "goal": "rollback", "waive": codes})
    return str(caught.value)


@pytest.mark.criterion("F9")
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("material.key-matches-leaf", "material.key-matches-leaf is a blocker"),
        ("material.expired", "material.expired is a blocker"),
        ("node.jvm-store", "node.jvm-store is a blocker"),
        ("ring.quorum", "ring.quorum is a blocker"),
        ("ring.quorum", "waived by its name, `plan.quorum.KEYSPACE`"),
        ("ring.topology", "which no waiver lifts: let CQL be open from the worker"),
        ("material.chian", "material.chian is no check"),
        ("node.clients", "node.clients only warns"),
    ],
)
def test_what_cannot_be_waived_is_refused_with_the_list_of_what_can(code: str, words: str) -> None:
    said = refused("material.chain", code)
    assert "waive" in said
    assert words in said
    assert "These may be waived: " + ", ".join(waivable()) in said
    assert "material.chain is" not in said


def test_every_check_that_may_be_waived_is_taken() -> None:
    given = [f"{code}:until=2036-01-01T00:00Z,reason=r" for code in waivable()]
    assert len(RolloutRequest.model_validate({"cluster": "c", "goal": "rollback", "waive": given}).waive) == len(given)


@pytest.mark.criterion("F9")
def test_a_blocker_stands_even_when_a_waiver_has_come_this_far() -> None:
    blocked = Finding(check="material.key-matches-leaf", verdict=Verdict.FAIL, message="m")
    weighed = weigh([blocked], (Waiver(code="material.key-matches-leaf"),), NOW)
    assert weighed.standing == (blocked,)
    assert weighed.notes == ()


def test_what_is_not_known_blocks() -> None:
    assert severity_of("material.of-a-newer-version") is Severity.BLOCKER


def test_the_list_has_what_the_engine_reports_and_nothing_else() -> None:
    files = [file for folder in ENGINE for file in (ROOT / folder).rglob("*.py") if file.name != "checks.py"]
    texts = "".join(file.read_text() for file in files)
    assert set(re.findall(r'check="([a-z]+\.[a-z-]+)"', texts)) - set(CHECKS) == set()
    assert [code for code in CHECKS if f'"{code}"' not in texts] == []
