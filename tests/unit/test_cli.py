"""The command line: what it prints, what it refuses, and the exit codes that scripts rely on."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console, RenderableType
from typer.testing import CliRunner

from sealring.errors import ErrorClass, passing, refuse
from sealring.models.cluster import Listener, NodeRef
from sealring.models.evidence import Finding, Served, Verdict, Verification
from sealring.models.node import ClusterView, NodeView
from sealring.models.plan import Plan, Stage, Target, Wave
from sealring.models.problem import Problem
from sealring.models.rollout import MatrixRow, NodeOutcome, NodeState, Phase, RolloutReport, Timing
from sealring.models.steering import Decision, NodeStatus, NodeStep, RolloutStatus
from sealring.models.waiver import Waiver
from starters.cli import app
from starters.exits import Exit, exit_for, tell
from starters.show import show_findings, show_report, show_status, show_view
from starters.show_plans import show_plan

NOW = datetime(2026, 11, 21, tzinfo=UTC)
NODE = NodeRef(host_id="h", address="127.0.0.1", internode_address="127.0.0.1", datacenter="dc1", rack="r1")
PEER = NODE.model_copy(update={"host_id": "p", "address": "127.0.0.2"})
GOOD, BAD = "a" * 64, "b" * 64
PROBLEM = Problem(code="verify.trusted", message="unknown authority", remedy="deliver anew", node="127.0.0.1")
TARGET = Target(
    node=NODE,
    generation=GOOD,
    leaf_sha256=GOOD,
    apply="reload",
    may_restart=True,
    because="it can",
    vantages=(PEER,),
)


def drawn(picture: RenderableType) -> str:
    out = Console(file=io.StringIO(), width=240, highlight=False)
    out.print(picture)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


DOCS = Path(__file__).resolve().parents[2] / "docs"


def sealring(*words: str, folder: Path | None = None) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, words, env={"SEALRING_CLUSTERS": str(folder)} if folder else {})
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.criterion("G3", "G4")
def test_the_status_shows_phase_step_problem_and_the_commands_that_answer() -> None:
    status = RolloutStatus(
        cluster="lab",
        goal="deploy",
        phase=Phase.NEEDS_DECISION,
        waiting_for="a person decides",
        commands=("sealring rollout resolve lab 127.0.0.1 retry",),
        wave=2,
        waves=3,
        nodes=(NodeStatus(address="127.0.0.1", state=NodeState.ROLLED_BACK, problem=str(PROBLEM)),),
        percent=66,
        seconds_left=12.0,
        decision=Decision(node="127.0.0.1", problem=PROBLEM, deadline=NOW),
        started_at=NOW,
    )
    shown = drawn(show_status(status, {"127.0.0.1": NodeStep(step="settle")}))
    for part in (
        "NeedsDecision",
        "66 %",
        "wave 2 of 3",
        "12 s left",
        "settle",
        "deliver anew",
        "resolve lab 127.0.0.1",
    ):
        assert part in shown, part


def test_the_plan_shows_who_how_why_and_who_looks() -> None:
    wave = Wave(name="wave 1", targets=(TARGET,), because="one node of a rack")
    plan = Plan(
        cluster="lab",
        goal="deploy",
        stages=(Stage(name="s", waves=(wave,)),),
        unchanged=("127.0.0.9",),
        risks=("may burn",),
    )
    shown = drawn(show_plan(plan))
    for part in (
        plan.digest[:12],
        "one node of a rack",
        "reload",
        "it can",
        "seen from 127.0.0.2",
        "127.0.0.9",
        "burn",
    ):
        assert part in shown, part


def test_a_plan_of_several_stages_names_each() -> None:
    wave = Wave(name="wave 1", targets=(TARGET,), because="one node of a rack")
    stages = tuple(Stage(name=name, waves=(wave,), kind="trust") for name in ("first aim", "second aim"))
    shown = drawn(show_plan(Plan(cluster="lab", goal="rotate-ca", stages=stages)))
    assert "stage: first aim" in shown
    assert "stage: second aim" in shown
    assert "1 nodes in 2 waves" in shown


@pytest.mark.criterion("G4", "H13")
def test_the_report_shows_problems_findings_and_the_matrix() -> None:
    finding = Finding(
        check="verify.trusted", verdict=Verdict.FAIL, message="x is unknown", remedy="give it", node=NODE.address
    )
    served = Served(
        listener=Listener(kind="native", address=NODE.address, port=9042), vantage="127.0.0.2", leaf_sha256=BAD
    )
    blind = served.model_copy(update={"vantage": "worker", "leaf_sha256": "", "problem": "no connection"})
    node = NodeOutcome(
        address=NODE.address,
        state=NodeState.ROLLED_BACK,
        method="reload",
        problem=PROBLEM,
        findings=(finding,),
        verification=Verification(verdict=Verdict.PASS),
        timings=(Timing(step="verify", seconds=1.25),),
    )
    report = RolloutReport(
        cluster="lab",
        goal="deploy",
        outcome=Phase.FAILED,
        nodes=(node,),
        matrix=(MatrixRow(address=NODE.address, intended=GOOD, on_disk=BAD, served=(served, blind)),),
        waived=(Waiver(code="material.chain"),),
        problem=PROBLEM,
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=34),
    )
    shown = drawn(show_report(report))
    for part in (
        "Failed",
        "34 s",
        "rolled-back",
        "verify 1.2s",
        "x is unknown",
        "give it",
        "WAIVED: material.chain without",
    ):
        assert part in shown, part
    assert "127.0.0.2: bbbbbbbbbbbb" in shown
    assert "worker: no connection" in shown
    assert not report.matrix[0].consistent


def test_a_ring_shows_what_is_wrong_with_a_host() -> None:
    view = ClusterView(
        cluster="lab",
        observed_at=NOW,
        observers=("127.0.0.1",),
        nodes=(NodeView(node=NODE, version="5.0.9", up=False, normal=True, problem="[ssh.lost] gone"),),
    )
    shown = drawn(show_view(view))
    assert "[ssh.lost] gone" in shown
    assert "DN" in shown


def test_only_what_does_not_pass_is_shown_where_that_is_asked_for() -> None:
    findings = tuple(
        Finding(check=f"a.{verdict.value}", verdict=verdict, message="m") for verdict in (Verdict.PASS, Verdict.WARN)
    )
    assert "a.pass" in drawn(show_findings(findings))
    assert "a.pass" not in drawn(show_findings(findings, passing=False))


@pytest.mark.criterion("A15")
def test_exit_codes_tell_mistake_from_weather(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(refuse("a.b", "wrong", "mend it"), as_json=False) == Exit.MISTAKE
    assert "mend it" in capsys.readouterr().err
    assert tell(passing("a.c", "later"), as_json=True) == Exit.UNREACHABLE
    assert json.loads(capsys.readouterr().err)["error"]["class"] == ErrorClass.RETRY
    ends = {phase: exit_for(phase) for phase in (Phase.DONE, Phase.REFUSED, Phase.FAILED, Phase.ABORTED)}
    assert list(ends.values()) == [Exit.DONE, Exit.REFUSED, Exit.FAILED, Exit.ABORTED]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("cluster", "inspect", "nope"), "nope"),
        (("cluster", "inspect", "../etc"), "cluster"),
        (("rollout", "start", "lab", "-m", "/d", "--strategy", "zone", "--no-watch"), "strategy"),
        (("rollout", "start", "lab", "-m", "/d", "--failure-budget", "-1"), "failure_budget"),
        (("rollout", "start", "lab", "-m", "/d", "--apply", "hope"), "apply"),
        (("rollout", "start", "a/b", "-m", "/d"), "cluster"),
        (("ca", "rotate", "lab", "-m", "/d", "--old-authority", "burn"), "old_authority"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_with_the_field_s_name(
    tmp_path: Path, words: tuple[str, ...], named: str
) -> None:
    code, out, err = sealring(*words, folder=tmp_path)
    assert code == Exit.MISTAKE
    assert out == ""
    assert named in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


def test_no_server_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEALRING_TEMPORAL_ADDRESS", "127.0.0.1:1")
    code, _, err = sealring("rollout", "status", "lab", "--json", folder=tmp_path)
    assert code == Exit.UNREACHABLE
    assert json.loads(err)["error"]["code"] == "temporal.unreachable"


@pytest.mark.criterion("C7")
def test_a_ring_in_a_file_is_planned_without_a_ring_and_two_plans_are_compared(tmp_path: Path) -> None:
    file = str(DOCS / "examples" / "topology.yaml")
    code, out, _ = sealring("rollout", "plan", "--topology", file, "--json")
    plan = json.loads(out)
    assert code == Exit.DONE
    waves = [wave for stage in plan["stages"] for wave in stage["waves"]]
    assert len(waves) == plan["lower_bound"] == 3
    assert sum(len(wave["nodes"]) for wave in waves) == 9
    (tmp_path / "old.json").write_text(out)
    _, other, _ = sealring("rollout", "plan", "--topology", file, "--json", "--batch", "1", "-n", "10.0.1.11")
    (tmp_path / "new.json").write_text(other)
    code, out, _ = sealring("rollout", "plan-diff", str(tmp_path / "old.json"), str(tmp_path / "new.json"))
    assert code == Exit.DONE
    assert "only smaller or more careful" in out.splitlines()[0]
    code, out, _ = sealring("rollout", "plan-diff", str(tmp_path / "new.json"), str(tmp_path / "old.json"))
    assert out.startswith("more than")


def test_a_ring_that_cannot_be_restarted_is_refused_with_the_ways_out(tmp_path: Path) -> None:
    text = (DOCS / "examples" / "topology.yaml").read_text().replace("consistency: [ONE]", "consistency: [ALL]")
    file = tmp_path / "ring.yaml"
    file.write_text(text)
    code, out, _ = sealring("rollout", "plan", "--topology", str(file))
    assert code == Exit.REFUSED
    assert out.startswith("cannot be done: 10.0.1.11")
    assert "--waive plan.quorum.clicks" in out
    assert sealring("rollout", "plan", "--topology", str(file), "--waive", "plan.quorum.clicks")[0] == Exit.DONE
    assert sealring("rollout", "plan", "--topology", str(file), "--apply", "reload")[0] == Exit.DONE
