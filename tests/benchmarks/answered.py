"""Tools that wait for labels: holdfast's degradation, and NannyML's realized performance.

A window's labels are known one window later, so that the strength of a window speaks of those
before it. Windows hold the columns ``prediction``, ``label`` and, for the reference, ``promised``:
what a model that had not seen the row would have answered.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from monitor.config import Model
from monitor.degradation import change
from monitor.fold import POOL, SEASON
from monitor.outcomes import SUMS, Outcomes, total
from monitor.performance import Performance, measure
from monitor.power import levels
from tests.benchmarks.tools import BUDGET
from tests.benchmarks.windowed import Windows
from tests.monitor.counted import model

Floats = npt.NDArray[np.float64]
BLOCKS = 24
"""Stretches of a window that outcomes are kept in, as the product does."""


class HoldfastAnswered:
    """holdfast with ``alarm_on: [degraded]``: pools of matured labels against what was promised.

    A loss of ``drop``, as a share of the reference's mean absolute error, is too bad.
    """

    name = "holdfast"
    labelled = True

    def __init__(self, days: int, drop: float) -> None:
        log = {"prediction": "prediction", "label": "label"}
        policy: dict[str, Any] = {"alarm_budget": f"1 per {BUDGET * days}d",
                                  "alarm_on": ["degraded"], "performance": {"drop": drop}}
        self.model: Model = model(log=log, policy=policy, task="regression",
                                  window={"length": f"{days}d"}, maturity={"delay": f"{days}d"})
        self.reference = Performance("mae", None, None, None, 0)
        self.past: list[tuple[datetime, Outcomes]] = []

    def fit(self, reference: Windows) -> None:
        self.past = list(zip(reference.starts, self._outcomes(reference, "promised"), strict=True))
        self.reference = self._measured(total(part for _, part in self.past))

    def scores(self, windows: Windows) -> Floats:
        known: list[tuple[datetime, Outcomes]] = []
        found = np.zeros(len(windows))
        for place, own in enumerate(self._outcomes(windows, "prediction")):
            if known:
                told = change(self._measured(self._pooled(known)), self.reference, metric="mae",
                              drop=self.model.policy.performance.drop)
                found[place] = 0.0 if told is None else told.extent
            known.append((windows.starts[place], own))
        return found

    def _pooled(self, known: list[tuple[datetime, Outcomes]]) -> Outcomes:
        """The newest outcomes, as the fold pools them."""
        end, rows = known[-1][0] + self.model.calendar.length, 0
        chosen: list[Outcomes] = []
        for start, outcomes in reversed(known):
            held = len(chosen) * self.model.calendar.length
            if end - start > POOL or (
                    rows >= self.model.policy.performance.rows and held >= SEASON):
                break
            chosen.append(outcomes)
            rows += outcomes.n
        return total(chosen)

    def _measured(self, outcomes: Outcomes) -> Performance:
        return measure(outcomes, "mae", positive=None,
                       block=max(self.model.calendar.pane, timedelta(days=1)),
                       level=levels(self.model)["interval"])

    def _outcomes(self, windows: Windows, answer: str) -> list[Outcomes]:
        """Each window's outcomes, in blocks of equal numbers of its rows."""
        length = int(self.model.calendar.length.total_seconds())
        found = []
        for place, start in enumerate(windows.starts):
            part = windows.frame.iloc[windows.edges[place]:windows.edges[place + 1]]
            error = (part[answer] - part["label"]).to_numpy(dtype=np.float64)
            block = np.arange(error.size) * BLOCKS // max(error.size, 1)
            sums: dict[int, tuple[float, ...]] = {}
            for index in np.unique(block):
                own = error[block == index]
                values = {"n": own.size, "absolute": np.abs(own).sum(), "error": own.sum(),
                          "squared": (own**2).sum()}
                sums[int(start.timestamp()) + int(index) * length // BLOCKS] = tuple(
                    float(values.get(name, 0.0)) for name in SUMS)
            found.append(Outcomes({}, sums))
        return found


class NannyMLAnswered:
    """NannyML's realized mean absolute error per chunk, beyond mean + 3 sd of the reference's."""

    name = "nannyml-labels"
    labelled = True

    def __init__(self) -> None:
        self.limit = np.inf

    def fit(self, reference: Windows) -> None:
        own = _errors(reference, "promised")
        self.limit = float(own.mean() + 3 * own.std())

    def scores(self, windows: Windows) -> Floats:
        return np.concatenate([[0.0], _errors(windows, "prediction")[:-1]]) / self.limit


def _errors(windows: Windows, answer: str) -> Floats:
    gap = (windows.frame[answer] - windows.frame["label"]).abs().to_numpy(dtype=np.float64)
    return np.asarray(np.add.reduceat(gap, windows.edges[:-1]) / windows.sizes)


def seen(windows: Windows, tool: object) -> Windows:
    """The windows as the tool sees them: labels and promises only if it waits for labels."""
    if getattr(tool, "labelled", False):
        return windows
    hidden = [name for name in ("label", "promised") if name in windows.frame]
    frame: pd.DataFrame = windows.frame.drop(columns=hidden)
    return Windows(frame, windows.edges, windows.starts)
