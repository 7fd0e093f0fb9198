"""The benchmarks' peers say what the packages say."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.benchmarks.peers import (
    DISTANCE,
    LEVEL,
    Evidently,
    NannyML,
    evidently_drift,
    nannyml_distance,
)
from tests.benchmarks.windowed import Windows, cut, encoded

os.environ["DO_NOT_TRACK"] = "1"


def frame(rows: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """Numbers and categories of the kinds that Evidently tells apart, with nulls."""
    rng = np.random.default_rng(seed)
    heavy = rng.standard_t(3, rows) + shift
    heavy[rng.random(rows) < 0.05] = np.nan
    names = pd.Series(rng.choice(["a", "b", "c", "d"], rows, p=[0.4, 0.3 - shift / 10, 0.2,
                                                                0.1 + shift / 10]))
    names[rng.random(rows) < 0.03] = None
    return encoded(pd.DataFrame({
        "normal": rng.normal(shift, 1, rows),
        "heavy": heavy,
        "count": rng.poisson(40 + shift, rows),
        "few": rng.integers(0, 4, rows).astype(float),
        "small": rng.integers(0, 8, rows),
        "flag": pd.Series(rng.random(rows) < 0.3 + shift / 10),
        "name": names,
    }))


def told(reference: pd.DataFrame, current: pd.DataFrame) -> tuple[dict[str, float], float]:
    """Evidently's drift score per column and its share of drifted columns."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import DriftedColumnsCount, ValueDrift

    names = ["small", "flag", "name"]
    kinds = DataDefinition(categorical_columns=names, numerical_columns=[
        name for name in reference if name not in names])
    plain = [Dataset.from_pandas(each.astype(dict.fromkeys(["flag", "name"], object)),
                                 data_definition=kinds) for each in (reference, current)]
    columns = list(reference)
    report = Report([DriftedColumnsCount(), *(ValueDrift(column=name) for name in columns)])
    answer = report.run(plain[1], plain[0]).dict()["metrics"]
    return ({name: float(item["value"]) for name, item in zip(columns, answer[1:], strict=True)},
            float(answer[0]["value"]["share"]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("size", "rows", "shift"),
                         [(5000, 200, 0.0), (5000, 60, 0.3), (800, 150, 0.2), (1000, 40, 0.0)])
def test_evidently_gives_the_same_scores_and_the_same_share(size: int, rows: int, shift: float
                                                            ) -> None:
    reference, current = frame(size, 1), frame(rows, 2, shift)
    scores, share = told(reference, current)
    window, drifted = Windows(current, np.array([0, rows])), []
    for name, expected in scores.items():
        (value,), (testing,) = evidently_drift(reference[name], current[name], window)
        assert value == pytest.approx(expected, rel=1e-6, abs=1e-12), name
        drifted.append(value < LEVEL if testing else value >= DISTANCE)
    assert np.mean(drifted) == pytest.approx(share)
    for tool, expected in ((Evidently("any", 0.0), share > 0), (Evidently("half", 0.5),
                                                                share >= 0.5)):
        tool.fit(Windows(reference, np.array([0, size])))
        assert (tool.scores(window)[0] >= 1) == expected


def test_windows_are_judged_one_by_one() -> None:
    reference, current = frame(2000, 3), frame(900, 4, 0.1)
    together = [evidently_drift(reference[name], current[name], cut(current, 300))[0]
                for name in current]
    for place in range(3):
        own = current.iloc[300 * place:300 * (place + 1)]
        alone = [evidently_drift(reference[name], own[name], cut(own, 300))[0][0] for name in own]
        assert [values[place] for values in together] == pytest.approx(alone)


def test_wasserstein_is_scipys() -> None:
    rng = np.random.default_rng(5)
    for size, rows in ((1500, 7), (1501, 97), (4000, 4000)):
        reference = pd.Series(rng.normal(size=size).round(2))
        current = pd.Series(rng.normal(0.5, 2, rows).round(2))
        (value,), _ = evidently_drift(reference, current, cut(current.to_frame(), rows))
        expected = stats.wasserstein_distance(reference, current) / np.std(reference)
        assert value == pytest.approx(expected, rel=1e-9)


def waves(first: int, last: int, step: float = 0.0) -> pd.DataFrame:
    """Columns from arithmetic alone, so that another environment makes the same ones."""
    place = np.arange(first, last)
    u, v = (wave - np.floor(wave) for wave in (np.sin(place * 12.9898) * 43758.5453,
                                               np.sin(place * 78.233) * 12543.123))
    names = np.array(["a", "b", "c", "d"])[np.minimum(4 * (u + step / 4)**2, 3).astype(int)]
    return pd.DataFrame({"wave": step - np.log(1 - u * 0.999), "whole": np.floor(30 * v**2),
                         "name": pd.Series(names, dtype=object)})


NANNYML = {
    "wave": ([0.14886160550119446, 0.12268985083092694, 0.4181517369798226, 0.4146039991790099],
             0.18723667960883197),
    "whole": ([0.13073333737506573, 0.12279069859877484, 0.12982488479001175, 0.12383609644988469],
              0.14645742612487517),
    "name": ([0.041978766639381125, 0.026867229844444823, 0.10177004197001328,
              0.12755177876800058], 0.0913625159430311),
}
"""What NannyML 0.13.1 (on pandas 2.3) said of these windows of 250 rows, and its limits:
UnivariateDriftCalculator, jensen_shannon for both kinds, chunk_size=250; its own environment,
as it asks for pandas below 3."""


def test_nannyml_gives_the_same_distances_and_limits() -> None:
    reference = cut(encoded(waves(0, 2000)), 250)
    both = pd.concat([waves(2000, 2500), waves(2500, 3000, 0.4)], ignore_index=True)
    live = cut(encoded(both), 250)
    for name, (values, highest) in NANNYML.items():
        measure = nannyml_distance(reference.frame[name])
        own = measure(reference.frame[name], reference)
        assert measure(live.frame[name], live) == pytest.approx(values, rel=1e-6)
        assert own.mean() + 3 * own.std() == pytest.approx(highest, rel=1e-6)
    tool = NannyML()
    tool.fit(reference)
    assert (tool.scores(live) >= 1).tolist() == [False, False, True, True]
