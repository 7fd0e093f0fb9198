"""Backfills: half a year at once is judged as it would have been, week by week."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from monitor.config import load
from monitor.daemon import tick
from monitor.replay import replay
from monitor.simulate import START, Plan, deliveries
from monitor.window import isoformat
from tests.story.deployment import DAY, Deployment, hours, register, write

PLAN = Plan(days=215, rows_per_day=25, slow_from=100, abrupt_at=150)
FIRST, LAST = START + 30 * DAY, START + 212 * DAY


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    folder = tmp_path_factory.mktemp("backfill")
    write(folder, deliveries(PLAN))
    register(f"sqlite:///{folder / 'mlflow.db'}", "deliveries")
    return settled(folder, "holdfast.yaml", ingested_at="received_at", labels={
        "source": "labels/*.parquet", "id": "request_id", "value": "late",
        "timestamp": "label_at"})


def settled(folder: Path, name: str, **log: Any) -> Deployment:
    path = folder / name
    path.write_text(yaml.safe_dump({"models": [{
        "name": "deliveries", "maturity": {"ratio": 0.9, "delay": "4d"},
        "log": {"source": "log/*.parquet", "timestamp": "timestamp", "id": "request_id",
                "model_version": "model_version", "prediction": "prediction", **log},
        "reference": {"from": isoformat(START), "to": isoformat(FIRST)},
        "window": {"length": "1d", "revise_for": "20d"}}]}))
    return Deployment(folder, load(path))


def lines(deployment: Deployment, store: str, instants: list[datetime]) -> list[dict[str, Any]]:
    with deployment.deps(store) as deps:
        for now in instants:
            tick(deps.config.models[0], deps, now)
        return [row.line for row in deps.store.verdicts("deliveries")]


def test_half_a_year_at_once_is_judged_as_week_by_week_and_in_order(deployment: Deployment) -> None:
    once = lines(deployment, "once.db", [FIRST, LAST])
    assert len({line["start"] for line in once}) == 181
    places = [(line["known_at"], line["end"], line["revision"]) for line in once]
    assert places == sorted(places)
    weekly = lines(deployment, "weekly.db", list(hours(FIRST, LAST, timedelta(days=13))))
    assert json.dumps(weekly) == json.dumps(once)
    assert json.dumps(list(replay(deployment.loaded, FIRST + DAY / 2, LAST))) == json.dumps(once)


def test_old_rows_that_turn_up_unannounced_revise_what_may_still_be_revised(
    deployment: Deployment) -> None:
    now = START + 100 * DAY
    late = settled(deployment.folder, "assumed.yaml", source="assumed/*.parquet")
    place = deployment.folder / "assumed"
    place.mkdir()
    files = (deployment.folder / "log").glob("*.parquet")
    rows = pd.concat(pd.read_parquet(path) for path in files)
    rows = rows[rows["timestamp"] < now].sort_values("timestamp")
    held_back = rows["timestamp"].dt.dayofyear % 2 == 0
    rows[~held_back | (rows["timestamp"] < FIRST)].to_parquet(place / "first.parquet")
    before = lines(late, "assumed.db", [FIRST, now - DAY])
    rows[held_back & (rows["timestamp"] >= FIRST)].to_parquet(place / "backfill.parquet")
    after = lines(late, "assumed.db", [now + DAY / 2])
    assert after[:len(before)] == before
    revised = {line["start"] for line in after[len(before):] if line["revision"]}
    assert revised
    oldest = isoformat(now - 22 * DAY)
    assert all(start >= oldest for start in revised)
    (deployment.folder / "assumed").rename(deployment.folder / "assumed-done")
