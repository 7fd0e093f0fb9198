"""The clerk: orders become requests, once, as the policy lets them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor.clerk import fill
from monitor.daemon import held, tick
from monitor.deps import Deps
from monitor.errors import ConflictError
from monitor.request import Request
from monitor.simulate import START
from monitor.store import Order
from tests.story.deployment import DAY, deploy

TRAINS: dict[str, Any] = {"training": {"kind": "sklearn"}}
NOW = START + 28 * DAY


@pytest.fixture
def deps(tmp_path: Path) -> Iterator[Deps]:
    """A model that was watched for three days; nothing is launched."""
    with deploy(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}", **TRAINS).deps() as parts:
        tick(parts.config.models[0], parts, NOW)
        yield parts


def order(deps: Deps, key: str = "k", **arguments: Any) -> Order:
    return deps.store.order("deliveries", "retrain", {
        "reason": "a whim", "bootstrap": False, **arguments}, key=key, by="anna")[0]


def became(deps: Deps, key: str = "k") -> tuple[str, str]:
    found = deps.store.ordered_as("deliveries", key)
    assert found is not None
    return found.status, found.note


def fresh(deps: Deps, now: datetime = NOW) -> None:
    fill(deps.config.models[0], deps, now)


def test_a_tick_writes_the_request_that_was_ordered(deps: Deps) -> None:
    made = order(deps)
    tick(deps.config.models[0], deps, NOW + timedelta(hours=1))
    row = deps.store.open_request("deliveries")
    assert row is not None
    assert row.request.kind == "train"
    assert row.request.reason == "a whim (asked for by anna)"
    assert row.request.request_id == (
        f"deliveries-train-{made.at:%Y%m%dT%H%M%S}-{deps.store.deployment()}")
    assert became(deps) == ("done", f"request {row.request.request_id}")
    assert deps.store.recorded("deliveries").state.phase == "retraining"
    tick(deps.config.models[0], deps, NOW + timedelta(hours=2))
    assert len(deps.store.requests("deliveries")) == 1


def test_a_crash_between_request_and_note_changes_nothing(
        deps: Deps, monkeypatch: pytest.MonkeyPatch) -> None:
    order(deps)

    def killed(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(deps.store), "settle_order", killed)
        with pytest.raises(KeyboardInterrupt):
            fresh(deps)
    assert became(deps)[0] == "asked"
    fresh(deps)
    assert became(deps)[0] == "done"
    assert len(deps.store.requests("deliveries")) == 1


def test_what_cannot_be_is_refused_in_words(deps: Deps) -> None:
    order(deps, bootstrap=True)
    fresh(deps)
    assert became(deps)[0] == "refused"
    assert "has a champion already" in became(deps)[1]
    deps.store.request(Request("r1", "train", "deliveries", "c", NOW))
    order(deps, "second")
    fresh(deps)
    assert became(deps, "second") == ("refused", "request r1 of this model is open; wait for it")


def test_a_scoring_under_way_is_waited_for(deps: Deps) -> None:
    deps.store.request(Request("s1", "score", "deliveries", "c", NOW,
                               options={"purpose": "shadow"}))
    order(deps)
    fresh(deps)
    assert became(deps)[0] == "asked"
    deps.store.conclude("s1", "done", {})
    fresh(deps)
    assert became(deps)[0] == "done"


def test_one_who_does_not_lead_does_nothing(deps: Deps) -> None:
    order(deps)

    def token() -> int:
        raise ConflictError("does not lead")

    standby = replace(deps, store=deps.store.fenced(token), assure=token)
    with pytest.raises(ConflictError):
        fresh(standby)
    assert held(deps, None) is deps
    assert became(deps)[0] == "asked"
    assert deps.store.requests("deliveries") == []


def test_an_alert_asks_like_a_verdict_and_is_refused_like_one(deps: Deps) -> None:
    now = deps.store.recorded("deliveries").folded_to
    assert now is not None
    order(deps, "one", alert="Degraded", reason="accuracy fell")
    fresh(deps, now)
    assert became(deps, "one") == ("done", "a retrain is asked for")
    pending = deps.store.pending("deliveries")
    assert pending is not None
    assert pending.decision.reason == "alert Degraded: accuracy fell"
    tick(deps.config.models[0], deps, now)
    row = deps.store.open_request("deliveries")
    assert row is not None
    order(deps, "two", alert="Degraded", reason="again")
    fresh(deps, now)
    assert became(deps, "two") == ("refused", "no retrain: the model is retraining already")
    deps.store.conclude(row.request.request_id, "refused", {})
    state = deps.store.recorded("deliveries")
    deps.store.advance("deliveries", state.number, replace(
        state.state, phase="stable", request=None, cooldown_until=now + DAY), at=now, cause="x")
    order(deps, "three", alert="Degraded", reason="again")
    fresh(deps, now)
    assert became(deps, "three")[1].startswith("no retrain: the cooldown of 7d lasts until")


def test_an_alert_finds_too_few_labels(tmp_path: Path) -> None:
    few = {"policy": {"retrain": {"minimum_rows": 100_000}}, **TRAINS}
    with deploy(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}", **few).deps() as deps:
        tick(deps.config.models[0], deps, NOW)
        order(deps, alert="Degraded", reason="why")
        fresh(deps)
        assert "labelled rows have matured since the reference, 100000 are asked for" in (
            became(deps)[1])


def test_what_a_daemon_took_and_did_not_do_is_done_by_the_next(deps: Deps) -> None:
    deps.store.order("deliveries", "acknowledge", {
        "window": "2026-01-26", "as": "fault", "rebaseline": False, "note": ""}, key="a", by="x")
    deps.store.order("deliveries", "snooze", {"episode": "gone", "seconds": 60}, key="s", by="x")
    fresh(deps)
    assert became(deps, "a")[0] == "done"
    assert became(deps, "s") == (
        "refused", "deliveries: the episode is over, so there is nothing to keep quiet")
    assert len(deps.store.in_force("deliveries")) == 1
