"""Alarms over budget, pooled over simulated streams without drift, without a minimum effect."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.benchmarks.counting import episodes, interval
from tests.benchmarks.simulation import simulate
from tests.benchmarks.tools import BUDGET, HoldfastTool, makers, unsettled
from tests.benchmarks.windowed import Windows

STREAMS, SPARSE = 200, 5
"""Simulated streams; every ``SPARSE``-th is shown to the peers too."""
WEEKLY, WEEKS = 100, (26, 26, 36, 52)
"""Streams that are judged week by week too, and their reference weeks in turn."""


def measure(quick: bool) -> dict[str, Any]:
    """Per tool: alarms per alarm that the budget allows, with a 95 % bootstrap over streams.

    ``times`` is the share of windows that alarm.
    """
    tools = makers(minimum_effect={})
    ratios: dict[str, list[float]] = {name: [] for name in tools}
    times: dict[str, list[float]] = {name: [] for name in tools}
    for seed in range(15 if quick else STREAMS):
        reference, live = simulate(seed).parts
        for name, make in tools.items():
            if name != "holdfast" and seed % SPARSE:
                continue
            tool = make()
            tool.fit(reference)
            over = tool.scores(live) >= 1
            opened = episodes(over, unsettled(tool, over.size))
            ratios[name].append(len(opened) * BUDGET / len(live))
            times[name].append(float(over.mean()))
    ratios["holdfast, weeks"], times["holdfast, weeks"] = _weekly(8 if quick else WEEKLY)
    told = {}
    for name, values in ratios.items():
        low, high = interval(np.array(values), np.mean)
        told[name] = {"ratio": round(float(np.mean(values)), 4), "low": round(low, 4),
                      "high": round(high, 4), "streams": len(values),
                      "times": round(float(np.mean(times[name])), 4)}
    return told


def _weekly(streams: int) -> tuple[list[float], list[float]]:
    """Alarms over budget of each stream cut into weeks, and the share of weeks that alarm."""
    ratios, times = [], []
    for seed in range(streams):
        days = simulate(seed).windows
        edges = days.edges[::7]
        weeks = Windows(days.frame.iloc[:edges[-1]], edges)
        first = min(WEEKS[seed % len(WEEKS)], len(weeks) - 20)
        tool = HoldfastTool(7, minimum_effect={})
        tool.fit(weeks.part(0, first))
        over = tool.scores(weeks.part(first, len(weeks))) >= 1
        ratios.append(len(episodes(over, unsettled(tool, over.size))) * BUDGET / over.size)
        times.append(float(over.mean()))
    return ratios, times
