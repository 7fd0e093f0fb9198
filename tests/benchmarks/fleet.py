"""What a fleet costs one daemon: 300 models x 40 features, hourly windows, a year of history.

    python -m tests.benchmarks.fleet [--quick] [--models N] [--weeks N] [--lived N] [--ticked N]
                                     [--folder FOLDER] [--json FILE]

One model lives through the time by the daemon's own code: a log of 50 rows an hour in a file per
day, labels a day late, counted and judged in catch-up ticks of four weeks, after each of which an
hourly tick is timed and old rows are seen to; a life that stands in FOLDER already goes on. With
``--lived`` it lives through so many of the weeks only, and those before them are rows of its oldest
weeks again, under earlier dates: nobody looks at them any more. Its rows in the store are then
copied under the names of the other models, whose logs are the same files, so their ticks are real.
Then the next hour comes for all of them (or for ``--ticked`` of them), and one more for some: the
first time the process makes the SQL that it keeps. A day later their old rows are seen to again,
for real. Seconds are CPU seconds of this process.
``--quick``: 30 models, eight weeks.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from sqlalchemy import event, text

from monitor import logs
from monitor.config import Config, Model, load
from monitor.daemon import WORKERS, attend
from monitor.deps import Deps
from monitor.exporter import Snapshot
from monitor.registry import Registry
from monitor.store import Store
from monitor.upkeep import upkeep
from monitor.web import create_app
from monitor.window import EPOCH

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
MICRO = timedelta(microseconds=1)
NUMERIC, CATEGORICAL, ROWS = 30, 10, 50
REFERENCE = 4 * WEEK
KEPT = 13
"""Weeks after which rows are seen to, by the default of `retention`."""
AGAIN = 30
"""Models that are looked at a second and a third time."""
COPIED = ("model", "baseline", "adoption", "increment", "counted", "verdict", "transition",
          "episode", "decision", "tick", "tally", "upkeep")
NAMED = {"model": "name"}
"""Tables that call the model otherwise."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="30 models, eight weeks")
    parser.add_argument("--models", type=int, default=300)
    parser.add_argument("--weeks", type=int, default=52, help="the reference's four among them")
    parser.add_argument("--lived", type=int, help="the weeks among them that are lived through")
    parser.add_argument("--ticked", type=int, default=300, help="models that are looked at")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    parser.add_argument("--folder", type=Path, help="keep everything here")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logs.begin("console", "warning")
    with tempfile.TemporaryDirectory(prefix="holdfast-fleet-") as scratch:
        folder = given.folder or Path(scratch)
        folder.mkdir(exist_ok=True)
        weeks = 8 if given.quick else given.weeks
        answer = measure(folder, models=30 if given.quick else given.models, weeks=weeks,
                         lived=given.lived or weeks, ticked=given.ticked)
    print(json.dumps(answer))
    if given.json:
        given.json.write_text(json.dumps(answer, indent=1) + "\n")
    return 0


