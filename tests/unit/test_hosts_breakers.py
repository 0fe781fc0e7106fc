"""The breaker against a model of itself, under any order of events; and what stands before a host."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealring.cassandra.probe import judge, probe
from sealring.errors import SealringError, passing, refuse
from sealring.hosts.breakers import Breaker, Breakers
from sealring.hosts.routes import Endpoint, Identity
from sealring.models.cluster import BreakerSettings, Listener
from sealring.models.evidence import Verdict

OPEN_FOR = 30.0

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.floats(0, 40)),
        st.tuples(st.just("admit"), st.just(0.0)),
        st.tuples(st.sampled_from(["succeed", "fail", "leave"]), st.integers(0, 5).map(float)),
    ),
    max_size=60,
)


@pytest.mark.criterion("A14")
@given(threshold=st.integers(1, 5), events=EVENTS)
def test_a_breaker_under_any_order_of_events(threshold: int, events: list[tuple[str, float]]) -> None:
    breaker, now = Breaker(threshold, OPEN_FOR), 0.0
    running: list[tuple[int, str]] = []  # admissions whose outcome is not known, and the state they were admitted in
    in_a_row, opened = 0, -OPEN_FOR
    for event, value in events:
        before = breaker.state(now)
        if event == "wait":
            now += value
        elif event == "admit":
            probes = [state for admission, state in running if state == "half-open" and admission == breaker._era]
            if breaker.wait(now) > 0:
                assert before == "open" or probes, "closed, or half-open with nobody on the way, lets through"
                with pytest.raises(ValueError, match="open"):
                    breaker.admit(now)
                continue
            assert before != "open"
            assert not (before == "half-open" and probes), "one probe at a time"
            running.append((breaker.admit(now), before))
        elif running:
            admission, state = running.pop(int(value) % len(running))
            current = admission == breaker._era
            match event:
                case "succeed":
                    breaker.succeeded()
                    in_a_row = 0
                    assert breaker.state(now) == "closed"
                case "fail":
                    just_opened = breaker.failed(admission, now)
                    in_a_row += current
                    if just_opened:
                        assert before != "open", "who comes late does not prolong it"
                        opened = now
                        assert state == "half-open" or in_a_row >= threshold, "opens after k, or when a probe fails"
                    elif current:
                        assert in_a_row < threshold
                case _:
                    breaker.left(admission)
                    assert breaker.state(now) == before, "who gives up changes nothing"
        if breaker.state(now) == "open":
            assert breaker.wait(now) == pytest.approx(opened + OPEN_FOR - now)
        assert breaker.failures == in_a_row


@pytest.mark.criterion("A14")
def test_the_way_of_a_breaker() -> None:
    breaker = Breaker(2, 10)
    first, second, late, later = (breaker.admit(0) for _ in range(4))
    assert not breaker.failed(first, 0)
    assert breaker.failed(second, 1)
    assert not breaker.failed(later, 4), "begun before it opened: it is not prolonged"
    assert (breaker.state(10.9), breaker.wait(4)) == ("open", 7)
    assert breaker.state(11) == "half-open"
    probe = breaker.admit(11)
    assert breaker.wait(11) > 0
    assert not breaker.failed(late, 11), "begun before it opened: no news"
    assert breaker.wait(11) > 0
    breaker.left(probe)
    again = breaker.admit(12)
    assert breaker.failed(again, 12)
    assert breaker.wait(12) == 10
    breaker.admit(22)
    assert breaker.succeeded()
    assert (breaker.state(22), breaker.failures, breaker.wait(22)) == ("closed", 0, 0)


# Before a host


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("sealring.hosts.breakers.monotonic", clock)
    return clock


def place(host: str) -> Endpoint:
    identity = Identity("ssh", None, None, None)
    return Endpoint(address=host, host=host, port=22, user="u", known_hosts=Path("k"), identity=identity)


def attempt(breakers: Breakers, host: str, error: BaseException | None = None) -> str:
    """The code that an attempt ends with; empty: it went well."""
    try:
        with breakers.attempt(place(host)):
            if error:
                raise error
    except SealringError as refused:
        return refused.code
    return ""


TIMEOUT = passing("ssh.connect-timeout", "did not answer")


@pytest.mark.criterion("A14")
def test_an_open_breaker_says_since_when_how_often_why_and_when_next(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    breakers = Breakers(BreakerSettings())
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert attempt(breakers, "10.0.0.1", TIMEOUT) == "ssh.connect-timeout"
        clock.now = 10
        with pytest.raises(SealringError) as caught, breakers.attempt(place("10.0.0.1")):
            pytest.fail("let through")
        assert (caught.value.code, caught.value.retryable, caught.value.node) == ("ssh.circuit-open", True, "10.0.0.1")
        assert caught.value.retry_after
        assert caught.value.retry_after.total_seconds() == 20
        for words in ("3 to host 10.0.0.1:22", "since 20", "ssh.connect-timeout", "did not answer"):
            assert words in caught.value.message
        clock.now = 30
        assert attempt(breakers, "10.0.0.1", TIMEOUT) == "ssh.connect-timeout", "the probe"
        assert attempt(breakers, "10.0.0.1") == "ssh.circuit-open"
        clock.now = 60
        assert attempt(breakers, "10.0.0.1") == ""
        assert attempt(breakers, "10.0.0.1") == ""
    told = [record.getMessage().split(":")[0] for record in caplog.records if record.name == "sealring.hosts.breakers"]
    assert told == ["breaker open", "breaker half-open", "breaker open", "breaker half-open", "breaker closed"]


@pytest.mark.criterion("A14")
def test_only_faults_of_the_way_count(clock: Clock) -> None:
    breakers = Breakers(BreakerSettings(failures=2))
    refused = refuse("ssh.auth-refused", "no", "")
    ours, bastion = refuse("ssh.key-unusable", "no", ""), passing("ssh.jump-lost", "no")
    for _ in range(9):
        assert attempt(breakers, "10.0.0.1", refused) == "ssh.auth-refused"
        assert attempt(breakers, "10.0.0.1", ours) == "ssh.key-unusable"
        assert attempt(breakers, "10.0.0.1", bastion) == "ssh.jump-lost"
    assert attempt(breakers, "10.0.0.1", TIMEOUT) == "ssh.connect-timeout"
    assert attempt(breakers, "10.0.0.1", refused) == "ssh.auth-refused", "it was reached: the row ends"
    assert attempt(breakers, "10.0.0.1", TIMEOUT) == "ssh.connect-timeout"
    assert attempt(breakers, "10.0.0.1", TIMEOUT) == "ssh.connect-timeout"
    assert attempt(breakers, "10.0.0.1") == "ssh.circuit-open"


@pytest.mark.criterion("A14")
def test_a_subnet_opens_when_its_hosts_begin_to_fail_and_not_for_one_dead_node(clock: Clock) -> None:
    settings = BreakerSettings(failures=99, subnet_failures=3)
    breakers = Breakers(settings)
    for _ in range(50):
        attempt(breakers, "10.0.0.1", TIMEOUT)
    assert attempt(breakers, "10.0.0.2") == "", "one dead node is not the network"
    for number in (3, 4, 5):
        assert attempt(breakers, f"10.0.0.{number}", TIMEOUT) == "ssh.connect-timeout"
    assert attempt(breakers, "10.0.0.9") == "ssh.circuit-open", "never tried, same subnet"
    assert attempt(breakers, "10.0.1.9") == ""
    clock.now = 30
    assert attempt(breakers, "10.0.0.9", TIMEOUT) == "ssh.connect-timeout", "the probe"
    assert attempt(breakers, "10.0.0.2") == "ssh.circuit-open"
    clock.now = 60
    assert attempt(breakers, "10.0.0.3") == ""
    assert attempt(breakers, "10.0.0.4") == ""


def test_a_refusal_by_the_subnet_leaves_the_hosts_probe_free(clock: Clock) -> None:
    breakers = Breakers(BreakerSettings(failures=1, subnet_failures=2))
    attempt(breakers, "10.0.0.1", TIMEOUT)
    clock.now = 20
    attempt(breakers, "10.0.0.2", TIMEOUT)
    clock.now = 30
    assert attempt(breakers, "10.0.0.1") == "ssh.circuit-open", "its own breaker would let a probe through"
    clock.now = 50
    assert attempt(breakers, "10.0.0.1") == ""


def test_who_is_cancelled_leaves_the_probe_to_the_next(clock: Clock) -> None:
    breakers = Breakers(BreakerSettings(failures=1))
    attempt(breakers, "10.0.0.1", TIMEOUT)
    clock.now = 30
    with pytest.raises(KeyboardInterrupt):
        attempt(breakers, "10.0.0.1", KeyboardInterrupt())
    assert attempt(breakers, "10.0.0.1") == ""


@pytest.mark.criterion("V8")
async def test_a_look_through_an_open_breaker_is_inconclusive(clock: Clock) -> None:
    breakers = Breakers(BreakerSettings(failures=1))
    attempt(breakers, "10.0.0.2", TIMEOUT)

    async def through(host: str, port: int) -> NoReturn:
        breakers.check(place("10.0.0.2"))
        pytest.fail("let through")

    listener = Listener(kind="native", address="10.0.0.1", port=9042)
    served = await probe(listener, vantage="10.0.0.2", open=through)
    assert "no connection is tried" in served.problem
    assert [finding.verdict for finding in judge(served, intended="a" * 64)] == [Verdict.INCONCLUSIVE]


def test_subnets() -> None:
    breakers = Breakers(BreakerSettings())
    assert breakers.subnet("10.1.2.3") == "10.1.2.0/24"
    assert breakers.subnet("2001:db8::1:0:0:1") == "2001:db8::/64"
    assert breakers.subnet("bastion.example") == ""
    assert Breakers(BreakerSettings(ipv4_prefix=16)).subnet("10.1.2.3") == "10.1.0.0/16"
    assert replace(place("10.0.0.1"), port=2222).server == "10.0.0.1:2222"
