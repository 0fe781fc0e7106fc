"""What people say to a rollout, reduced to its state."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealring.errors import SealringError
from sealring.models.problem import Problem
from sealring.models.steering import Command, Decision, Resolution
from sealring.planning.steering import Steering, reduce

QUESTION = Decision(node="n1", problem=Problem(code="x", message="y"), deadline=datetime(2026, 1, 1, tzinfo=UTC))
WORDS = st.sampled_from(
    [("abort", Command()), ("pause", Command(by="kim")), ("resume", Command())]
    + [("resolve", Resolution(node=node, action="retry")) for node in ("n1", "n2")]
    + [("dance", Command())]
)


@given(st.lists(WORDS, max_size=12), st.booleans())
def test_abort_is_final_and_a_refusal_changes_nothing(
    words: list[tuple[str, Command | Resolution]], asked: bool
) -> None:
    state = Steering().asking(QUESTION if asked else None)
    for name, word in words:
        try:
            after = reduce(state, name, word)
        except SealringError as error:
            assert error.code.startswith("steer.")
            continue
        assert not state.aborted
        assert name != "dance"
        state = after
    assert state.aborted == ("abort" in [name for name, _ in words])
    assert state.resolution is None or (asked and state.resolution.node == "n1")


def test_who_and_why_are_kept() -> None:
    assert reduce(Steering(), "pause", Command(by="kim", reason="look")).reason == "paused by kim: look"


def test_resume_needs_a_pause() -> None:
    with pytest.raises(SealringError, match="not paused"):
        reduce(Steering(), "resume", Command())
    assert not reduce(reduce(Steering(), "pause", Command()), "resume", Command()).paused


def test_a_new_question_forgets_the_last_answer() -> None:
    answered = reduce(Steering().asking(QUESTION), "resolve", Resolution(node="n1", action="skip"))
    assert answered.resolution is not None
    assert answered.asking(QUESTION).resolution is None


def test_an_answer_must_be_one_of_those_asked_for() -> None:
    about_ring = QUESTION.model_copy(update={"node": "ring", "options": ("go-on", "stop")})
    with pytest.raises(SealringError, match="go-on, stop") as caught:
        reduce(Steering().asking(about_ring), "resolve", Resolution(node="ring", action="skip"))
    assert caught.value.code == "steer.no-option"
    assert reduce(Steering().asking(about_ring), "resolve", Resolution(node="ring", action="go-on")).resolution
