"""Watch: logs that do not say when rows arrived, rewritten files, and a log that goes away."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from monitor.daemon import attend, tick
from monitor.deps import Deps
from monitor.simulate import START
from tests.story.deployment import DAY, Deployment, deploy

FIRST = START + 25 * DAY
ASSUMED = {
    "source": "log/*.parquet", "timestamp": "timestamp", "id": "request_id",
    "model_version": "model_version", "prediction": "prediction", "positive_label": "yes",
    "label": "late",
}


@pytest.fixture
def assumed(tmp_path: Path, mlflow_uri: str) -> Deployment:
    """One file per day of event time, labels in the same table, no arrival anywhere."""
    made = deploy(tmp_path, mlflow_uri, log=ASSUMED)
    rows = pd.concat(pd.read_parquet(path) for path in (tmp_path / "log").glob("*.parquet"))
    labels = pd.concat(pd.read_parquet(path) for path in (tmp_path / "labels").glob("*.parquet"))
    rows = rows.merge(labels[["request_id", "late"]], on="request_id", how="left")
    for path in (tmp_path / "log").glob("*.parquet"):
        path.unlink()
    for day, part in rows.drop(columns="received_at").groupby(rows["timestamp"].dt.date):
        part.to_parquet(tmp_path / "log" / f"{day}.parquet", index=False)
    return made


@pytest.fixture
def deps(assumed: Deployment) -> Iterator[Deps]:
    with assumed.deps() as opened:
        yield opened


def look(deps: Deps, now: datetime) -> list[dict[str, Any]]:
    """Verdict lines on all rows after a tick."""
    tick(deps.config.models[0], deps, now)
    return [row.line for row in deps.store.verdicts("deliveries", segment="")]


def of(lines: list[dict[str, Any]], start: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["start"] == start]


def test_without_arrival_labels_count_when_they_would_have_come(deps: Deps) -> None:
    lines = look(deps, FIRST + 6 * DAY)
    assert {line["arrival"] for line in lines} == {"assumed"}
    first, *revised = of(lines, "2026-01-30T00:00:00Z")
    assert first["news"] == ["inputs"]
    assert [line["news"] for line in revised] == [["labels"]]
    assert revised[0]["known_at"] == "2026-02-03T13:00:00Z"


def test_rows_that_turn_up_in_a_closed_pane_revise_it_at_the_next_checkpoint(
    deps: Deps, assumed: Deployment
) -> None:
    before = of(look(deps, FIRST + 3 * DAY), "2026-01-31T00:00:00Z")
    day = assumed.folder / "log" / "2026-01-31.parquet"
    late = pd.read_parquet(day).head(7)
    late["request_id"] = "late-" + late["request_id"]
    late.to_parquet(assumed.folder / "log" / "late.parquet", index=False)
    after = of(look(deps, FIRST + 4 * DAY), "2026-01-31T00:00:00Z")
    assert after[: len(before)] == before
    assert after[-1]["n"] == before[-1]["n"] + 7
    assert after[-1]["known_at"] == "2026-02-02T01:00:00Z"


def test_late_rows_and_labels_of_one_pane_at_one_checkpoint_are_both_kept(
    deps: Deps, assumed: Deployment
) -> None:
    look(deps, FIRST + 4 * DAY)
    day = assumed.folder / "log" / "2026-01-30.parquet"
    late = pd.read_parquet(day).head(5)
    late["request_id"] = "late-" + late["request_id"]
    late.to_parquet(assumed.folder / "log" / "late.parquet", index=False)
    step_by_step = look(deps, FIRST + 8 * DAY)
    with assumed.deps("fresh.db") as fresh:
        at_once = look(fresh, FIRST + 8 * DAY)
    for start in ("2026-01-30T00:00:00Z", "2026-01-31T00:00:00Z"):
        last, same = of(step_by_step, start)[-1], of(at_once, start)[-1]
        assert (last["n"], last["label_maturity"]) == (same["n"], same["label_maturity"])
        assert last["performance"][1:] == same["performance"][1:]


def test_a_file_written_again_with_the_same_rows_is_no_news(
    deps: Deps, assumed: Deployment
) -> None:
    before = look(deps, FIRST + 3 * DAY)
    day = assumed.folder / "log" / "2026-01-31.parquet"
    pd.read_parquet(day).sample(frac=1, random_state=1).to_parquet(day, index=False)
    after = look(deps, FIRST + 3 * DAY + timedelta(hours=12))
    assert of(after, "2026-01-31T00:00:00Z") == of(before, "2026-01-31T00:00:00Z")


def test_a_log_that_goes_away_is_that_models_trouble(deps: Deps, assumed: Deployment) -> None:
    model = deps.config.models[0]
    assert attend(model, deps, FIRST + 2 * DAY)
    (assumed.folder / "log").rename(assumed.folder / "away")
    assert not attend(model, deps, FIRST + 3 * DAY)
    trouble = deps.store.troubles()["deliveries"]
    assert trouble is not None
    assert "log" in trouble.message
    (assumed.folder / "away").rename(assumed.folder / "log")
    assert attend(model, deps, FIRST + 3 * DAY)
    assert deps.store.troubles()["deliveries"] is None
