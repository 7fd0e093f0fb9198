"""The real `holdfast run`, as a process of its own."""

from __future__ import annotations

import signal
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
import yaml

from monitor.assembly import opened
from monitor.config import load
from monitor.daemon import Daemon, tick
from monitor.deps import Deps
from monitor.registry import Registry
from monitor.request import Request
from monitor.simulate import START, Plan, deliveries
from monitor.store import Store
from monitor.window import isoformat
from tests.story.deployment import DAY, register, write
from tests.story.running import running

PLAN = Plan(days=32, rows_per_day=100, slow_from=400, abrupt_at=400)
GRACE = 25.0
"""Seconds within which a daemon ends; its children are given 20 of them."""


def settle(folder: Path, **models: dict[str, Any]) -> Path:
    """The configuration of models that share one log; the log ends today."""
    shift = (datetime.now(UTC) - START) // DAY * DAY - (PLAN.days - 1) * DAY
    frame = deliveries(PLAN)
    for column in ("timestamp", "received_at", "label_at"):
        frame[column] += shift
    write(folder, frame)
    register(f"sqlite:///{folder / 'mlflow.db'}", "deliveries")
    plain: dict[str, Any] = {
        "registered_model": "deliveries",
        "log": {"source": "log/*.parquet", "timestamp": "timestamp", "ingested_at": "received_at",
                "id": "request_id", "model_version": "model_version", "prediction": "prediction",
                "score": "score", "positive_label": "yes",
                "labels": {"source": "labels/*.parquet", "id": "request_id", "value": "late",
                           "timestamp": "label_at"}},
        "maturity": {"ratio": 0.9, "delay": "4d"},
        "reference": {"from": isoformat(START + shift), "to": isoformat(START + shift + 25 * DAY)},
        "policy": {"performance": {"rows": 200}},
    }
    path = folder / "holdfast.yaml"
    path.write_text(yaml.safe_dump({
        "schedule": {"every": "1s", "jitter": "0s"}, "http": {"port": 0}, "reports": False,
        "models": [plain | {"name": name} | {
            key: plain.get(key, {}) | value if isinstance(value, dict) else value
            for key, value in changed.items()} for name, changed in models.items()]}))
    return path


def told(metrics: dict[str, float], model: str) -> dict[str, float]:
    """What the metrics say of a model, but for its ticks and its trouble."""
    return {name: value for name, value in metrics.items()
            if f'model="{model}"' in name and "_tick" not in name and "_error" not in name}


def test_a_daemon_serves_goes_on_beside_broken_models_and_remembers(tmp_path: Path) -> None:
    config = settle(
        tmp_path, fine={}, lost={"log": {"timestamp": "moment"}},
        gone={"log": {"source": "postgresql://nobody@127.0.0.1:9/none", "table": "log"}})
    with running(config) as daemon:
        assert daemon.client.get("/healthz").text == "alive\n"
        assert daemon.client.get("/readyz").status_code == 200
        daemon.until(lambda: daemon.ticked("fine") >= 2 and all(
            daemon.ticked(model, "failed") >= 2 for model in ("lost", "gone")))
        status = daemon.status()
        assert status["fine"]["trouble"] is None
        assert status["fine"]["newest"]["n"] > 0
        assert "moment" in status["lost"]["trouble"]
        assert "127.0.0.1" in status["gone"]["trouble"]
        before = daemon.metrics()
        assert before['holdfast_model_error{model="fine"}'] == 0
        assert before['holdfast_model_error{model="lost"}'] == 1
        page = daemon.client.get("/").text
        assert all(name in page for name in ("fine", "lost", "gone"))
        code, seconds = daemon.stop()
    assert code == 0
    assert seconds < GRACE
    assert told(before, "fine")

    (tmp_path / "log").rename(tmp_path / "moved")  # so that nothing new can be counted
    with running(config) as daemon:
        assert told(daemon.metrics(), "fine") == told(before, "fine")
        assert daemon.ticked("fine") >= 2


def test_an_order_is_not_left_waiting_for_the_schedule(tmp_path: Path) -> None:
    config = settle(tmp_path, fine={})
    config.write_text(config.read_text().replace("every: 1s", "every: 1h"))
    with running(config) as daemon:
        daemon.until(lambda: daemon.ticked("fine") == 1)
        with opened(load(config)) as parts:
            parts.store.order("fine", "retrain", {"reason": "x", "bootstrap": False}, key="k",
                              by="anna")
            daemon.until(lambda: not parts.store.ordered())
            order = parts.store.ordered_as("fine", "k")
        assert order is not None
        assert (order.status, order.by) == ("refused", "anna")
        assert "training.kind: none only monitors" in order.note
        daemon.until(lambda: daemon.ticked("fine") == 2)
        assert "order ended" in daemon.said.read_text()
        assert daemon.stop()[0] == 0


