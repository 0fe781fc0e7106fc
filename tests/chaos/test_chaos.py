"""The cells of the chaos table that matter most, played by `make test`; `make chaos` plays all of them."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from lab import tools
from lab.spec import LabSpec
from tests.chaos.cells import LONG, MATTER_MOST
from tests.chaos.faults import FAULTS
from tests.chaos.play import Cell, play
from tests.chaos.scene import Scene, built
from tests.lab.conftest import TEMPORAL_PORT

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    folder, port = tools.cache() / "test-chaos", TEMPORAL_PORT + 6
    spec = LabSpec(folder, cassandra="stand-in", first=71, temporal_port=port)
    with built(spec, "stand-in") as scene:
        yield scene


def _param(fault: str, step: str) -> Any:
    alone = FAULTS[fault].root and os.geteuid() != 0
    marks = [pytest.mark.skipif(alone, reason="only root can mount a small disk")]
    return pytest.param(fault, step, marks=[*marks, pytest.mark.long] if fault in LONG else marks)


@pytest.mark.criterion("H8")
@pytest.mark.parametrize(("fault", "step"), [_param(*each) for each in MATTER_MOST])
def test_a_rollout_survives(scene: Scene, fault: str, step: str) -> None:
    result = play(scene, Cell(scene.kind, fault, step))
    assert not result.wrong
    assert result.outcome
