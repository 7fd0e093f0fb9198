"""Chaos: what a daemon depends on is really stopped and started during its ticks. Nobody loses
anything, nothing is done twice, and people see what is the matter.

The daemon is a process of its own whose clock the tests set: half a day passes with every step.
Every disturbed life is compared with one that nobody disturbed: the same verdicts, byte for byte.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from sqlalchemy import create_engine

from monitor.config import load
from monitor.daemon import attend
from monitor.registry import Registry
from monitor.store import Store
from monitor.window import parse_time
from retrain.cli import AGAIN
from tests.retrain.shop import request, shop, start
from tests.servers import free_port
from tests.servers.clock import Clock, clock
from tests.servers.mlflow import start_mlflow, stop_mlflow
from tests.servers.postgres import Postgres, server
from tests.servers.volume import volume
from tests.story.deployment import Deployment, deploy
from tests.story.running import Running, running

STEP = timedelta(hours=12)
"""A window, and as much as the clock moves at once."""
CHAMPION = {"deliveries": "1", "parcels": "1"}


@dataclass(slots=True)
class Town:
    """A daemon, what it depends on, and its clock."""

    deployment: Deployment
    clock: Clock
    store: Callable[[], str]
    """The URL of what the daemon keeps."""
    daemon: Running
    now: datetime
    postgres: tuple[Postgres, Postgres] | None = None
    """The store's server and the log's."""

    def pass_by(self) -> None:
        self.now += STEP
        self.clock.set(self.now)

    def ticked(self) -> None:
        """Until every model had a fine tick at this time of the clock, and metrics say so."""
        wanted = {f'holdfast_tick_last_success_timestamp_seconds{{model="{model.name}"}}'
                  for model in self.deployment.loaded.config.models}
        self.daemon.until(lambda: all(self.daemon.metrics().get(name, 0) >= self.now.timestamp()
                                      for name in wanted))

    def saying(self, event: str, disturb: Callable[[], object], *, model: str) -> dict[str, Any]:
        """The line that the daemon logs of the model because of it."""
        before = len(self.daemon.said.read_text())

        def line() -> dict[str, Any] | None:
            whole, _, _ = self.daemon.said.read_text()[before:].rpartition("\n")
            lines = whole.splitlines()
            return next((told for told in map(json.loads, lines)
                         if (told["event"], told.get("model")) == (event, model)), None)

        disturb()
        self.daemon.until(line)
        return line() or {}

    def told(self, path: str) -> tuple[int, str]:
        answer = self.daemon.client.get(path)
        return answer.status_code, answer.text

    def compare(self) -> None:
        """The daemon kept what an undisturbed one does at this time of the clock, and once."""
        with Store.open(self.store()) as store, self.deployment.deps("calm.db") as calm:
            for model in self.deployment.loaded.config.models:
                assert attend(model, calm, self.now)
                kept = verdicts(store, model.name)
                assert kept == verdicts(calm.store, model.name)
                assert kept
                assert len(store.adoptions(model.name)) == 1
                assert [item.cause for item in store.transitions(model.name)] == [
                    item.cause for item in calm.store.transitions(model.name)]
                assert not store.requests(model.name)


def verdicts(store: Store, model: str) -> list[str]:
    return [json.dumps(row.line, sort_keys=True) for row in store.verdicts(model)]


@contextmanager
def town(folder: Path, mlflow: str, settings: dict[str, Any], *, prefix: tuple[str, ...] = (),
         logs: str = "") -> Iterator[Town]:
    """A deployment whose daemon ticks every two seconds; a second model's log is in PostgreSQL."""
    deployment = deploy(folder, mlflow)
    told = yaml.safe_load(deployment.loaded.path.read_text()) | settings | {
        "schedule": {"every": "2s", "jitter": "0s"}, "http": {"port": 0}}
    if logs:
        told["models"] += [in_database(folder, told["models"][0], logs)]
    deployment.loaded.path.write_text(yaml.safe_dump(told))
    deployment = Deployment(folder, load(deployment.loaded.path))
    end = deployment.loaded.config.models[0].reference.to
    assert end is not None
    now = end + STEP + timedelta(hours=2)
    hands = clock(folder, now)
    with running(deployment.loaded.path, prefix=prefix, environment=hands.environment) as daemon:
        made = Town(deployment, hands, lambda: deployment.loaded.config.store, daemon, now)
        made.ticked()
        yield made


