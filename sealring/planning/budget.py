"""When failures are enough."""

from collections.abc import Iterable

from sealring.models.rollout import NodeOutcome, NodeState

FAILED = frozenset({NodeState.ROLLED_BACK, NodeState.BROKEN, NodeState.UNTOUCHED, NodeState.REFUSED})


def failed_nodes(outcomes: Iterable[NodeOutcome]) -> tuple[NodeOutcome, ...]:
    """Nodes that did not end on the intended generation though they were tried."""
    return tuple(outcome for outcome in outcomes if outcome.state in FAILED)


def budget_spent(outcomes: Iterable[NodeOutcome], budget: int) -> bool:
    """Whether the plan must stop: more failures than allowed, or one node that could not be brought back.

    A broken node stops everything whatever the budget: it may be a replica that is missing.
    """
    failed = failed_nodes(outcomes)
    return len(failed) > budget or any(outcome.state is NodeState.BROKEN for outcome in failed)
