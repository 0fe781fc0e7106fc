"""Both sides of every activity: what workflows call is what workers serve, with the same models."""

import ast
import inspect
import typing
from pathlib import Path

import pytest
from temporalio import activity

import workflows
from activities.activate import ActivateActivities
from activities.barrier import BarrierActivities
from activities.cluster import ClusterActivities
from activities.issuing import IssueActivities
from activities.material import MaterialActivities
from activities.planning import PlanningActivities
from activities.preflight import PreflightActivities
from activities.prepare import PrepareActivities
from activities.rotation import RotationActivities
from activities.trust import TrustActivities
from activities.verify import VerifyActivities
from tests.workflow.authorities import RotatingRing
from workflows import calls

CLASSES = (
    ClusterActivities,
    MaterialActivities,
    IssueActivities,
    PlanningActivities,
    PreflightActivities,
    TrustActivities,
    PrepareActivities,
    ActivateActivities,
    VerifyActivities,
    RotationActivities,
    BarrierActivities,
)
SERVED = {
    name: method
    for cls in CLASSES
    for name, method in vars(cls).items()
    if hasattr(method, "__temporal_activity_definition")
}
CALLED = {
    name: function
    for name, function in vars(calls).items()
    if inspect.iscoroutinefunction(function) and not name.startswith("_")
}


def models_of(function: typing.Callable[..., object]) -> tuple[object, object]:
    """(argument, answer) of an activity or of the function that calls it."""
    hints = typing.get_type_hints(function)
    answer = hints.pop("return")
    (argument,) = hints.values()
    return argument, answer


def test_every_activity_that_is_called_is_served_and_the_other_way_round() -> None:
    assert sorted(CALLED) == sorted(SERVED)


@pytest.mark.parametrize("name", sorted(CALLED))
def test_both_sides_use_the_same_models(name: str) -> None:
    assert models_of(CALLED[name]) == models_of(SERVED[name])


def test_the_ring_in_memory_serves_the_same() -> None:
    for function in RotatingRing().activities:
        definition = activity._Definition.must_from_callable(function)
        assert definition.name in SERVED
        assert models_of(function) == models_of(SERVED[definition.name])


def test_each_call_names_its_own_activity() -> None:
    source = ast.parse(Path(inspect.getfile(calls)).read_text())
    for function in source.body:
        if isinstance(function, ast.AsyncFunctionDef) and function.name in CALLED:
            names = {n.value for n in ast.walk(function) if isinstance(n, ast.Constant)}
            assert function.name in names


def test_workflows_import_nothing_but_the_vocabulary() -> None:
    allowed = (
        "temporalio",
        "pydantic",
        "sealring.models",
        "sealring.planning",
        "sealring.errors",
        "sealring.temporal",
        "workflows",
    )
    standard = ("asyncio", "datetime", "typing", "collections.abc", "contextlib")
    for file in Path(inspect.getfile(workflows)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").startswith((*allowed, *standard)), f"{file.name}: {node.module}"
