"""Alarms over budget, pooled over simulated streams without drift, without a minimum effect."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.benchmarks.counting import episodes, interval
from tests.benchmarks.simulation import simulate
from tests.benchmarks.tools import BUDGET, makers, unsettled

STREAMS, SPARSE = 200, 5
"""Simulated streams; every ``SPARSE``-th is shown to the peers too."""


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
    told = {}
    for name, values in ratios.items():
        low, high = interval(np.array(values), np.mean)
        told[name] = {"ratio": round(float(np.mean(values)), 4), "low": round(low, 4),
                      "high": round(high, 4), "streams": len(values),
                      "times": round(float(np.mean(times[name])), 4)}
    return told
