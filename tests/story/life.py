"""A model's life in event time, driven by one process that may be killed at any moment.

Each instant logs a day of answers by whoever serves then, brings the labels that came, and ticks
until nothing is under way any more. Everything follows from the seed, so that two lives are equal
however often one of them was interrupted: ``told`` is what they are compared by.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from monitor.assembly import opened
from monitor.byhand import ask
from monitor.config import Loaded, load
from monitor.daemon import tick
from monitor.deps import Deps
from monitor.registry import FOLDER, Registry
from monitor.simulate import START, Plan, deliveries
from monitor.store import Store
from monitor.window import Window, isoformat

DAY = timedelta(days=1)
PLAN = Plan(days=54, rows_per_day=110, slow_from=400, abrupt_at=31, seed=5)
REFERENCE = Window(START, START + 28 * DAY)
NAME = "deliveries"
RIGHT = {"1": (0.85, 0.45), "2": (0.4, 0.4)}
"""Share of right answers before and after the drift; later versions do as well as the first."""


def settle_in(folder: Path, *, tracking: str = "sqlite:///mlflow.db", site: str = "",
              reports: bool = False, **changed: Any) -> None:
    """Write the configuration and the reference's log: what is there before the life begins."""
    folder.mkdir(parents=True)
    log = {"source": "log/*.parquet", "timestamp": "timestamp", "ingested_at": "received_at",
           "id": "request_id", "model_version": "model_version", "prediction": "prediction",
           "score": "score", "positive_label": "yes", "segments": ["vehicle"],
           "labels": {"source": "labels/*.parquet", "id": "request_id", "value": "late",
                      "timestamp": "label_at"}}
    policy = {"performance": {"rows": 200}, "retrain": {"minimum_rows": 200, "cooldown": "5d"},
              "probation": {"length": "6d", "rows": 150}, "promotion": "automatic",
              "rollback": "automatic", "compression": {"rows": 0}}
    # so few rows for choices that none is made by a clock: the uncompressed point is taken
    training = {"kind": "torch", "window": "8d", "holdout": "4d", "epochs": 20, "widths": [16],
                "prune": []}
    model: dict[str, Any] = {
             "name": NAME, "log": log, "maturity": {"ratio": 0.9, "delay": "3d"},
             "reference": {"from": isoformat(REFERENCE.start), "to": isoformat(REFERENCE.end)},
             "window": {"length": "1d", "lateness": "1h"}, "policy": policy, "training": training}
    model |= {key: model.get(key, {}) | value if isinstance(value, dict) else value
              for key, value in changed.items()}
    (folder / "holdfast.yaml").write_text(
        yaml.safe_dump({"mlflow": {"tracking_uri": tracking}, "http": {"url": site},
                        "reports": reports,
                        "models": [model]}))
    frame = deliveries(PLAN)
    write_log(folder, frame, REFERENCE, "1")
    write_labels(folder, frame, REFERENCE)


def live(folder: Path, *, until: int = PLAN.days) -> None:
    """Live on from wherever the life stands."""
    loaded, frame = load(folder / "holdfast.yaml"), deliveries(PLAN)
    model = loaded.config.models[0]
    with opened(loaded) as parts:
        deps = replace(parts, reporter=None)
        if not deps.store.requests(NAME):
            ask(model, deps, reason="the first champion", bootstrap=True,
                now=REFERENCE.end + 4 * DAY, wait=False)
        if not (folder / "cursor").exists():
            _settle(deps, REFERENCE.end + model.calendar.lateness)
        for number in range(_cursor(folder), until):
            day = Window(START + number * DAY, START + (number + 1) * DAY)
            champion = deps.registry.champion(model.registered)
            assert champion is not None
            write_log(folder, frame, day, champion.version)
            write_labels(folder, frame, day)
            _settle(deps, day.end + model.calendar.lateness)
            _whole(folder / "cursor", partial(Path.write_text, data=str(number + 1)))


def _settle(deps: Deps, now: datetime) -> None:
    """Tick until a tick changes nothing and no request is open."""
    model, before = deps.config.models[0], -1
    while deps.store.change() != before or deps.store.open_request(NAME) is not None:
        before = deps.store.change()
        tick(model, deps, now)
        row = deps.store.open_request(NAME)
        while row is not None and deps.launcher and deps.launcher.running(row.request.request_id):
            time.sleep(0.05)


def _cursor(folder: Path) -> int:
    path = folder / "cursor"
    return int(path.read_text()) if path.exists() else (REFERENCE.end - START) // DAY


