"""Buckets of tokens: how often a client may."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.throttle import Throttle, client_of


@dataclass
class Clock:
    """Seconds that pass when they are told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_minutes_worth_at_once_and_then_at_the_rate() -> None:
    clock = Clock()
    throttle = Throttle(6, clock=clock)
    assert [throttle.take("a") for _ in range(6)] == [0.0] * 6
    assert throttle.take("a") == pytest.approx(10)
    assert throttle.take("b") == 0
    clock.now += 9.9
    assert throttle.take("a") == pytest.approx(0.1)
    clock.now += 0.2
    assert throttle.wait("a") == 0
    assert throttle.take("a") == 0
    assert throttle.take("a") > 9


@given(rate=st.integers(1, 100),
       gaps=st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=300))
def test_no_stretch_of_time_grants_more_than_its_share(rate: int, gaps: list[float]) -> None:
    """In any stretch at most the bucket and what flowed in; and one who keeps below is never held
    up."""
    clock = Clock(0.0)
    throttle, granted = Throttle(rate, clock=clock), []
    for gap in gaps:
        clock.now += gap
        wait = throttle.take("a")
        if wait == 0:
            granted.append(clock.now)
        else:
            assert 0 < wait <= 60 / rate + 1e-6
    for first in range(len(granted)):
        for last in range(first, len(granted)):
            allowed = rate + (granted[last] - granted[first]) * rate / 60
            assert last - first + 1 <= allowed + 1e-6
    steady = Throttle(rate, clock=clock)
    for _ in range(2 * rate):
        clock.now += 60 / rate + 1e-9
        assert steady.take("b") == 0


@given(st.lists(st.integers(0, 50), max_size=200))
def test_memory_is_bounded(clients: list[int]) -> None:
    throttle = Throttle(10, clock=Clock(), most=7)
    for client in clients:
        throttle.take(str(client))
        assert len(throttle) <= 7


def test_clocks_that_go_back_give_nothing_away() -> None:
    clock = Clock()
    throttle = Throttle(2, clock=clock)
    assert (throttle.take("a"), throttle.take("a")) == (0, 0)
    clock.now -= 500
    assert throttle.take("a") > 0


@pytest.mark.parametrize(("address", "counted"), [
    ("192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ("fe80::1%eth0", "fe80::/64"), ("::ffff:192.0.2.7", "192.0.2.7"), ("testclient", "testclient")])
def test_addresses_that_one_person_has_at_will_count_as_one(address: str, counted: str) -> None:
    assert client_of(address) == counted