def measure(folder: Path, *, models: int, weeks: int, lived: int, ticked: int) -> dict[str, Any]:
    """Build the fleet, let the next hour come, and look at everything."""
    names = [f"model-{place:03}" for place in range(models)]
    last = START + lived * WEEK
    config = settle(folder, names, START - (weeks - lived) * WEEK, last)
    answer: dict[str, Any] = {"models": models, "weeks": weeks, "weeks_lived": lived}
    with Store.open(config.store) as store:
        deps = Deps(config, str(folder / "holdfast.yaml"), store, Registry(config.mlflow), None,
                    None)
        answer |= history(deps, last)
        kept(deps, last)
        older(store, names[0], weeks - lived, lived)
        answer |= copied(store, names)
        answer["store_bytes"] = size(folder)
        answer |= hour(deps, last + HOUR + timedelta(minutes=10), ticked)
        answer |= surface(deps)
        answer |= tended(deps, last + DAY + HOUR)
        answer["store_bytes_in_the_end"] = size(folder)
    answer["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return answer


def settle(folder: Path, names: list[str], first: datetime, last: datetime) -> Config:
    """The log, a file per day, the registered champion, and the configuration."""
    from mlflow import MlflowClient

    (folder / "log").mkdir(exist_ok=True)
    for place in range((first - START) // DAY, (last + DAY - START) // DAY):
        file = folder / "log" / f"{START + place * DAY:%Y-%m-%d}.parquet"
        if not file.exists():
            day(place).to_parquet(file, index=False)
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(uri, uri)
    if not (folder / "holdfast.yaml").exists():
        client.create_registered_model("fleet")
        version = client.create_model_version("fleet", source="file:///nowhere")
        client.set_registered_model_alias("fleet", "champion", version.version)
    model = {
        "registered_model": "fleet",
        "log": {"source": "log/{date}.parquet", "timestamp": "moment", "id": "id",
                "model_version": "version", "prediction": "answer", "score": "score",
                "label": "truth", "positive_label": "yes"},
        "maturity": {"delay": "1d"}, "window": {"length": "1h", "lateness": "5m"},
        "reference": {"from": START.isoformat(), "to": (START + REFERENCE).isoformat()}}
    path = folder / "holdfast.yaml"
    path.write_text(yaml.safe_dump({"mlflow": {"tracking_uri": uri}, "http": {"port": 0},
                                    "models": [{"name": name, **model} for name in names]}))
    return load(path).config


def day(place: int) -> pd.DataFrame:
    """A day of rows; from time to time a column moves for some days, so that there are alarms."""
    rng = np.random.default_rng([7, place % 2**32])
    rows = 24 * ROWS
    moment = START + place * DAY
    values = rng.normal(size=(rows, NUMERIC))
    values[:, 3] += 1.5 * (place % 90 > 84)
    frame = pd.DataFrame({f"x{at}": values[:, at] for at in range(NUMERIC)})
    for at in range(CATEGORICAL):
        frame[f"c{at}"] = rng.integers(0, 3 + 2 * at, rows).astype(str)
    score = 1 / (1 + np.exp(-frame["x0"]))
    names = np.array(["no", "yes"])
    return frame.assign(
        id=place * rows + np.arange(rows), version="1", score=score,
        moment=pd.date_range(moment, periods=rows, freq=DAY / rows),
        answer=names[(score > 0.5).astype(int)],
        truth=names[(rng.random(rows) < score).astype(int)])


def history(deps: Deps, last: datetime) -> dict[str, Any]:
    """The first model's life up to ``last``, four weeks at a time, each followed by two hourly
    ticks and by upkeep: what the second tick and upkeep cost, and the store's bytes, by weeks."""
    began, model = time.process_time(), deps.config.models[0]
    now, lived = START + REFERENCE + HOUR, deps.store.recorded(model.name).folded_to
    while lived is not None and now < min(lived, last):
        now = min(now + 4 * WEEK, last)
    ages: dict[str, dict[str, Any]] = {}
    while True:
        assert attend(model, deps, now), deps.store.troubles()[model.name]
        if now >= last:
            break
        attend(model, deps, now + HOUR)
        tick = timed(lambda at=now + 2 * HOUR: attend(model, deps, at))
        done, seconds = _tended(deps, [model], now)
        store = deps.store.size()
        ages[str((now - START) // WEEK)] = {"tick_cpu_seconds": tick, "store_bytes": store,
                                            "upkeep_cpu_seconds": seconds, "upkeep": done}
        print(f"{now:%Y-%m-%d} after {time.process_time() - began:.0f} s: tick {tick} s, "
              f"{store / 1e6:.1f} MB", file=sys.stderr, flush=True)
        now = min(now + 4 * WEEK, last)
    return {"history_cpu_seconds": round(time.process_time() - began, 1), "by_age": ages,
            "verdicts_per_model": sum(deps.store.verdict_totals().values())}


def kept(deps: Deps, now: datetime) -> None:
    """The first model's old rows are seen to, and the file is as small as it can be."""
    lines = deps.store.verdict_totals()
    _tended(deps, deps.config.models[:1], now)
    deps.store.compact()
    assert deps.store.verdict_totals() == lines


def tended(deps: Deps, now: datetime) -> dict[str, Any]:
    """A day later: what has become old meanwhile, of all models."""
    done, seconds = _tended(deps, deps.config.models, now)
    return {"upkeep_cpu_seconds": seconds, "upkeep": done}


def _tended(deps: Deps, models: Sequence[Model], now: datetime) -> tuple[dict[str, int], float]:
    began = time.process_time()
    found = upkeep(models, deps.config, deps.store, now)
    assert found.keys() == {model.name for model in models}
    return {what: sum(getattr(item, what) for item in found.values())
            for what in ("merged", "thinned", "dropped")}, round(time.process_time() - began, 1)


def older(store: Store, first: str, weeks: int, lived: int) -> None:
    """The rows of the model's oldest weeks, which were seen to, again and again before it."""
    unit = lived - REFERENCE // WEEK - KEPT
    assert weeks == 0 or unit > 0, "too few weeks are lived for any to be old"
    for table, since, moved in (("increment", START, ("pane", "known_at")),
                                ("verdict", START + REFERENCE, ("known_at", "start", "end"))):
        for done in range(0, weeks, max(unit, 1)):
            span = min(unit, weeks - done) * WEEK
            _again(store, first, (table, moved), since=since, span=span, by=done * WEEK + span)


def _again(store: Store, first: str, of: tuple[str, Sequence[str]], *, since: datetime,
           span: timedelta, by: timedelta) -> None:
    """The model's rows of a span again, under earlier dates."""
    table, moved = of
    with store._engine.connect().execution_options(holdfast_write=True) as connection:
        info = connection.execute(text(f"PRAGMA table_info(holdfast_{table})")).all()
        columns = [f'"{row[1]}"' for row in info if row[1] != "id"]
        given = [f"{column} - :by" if column.strip('"') in moved else column for column in columns]
        connection.execute(text(
            f"INSERT INTO holdfast_{table} ({', '.join(columns)}) SELECT {', '.join(given)} "
            f"FROM holdfast_{table} WHERE model = :first AND {moved[0]} >= :since AND "
            f"{moved[0]} < :until"), {"first": first, "by": by // MICRO,
                                      "since": (since - EPOCH) // MICRO,
                                      "until": (since + span - EPOCH) // MICRO})
        connection.commit()


def copied(store: Store, names: list[str]) -> dict[str, Any]:
    """The first model's rows under the names of all others."""
    first = names[0]
    with store._engine.connect().execution_options(holdfast_write=True) as connection:
        for table in COPIED:
            name = NAMED.get(table, "model")
            info = connection.execute(text(f"PRAGMA table_info(holdfast_{table})")).all()
            columns = [row[1] for row in info if row[1] != "id"]
            chosen = ", ".join(f'"{column}"' for column in columns)
            given = ", ".join(
                ":other" if column == name else
                f"replace(\"{column}\", :first, :other)" if column in {"line", "name", "state"}
                else f'"{column}"' for column in columns)
            for other in names[1:]:
                connection.execute(text(
                    f"INSERT INTO holdfast_{table} ({chosen}) SELECT {given} FROM "
                    f"holdfast_{table} WHERE \"{name}\" = :first"), {"first": first,
                                                                    "other": other})
                connection.commit()
        connection.execute(text("UPDATE holdfast_change SET number = number + 1"))
        connection.execute(text("INSERT INTO holdfast_touched SELECT '', number FROM "
                                "holdfast_change WHERE true ON CONFLICT (model) DO UPDATE SET "
                                "number = excluded.number"))
        connection.commit()
        rows = {table: connection.execute(text(f"SELECT count(*) FROM holdfast_{table}")).scalar()
                for table in ("increment", "verdict")}
        connection.rollback()
    store._script("PRAGMA wal_checkpoint(TRUNCATE)")
    return {"increments": rows["increment"], "verdicts": rows["verdict"]}


def size(folder: Path) -> int:
    """Bytes of the store's files."""
    return sum(path.stat().st_size for path in folder.glob("holdfast.db*"))


def hour(deps: Deps, now: datetime, ticked: int) -> dict[str, Any]:
    """Ticks that find an hour of news, the first and the second of the process, and one that finds
    none: by as many workers as the daemon has."""
    told: dict[str, Any] = {}
    for name, at, many in (("tick", now, ticked), ("second_tick", now + HOUR, AGAIN),
                           ("idle_tick", now + HOUR + timedelta(minutes=1), AGAIN)):
        with counted(deps.store) as asked:
            began, wall = time.process_time(), time.monotonic()
            with ThreadPoolExecutor(WORKERS) as pool:
                fine = list(pool.map(lambda model, at=at: attend(model, deps, at),
                                     deps.config.models[:many]))
            assert all(fine), deps.store.troubles()
            told |= {f"{name}_models": len(fine),
                     f"{name}_cpu_seconds": round(time.process_time() - began, 2),
                     f"{name}_wall_seconds": round(time.monotonic() - wall, 2),
                     f"{name}_statements_per_model": round(asked[0] / len(fine), 1)}
    told["rss_after_ticks_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return told


def surface(deps: Deps) -> dict[str, Any]:
    """Metrics and pages: the first look at all, one after a model's tick, and one at no news."""
    from fastapi.testclient import TestClient

    began = time.process_time()
    snapshot = Snapshot(deps.store, deps.config)
    told: dict[str, Any] = {"snapshot_cpu_seconds": round(time.process_time() - began, 2)}
    deps.store.ticked(deps.config.models[1].name, START, 0.1, True)
    told["snapshot_after_one_tick"] = timed(snapshot.refresh)
    with counted(deps.store) as asked:
        told["scrape_cpu_seconds"] = timed(snapshot.render)
        told["scrape_again_cpu_seconds"] = timed(snapshot.render)
        assert asked[0] == 0
    body = snapshot.render()[0]
    told |= {"metrics_bytes": len(body), "series": sum(
        not line.startswith(b"#") for line in body.splitlines())}
    with TestClient(create_app(deps.store, deps.config, snapshot)) as client:
        pages = {"front": "/", "model": "/models/model-001", "api_models": "/api/models",
                 "api_status": "/api/status"}
        for name, path in pages.items():
            for again in ("first", "again"):
                with counted(deps.store) as asked:
                    began = time.process_time()
                    answer = client.get(path)
                    assert answer.status_code == 200, (path, answer.text)
                    told |= {f"{name}_{again}_cpu_seconds":
                             round(time.process_time() - began, 3),
                             f"{name}_{again}_statements": asked[0]}
            told[f"{name}_bytes"] = len(answer.content)
    return told


def timed(work: Callable[[], object]) -> float:
    """CPU seconds."""
    began = time.process_time()
    work()
    return round(time.process_time() - began, 3)


@contextmanager
def counted(store: Store) -> Iterator[list[int]]:
    """How many statements the store is asked meanwhile."""
    asked = [0]

    def note(*_: Any) -> None:
        asked[0] += 1

    event.listen(store._engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(store._engine, "before_cursor_execute", note)


if __name__ == "__main__":
    sys.exit(main())