def test_sigterm_in_the_middle_of_the_first_tick_ends_it_in_time(tmp_path: Path) -> None:
    config = settle(tmp_path, fine={})
    with running(config) as daemon:
        time.sleep(0.5)
        code, seconds = daemon.stop()
    assert code == 0
    assert seconds < GRACE


def test_a_signal_sets_a_flag_and_calls_nothing_that_could_take_a_lock() -> None:
    """SIGTERM interrupts the main thread anywhere, also where it holds the lock of an event."""
    daemon = Daemon(cast(Deps, None))
    daemon._told(signal.SIGTERM, None)
    assert daemon._stopping
    assert Daemon._told.__code__.co_names == ("_stopping",)


def test_ticks_that_outlast_the_schedule_are_told_once_for_all_models(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two models are at work, a third waits for them; all three are due again meanwhile."""
    path = settle(tmp_path, a={}, b={}, c={})
    config = load(path).config
    daemon = Daemon(Deps(config, str(path), cast(Store, None), cast(Registry, None), None, None))
    ended = threading.Event()
    monkeypatch.setattr("monitor.daemon.attend", lambda model, deps, now: ended.wait(60))
    with structlog.testing.capture_logs() as told:
        daemon._schedule()
        deadline = time.monotonic() + 60
        while len(daemon._behind) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        daemon._look_behind()
        daemon._said += 60  # the same interval, however slow this machine is
        daemon._behind.add("a")
        daemon._look_behind()
        ended.set()
        daemon._scheduler.shutdown()
    behind = [line for line in told if line["event"] == "ticks are behind"]
    assert [(line["models"], line["every"]) for line in behind] == [(["a", "b", "c"], 1.0)]


def test_a_running_retrain_is_handed_back_and_goes_on_at_the_next_start(tmp_path: Path) -> None:
    config = settle(tmp_path, fresh={"registered_model": "fresh", "training": {"kind": "torch"}})
    now = datetime.now(UTC)
    request = Request("fresh-bootstrap", "bootstrap", "fresh", str(config), now, reason="a first")
    with opened(load(config)) as parts:
        assert parts.store.request(request)
    log = tmp_path / "holdfast-files" / "requests" / "fresh-bootstrap" / "log.txt"
    with running(config) as daemon:
        daemon.until(lambda: log.exists() and "[1/" in log.read_text())
        code, seconds = daemon.stop()
        assert (code, seconds < GRACE) == (0, True)
    with opened(load(config)) as parts:
        assert parts.launcher is not None
        assert not parts.launcher.running("fresh-bootstrap")
        row = parts.store.open_request("fresh")
        assert row is not None
    with running(config) as daemon:
        daemon.until(lambda: daemon.status()["fresh"]["champion"] == "1")
        daemon.until(lambda: daemon.status()["fresh"]["request"] is None)
        assert daemon.stop()[0] == 0


def test_two_daemons_on_one_store_do_nothing_twice(tmp_path: Path) -> None:
    config = settle(tmp_path, fine={"log": {"segments": ["vehicle"]}})
    with running(config) as one, running(config) as other:
        one.until(lambda: one.ticked("fine") >= 6)
        other.until(lambda: other.status()["fine"]["newest"])
        assert [daemon.stop()[0] for daemon in (one, other)] == [0, 0]
    with opened(load(config)) as parts:
        lines = [row.line for row in parts.store.verdicts("fine")]
        transitions = parts.store.transitions("fine")
        adoptions = parts.store.adoptions("fine")
        (ticked,) = parts.store.ticks().values()
        assert not parts.store.past_troubles("fine")
    alone = tmp_path / "alone.yaml"
    alone.write_text(config.read_text() + f"store: sqlite:///{tmp_path / 'alone.db'}\n")
    with opened(load(alone)) as parts:
        for _ in range(2):
            tick(parts.config.models[0], parts, ticked.at)
        assert lines == [row.line for row in parts.store.verdicts("fine")]
        assert [item.version for item in adoptions] == ["1"]
        steps = [(item.before, item.after, item.cause) for item in transitions]
        assert steps == [(item.before, item.after, item.cause)
                         for item in parts.store.transitions("fine")]
