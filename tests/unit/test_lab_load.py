"""What the client load counts, and when it calls a read wrong."""

from pathlib import Path

import pytest
from cassandra.policies import RetryPolicy
from hypothesis import given
from hypothesis import strategies as st

from lab import state
from lab.load import LoadProcess
from lab.load_client import MAX_RETRIES, CountingRetries
from lab.spec import LabSpec
from lab.tally import Key, Tally, percentile_ms
from sealring.errors import SealringError


def test_each_second_counts_its_own_and_the_summary_counts_all() -> None:
    tally = Tally()
    for latency in (0.010, 0.030, 0.020):
        tally.ok(latency)
    tally.retried()
    first = tally.cut()
    tally.ok(0.500)
    tally.failed("WriteTimeout")
    tally.wrong()
    second = tally.cut()
    assert (first.second, first.ok, first.failed, first.retried, first.wrong) == (0, 3, 0, 1, 0)
    assert (first.p50_ms, first.max_ms) == (20.0, 30.0)
    assert (second.second, second.ok, second.failed, second.retried, second.wrong) == (1, 1, 1, 0, 1)
    summary = tally.summary(2.04)
    assert (summary.queries, summary.failed, summary.retried, summary.wrong) == (5, 1, 1, 1)
    assert (summary.p50_ms, summary.max_ms, summary.seconds) == (20.0, 500.0, 2.0)
    assert summary.failures == {"WriteTimeout": 1}


def test_a_second_with_nothing_in_it() -> None:
    assert Tally().cut().p99_ms == 0.0


@given(st.lists(st.floats(0, 60), min_size=1), st.floats(0, 100))
def test_a_percentile_is_one_of_the_values_and_as_many_are_below(values: list[float], percent: float) -> None:
    ascending = sorted(values)
    found = percentile_ms(ascending, percent)
    assert found in [round(value * 1000, 1) for value in values]
    assert sum(round(value * 1000, 1) <= found for value in values) >= len(values) * percent / 100 - 1e-9


def test_a_read_shows_at_least_what_was_acknowledged_and_at_most_what_was_sent() -> None:
    key = Key()
    assert key.is_right(None, key.acknowledged())
    first, second = key.next_value(), key.next_value()
    key.acknowledge(first)
    at_least = key.acknowledged()
    assert not key.is_right(None, at_least)
    assert key.is_right(first, at_least)
    assert key.is_right(second, at_least)  # sent, and perhaps done
    assert not key.is_right(second + 1, at_least)  # from nowhere


def test_a_write_acknowledged_during_a_read_need_not_be_seen_by_it() -> None:
    key = Key()
    key.acknowledge(key.next_value())
    at_least = key.acknowledged()
    key.acknowledge(key.next_value())
    assert key.is_right(1, at_least)
    assert not key.is_right(1, key.acknowledged())


def test_acknowledgements_may_come_out_of_order() -> None:
    key = Key()
    first, second = key.next_value(), key.next_value()
    key.acknowledge(second)
    key.acknowledge(first)
    assert key.acknowledged() == second


def test_each_retry_is_counted_and_the_last_refusal_is_not() -> None:
    tally = Tally()
    policy = CountingRetries(tally.retried)
    decisions = [
        policy.on_read_timeout(None, None, 2, 1, False, retry_num=0),
        policy.on_write_timeout(None, None, "SIMPLE", 2, 1, retry_num=0),
        policy.on_unavailable(None, None, 2, 1, retry_num=0),
        policy.on_request_error(None, None, error=OSError(), retry_num=0),
    ]
    assert decisions == [(RetryPolicy.RETRY_NEXT_HOST, None)] * 4
    assert policy.on_read_timeout(None, None, 2, 1, False, retry_num=MAX_RETRIES) == (RetryPolicy.RETHROW, None)
    assert tally.cut().retried == 4


def test_a_load_on_no_ring_says_so_and_leaves_nothing_running(tmp_path: Path) -> None:
    load = LoadProcess(LabSpec(tmp_path, first=201))
    with pytest.raises(SealringError, match=r"last words: .*NoHostAvailable") as failed:
        load.start()
    assert failed.value.code == "lab.load-failed"
    assert not state.alive(tmp_path)
