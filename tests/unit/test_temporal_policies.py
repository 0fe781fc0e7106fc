"""What must hold for every named policy, whatever its numbers."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.workflow import ActivityCancellationType, ActivityConfig

from sealring.temporal import policies

READING = {"OBSERVE", "INSPECT", "VERIFY", "SETTLE"}
CHANGING = {"TRANSFER", "ACTIVATE", "RELOAD", "DRAIN", "RESTART", "COMPENSATE"}
REMOTE: dict[str, ActivityConfig] = {name: getattr(policies, name) for name in sorted(READING | CHANGING)}
ROOT = Path(__file__).resolve().parents[2]


def steps() -> dict[str, ActivityConfig]:
    """The policy of every activity that workflows call, as workflows/calls.py spreads it."""
    text = (ROOT / "workflows" / "calls.py").read_text()
    calls = re.findall(r'_call\(\s*"(\w+)".*?(?:policies\.([A-Z]+)|(config))', text, re.DOTALL)
    return {name: getattr(policies, policy) if policy else policies.RESTART for name, policy, _ in calls}


def seconds(policy: ActivityConfig, clock: str) -> float:
    value = policy.get(clock)
    assert isinstance(value, timedelta), f"{clock} is not set"
    return value.total_seconds()


@pytest.mark.parametrize("name", REMOTE)
def test_a_server_restart_looks_like_no_dead_worker(name: str) -> None:
    assert seconds(REMOTE[name], "heartbeat_timeout") > 41  # measured.md: server back in 20 s, one nodetool up to 41 s


@pytest.mark.parametrize("name", REMOTE)
def test_the_budget_holds_a_second_attempt_after_a_first_that_died(name: str) -> None:
    policy = REMOTE[name]
    attempt = seconds(policy, "start_to_close_timeout")
    assert seconds(policy, "heartbeat_timeout") < attempt
    assert seconds(policy, "schedule_to_close_timeout") >= 2 * attempt


@pytest.mark.parametrize("name", REMOTE)
def test_repeats_back_off_to_a_cap_and_only_the_budget_ends_them(name: str) -> None:
    retry = REMOTE[name]["retry_policy"]
    assert retry is not None
    assert retry.backoff_coefficient > 1
    assert retry.maximum_interval is not None
    assert retry.maximum_interval <= timedelta(minutes=1)
    assert retry.maximum_attempts == 0


def test_a_preflight_gives_a_node_up_after_a_few_tries() -> None:
    retry = policies.PREFLIGHT["retry_policy"]
    assert retry is not None
    assert 1 < retry.maximum_attempts <= 3
    assert seconds(policies.PREFLIGHT, "heartbeat_timeout") > 41


@pytest.mark.parametrize("name", sorted(CHANGING))
def test_a_cancelled_change_is_waited_for(name: str) -> None:
    assert REMOTE[name]["cancellation_type"] is ActivityCancellationType.WAIT_CANCELLATION_COMPLETED


def test_the_way_back_outlives_every_way_forward() -> None:
    longest = max(seconds(REMOTE[name], "schedule_to_close_timeout") for name in REMOTE if name != "COMPENSATE")
    assert seconds(policies.COMPENSATE, "schedule_to_close_timeout") > longest


def test_a_slow_starter_gets_the_time_it_was_given() -> None:
    policy = policies.restart_within(timedelta(minutes=40))
    assert seconds(policy, "start_to_close_timeout") > 40 * 60


@pytest.mark.criterion("N9")
def test_the_time_of_every_step_is_documented() -> None:
    text = (ROOT / "docs" / "verification.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| `(\w+)` \| (\d+) min \| ([^|]+) \|$", text, re.MULTILINE)
    documented = {name: (int(attempt), budget) for _, name, attempt, budget in rows}
    assert documented == {
        name: (int(seconds(p, "start_to_close_timeout") / 60), _budget(p)) for name, p in steps().items()
    }


def _budget(policy: ActivityConfig) -> str:
    if policy.get("schedule_to_close_timeout") is None:
        retry = policy["retry_policy"]
        assert retry is not None
        return f"{retry.maximum_attempts} attempts"
    minutes = seconds(policy, "schedule_to_close_timeout") / 60
    return f"{minutes / 60:.0f} h" if minutes > 90 else f"{minutes:.0f} min"
