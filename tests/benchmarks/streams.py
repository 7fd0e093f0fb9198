"""The real streams as the benchmarked tools see them: which columns, which rows, which blocks."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from tests.benchmarks.windowed import Places, encoded, weeks
from tests.data import stream

ASIDE: dict[str, list[str]] = {
    "control_elec2_shuffled": ["date", "class"],
    "elec2": ["date", "class"],
    "car_loan": ["repaid"],
    "employment_ma": ["id", "year", "employed"],
    "metro_traffic": ["traffic_volume"],
    "insects_gradual": ["class"],
    "bike_sharing": ["yr", "casual", "registered"],
}
"""Indexes and labels, by the data's notes; shipped predictions stay, as a log holds them.
``bike_sharing`` keeps its label (the drift is in it) and loses what tells the year."""

CLASSES = {"car_loan": ["y_pred"], "employment_ma": ["prediction"]}
"""Columns of whole numbers that are classes."""

LEAST = {"elec2": 1.0, "metro_traffic": 0.8, "bike_sharing": 0.9}
"""Share of the usual rows that a week must hold to be permuted: some hours are not in the files."""


@cache
def log(name: str) -> tuple[pd.DataFrame, pd.Series]:
    """The stream's columns, encoded, and its event times."""
    frame = stream(name)
    stamps = frame["timestamp"]
    if name == "pneumonia_mnist":
        return embedded(frame), stamps
    frame = frame.drop(columns=["timestamp", *ASIDE.get(name, [])])
    frame = frame.astype(dict.fromkeys(CLASSES.get(name, []), str))
    return encoded(frame), stamps


def embedded(frame: pd.DataFrame, components: int = 16, rows: int = 1940) -> pd.DataFrame:
    """Images as principal components of the pixels of the first rows, their mean and spread."""
    pixels = np.stack([np.frombuffer(image, np.uint8) for image in frame["image"]]) / 255.0
    first = pixels[:rows]
    center = first.mean(axis=0)
    _, _, axes = np.linalg.svd(first - center, full_matrices=False)
    parts = (pixels - center) @ axes[:components].T
    columns = {f"component {index}": parts[:, index] for index in range(components)}
    return pd.DataFrame({**columns, "mean": pixels.mean(axis=1), "spread": pixels.std(axis=1)})


def permuted_weeks(name: str, before: int | None, seed: int) -> pd.DataFrame:
    """The stream's whole weeks up to row ``before`` in a random order, so that the year is no
    drift while the dependence within weeks stays; seed 0 permutes too."""
    frame, stamps = log(name)
    blocks = weeks(stamps[:before], LEAST[name])
    order = np.random.default_rng(seed).permutation(len(blocks))
    return frame.iloc[np.concatenate([blocks[place] for place in order])].reset_index(drop=True)


def whole_weeks(name: str, first: int, last: int) -> list[Places]:
    """Rows ``first`` to ``last - 1`` as whole weeks."""
    _, stamps = log(name)
    stamps = stamps[first:last].reset_index(drop=True)
    return [rows + first for rows in weeks(stamps, LEAST[name])]
