"""Every parser, briefly. `make fuzz MINUTES=10` goes on for longer and keeps what it found."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.bounds import thrown
from tests.fuzz.parsers import TARGETS


@pytest.mark.criterion("G4")
@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_returns_a_value_or_refuses(name: str) -> None:
    strategy, _ = TARGETS[name]
    brief = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    brief(given(strategy)(thrown(name)))()
