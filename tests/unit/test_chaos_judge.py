"""The judge of `make chaos` must be able to say no; the table must say what was found."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab.spec import LabSpec
from lab.supervisor import JOURNAL
from sealring.models.problem import Problem
from sealring.models.rollout import Phase, RolloutReport
from tests.chaos import judge
from tests.chaos.cells import cells
from tests.chaos.play import Cell, Result
from tests.chaos.table import document


def report(outcome: Phase, problem: Problem | None = None) -> RolloutReport:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return RolloutReport(cluster="lab", goal="deploy", outcome=outcome, problem=problem, started_at=now)


@pytest.mark.parametrize(
    ("outcome", "problem", "said"),
    [
        (Phase.DONE, None, []),
        (Phase.FAILED, None, ["it ended Failed without a reason"]),
        (Phase.FAILED, Problem(code="a.b", message="m", remedy="r"), []),
        (Phase.REFUSED, Problem(code="a.b", message="m"), ["it ended Refused (a.b) without a remedy"]),
    ],
)
def test_a_stop_needs_code_reason_and_remedy(outcome: Phase, problem: Problem | None, said: list[str]) -> None:
    assert list(judge.wrong_with(report(outcome, problem))) == said


def test_a_start_too_many_is_seen(tmp_path: Path) -> None:
    spec = LabSpec(tmp_path, nodes=2)
    before = judge.starts(spec)
    for node, lines in zip(spec.ring, (1, 2), strict=True):
        node.logs.mkdir(parents=True)
        (node.logs / JOURNAL).write_text("0.0 started pid=1\n" * lines)
    allowed = {"n1": 1, "n2": 1}
    assert list(judge.wrong_with_starts(before, judge.starts(spec), allowed)) == [
        "n2 was started 2 times, accounted for are 1"
    ]


def test_what_is_left_behind_is_found(tmp_path: Path) -> None:
    spec = LabSpec(tmp_path, nodes=1)
    scratch = tmp_path / "scratch"
    tls = spec.ring[0].tls
    for folder in (scratch, tls / ".sealring", tls / "generations" / ".incoming-ab"):
        folder.mkdir(parents=True)
    assert judge.left_behind(spec, scratch) == ["n1: generations/.incoming-ab"]
    (tls / ".keystore.p12.sealring").touch()
    (tls / ".sealring" / "intent.json").touch()
    (scratch / "key.pem").touch()
    assert set(judge.left_behind(spec, scratch)) == {
        "key.pem",
        "n1: .keystore.p12.sealring",
        "n1: .sealring/intent.json",
        "n1: generations/.incoming-ab",
    }


def test_the_table_tells_done_stopped_lost_and_not_yet_run() -> None:
    first, second, third, *_ = wanted = cells()[:5]
    results = {
        first: Result(first.ring, first.fault, first.step, "Done"),
        second: Result(second.ring, second.fault, second.step, "Failed node.busy"),
        third: Result(third.ring, third.fault, third.step, "Done", ["n1 serves nothing"]),
    }
    page = document(results, wanted)
    assert "2 of 3 cells survived; 2 not run yet" in page
    for shown in ("| done |", "| *node.busy* |", "| **LOST** |", "| … |", f"- {third}: n1 serves nothing"):
        assert shown in page
    assert document(dict(reversed(results.items())), wanted) == page


def test_no_cell_stands_twice() -> None:
    assert len(set(cells())) == len(cells())
    assert all(isinstance(cell, Cell) for cell in cells())
