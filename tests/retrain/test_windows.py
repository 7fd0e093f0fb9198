"""Windows to train on: what each holds, what its rows count, and that the choice pays."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitor.config import Model, load
from monitor.request import Request
from monitor.window import Window, isoformat
from retrain.dataset import Lengths, by_time, lengths
from retrain.scikit import Scikit
from retrain.trainer import WEIGHT, Options, Split
from retrain.windows import fading, windows
from tests.retrain import real
from tests.retrain.shop import request, shop

JOINED = "1997-05-02"  # the day on which the markets were joined


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return shop(tmp_path, "sqlite://", window="90d", holdout="28d")


def model_of(path: Path, **training: Any) -> Model:
    model = load(path).config.models[0]
    return model.model_copy(update={"training": model.training.model_copy(update=training)})


def asked(path: Path, since: str | None = None) -> Request:
    return request(path, "train", champion="1", evidence={"since": since} if since else {})


def elec(start: str, end: str) -> pd.DataFrame:
    frame = real.elec(start, end)
    return frame.assign(_timestamp=frame["_timestamp"].dt.tz_localize("UTC"))


def whole(start: str, end: str) -> Window:
    return Window(*(pd.Timestamp(text, tz="UTC").to_pydatetime() for text in (start, end)))


def june(path: Path) -> tuple[Split, pd.DataFrame]:
    """elec2 as it was known two months after the markets were joined, and its first months."""
    window, model = whole("1997-03-01", "1997-07-01"), model_of(path)
    frame = elec("1997-03-01", "1997-07-01")
    split = by_time(frame, window, lengths(frame, window, asked(path, JOINED), model))
    return split, elec("1996-05-06", "1996-07-06")


def test_all_since_recent_and_the_reference(path: Path) -> None:
    split, older = june(path)
    found = dict(windows(split, older, request=asked(path, JOINED), model=model_of(path)))
    assert list(found) == ["the last 90d", "since 1997-05-02T00:00:00Z",
                           "the most recent third", "the reference and the last 90d"]
    assert found["the last 90d"].train is split.train
    since = found["since 1997-05-02T00:00:00Z"].train
    assert since["_timestamp"].min() == pd.Timestamp(JOINED, tz="UTC")
    assert all(item.validation is split.validation and item.holdout is split.holdout
               for item in found.values())
    both = found["the reference and the last 90d"].train
    assert len(both) == len(older) + len(split.train)
    assert both[WEIGHT].is_monotonic_increasing
    assert both[WEIGHT].min() == 0.1


def test_without_evidence_or_reference_there_are_fewer(path: Path) -> None:
    split, older = june(path)
    names = [name for name, _ in windows(split, older.iloc[:0], request=asked(path),
                                         model=model_of(path))]
    assert names == ["the last 90d", "the most recent third"]
    few = windows(split, older, request=asked(path), model=model_of(path, windows=["recent"]))
    assert [name for name, _ in few] == ["the most recent third"]


def test_a_window_with_too_few_rows_is_left_out(path: Path) -> None:
    split, older = june(path)
    late = isoformat(split.train["_timestamp"].max().to_pydatetime() - timedelta(hours=5))
    found = windows(split, older.iloc[:0], request=asked(path, late), model=model_of(path))
    assert "since" not in " ".join(name for name, _ in found)


def test_rows_fade_by_half_lives() -> None:
    end = datetime.fromisoformat("2026-01-31T00:00:00+00:00")
    times = pd.Series([end - timedelta(days=days) for days in (0, 10, 20, 400)])
    np.testing.assert_allclose(fading(times, end, timedelta(days=10)), [1.0, 0.5, 0.25, 0.1])


def test_balanced_classes_count_the_same(path: Path) -> None:
    split, older = june(path)
    skewed = Split(pd.concat([split.train[split.train["_label"] == "UP"].head(200),
                              split.train[split.train["_label"] == "DOWN"]]),
                   split.validation, split.holdout)
    for _, made in windows(skewed, older, request=asked(path),
                           model=model_of(path, class_balance="balanced")):
        sums = made.train.groupby("_label")[WEIGHT].sum()
        assert sums["UP"] == pytest.approx(sums["DOWN"])


def test_an_embargo_lies_before_validation_and_holdout(path: Path) -> None:
    window, model = whole("1997-03-01", "1997-07-01"), model_of(path, embargo=timedelta(days=2))
    frame = elec("1997-03-01", "1997-07-01")
    split = by_time(frame, window, lengths(frame, window, asked(path), model))
    for before, after in ((split.train, split.validation), (split.validation, split.holdout)):
        gap = after["_timestamp"].min() - before["_timestamp"].max()
        assert timedelta(days=2) < gap <= timedelta(days=2, hours=1)


def test_a_drift_that_began_lately_leaves_something_to_learn_from(path: Path) -> None:
    frame, window = elec("1997-03-01", "1997-07-01"), whole("1997-03-01", "1997-07-01")
    plain = lengths(frame, window, asked(path), model_of(path))
    assert plain.holdout == timedelta(days=28)
    late = lengths(frame, window, asked(path, "1997-06-11"), model_of(path))
    assert late.holdout == timedelta(days=8)
    split = by_time(frame, window, late)
    assert split.train["_timestamp"].max() > pd.Timestamp("1997-06-15", tz="UTC")
    assert lengths(frame, window, asked(path, "1997-06-29"), model_of(path)
                   ).holdout == timedelta(days=7)


def test_a_short_log_keeps_the_same_share_for_the_gate(path: Path) -> None:
    window = whole("1997-03-01", "1997-07-01")
    short = lengths(elec("1997-05-01", "1997-07-01"), window, asked(path), model_of(path))
    assert short == Lengths(timedelta(days=14), (window.length - timedelta(days=14)) * 0.2,
                            timedelta(days=1))


def test_validation_prefers_newer_rows_once_there_are_some_and_the_gate_agrees(path: Path) -> None:
    """elec2 three months after the markets were joined, by a linear model."""
    window, frame = whole("1997-04-01", "1997-08-01"), elec("1997-04-01", "1997-08-01")
    split = by_time(frame, window, lengths(frame, window, asked(path, JOINED), model_of(path)))
    options = Options("binary", categorical=("day",), settings={"estimator": "linear"})
    fitted = {name: Scikit().fresh(item, options) for name, item in
              windows(split, frame.iloc[:0], request=asked(path, JOINED), model=model_of(path))}
    best = min(fitted, key=lambda name: fitted[name].loss)

    def accuracy(name: str) -> float:
        said = fitted[name].answer(split.holdout).argmax(axis=1)
        return float(np.mean(said == (split.holdout["_label"] == "UP")))

    assert best != "the last 90d"
    assert accuracy(best) > accuracy("the last 90d")
