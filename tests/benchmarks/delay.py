"""How long after a real onset each tool alarms, all of them at one alarm rate.

A resampled stream is [reference, calm windows] from blocks of the rows before the onset, none of
them used twice where there are enough, then rows after the onset: each block of them is drawn from
near its own place, so that a gradual onset stays gradual. The factor on a tool's strength is the
one at which the calm windows of all streams hold ``RATE`` alarms per window.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.benchmarks.counting import factor_for, interval, rate
from tests.benchmarks.streams import log, whole_weeks
from tests.benchmarks.tools import Tool, makers
from tests.benchmarks.windowed import Places, Windows, cut, taken, whole_blocks

RATE = 0.01
"""Alarms per window that every tool is set to."""
STREAMS = 50
DAY = {"elec2": 48, "bike_sharing": 24}
"""Rows of a day of the streams that are resampled in weeks."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Onset:
    """Where a stream changes, and how it is resampled.

    ``calm`` rows are drawn from for everything before the onset (with replacement if ``again``),
    in blocks of ``block`` rows (0: whole weeks); ``reference`` and ``before`` count windows of
    ``rows`` rows, ``after`` those that follow the onset, whose blocks move by ``near`` rows.
    A window is said to be ``days`` long.
    """

    stream: str
    row: int
    calm: tuple[int, int]
    rows: int
    block: int
    reference: int
    before: int
    after: int
    near: int
    again: bool = False
    days: int = 1


ONSETS = {
    "elec2": Onset("elec2", 17_424, (0, 17_424), 48, 0, 182, 168, 28, 672),
    "car_loan": Onset("car_loan", 75_000, (0, 75_000), 100, 100, 200, 200, 30, 5000),
    "insects_gradual": Onset("insects_gradual", 14_028, (3600, 10_400), 50, 50, 60, 70, 40, 200),
    "bike_sharing": Onset("bike_sharing", 8645, (0, 8645), 168, 0, 26, 23, 20, 8734,
                            days=7),
    "pneumonia_mnist 3882": Onset("pneumonia_mnist", 3882, (0, 3882), 30, 1, 65, 60, 20, 524),
    "pneumonia_mnist 4406": Onset("pneumonia_mnist", 4406, (3882, 4406), 30, 1, 60, 60, 20, 624,
                                  again=True),
}
"""Insects: the rows between two changes of the label mix, so that none of them is taken for calm.
Bikes: blocks after the onset are weeks of the whole of 2012, as the reference is of 2011, so that
growth is found rather than winter. Images at 4,406: from the cohort before it, bootstrapped."""


def resampled(onset: Onset, seed: int) -> tuple[Windows, Windows]:
    """Reference windows, and live ones: ``onset.before`` calm ones, then those after the onset."""
    rng = np.random.default_rng([7, seed])
    frame, _ = log(onset.stream)
    calm = (whole_weeks(onset.stream, *onset.calm) if onset.block == 0
            else whole_blocks(*onset.calm, onset.block))
    needed = (onset.reference + onset.before) * onset.rows
    drawn = (rng.integers(0, len(calm), -(-needed // len(calm[0]))) if onset.again
             else rng.permutation(len(calm)))
    before = np.concatenate([calm[place] for place in drawn])[:needed]
    assert before.size == needed, (onset, before.size)
    windows = cut(taken(frame, [before, *_after(onset, len(frame), rng)]), onset.rows)
    return (windows.part(0, onset.reference),
            windows.part(onset.reference, onset.reference + onset.before + onset.after))


def _after(onset: Onset, end: int, rng: np.random.Generator) -> Iterator[Places]:
    """Blocks for the windows after the onset, each from near where it would be in order."""
    length = onset.block or 7 * DAY[onset.stream]
    for place in range(-(-onset.after * onset.rows // length)):
        low = max(onset.row, onset.row + place * length - onset.near)
        high = min(end - length, max(onset.row, onset.row + place * length) + onset.near)
        start = int(rng.integers(min(low, high), high + 1))
        if onset.block == 0:
            start -= (start - onset.row) % DAY[onset.stream]
        yield np.arange(start, start + length)


def delays(runs: Mapping[str, list[Floats]], onset: Onset) -> dict[str, Any]:
    """Per tool the median delay in windows with its 95 % bootstrap interval; 1 is at once.

    A run that never alarms counts as one window more than were looked at; ``found`` is the share
    of runs that alarm, ``rate`` the alarm rate reached.
    """
    told = {}
    for name, scores in runs.items():
        calm = [run[:onset.before] for run in scores]
        factor = factor_for(calm, RATE)
        over = np.array([run[onset.before:] for run in scores]) * factor >= 1
        first = np.where(over.any(axis=1), over.argmax(axis=1) + 1, onset.after + 1)
        low, high = interval(first.astype(np.float64), np.median)
        told[name] = {"median": float(np.median(first)), "low": low, "high": high,
                      "mean": round(float(first.mean()), 3),
                      "found": round(float(over.any(axis=1).mean()), 3),
                      "rate": round(rate(calm, factor), 4), "factor": round(factor, 4),
                      "rows": onset.rows}
    return told


def scored(onset: Onset, streams: int) -> dict[str, list[Floats]]:
    """Every tool's strengths over the live windows of every resampled stream."""
    runs: dict[str, list[Floats]] = {}
    for seed in range(streams):
        reference, live = resampled(onset, seed)
        for name, make in makers(onset.days, minimum_effect={}).items():
            tool: Tool = make()
            tool.fit(reference)
            runs.setdefault(name, []).append(tool.scores(live))
    return runs


def measure(quick: bool) -> dict[str, Any]:
    """Per onset and tool: the delay."""
    return {name: delays(scored(onset, 5 if quick else STREAMS), onset)
            for name, onset in ONSETS.items()}
