"""Orders: rows before deeds, on both engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.store import Store

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass
class Clock:
    """An instant that moves when told to."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


Opened = Callable[[], Store]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Opened]:
    url = f"sqlite:///{tmp_path / 'store.db'}" if request.param == "sqlite" else str(
        request.getfixturevalue("postgres")).replace("://", "+psycopg://")
    held: list[Store] = []

    def again() -> Store:
        held.append(Store.open(url, clock=clock))
        return held[-1]

    yield again
    for one in held:
        one.close()


def retrain(store: Store, key: str, by: str = "anna") -> int:
    return store.order("m", "retrain", {"reason": "why", "bootstrap": False}, key=key,
                       by=by)[0].id


def test_the_same_key_is_the_same_order(opened: Opened) -> None:
    store = opened()
    order, fresh = store.order("m", "acknowledge", {"window": "w"}, key="k", by="anna")
    again, second = store.order("m", "acknowledge", {"window": "w"}, key="k", by="anna")
    assert (fresh, second) == (True, False)
    assert order == again
    assert (order.status, order.at, order.by, order.arguments) == (
        "asked", NOW, "anna", {"window": "w"})
    elsewhere, third = store.order("n", "acknowledge", {"window": "w"}, key="k", by="anna")
    assert third
    assert elsewhere.id != order.id
    assert store.ordered() == {"m", "n"}
    assert [item.id for item in store.waiting_orders("m")] == [order.id]
    assert store.settle_order(order.id, "done", "so be it")
    assert not store.settle_order(order.id, "refused", "no")
    done = store.ordered_as("m", "k")
    assert done is not None
    assert (done.status, done.note, done.finished) == ("done", "so be it", NOW)
    assert store.ordered() == {"n"}
    assert [item.status for item in store.orders("m")] == ["done"]


def test_one_retrain_waits_at_a_time_and_the_next_may_after_it(opened: Opened) -> None:
    store = opened()
    first = retrain(store, "a")
    assert retrain(store, "b", "ben") == first
    store.settle_order(first, "refused", "no champion")
    assert retrain(store, "a") == first  # a key stands for its order for good ...
    assert retrain(store, "b", "ben") == first  # ... also where that was another's
    assert retrain(store, "c") != first
    assert [(item.by, item.status) for item in store.orders("m")] == [
        ("anna", "asked"), ("ben", "joined"), ("anna", "refused")]


def test_many_at_once_are_one(opened: Opened) -> None:
    stores = [opened() for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda n: retrain(stores[n % 4], f"key {n}"), range(24)))
        same = set(pool.map(lambda n: stores[n % 4].order(
            "m", "acknowledge", {}, key="one", by="anna")[0].id, range(24)))
    assert len(found) == len(same) == 1


def test_the_newest_word_on_quiet_counts(opened: Opened, clock: Clock) -> None:
    store = opened()

    def snooze(seconds: float, episode: str = "m/e", status: str = "done") -> None:
        key = f"{clock.now} {seconds} {status}"
        order, _ = store.order("m", "snooze", {"episode": episode, "seconds": seconds}, key=key,
                               by="anna")
        store.settle_order(order.id, status, "")

    assert store.snooze("m", "m/e", NOW) is None
    snooze(3600)
    snooze(7200, status="refused")
    found = store.snooze("m", "m/e", NOW + HOUR / 2)
    assert found is not None
    assert (found.until, found.by) == (NOW + HOUR, "anna")
    assert store.snooze("m", "m/e", NOW + HOUR) is None
    assert store.snooze("m", "m/later", NOW) is None
    assert store.snooze("m", None, NOW) is None
    clock.now += HOUR / 4
    snooze(0)
    assert store.snooze("m", "m/e", clock.now) is None
    assert store.snoozes()["m"].until == clock.now
