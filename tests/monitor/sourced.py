"""Logs of one kind on every backend, and what a source counts in them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitor.bins import Bins, CategoryBins, NumericBins
from monitor.config import Model
from monitor.profile import Profile
from monitor.source import Increment, Source
from monitor.window import Window, parse_time
from tests.monitor.logs import BACKENDS, EXACT, Logs

DAY = timedelta(days=1)
START = parse_time("2026-03-01")
SPAN = Window(START, START + 10 * DAY)
LATER = parse_time("2027-01-01")


@pytest.fixture(params=BACKENDS)
def logs(request: pytest.FixtureRequest, tmp_path: Path) -> Logs:
    return _logs(request, tmp_path)


@pytest.fixture(params=EXACT)
def exact(request: pytest.FixtureRequest, tmp_path: Path) -> Logs:
    return _logs(request, tmp_path)


def _logs(request: pytest.FixtureRequest, folder: Path) -> Logs:
    url = request.getfixturevalue("postgres") if request.param == "postgres" else None
    bucket = request.getfixturevalue("bucket") if request.param == "s3" else None
    return Logs(request.param, folder, url, bucket)


def times(*days: float) -> pa.Array:
    return pa.array([START + day * DAY for day in days], pa.timestamp("us"))


def rows(n: int = 400, days: int = 10, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    at = rng.uniform(0, days, n).round(5)
    score = rng.uniform(0, 1, n).round(4)
    return {"ts": times(*at), "id": [f"r{index}" for index in range(n)],
            "x": rng.normal(0, 1, n).round(6), "k": rng.integers(0, 5, n),
            "c": rng.choice(["a", "b", "c", "d e"], n), "b": rng.random(n) < .3,
            "v": rng.choice(["1", "2"], n), "p": np.where(score > .5, "UP", "DOWN"), "s": score,
            "y": np.where(rng.random(n) < score, "UP", "DOWN")}


def model(source: dict[str, str], **log: Any) -> Model:
    rest = {key: log.pop(key) for key in ("maturity", "privacy", "task", "window", "reference")
            if key in log}
    rest.setdefault("maturity", {"delay": "1d"})
    return Model.model_validate({"name": "m", "log": {"timestamp": "ts", **source, **log}, **rest})


def full(source: dict[str, str], **log: Any) -> Model:
    return model(source, **{"id": "id", "model_version": "v", "prediction": "p", "score": "s",
                            "positive_label": "UP", "label": "y"} | log)


def number(name: str, exact: Sequence[float] = (), **other: Any) -> NumericBins:
    fields = {"role": "feature", "kind": "numeric", "transform": "linear", "center": 0.0,
              "scale": 1.0, "low": -2.0, "high": 2.0, "cells": 8} | other
    return NumericBins(name=name, exact=tuple(exact), **fields)


def category(name: str, categories: Sequence[str], **other: Any) -> CategoryBins:
    fields = {"role": "feature", "kind": "categorical"} | other
    return CategoryBins(name=name, categories=tuple(categories), **fields)


BINS = Bins((
    number("x"), number("k", exact=(0, 1)), category("c", "ab", known=("c",)),
    category("b", ("true",), kind="boolean", known=("false",)), category("p", ("UP", "DOWN"),
    role="prediction"), number("s", role="score", low=0.0, high=1.0, cells=10),
    category("y", ("UP", "DOWN"), role="label")))


def counted(source: Source, bins: Bins, **other: Any) -> list[Increment]:
    return source.count(bins, **{"span": SPAN, "since": None, "until": LATER} | other)


def whole(increments: Sequence[Increment], bins: Bins) -> Profile:
    return sum((item.profile for item in increments if not item.segment), Profile.empty(bins))


def cells(profile: Profile, bins: Bins, key: str) -> list[int]:
    return [int(count) for count in profile.counts[bins.slices[key]]]


def keyed(increments: Sequence[Increment]) -> dict[Any, Any]:
    return {(item.pane, item.known_at, item.version, item.segment): (
        item.profile.tallies, item.profile.counts.tobytes(), item.outcomes.cells,
        item.outcomes.sums) for item in increments}
