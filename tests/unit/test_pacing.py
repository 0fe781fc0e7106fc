"""How many nodes go at once: halved for a busy ring, one more after each clean wave, never more than proven."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealring.planning.pacing import divided, next_width
from tests.unit.test_remainder import numbers, plan

pytestmark = pytest.mark.criterion("H14")

LOOKS = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), LOOKS)
def test_every_part_is_of_one_proven_wave_and_nobody_is_left_out(
    sizes: list[int], looks: list[tuple[bool, bool]]
) -> None:
    fresh = iter(range(1, 200))
    proven = plan([[next(fresh) for _ in range(size)] for size in sizes])
    now, width, done = proven, None, 0
    while done < len(now.waves):
        busy, clean = looks[done] if done < len(looks) else (False, True)
        planned = len(now.waves[done].targets)
        before, width = (
            width,
            next_width(width, planned, max(len(w.targets) for w in now.waves[done:]), busy=busy, clean=clean),
        )
        if busy:
            assert width == max(1, min(before or planned, planned) // 2)
        elif not clean or before is None:
            assert width == before
        else:
            assert width in (before + 1, None), "one more, or as planned again"
        now = divided(now, done, width)
        taken = len(now.waves[done].targets)
        assert 1 <= taken <= planned
        assert taken == min(planned, width or planned)
        done += 1
    whole = [set(wave) for wave in numbers(proven)]
    assert [n for wave in numbers(now) for n in wave] == [n for wave in numbers(proven) for n in wave]
    assert all(any(set(part) <= wave for wave in whole) for part in numbers(now))
    assert [wave.name for wave in now.waves] == [f"wave {i + 1}" for i in range(len(now.waves))]


@given(LOOKS)
def test_a_ring_that_is_never_too_busy_sees_the_plan_as_it_was_proven(looks: list[tuple[bool, bool]]) -> None:
    width = None
    for _, clean in looks:
        width = next_width(width, 8, 8, busy=False, clean=clean)
    assert width is None


def test_it_halves_to_one_and_comes_back_by_ones() -> None:
    width: int | None = None
    seen = []
    for busy in (True, True, True, True, False, False, False, True, *[False] * 8):
        width = next_width(width, 8, 8, busy=busy, clean=True)
        seen.append(width)
    assert seen == [4, 2, 1, 1, 2, 3, 4, 2, 3, 4, 5, 6, 7, None, None, None]
