"""Chaos: what a model depends on goes away during ticks and comes back. Nobody loses anything.

Every disturbed life is compared with one that nobody disturbed: the same verdicts, byte for byte.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from monitor.daemon import attend
from monitor.deps import Deps
from monitor.errors import HoldfastError
from monitor.exporter import Snapshot
from monitor.registry import Registry
from monitor.status import overview, words
from monitor.store import Store
from tests.servers.postgres import serving
from tests.story.deployment import DAY, Deployment, deploy

TIMES = 5


@pytest.fixture
def deployment(tmp_path: Path, mlflow_uri: str) -> Deployment:
    return deploy(tmp_path, mlflow_uri)


def instants(deployment: Deployment) -> list[datetime]:
    end = deployment.loaded.config.models[0].reference.to
    assert end is not None
    return [end + timedelta(hours=14) + place * timedelta(hours=12) for place in range(TIMES)]


def verdicts(store: Store) -> list[str]:
    return [json.dumps(row.line, sort_keys=True) for row in store.verdicts("deliveries")]


def undisturbed(deployment: Deployment) -> list[str]:
    with deployment.deps("undisturbed.db") as deps:
        for at in instants(deployment):
            assert attend(deps.config.models[0], deps, at)
        return verdicts(deps.store)


def test_a_log_that_goes_and_comes_is_one_trouble_and_no_loss(deployment: Deployment) -> None:
    expected, times = undisturbed(deployment), instants(deployment)
    log = deployment.folder / "log"
    with deployment.deps() as deps:
        model = deps.config.models[0]
        assert attend(model, deps, times[0])
        log.rename(deployment.folder / "away")
        assert not attend(model, deps, times[1])
        assert not attend(model, deps, times[2])
        assert "trouble" in words(overview(deps.config, deps.store))
        assert b'holdfast_model_error{model="deliveries"} 1.0' in Snapshot(
            deps.store, deps.config).render()[0]
        [trouble] = deps.store.past_troubles("deliveries")
        assert (trouble.where, trouble.times) == ("SourceError", 2)
        (deployment.folder / "away").rename(log)
        for at in times[3:]:
            assert attend(model, deps, at)
        assert deps.store.past_troubles("deliveries")[0].cleared
        assert verdicts(deps.store) == expected


def test_an_mlflow_that_is_away_is_the_models_trouble(deployment: Deployment) -> None:
    expected, times = undisturbed(deployment), instants(deployment)
    with deployment.deps() as deps:
        model = deps.config.models[0]
        away = replace(deps, registry=Registry(deps.config.mlflow.model_copy(update={
            "tracking_uri": "http://127.0.0.1:9"}), timeout=1))
        assert attend(model, deps, times[0])
        assert not attend(model, away, times[1])
        assert deps.store.past_troubles("deliveries")[0].where == "RegistryError"
        for at in times[2:]:
            assert attend(model, deps, at)
        assert verdicts(deps.store) == expected


def test_a_clock_that_jumps_judges_nothing_twice(deployment: Deployment) -> None:
    expected, times = undisturbed(deployment), instants(deployment)
    with deployment.deps() as deps:
        for at in (times[0], times[3], times[0] - 9 * DAY, times[1], times[2], *times[3:],
                   times[4]):
            assert attend(deps.config.models[0], deps, at)
        assert verdicts(deps.store) == expected


def test_a_postgresql_that_stops_during_ticks_loses_and_doubles_nothing(
        deployment: Deployment) -> None:
    expected, times = undisturbed(deployment), instants(deployment)
    with serving() as (url, _), deployment.deps(
            f"{url}/postgres".replace("postgresql:", "postgresql+psycopg:")) as deps:
        model, snapshot = deps.config.models[0], Snapshot(deps.store, deps.config)
        assert attend(model, deps, times[0])
        snapshot.refresh()
        with psycopg.connect(f"{url}/postgres", autocommit=True) as session:
            session.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            session.execute("SELECT pg_reload_conf()")
            session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")
        assert not attend(model, deps, times[1])
        assert not attend(model, deps, times[2])
        with psycopg.connect(f"{url}/postgres", autocommit=True) as session:
            session.execute("ALTER SYSTEM RESET default_transaction_read_only")
            session.execute("SELECT pg_reload_conf()")
            session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")
        for at in times[3:]:
            assert attend(model, deps, at)
        assert verdicts(deps.store) == expected


def test_a_store_without_room_refuses_in_words_and_goes_on_once_there_is_some(
        deployment: Deployment) -> None:
    """A full disk, as SQLite sees one: no page may be added to the file."""
    expected, times = undisturbed(deployment), instants(deployment)
    with deployment.deps() as deps:
        model = deps.config.models[0]
        assert attend(model, deps, times[0])
        limited(deps, "PRAGMA max_page_count = 1")
        assert not attend(model, deps, times[1])
        with pytest.raises(HoldfastError, match="full"):
            deps.store.save_baseline("deliveries", "9", "k", "x" * 1_000_000)
        limited(deps, "PRAGMA max_page_count = 1000000")
        for at in times[2:]:
            assert attend(model, deps, at)
        assert verdicts(deps.store) == expected


def limited(deps: Deps, pragma: str) -> None:
    """The pragma on every connection from here on."""
    from sqlalchemy import event

    deps.store._engine.dispose()
    event.listen(deps.store._engine, "connect",
                 lambda connection, _: connection.execute(pragma).close())


def test_a_store_that_may_only_be_read_still_tells_what_is_known(deployment: Deployment) -> None:
    expected, times = undisturbed(deployment), instants(deployment)
    with deployment.deps() as deps:
        model = deps.config.models[0]
        assert attend(model, deps, times[0])
        limited(deps, "PRAGMA query_only = ON")
        assert not attend(model, deps, times[1])
        deps.store.ready()
        assert "deliveries: " in words(overview(deps.config, deps.store))
        limited(deps, "PRAGMA query_only = OFF")
        for at in times[2:]:
            assert attend(model, deps, at)
        assert verdicts(deps.store) == expected