def write_log(folder: Path, frame: pd.DataFrame, span: Window, version: str, *,
              right: tuple[float, float] | None = None) -> None:
    """The span's rows as ``version`` answers them; what was logged once stays."""
    place = folder / "log" / f"{span.start:%Y-%m-%dT%H}.parquet"
    if place.exists():
        return
    before, after = right or RIGHT.get(version, RIGHT["1"][:1] * 2)
    luck = np.random.default_rng([PLAN.seed, int(version)]).random(len(frame))
    correct = luck < np.where(frame["timestamp"] < PLAN.abrupt, before, after)
    other = frame["late"].map({"yes": "no", "no": "yes"})
    answer = np.where(correct, frame["late"], other)
    rows = frame.assign(prediction=answer, model_version=version,
                        score=np.where(answer == "yes", 0.5 + luck / 2.5, 0.5 - luck / 2.5))
    inside = (frame["timestamp"] >= span.start) & (frame["timestamp"] < span.end)
    kept = rows[inside].drop(columns=["late", "label_at"])
    _whole(place, lambda path: kept.to_parquet(path, index=False))


def write_labels(folder: Path, frame: pd.DataFrame, span: Window) -> None:
    """The labels that came within the span."""
    came = frame[(frame["label_at"] >= span.start) & (frame["label_at"] < span.end)]
    _whole(folder / "labels" / f"{span.start:%Y-%m-%d}.parquet",
           lambda path: came[["request_id", "late", "label_at"]].to_parquet(path, index=False))


def _whole(path: Path, write: Any) -> None:
    """Write a file so that it is there as a whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    draft = path.with_name(f".draft-{path.name}")
    write(draft)
    os.replace(draft, path)


def told(folder: Path) -> dict[str, list[Any]]:
    """Everything that a life left behind and that no clock decides, by what it is about."""
    loaded = load(folder / "holdfast.yaml")
    with Store.open(loaded.config.store) as store:
        return _stored(store, loaded) | _registered(loaded)


def _stored(store: Store, loaded: Loaded) -> dict[str, list[Any]]:
    adoptions = store.adoptions(NAME)
    span = Window(START, START + PLAN.days * DAY)
    counts = [(key, item.pane, item.known_at, item.version, item.segment,
               item.profile.pack().hex(), repr(item.outcomes))
              for key in {item.key: None for item in adoptions if item.key}
              for item in store.increments(NAME, key, span, until=span.end + 99 * DAY)]
    return {
        "verdict rows": [row.line for row in store.verdicts(NAME)],
        "counts": [hashlib.sha256(repr(item).encode()).hexdigest() for item in counts],
        "adoptions": [asdict(item) for item in adoptions],
        "transitions": [asdict(item) for item in store.transitions(NAME)],
        "episodes": [asdict(item) for item in store.episodes(NAME)],
        "decisions": [asdict(item) | {"id": 0} for item in store.decisions(NAME)],
        "requests": [(row.request.request_id, row.status, (row.outcome or {}).get("version"),
                      (row.outcome or {}).get("reason")) for row in store.requests(NAME)],
        "alias moves": [(item.alias, item.to, item.expected, item.at, item.result)
                        for item in store.intents(NAME, open_only=False)],
    }


def _registered(loaded: Loaded) -> dict[str, list[Any]]:
    registry = Registry(loaded.config.mlflow)
    versions = registry.versions(NAME)
    pieces = ("baseline.json", "contract.json")
    experiment = registry.experiment(NAME)
    runs = registry.client.search_runs([experiment], "tags.`holdfast.request_id` != ''",
                                       max_results=1000)
    return {
        "versions": [(item.version, sorted(item.tags.items())) for item in versions],
        "content": [(item.version, name, hashlib.sha256(
            registry.artifact_bytes(item.run_id, f"{FOLDER}/{name}") or b"").hexdigest())
            for item in versions for name in pieces]
            + [(item.version, "weights", _weights(registry, item.run_id)) for item in versions],
        "aliases": sorted(registry.aliases(NAME).items()),
        "runs": sorted((run.data.tags["holdfast.request_id"], run.data.tags["holdfast.outcome"])
                       for run in runs),
    }


def _weights(registry: Registry, run_id: str) -> str:
    """A hash of the tensors alone: the file's header has no order."""
    from safetensors.numpy import load

    found = load(registry.artifact_bytes(run_id, f"{FOLDER}/weights.safetensors") or b"")
    return hashlib.sha256(b"".join(name.encode() + found[name].tobytes()
                                   for name in sorted(found))).hexdigest()


def doubled(folder: Path) -> list[str]:
    """What is there twice that may be there once, in words."""
    found = told(folder)
    once = {
        "verdict": [(row["version"], row["segment"], row["start"], row["revision"])
                    for row in found["verdict rows"]],
        "request": [row[0] for row in found["requests"]],
        "version of a request": [dict(tags)["holdfast.request_id"]
                                 for _, tags in found["versions"]],
        "run of a request": [request for request, _ in found["runs"]],
        "transition": [(row["at"], row["before"], row["after"], row["cause"])
                       for row in found["transitions"]],
    }
    return [f"{what} {key}: {times} times" for what, keys in once.items()
            for key, times in Counter(map(str, keys)).items() if times > 1]
