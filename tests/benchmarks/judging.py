"""CPU seconds to judge 30 windows of 1,000 features from stored profiles."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from monitor.judge import Evidence, judge
from monitor.outcomes import Outcomes
from monitor.profile import Profile
from monitor.window import Window
from tests.benchmarks.tools import DAY, START, HoldfastTool, profiles
from tests.benchmarks.windowed import cut

FEATURES, WINDOWS, ROWS = 1000, 30, 300


def measure(quick: bool) -> dict[str, Any]:
    """Seconds of this process for unpacking, comparing and judging; a short run scales up."""
    features = FEATURES // 5 if quick else FEATURES
    rng = np.random.default_rng(3)
    rows = ROWS * 2 * WINDOWS
    frame = pd.DataFrame({f"x{place}": rng.normal(size=rows) if place % 4 else
                          rng.integers(0, 12, rows) for place in range(features)})
    windows = cut(frame, ROWS)
    tool = HoldfastTool()
    before = time.process_time()
    tool.fit(windows.part(0, WINDOWS))
    calibrated = time.process_time() - before
    assert tool.baseline is not None
    packed = [each.pack() for each in profiles(windows.part(WINDOWS, 2 * WINDOWS),
                                               tool.baseline.bins)]
    before = time.process_time()
    for place, stored in enumerate(packed):
        inputs = Profile.unpack(stored)
        span = Window(START + place * DAY, START + (place + 1) * DAY)
        judge(Evidence(span, "", 0, span.end, ("inputs",), inputs, inputs, Outcomes(), False, None,
                       Outcomes(), timedelta(days=7), (), 0, tool.baseline),
              tool.baseline, tool.model)
    scale = FEATURES / features
    return {"judge_cpu_seconds": round(scale * (time.process_time() - before), 3),
            "calibrate_cpu_seconds": round(scale * calibrated, 1), "features": features}
