"""Token buckets under any order of takers."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealring.hosts.throttle import Bucket, Throttle
from sealring.models.cluster import Limits


@pytest.mark.criterion("H3")
@given(
    rate=st.floats(1, 1e6),
    burst=st.floats(0.01, 1e5),
    takes=st.lists(st.tuples(st.floats(0, 10), st.floats(0.1, 1e5)), min_size=1, max_size=30),
)
def test_no_stretch_of_time_gets_more_than_its_share(
    rate: float, burst: float, takes: list[tuple[float, float]]
) -> None:
    bucket, now = Bucket(rate, burst), 0.0
    gone: list[tuple[float, float]] = []  # when, how much
    for pause, amount in takes:
        now += pause
        gone.append((now + bucket.take(amount, now), amount))
    assert [when for when, _ in gone] == sorted(when for when, _ in gone), "first come, first served"
    for i, (begin, _) in enumerate(gone):
        total = 0.0
        for end, amount in gone[i:]:
            total += amount
            # what ends the stretch before it was paid for by then, and so is not this one's
            assert total - gone[i][1] <= (rate * (end - begin) + burst) * (1 + 1e-9) + 1e-6


@given(rate=st.floats(1, 1e6), takes=st.lists(st.floats(0.1, 1e5), min_size=1, max_size=30))
def test_nothing_is_lost_while_somebody_waits(rate: float, takes: list[float]) -> None:
    bucket = Bucket(rate, rate * 0.01)
    waits = [bucket.take(amount, 0.0) for amount in takes]
    assert waits[-1] == pytest.approx(max(0.0, sum(takes) / rate - 0.01), abs=1e-6)


@pytest.mark.criterion("R4")
def test_the_share_of_a_link_is_a_rate() -> None:
    assert Limits().rate is None
    assert Limits(link_bytes_per_second=1_000_000).rate == 500_000, "half of the link, if nothing is said"
    assert Limits(link_bytes_per_second=1_000_000, link_share=0.1, bytes_per_second=200_000).rate == 100_000
    assert Limits(link_bytes_per_second=1_000_000, bytes_per_second=200_000).rate == 200_000


@pytest.mark.criterion("H3")
async def test_logins_in_progress_are_capped_in_each_subnet() -> None:
    throttle = Throttle(Limits(logins_per_subnet=2), lambda host: host.rpartition(".")[0])
    inside: dict[str, int] = {"10.0.0": 0, "10.0.1": 0}
    most = dict(inside)

    async def login(host: str) -> None:
        subnet = host.rpartition(".")[0]
        async with throttle.login(host):
            inside[subnet] += 1
            most[subnet] = max(most[subnet], inside[subnet])
            await asyncio.sleep(0)
            inside[subnet] -= 1

    await asyncio.gather(*(login(f"10.0.{i % 2}.{i}") for i in range(20)))
    assert most == {"10.0.0": 2, "10.0.1": 2}
