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
from monitor.contrast import severity
from monitor.decide import CALM
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

    A window is ``days`` long, and the budget is one alarm in ``BUDGET`` windows. ``unsettled``
    tells which of the last scored windows keep an open episode open.
    """

    name = "holdfast"

    def __init__(self, days: int = 1, mode: str = "fixed", **policy: Any) -> None:
        policy = {"alarm_budget": f"1 per {BUDGET * days}d"} | policy
        self.model: Model = model(policy=policy, window={"length": f"{days}d"},
                                  reference={"mode": mode})
        self.baseline: Baseline | None = None
        self.past: list[tuple[datetime, Profile]] = []
        self.unsettled = np.zeros(0, dtype=bool)

    def fit(self, reference: Windows) -> None:
        texts = reference.frame.select_dtypes("category").columns
        plain = reference.frame.astype(dict.fromkeys(texts, object))
        bins, aside = make_bins(summaries(plain, list(plain)), self.model)
        length = self.model.calendar.length
        starts = reference.starts or tuple(START + place * length
                                           for place in range(len(reference)))
        held = dict(zip(starts, profiles(reference, bins), strict=True))
        span = Window(starts[0], starts[-1] + length)
        every = [starts[0] + place * length for place in range(span.length // length)]
        self.past = [(start, held.get(start, Profile.empty(bins))) for start in every]
        self.baseline = calibrate("1", bins, [profile for _, profile in self.past], Outcomes(),
                                  model=self.model, window=span, set_aside=aside)

    def scores(self, windows: Windows) -> npt.NDArray[np.float64]:
        assert self.baseline is not None
        assert self.baseline.window is not None
        length, reach = self.model.calendar.length, self.baseline.reach
        starts = windows.starts or tuple(self.baseline.window.end + place * length
                                         for place in range(len(windows)))
        earlier = [each for each in self.past if each[0] < starts[0]]
        found, self.unsettled = np.zeros(len(windows)), np.zeros(len(windows), dtype=bool)
        part, last = self.baseline.part(["feature"]), -CALM - 1
        assert part is not None
        for place, profile in enumerate(profiles(windows, self.baseline.bins)):
            earlier = [each for each in earlier if each[0] >= starts[place] - reach]
            near = [each for each in earlier if self.baseline.wanted(starts[place], each[0])]
            window = starts[place], near
            found[place] = severity(part, self.baseline, profile, window=window) or 0.0
            if found[place] < 1 and place - last <= CALM:  # only then it matters
                self.unsettled[place] = not self.baseline.compared(profile, window=window).calm
            last = place if found[place] >= 1 or self.unsettled[place] else last
            earlier.append((starts[place], profile))
        return found


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


def makers(days: int = 1, mode: str = "fixed", **policy: Any) -> dict[str, Callable[[], Tool]]:
    """Every tool by name; the windows' length, the reference mode and ``policy`` are holdfast's."""
    return {"holdfast": lambda: HoldfastTool(days, mode, **policy), **PEERS}


def unsettled(tool: Tool, count: int) -> npt.NDArray[np.bool_]:
    """Which of the windows scored last keep an open episode open although they do not alarm."""
    return tool.unsettled if isinstance(tool, HoldfastTool) else np.zeros(count, dtype=bool)