def in_database(folder: Path, model: dict[str, Any], url: str) -> dict[str, Any]:
    """The same model under another name, its log and labels in tables."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        for name in ("log", "labels"):
            pd.read_parquet(folder / name).to_sql(name, connection, index=False)
        connection.exec_driver_sql("ANALYZE")
    engine.dispose()
    labels = model["log"]["labels"] | {"source": url, "table": "labels"}
    return model | {"name": "parcels", "registered_model": "deliveries",
                    "log": model["log"] | {"source": url, "table": "log", "labels": labels}}


@dataclass(slots=True)
class Tracking:
    """An MLflow server that may be stopped and started again, on the same port and data."""

    folder: Path
    address: str
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = start_mlflow(self.folder, self.address)

    def stop(self) -> None:
        if self.process is not None:
            stop_mlflow(self.process)


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    made = Tracking(tmp_path_factory.mktemp("mlflow"), f"http://127.0.0.1:{free_port()}")
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory, tracking: Tracking) -> Iterator[Town]:
    """A daemon whose store, log and MLflow are servers."""
    with ExitStack() as stack:
        store, log = (stack.enter_context(server()) for _ in range(2))
        made = stack.enter_context(town(
            tmp_path_factory.mktemp("city"), tracking.address, {"store": f"{store.url}/postgres"},
            logs=f"{log.url}/postgres"))
        made.postgres = store, log
        yield made


def test_a_store_that_stops_is_told_and_loses_nothing(city: Town) -> None:
    assert city.postgres is not None
    store, _ = city.postgres
    said = city.saying("store is away", lambda: (store.stop(signal.SIGQUIT), city.pass_by()),
                       model="deliveries")
    assert "refused" in said["reason"] or "terminating" in said["reason"]
    assert city.told("/healthz") == (200, "alive\n")
    status, words = city.told("/readyz")
    assert (status, words.startswith("store postgresql")) == (503, True)
    for path in ("/", "/models/parcels", "/api/status"):
        status, words = city.told(path)
        assert (status, "store postgresql" in words) == (503, True)
    city.daemon.until(lambda: city.daemon.metrics()["holdfast_store_up"] == 0)
    assert 'holdfast_phase{model="parcels",phase="stable"} 1.0' in city.told("/metrics")[1]
    store.start()
    city.pass_by()
    city.ticked()
    assert city.told("/readyz") == (200, "ready\n")
    assert city.daemon.metrics()["holdfast_store_up"] == 1
    city.compare()


def test_a_log_that_stops_is_its_models_trouble(city: Town) -> None:
    assert city.postgres is not None
    _, log = city.postgres
    said = city.saying("tick failed", lambda: (log.stop(signal.SIGQUIT), city.pass_by()),
                       model="parcels")
    assert said["where"] == "SourceError"
    city.daemon.until(lambda: city.daemon.metrics()['holdfast_model_error{model="parcels"}'] == 1)
    assert city.daemon.metrics()['holdfast_model_error{model="deliveries"}'] == 0
    assert city.told("/readyz") == (200, "ready\n")
    models = city.daemon.status()
    assert "does not answer" in models["parcels"]["trouble"]
    assert models["deliveries"]["trouble"] is None
    assert "does not answer" in city.told("/")[1]
    assert city.saying("well again", log.start, model="parcels")
    city.pass_by()
    city.ticked()
    assert city.daemon.status()["parcels"]["trouble"] is None
    city.compare()


def test_an_mlflow_that_stops_is_trouble_and_moves_no_alias(city: Town, tracking: Tracking) -> None:
    said = city.saying("tick failed", lambda: (tracking.stop(), city.pass_by()), model="deliveries")
    assert said["where"] == "RegistryError"
    city.daemon.until(lambda: all(city.daemon.metrics()[f'holdfast_model_error{{model="{name}"}}']
                                  for name in CHAMPION))
    assert city.told("/readyz") == (200, "ready\n")
    assert "MLflow at" in city.told("/")[1]
    assert {name: model["champion"] for name, model in city.daemon.status().items()} == CHAMPION
    tracking.start()
    city.pass_by()
    city.ticked()
    assert not any(model["trouble"] for model in city.daemon.status().values())
    registry = Registry(city.deployment.loaded.config.mlflow)
    assert registry.aliases("deliveries") == {"champion": "1"}
    assert len(registry.versions("deliveries")) == 1
    city.compare()


def test_a_clock_that_jumps_judges_nothing_twice_and_is_waited_for_by_nobody(city: Town) -> None:
    right = city.now
    city.clock.set(right + 2 * STEP)
    city.daemon.until(lambda: all(
        parse_time(model["judged_to"]) > right + STEP for model in city.daemon.status().values()))
    city.clock.set(right)
    ticks = city.daemon.ticked("deliveries")
    city.daemon.until(lambda: city.daemon.ticked("deliveries") >= ticks + 2)
    assert "the clock went back" in city.daemon.said.read_text()
    city.now = right + STEP
    city.pass_by()
    city.ticked()
    city.compare()


def test_an_mlflow_that_stops_during_a_retrain_leaves_one_run_and_one_version(
        tmp_path: Path, tracking: Tracking) -> None:
    path = shop(tmp_path, tracking.address, name="kiosk")
    asked = request(path, "bootstrap", options={"report": False})
    registry = Registry(load(path).config.mlflow)
    child = start(asked, tmp_path)
    while registry.outcome(asked.request_id) is None:
        assert child.poll() is None
    tracking.stop()
    assert child.wait(120) == AGAIN
    assert "try again: MLflow at" in (tmp_path / asked.request_id / "log.txt").read_text()
    tracking.start()
    assert start(asked, tmp_path).wait(120) == 0
    told = registry.outcome(asked.request_id)
    assert told is not None
    assert (told.status, told.version) == ("registered", "1")
    assert len(registry.versions("kiosk")) == 1
    assert len(registry.client.search_runs(
        [registry.experiment("kiosk")], f"tags.`holdfast.request_id` = '{asked.request_id}'")) == 1


def test_a_full_disk_and_a_read_only_volume_are_told_and_lose_nothing(tmp_path: Path) -> None:
    """The store's volume is a small one of its own; it is full, then it may only be read."""
    data = tmp_path / "data"
    settings = {"store": f"sqlite:///{data}/holdfast.db", "folder": f"{data}/files"}
    with volume(data, "8m") as disk:
        with town(tmp_path, f"sqlite:///{tmp_path}/mlflow.db", settings, prefix=disk.prefix) as own:
            own.store = lambda: disk.copied("holdfast.db", tmp_path / "copy.db")
            full(own, disk.fill)
            again(own, disk.empty)
            assert own.daemon.stop()[0] == 0
        disk.mount("ro")
        with pytest.raises(AssertionError, match="right would be a volume that has room and may be "
                                                 "written to"):
            Running(own.deployment.loaded.path, prefix=disk.prefix,
                    environment=own.clock.environment)
        disk.mount("rw")
        own.pass_by()
        with running(own.deployment.loaded.path, prefix=disk.prefix,
                     environment=own.clock.environment) as own.daemon:
            own.ticked()
        own.compare()


def full(town: Town, disturb: Callable[[], object]) -> None:
    """No room: pages go on and say it, and so do readiness, metrics and log."""
    said = town.saying("store is away", lambda: (disturb(), town.pass_by()), model="deliveries")
    assert "right would be a volume that has room" in said["reason"]
    status, words = town.told("/readyz")
    assert (status, "nothing new is kept: store sqlite" in words) == (200, True)
    for path in ("/", "/models/deliveries"):
        status, words = town.told(path)
        assert (status, "Nothing new is kept" in words) == (200, True)
    assert "right would be a volume" in json.loads(town.told("/api/status")[1])["store"]
    town.daemon.until(lambda: town.daemon.metrics()["holdfast_store_up"] == 0)


def again(town: Town, heal: Callable[[], object]) -> None:
    heal()
    town.pass_by()
    town.ticked()
    assert town.told("/readyz") == (200, "ready\n")
    assert "Nothing new is kept" not in town.told("/")[1]
    assert json.loads(town.told("/api/status")[1])["store"] is None
    town.compare()
