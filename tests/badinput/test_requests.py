"""Requests: as JSON, and as arguments of the command line. Refused by the field's name before anything is asked."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from sealring.models.rollout import RolloutRequest
from sealring.temporal.failures import problem_of
from starters.cli import app
from starters.exits import Exit
from tests.badinput.catalogue import Case, cases, in_time

pytestmark = pytest.mark.criterion("G4")

MEGABYTE = 1_000_000
LONG = {
    "long_name": lambda: json.dumps({"cluster": "a" * MEGABYTE, "goal": "rollback"}),
    "long_reason": lambda: json.dumps({"cluster": "a", "goal": "rollback", "reason": "a" * MEGABYTE}),
    "many_nodes": lambda: json.dumps({"cluster": "a", "goal": "rollback", "nodes": [f"n{i}" for i in range(20_000)]}),
    "deep_json": lambda: "[" * 10_000,
}


@pytest.mark.parametrize("case", cases("request"))
def test_a_bad_request_is_refused_by_the_name_of_its_field(case: Case) -> None:
    text = case.input if isinstance(case.input, str) else LONG[case.input["make"]]()
    with in_time(), pytest.raises(ValidationError) as caught:
        RolloutRequest.model_validate_json(text)
    case.expects(str(problem_of(caught.value)))


@pytest.mark.parametrize("case", cases("cli"))
def test_bad_arguments_are_refused_before_a_server_is_asked(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "sealring.toml"
    file.write_text(f"clusters = '{tmp_path}'\ntemporal_address = '127.0.0.1:1'\n")
    (tmp_path / "lab.yaml").write_text("name: lab\ncontact_points: [127.0.0.1]\n")
    monkeypatch.setenv("SEALRING_CONFIG", str(file))
    arguments = case.input if isinstance(case.input, list) else ["rollout", "status", "a" * 1000]
    with in_time():
        done = CliRunner().invoke(app, arguments)
    assert done.exit_code == Exit.MISTAKE, (done.output, done.exception)
    case.expects(done.stderr)
