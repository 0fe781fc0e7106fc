"""How often the details page is written: a large ring must not pay for it at each step of each node."""

from datetime import UTC, datetime

import pytest
from temporalio import workflow

from sealring.models.rollout import NodeOutcome, NodeState, Phase, RolloutRun
from workflows.progress import Progress


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was written, in order."""
    written: list[str] = []
    monkeypatch.setattr(workflow, "set_current_details", written.append)
    monkeypatch.setattr(workflow, "upsert_search_attributes", lambda _: None)
    monkeypatch.setattr(workflow, "now", lambda: datetime(2026, 1, 1, tzinfo=UTC))
    monkeypatch.setattr(workflow.unsafe, "is_read_only", lambda: False)
    return written


def begun(nodes: int) -> Progress:
    progress = Progress(RolloutRun(cluster="lab", goal="rollback"))
    addresses = [f"10.0.{i // 250}.{i % 250}" for i in range(nodes)]
    progress.outcomes = {a: NodeOutcome(address=a, state=NodeState.WAITING) for a in addresses}
    progress.enter(Phase.PREPARING, "nodes are prepared")
    return progress


def test_in_a_small_ring_every_step_is_on_the_page(pages: list[str]) -> None:
    progress = begun(3)
    for address in progress.outcomes:
        progress.mark(address, NodeState.PREPARING)
    assert len(pages) == 1 + 3
    assert pages[-1].count(" preparing") == 3


def test_in_a_large_ring_the_page_follows_the_figures(pages: list[str]) -> None:
    progress = begun(1000)
    for address in progress.outcomes:
        progress.mark(address, NodeState.PREPARING)
        progress.note(NodeOutcome(address=address, state=NodeState.PREPARED))
        progress.mark(address, NodeState.ACTIVATING)
    assert len(pages) <= 1 + 50, "half of the work is half of a hundred pages"
    assert "50 %" in pages[-1]


def test_a_failure_is_told_at_once_whatever_the_size(pages: list[str]) -> None:
    progress = begun(1000)
    address = next(iter(progress.outcomes))
    before = len(pages)
    progress.note(NodeOutcome(address=address, state=NodeState.BROKEN))
    assert len(pages) == before + 1
    assert f"`{address}` broken" in pages[-1]
    progress.remark("somebody should look")
    assert "somebody should look" in pages[-1]
