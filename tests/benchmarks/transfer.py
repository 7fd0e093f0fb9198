"""Transfer: how few labels a fine-tuned champion needs, beside a network trained from scratch.

Run as `python -m tests.benchmarks.retrain --only transfer`. A champion learns from rows before the
drift. At each of several later dates the newest rows are labelled; a network is trained from
scratch on all of them and on the newest quarter, and the champion is fine-tuned on that same
quarter, by the trainers and default options of a retrain. The newest fifth of what each may see is
its validation. All answer the rows that come next. Whatever is drawn (first weights, order of rows)
is drawn anew for each seed, the champion's too. A quick run takes one seed and the fewest rows.

``difference`` is accuracy of the fine-tuned one on a quarter less that of the one from scratch on
all, over the same rows; its 95 % interval resamples seeds and blocks of rows, crossed (Owen 2007,
The pigeonhole bootstrap).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retrain.contract import class_codes
from retrain.finetune import Network, probabilities
from retrain.image import Image
from retrain.text import Text
from retrain.trainer import Options, Split, Trainer
from tests.data import stream

Told = dict[str, Any]
Right = NDArray[np.float64]
Answers = dict[str, list[Right]]
"""Who -> who was right at which row, an array per date."""

NAMES = ("never", "scratch_on_few", "scratch", "tuned")
"""The champion as it was, a network from scratch on a quarter of the rows and on all, and the
champion fine-tuned on that quarter."""

VALIDATION = 0.2
"""Share of labelled rows, the newest of them, that choices are made on."""

SHARE = 4
"""The fine-tuned network sees one of so many labelled rows."""

BLOCKS = 20
"""Blocks of rows per date that the interval resamples."""


@dataclass(frozen=True, slots=True)
class Case:
    """A stream: who learns from it, until which row the champion does, and what comes then."""

    trainer: Trainer
    frame: Callable[[], pd.DataFrame]
    task: Any
    champion: int
    """Rows that the champion learns from."""
    dates: tuple[int, ...]
    """Rows that lie in the past at each date."""
    rows: tuple[int, ...]
    """Newest labelled rows that training from scratch has, in turn."""
    later: int
    """Rows after a date that answers are judged on."""
    seeds: int


def images() -> pd.DataFrame:
    """Chest X-rays; from row 3882 on the sick are rarer, from 4406 on another hospital's."""
    return stream("pneumonia_mnist").drop(columns="split").rename(
        columns={"timestamp": "_timestamp", "label": "_label"})


def texts() -> pd.DataFrame:
    """Physics papers from 2004 to 2019; words and what is written about change by and by."""
    frame = stream("arxiv_physics_text")[["timestamp", "title", "abstract_snippet", "primary_cat"]]
    frame = frame.rename(columns={"timestamp": "_timestamp", "primary_cat": "_label"})
    return frame.assign(_label=frame["_label"].astype(object))


CASES = {
    "pneumonia_mnist": Case(Image(), images, "binary", 3000, (4282, 4606, 4806), (400,), 200, 5),
    "arxiv_physics_text": Case(Text(), texts, "multiclass", 16_000, (32_000, 40_000, 48_000),
                               (4000, 8000, 16_000), 4000, 3),
}
"""Stream -> what is measured on it."""


def measure(quick: bool = False) -> Told:
    """{stream: {labelled rows: what fine-tuning is worth there}}."""
    return {name: told(replace(case, seeds=1, rows=case.rows[:1]) if quick else case)
            for name, case in CASES.items()}


def told(case: Case) -> Told:
    """By labelled rows: accuracy of everybody and the paired difference."""
    frame = case.frame()
    found = [lived(case, frame, seed) for seed in range(case.seeds)]
    times = [f"{frame['_timestamp'].iloc[date]:%Y-%m-%d}" for date in case.dates]
    return {str(rows): summed([one[rows] for one in found], times) for rows in case.rows}


def summed(found: list[Answers], times: list[str]) -> Told:
    """The numbers of what every seed found, pooled over dates."""
    right = {name: np.stack([np.concatenate(one[name]) for one in found]) for name in NAMES}
    gap, sizes = right["tuned"] - right["scratch"], [len(part) for part in found[0]["tuned"]]
    low, high = interval(gap, sizes)
    by_date = np.split(gap.mean(axis=0), np.cumsum(sizes)[:-1])
    return {**{name: float(values.mean()) for name, values in right.items()},
            "seeds": len(found), "difference": float(gap.mean()), "interval": [low, high],
            "by_date": {time: float(part.mean())
                        for time, part in zip(times, by_date, strict=True)}}


def lived(case: Case, frame: pd.DataFrame, seed: int) -> dict[int, Answers]:
    """Who was right at which row after each date, by labelled rows, with one seed."""
    options = Options(case.task, classes=tuple(sorted(frame["_label"].unique().tolist())),
                      seed=seed)
    champion = case.trainer.fresh(split(frame, case.champion, case.champion), options)
    answers: dict[int, Answers] = {rows: {name: [] for name in NAMES} for rows in case.rows}
    for date, rows in product(case.dates, case.rows):
        many, few = (split(frame, date, count) for count in (rows, rows // SHARE))
        later = frame.iloc[date:date + case.later]
        for name, fitted in (("never", champion),
                             ("scratch_on_few", case.trainer.fresh(few, options)),
                             ("scratch", case.trainer.fresh(many, options)),
                             ("tuned", case.trainer.tuned(champion, few, options))):
            answers[rows][name].append(right_at(fitted, later))
    return answers


def split(frame: pd.DataFrame, date: int, count: int) -> Split:
    """The newest ``count`` rows at a date; no holdout, as nothing is promoted here."""
    rows = frame.iloc[max(0, date - count):date].reset_index(drop=True)
    cut = round(len(rows) * (1 - VALIDATION))
    return Split(rows.iloc[:cut], rows.iloc[cut:].reset_index(drop=True), rows.iloc[:0])


def right_at(fitted: Any, rows: pd.DataFrame) -> Right:
    """1 where the network names the label, ``[n]``."""
    assert isinstance(fitted, Network)
    said = probabilities(fitted, rows).argmax(axis=1)
    return np.asarray(said == class_codes(rows["_label"], fitted.classes), dtype=float)


def interval(gap: Right, sizes: list[int], draws: int = 4000) -> tuple[float, float]:
    """95 % of the mean of ``gap [seeds, rows]``, with seeds and blocks of rows drawn anew."""
    cuts = np.cumsum([0, *sizes])
    blocks = [part for start, size in zip(cuts, sizes, strict=False)
              for part in np.array_split(np.arange(start, start + size), BLOCKS)]
    sums = np.stack([gap[:, part].sum(axis=1) for part in blocks], axis=1)
    lengths = np.array([len(part) for part in blocks])
    rng, means = np.random.default_rng(0), []
    for _ in range(draws):
        seeds = rng.integers(len(gap), size=len(gap))
        chosen = rng.integers(len(blocks), size=len(blocks))
        means.append(sums[np.ix_(seeds, chosen)].mean(axis=0).sum() / lengths[chosen].sum())
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
