"""Chaos: what a model depends on goes away during ticks and comes back. Nobody loses anything.

Every disturbed life is compared with one that nobody disturbed: the same verdicts, byte for byte.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from monitor.daemon import attend
from monitor.exporter import Snapshot
from monitor.registry import Registry
from monitor.status import overview, words
from monitor.store import Store
from tests.story.deployment import Deployment, deploy

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
