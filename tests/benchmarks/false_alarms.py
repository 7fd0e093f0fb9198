"""Alarms on real streams in which nothing happens, against the budget that holdfast was given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from tests.benchmarks.counting import episodes, lowest
from tests.benchmarks.streams import log, permuted_weeks
from tests.benchmarks.tools import BUDGET, makers, unsettled
from tests.benchmarks.windowed import Windows, cut

ROWS = (100, 1000, 10_000)
SHARE = 0.45
"""Share of a stream that is its reference."""
PERMUTATIONS = 5
WEEKS = {"elec2": 17_424, "metro_traffic": None}
"""Streams of permuted weeks, and the row before which nothing happens."""


def controls(name: str, permutations: int) -> Iterator[pd.DataFrame]:
    """The stream without drift: as it is where rows are exchangeable, else in permuted weeks."""
    if name in WEEKS:
        for seed in range(permutations):
            yield permuted_weeks(name, WEEKS[name], seed)
    else:
        frame, _ = log(name)
        yield frame[:75_000] if name == "car_loan" else frame


def split(frame: pd.DataFrame, rows: int) -> tuple[Windows, Windows] | None:
    """Reference and live windows; None where there are fewer than two of either."""
    windows = cut(frame, rows)
    edge = max(round(SHARE * len(windows)), 2)
    if len(windows) - edge < 2:
        return None
    return windows.part(0, edge), windows.part(edge, len(windows))


def measure(quick: bool) -> dict[str, Any]:
    """Per stream, rows in a window and tool: alarms, what the budget expects, lower 95 % bound.

    ``ratio`` is the bound over the budget; ``times`` the share of windows that alarm. Permutations
    of one stream are pooled as if they were independent.
    """
    found: dict[str, Any] = {}
    for name in ("control_elec2_shuffled", "car_loan", "elec2", "metro_traffic", "employment_ma"):
        found[name] = {}
        for rows in ROWS:
            pairs = [pair for frame in controls(name, 2 if quick else PERMUTATIONS)
                     if (pair := split(frame[:60_000] if quick else frame, rows))]
            if pairs:
                found[name][str(rows)] = _counted(pairs)
    return found


def _counted(pairs: list[tuple[Windows, Windows]]) -> dict[str, Any]:
    expected = sum(len(live) for _, live in pairs) / BUDGET
    counted = {}
    for label, make in makers().items():
        alarms, over = 0, 0.0
        for reference, live in pairs:
            tool = make()
            tool.fit(reference)
            flags = tool.scores(live) >= 1
            alarms += len(episodes(flags, unsettled(tool, flags.size)))
            over += float(flags.sum())
        counted[label] = {"alarms": alarms, "expected": round(expected, 4),
                          "low95": round(lowest(alarms), 4),
                          "ratio": round(lowest(alarms) / expected, 4),
                          "times": round(over / (expected * BUDGET), 4)}
    return counted
