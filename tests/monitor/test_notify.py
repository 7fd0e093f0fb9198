"""Messages to people: one per decision, whatever happens between writing and sending."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from monitor.config import Config, Model
from monitor.courier import Courier
from monitor.deps import Deps
from monitor.errors import ConfigError
from monitor.exporter import samples
from monitor.notify import notify
from monitor.registry import Registry
from monitor.request import Request
from monitor.state import ModelState
from monitor.store import Store
from tests.monitor.stored import configuration
from tests.servers.services import Webhook, serving

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SECRET = "s3cr3t-token"


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with serving(Webhook()) as server:
        monkeypatch.setenv("PEOPLE", f"json://127.0.0.1:{server.server_port}/{SECRET}")
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}", clock=lambda: NOW) as opened:
        yield opened


def deps(folder: Path, store: Store, **change: Any) -> Deps:
    config: Config = configuration(folder, "m", notify={"urls_env": "PEOPLE", **change})
    return Deps(config, "c.yaml", store, cast(Registry, None), None, None)


def ended(store: Store, number: int, status: str = "registered") -> None:
    name = f"m-train-{number}"
    store.request(Request(name, "train", "m", "c", NOW, reason="prices drifted"))
    store.conclude(name, status, {"version": str(number), "reason": "better by .02"})


def tell(parts: Deps, now: datetime = NOW, model: Model | None = None) -> None:
    notify(model or parts.config.models[0], parts, now)
    Courier(parts).deliver(now)


def test_a_decision_is_told_once_with_reason_and_link(
        tmp_path: Path, store: Store, hook: Webhook) -> None:
    parts = deps(tmp_path, store, page_url="https://holdfast.example.org")
    ended(store, 4)
    store.adopt("m", "3", NOW - timedelta(hours=3), key="k")
    store.adopt("m", "4", NOW - timedelta(hours=2), key="l")
    store.adopt("m", "3", NOW - timedelta(hours=1), key="k")
    tell(parts)
    tell(parts)
    assert [item["title"] for item in hook.got] == [
        "m: version 4 waits for a person", "m: promoted version 4", "m: rolled back to version 3"]
    assert "prices drifted. better by .02" in hook.got[0]["message"]
    assert "https://holdfast.example.org/models/m" in hook.got[0]["message"]


def test_killed_before_sending_it_is_sent_once_by_the_next_tick(
        tmp_path: Path, store: Store, hook: Webhook) -> None:
    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    parts = deps(tmp_path, store)
    ended(store, 4, "failed")
    with pytest.raises(Killed):
        tell(replace(parts, assure=kill))
    assert hook.got == []
    assert len(store.unsent()) == 1
    tell(parts)
    tell(parts)
    assert [item["title"] for item in hook.got] == ["m: the retrain failed"]


def test_a_failure_is_counted_and_tried_again_and_no_secret_is_told(
        tmp_path: Path, store: Store, hook: Webhook, capfd: pytest.CaptureFixture[str]) -> None:
    parts = deps(tmp_path, store)
    ended(store, 4)
    hook.status = 500
    with structlog.testing.capture_logs() as logs:
        tell(parts)
    assert [item["event"] for item in logs] == ["not notified"]
    assert store.message_totals() == {"m": (0, 1, 1)}
    hook.status = 200
    tell(parts)
    store.ticked("m", NOW, 1.0, True)
    told = samples(store, parts.config)
    assert told["holdfast_notifications_total"] == {("m", "sent"): 1, ("m", "failed"): 1}
    assert told["holdfast_notifications_waiting"] == {("m",): 0}
    assert len(hook.got) == 1
    assert SECRET not in f"{logs}{capfd.readouterr()}{hook.got}"


@pytest.mark.parametrize(("by", "titles"), [
    ("alertmanager", []), ("apprise", ["m: alarm", "m: the alarm is over"])])
def test_alarms_are_told_where_nobody_else_pages(
        by: str, titles: list[str], tmp_path: Path, store: Store, hook: Webhook) -> None:
    parts = deps(tmp_path, store, page_by=by)
    state = ModelState(phase="suspect", champion="3", episode="m/2026-03-09T00:00:00Z")
    number = store.advance("m", 0, state, at=NOW - timedelta(hours=5), cause="price moved")
    tell(parts)
    tell(parts)
    assert [item["title"] for item in hook.got] == titles[:1]
    store.advance("m", number, replace(state, phase="stable", episode=None),
                  at=NOW - timedelta(hours=1), cause="calm again")
    tell(parts)
    tell(parts)
    assert [item["title"] for item in hook.got] == titles
    assert all("price moved" in item["message"] for item in hook.got)


def test_a_snoozed_episode_is_told_again_once_it_is_heard_again(
        tmp_path: Path, store: Store, hook: Webhook) -> None:
    parts, hour = deps(tmp_path, store, page_by="apprise"), timedelta(hours=1)
    state = ModelState(phase="suspect", episode="m/e")
    number = store.advance("m", 0, state, at=NOW - hour, cause="price moved")
    order, _ = store.order("m", "snooze", {"episode": "m/e", "seconds": 7200}, key="k", by="anna")
    store.settle_order(order.id, "done", "quiet")
    tell(parts, NOW + hour)
    assert hook.got == []
    for _ in range(2):
        tell(parts, NOW + 3 * hour)
    assert [item["title"] for item in hook.got] == ["m: the alarm goes on"]
    store.advance("m", number, replace(state, episode="m/later"), at=NOW + 3 * hour, cause="worse")
    tell(parts, NOW + 4 * hour)
    assert "m: alarm" in [item["title"] for item in hook.got]  # another episode is heard


def test_where_promotion_is_automatic_nobody_is_waited_for(
        tmp_path: Path, store: Store, hook: Webhook) -> None:
    parts = deps(tmp_path, store)
    ended(store, 4)
    model = parts.config.models[0]
    by_itself = model.model_copy(update={
        "policy": model.policy.model_copy(update={"promotion": "automatic"})})
    tell(parts, NOW, by_itself)
    assert [item["title"] for item in hook.got] == ["m: version 4 passed the gate and is promoted"]


def test_quiet_hours_hold_back_what_a_digest_then_tells(
        tmp_path: Path, store: Store, hook: Webhook) -> None:
    parts = deps(tmp_path, store, quiet="11:00-13:00", digest=True)
    ended(store, 4)
    ended(store, 5, "failed")
    tell(parts)
    assert hook.got == []
    tell(parts, NOW + timedelta(hours=1))
    assert [item["title"] for item in hook.got] == ["m: 2 messages"]
    assert "version 4 waits" in hook.got[0]["message"]
    assert "retrain failed" in hook.got[0]["message"]


def test_addresses_come_from_one_place(tmp_path: Path, store: Store) -> None:
    with pytest.raises(ConfigError, match="exactly one of urls_env and urls_file"):
        deps(tmp_path, store, urls_file="/run/secrets/people")
