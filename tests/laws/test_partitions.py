"""Where a log lies, and which of its folders are looked into, is no matter of its verdicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitor.config import load
from monitor.daemon import tick
from monitor.replay import replay
from monitor.simulate import START
from tests.servers.store import Bucket
from tests.story.deployment import DAY, Deployment, deploy, hours

FIRST, LAST = START + 25 * DAY, START + 38 * DAY


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A log in files by day of arrival, late rows among them."""
    folder = tmp_path_factory.mktemp("deployment")
    return deploy(folder, f"sqlite:///{folder / 'mlflow.db'}")


@pytest.fixture(scope="module")
def expected(plain: Deployment) -> list[str]:
    return lines(plain, "plain.db", [LAST])


def moved(plain: Deployment, name: str, **log: Any) -> Deployment:
    """The same model over a log elsewhere."""
    settings = yaml.safe_load(plain.loaded.path.read_text())
    told = settings["models"][0]["log"]
    told["labels"]["source"] = log.pop("labels")
    told |= log
    path = plain.folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return Deployment(plain.folder, load(path))


def lines(deployment: Deployment, store: str, instants: list[datetime]) -> list[str]:
    with deployment.deps(store) as deps:
        for now in instants:
            tick(deps.config.models[0], deps, now)
        return [json.dumps(row.line) for row in deps.store.verdicts("deliveries")]


@pytest.fixture
def remote(bucket: Bucket, plain: Deployment) -> Callable[[], Deployment]:
    def put() -> Deployment:
        for path in plain.folder.glob("lo*/*.parquet"):
            bucket.put(f"log/dt={path.stem}/part-0.parquet", path.read_bytes())
        for path in plain.folder.glob("labels/*.parquet"):
            year, month, day = path.stem.split("-")
            bucket.put(f"labels/{year}/{month}/{day}.parquet", path.read_bytes())
        return moved(plain, "remote", source=f"{bucket.url}/log/**/*.parquet",
                     labels=f"{bucket.url}/labels/{{year}}/{{month}}/{{day}}.parquet")
    return put


def test_files_with_dates_in_their_names_are_judged_as_they_were(
    plain: Deployment, expected: list[str]) -> None:
    dated = moved(plain, "dated", source="log/{date}.parquet", labels="labels/{date}.parquet")
    often = list(hours(FIRST, LAST, timedelta(hours=29)))
    assert lines(dated, "dated.db", often) == expected
    assert [json.dumps(line) for line in replay(dated.loaded, FIRST + DAY / 2, LAST)] == expected


def test_a_log_in_a_bucket_is_judged_as_it_is_on_disk(
    plain: Deployment, expected: list[str], remote: Callable[[], Deployment]) -> None:
    there = remote()
    assert lines(there, "once.db", [LAST]) == expected
    assert lines(there, "often.db", list(hours(FIRST, LAST, timedelta(hours=31)))) == expected


def test_what_comes_too_late_to_revise_anything_counts_nowhere(
    tmp_path: Path) -> None:
    settings = {"window": {"length": "12h", "lateness": "1h", "revise_for": "2d"},
                "maturity": {"ratio": 0.9, "delay": "1d"}}
    made = deploy(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}", **settings)
    dated = moved(made, "dated", source="log/{date}.parquet", labels="labels/{date}.parquet")
    once = lines(made, "once.db", [LAST])
    assert lines(dated, "often.db", list(hours(FIRST, LAST, timedelta(hours=17)))) == once
