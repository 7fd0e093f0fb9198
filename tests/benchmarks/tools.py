"""The tools side by side: holdfast's own baseline, and its peers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from monitor.baseline import Baseline, calibrate
from monitor.binning import make_bins
from monitor.bins import Bins, CategoryBins, FeatureBins
from monitor.config import Model
from monitor.contrast import Earlier, severity
from monitor.outcomes import Outcomes
from monitor.profile import Profile
from monitor.window import Window
from tests.benchmarks.peers import Evidently, NannyML
from tests.benchmarks.windowed import Windows
from tests.monitor.counted import cells, model, summaries

START = datetime(2025, 1, 6, tzinfo=UTC)
"""A Monday: where the first reference window is said to begin, where nothing else is known."""
DAY = timedelta(days=1)
BUDGET = 90
"""Windows per false alarm that holdfast is given."""


class Tool(Protocol):
    """Raw rows in, one strength per window out; 1 is the tool's own threshold."""

    name: str

    def fit(self, reference: Windows) -> None: ...

    def scores(self, windows: Windows) -> npt.NDArray[np.float64]:
        """Windows in time order; a score may use earlier windows of the same call."""
        ...


class HoldfastTool:
    """holdfast's calibrated baseline; ``policy`` are keys of the model's policy.

    A window is ``days`` long, and the budget is one alarm in ``BUDGET`` windows.
    """

    name = "holdfast"

    def __init__(self, days: int = 1, **policy: Any) -> None:
        policy = {"alarm_budget": f"1 per {BUDGET * days}d"} | policy
        self.model: Model = model(policy=policy, window={"length": f"{days}d"})
        self.baseline: Baseline | None = None

    def fit(self, reference: Windows) -> None:
        texts = reference.frame.select_dtypes("category").columns
        plain = reference.frame.astype(dict.fromkeys(texts, object))
        bins, aside = make_bins(summaries(plain, list(plain)), self.model)
        start = reference.starts[0] if reference.starts else START
        span = Window(start, start + len(reference) * self.model.calendar.length)
        self.baseline = calibrate("1", bins, profiles(reference, bins), Outcomes(),
                                  model=self.model, window=span, set_aside=aside)

    def scores(self, windows: Windows) -> npt.NDArray[np.float64]:
        assert self.baseline is not None
        first = self.baseline.window_end or START
        starts = windows.starts or [first + place * self.model.calendar.length
                                    for place in range(len(windows))]
        counted = list(zip(starts, profiles(windows, self.baseline.bins), strict=True))
        reach = max(self.baseline.reach // self.model.calendar.length, 1)
        return np.array([self._score(start, profile, counted[max(place - reach, 0):place])
                         for place, (start, profile) in enumerate(counted)])

    def _score(self, start: datetime, profile: Profile, earlier: Earlier) -> float:
        assert self.baseline is not None
        part = self.baseline.part(["feature"])
        assert part is not None
        return severity(part, self.baseline, profile, window=(start, earlier)) or 0.0


def profiles(windows: Windows, bins: Bins) -> list[Profile]:
    """Every window counted; each row's cells are found once."""
    owner, parts = windows.owner, []
    for feature in bins.features:
        flat = owner * feature.size + _cells(windows.frame[feature.name], feature)
        counts = np.bincount(flat, minlength=len(windows) * feature.size)
        parts.append(counts.reshape(len(windows), feature.size))
    stack = np.hstack(parts).astype(np.int64)
    return [Profile(int(rows), counts) for rows, counts in
            zip(windows.sizes, stack, strict=True)]


def _cells(column: pd.Series, feature: FeatureBins) -> npt.NDArray[np.intp]:
    """The cell of every row; a categorical's categories are looked up once."""
    if not isinstance(feature, CategoryBins) or not isinstance(column.dtype, pd.CategoricalDtype):
        return cells(column, feature)
    known = cells(pd.Series(column.cat.categories.astype(object)), feature)
    return np.append(known, 0)[column.cat.codes.to_numpy()]


Makers = Mapping[str, Callable[[], Tool]]

PEERS: Makers = {
    "evidently-any": lambda: Evidently("evidently-any", 0.0),
    "evidently-half": lambda: Evidently("evidently-half", 0.5),
    "nannyml": NannyML,
}


def makers(days: int = 1, **policy: Any) -> dict[str, Callable[[], Tool]]:
    """Every tool by name; windows of so many days, and ``policy``, are holdfast's."""
    return {"holdfast": lambda: HoldfastTool(days, **policy), **PEERS}
