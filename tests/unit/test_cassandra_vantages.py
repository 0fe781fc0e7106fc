"""What vantages prove together: a blind one is told from a bad node, and never outvoted."""

import pytest

from sealring.cassandra.vantages import judge_all
from sealring.models.cluster import Listener, ListenerKind
from sealring.models.evidence import Finding, Served, Verdict, worst

pytestmark = pytest.mark.criterion("N19")
NODE, PEER, OTHER = "10.0.0.1", "10.0.0.2", "10.0.0.3"
LEAF = "a" * 64


def saw(vantage: str, kind: ListenerKind = "native", leaf: str = LEAF) -> Served:
    listener = Listener(kind=kind, address=NODE, port=9042 if kind == "native" else 7000)
    return Served(listener=listener, vantage=vantage, leaf_sha256=leaf, trusted=True, accepted=True)


def blind(vantage: str, kind: ListenerKind = "native") -> Served:
    nothing = {"leaf_sha256": "", "trusted": None, "accepted": None, "problem": "[ssh.circuit-open] not tried"}
    return saw(vantage, kind).model_copy(update=nothing)


def refused(vantage: str, kind: ListenerKind = "native") -> Served:
    return blind(vantage, kind).model_copy(update={"accepted": False, "problem": "connection refused"})


def judged(*served: Served) -> tuple[Finding, ...]:
    return judge_all(served, intended=LEAF, node=NODE)


def vantages(findings: tuple[Finding, ...]) -> Finding | None:
    return next((f for f in findings if f.check == "verify.vantages"), None)


def test_all_see() -> None:
    findings = judged(saw("worker"), saw(PEER))
    assert worst(findings) is Verdict.PASS
    told = vantages(findings)
    assert told
    assert told.message == f"2 of 2 vantages got an answer: worker, {PEER}"


@pytest.mark.parametrize("seeing", [("worker",), (PEER,), ("worker", PEER)])
def test_a_blind_one_is_named_with_those_that_are_left(seeing: tuple[str, ...]) -> None:
    findings = judged(*map(saw, seeing), blind(OTHER), blind(OTHER, "internode"))
    assert worst(findings) is Verdict.INCONCLUSIVE
    told = vantages(findings)
    assert told
    assert told.message == (
        f"{len(seeing)} of {len(seeing) + 1} vantages got an answer: {', '.join(seeing)}; "
        f"blind: {OTHER}, [ssh.circuit-open] not tried"
    )
    assert [f.verdict for f in findings if f.check == "verify.served"] == [Verdict.PASS] * len(seeing)


def test_a_bad_leaf_stays_bad_whoever_is_blind() -> None:
    findings = judged(saw("worker", leaf="b" * 64), blind(PEER))
    assert worst(findings) is Verdict.FAIL
    assert findings[0].check == "verify.served", "the failure is told first"


def test_one_listener_that_a_vantage_cannot_see_is_that_listeners_affair() -> None:
    findings = judged(saw("worker"), saw("worker", "internode"), saw(PEER), blind(PEER, "internode"))
    doubtful = [f for f in findings if f.verdict is Verdict.INCONCLUSIVE]
    assert [f.check for f in doubtful] == ["verify.served"]
    assert f"internode 7000 seen from {PEER}" in doubtful[0].message


def test_when_nobody_sees_a_certificate_it_may_be_the_node() -> None:
    silent = judged(blind("worker"), blind(PEER))
    assert [(f.check, f.verdict) for f in silent] == [("verify.served", Verdict.INCONCLUSIVE)] * 2
    dead = judged(refused("worker"), blind(PEER))
    assert [(f.check, f.verdict) for f in dead] == [
        ("verify.served", Verdict.FAIL),
        ("verify.served", Verdict.INCONCLUSIVE),
    ]


def test_a_refusal_that_others_do_not_meet_is_no_blindness() -> None:
    assert worst(judged(saw("worker"), refused(PEER))) is Verdict.FAIL


def test_on_the_internode_port_our_client_certificate_says_nothing() -> None:
    stranger = saw("worker", "internode").model_copy(update={"accepted": False})
    assert worst(judged(stranger)) is Verdict.PASS
