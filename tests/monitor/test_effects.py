"""Effects: errors of a regression from marginal counts, with intervals, refuted by labels."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monitor import effects
from monitor.baseline import Baseline
from monitor.binning import make_bins
from monitor.bins import Bins
from monitor.config import Limits
from monitor.effects import Losses, LossEstimator
from monitor.outcomes import Outcomes
from monitor.performance import Performance
from monitor.reference import build
from monitor.source import Source
from monitor.window import Window, parse_time
from tests.monitor.counted import cells, feature_of, model, profile, summary

MODEL = model(task="regression", log={"prediction": "given", "label": "truth"})
START = parse_time("2026-01-01")


def rows(n: int, seed: int, *, hard: float = 0.3, noise: float = 1.0) -> pd.DataFrame:
    """Rows of a regression that errs thrice as much in zone ``b``, more so for large values."""
    rng = np.random.default_rng(seed)
    size, zone = rng.gamma(2, 1, n), np.where(rng.random(n) < hard, "b", "a")
    given = 10 + 3 * size
    spread = noise * np.where(zone == "b", 3.0, 1.0) * (0.5 + 0.25 * size)
    return pd.DataFrame({"timestamp": pd.Timestamp(START) + pd.to_timedelta(np.arange(n), unit="m"),
                         "size": size, "zone": zone, "given": given,
                         "truth": given + spread * rng.normal(0, 1, n)})


def sampled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns={"given": "_prediction", "truth": "_label"})


def learned(frame: pd.DataFrame) -> LossEstimator:
    bins, _ = make_bins({"size": summary(frame["size"]), "zone": summary(frame["zone"]),
                         "prediction:given": summary(frame["given"])}, MODEL)
    found = effects.learn(sampled(frame), bins)
    assert found is not None
    return LossEstimator(bins, found)


@pytest.fixture(scope="module")
def ours() -> LossEstimator:
    return learned(rows(8000, 1))


def test_sampled_values_fall_in_the_cells_that_they_are_counted_in() -> None:
    rng = np.random.default_rng(2)
    odd = np.where(rng.random(500) < 0.1, np.nan, rng.lognormal(0, 2, 500))
    for column in (pd.Series(odd, name="x"), pd.Series(rng.integers(0, 9, 500), name="k"),
                   pd.Series(rng.choice(["a", "b", None], 500), name="c"),
                   pd.Series(rng.random(500) < 0.5, name="b"),
                   pd.Series(pd.Timestamp("2026-01-01") + pd.to_timedelta(
                       rng.integers(0, 10**6, 500), unit="s"), name="t")):
        item = feature_of(column)
        assert effects.place(column, item).tolist() == cells(column, item).tolist()


def test_the_estimate_follows_rows_that_are_harder(ours: LossEstimator) -> None:
    before = rows(4000, 3)
    for hard in (0.0, 0.3, 1.0):
        window = rows(4000, 4, hard=hard)
        mae, rmse, mape = ours.estimate(profile(window, ours.bins).counts, ["mae", "rmse", "mape"])
        error = (window["given"] - window["truth"]).abs()
        assert mae.value == pytest.approx(error.mean(), rel=0.1)
        assert rmse.value == pytest.approx(np.sqrt((error**2).mean()), rel=0.2)
        assert mape.value == pytest.approx((error / window["truth"].abs()).mean(), rel=0.15)
        assert mae.estimated
    usual = (before["given"] - before["truth"]).abs().mean()
    assert usual < 0.7 * mae.value  # what the reference alone would have said


def test_the_interval_covers_what_is_realized(ours: LossEstimator) -> None:
    inside = dict.fromkeys(("mae", "rmse"), 0)
    for trial in range(200):
        window = rows(300, 100 + trial, hard=0.1 + 0.004 * trial)
        error = (window["given"] - window["truth"]).to_numpy()
        real = {"mae": np.abs(error).mean(), "rmse": np.sqrt((error**2).mean())}
        for item in ours.estimate(profile(window, ours.bins).counts, list(inside)):
            inside[item.metric] += item.low <= real[item.metric] <= item.high
    assert all(0.9 <= count / 200 <= 0.995 for count in inside.values()), inside


def test_labels_that_err_more_refute_the_estimate(ours: LossEstimator) -> None:
    for noise, state in ((1.0, "valid"), (1.5, "invalid")):
        window = rows(2000, 5, noise=noise)
        error = float((window["given"] - window["truth"]).abs().mean())
        found = ours.check(Outcomes(), profile(window, ours.bins).counts,
                           Performance("mae", error, None, None, 2000), level=0.99)
        assert found.state == state
    odd = ours.check(Outcomes(), profile(window, ours.bins).counts,
                     Performance("r2", 0.5, None, None, 2000), level=0.99)
    assert (odd.state, odd.reason) == ("unknown", "r2 is not estimated")


def test_too_little_teaches_nothing_and_too_few_rows_are_not_estimated(ours: LossEstimator
                                                                      ) -> None:
    assert effects.learn(sampled(rows(100, 6)), ours.bins) is None
    assert effects.learn(sampled(rows(500, 6)), Bins(())) is None
    few, = ours.estimate(profile(rows(10, 7), ours.bins).counts, ["mae"])
    assert few.value is None
    assert "at least 30" in few.reason
    assert Losses.from_dict(ours.losses.to_dict()) == ours.losses


def test_a_baseline_from_a_log_brings_its_losses_along(tmp_path: Path) -> None:
    frame = rows(6000, 8)
    frame.to_parquet(tmp_path / "log.parquet")
    span = Window(START, START + timedelta(days=4))
    mapped = model(task="regression", maturity={"delay": "1h"}, log={
        "source": str(tmp_path / "log.parquet"), "prediction": "given", "label": "truth"})
    with Source(mapped, Limits()) as source:
        made = build(mapped, source, "1", span=span)
        assert made is not None
        again = Baseline.from_json(made.to_json())
        counts = sum((item.profile.counts for item in source.count(
            made.bins, span, since=None, until=span.end + timedelta(days=2))),
            np.zeros(made.bins.size, dtype=np.int64))
    error = (frame["given"] - frame["truth"]).abs()[:4 * 1440].mean()
    for baseline in (made, again):
        assert isinstance(baseline.estimator, LossEstimator)
        found, = baseline.estimator.estimate(counts, ["mae"])
        assert found.value == pytest.approx(error, rel=0.03)
