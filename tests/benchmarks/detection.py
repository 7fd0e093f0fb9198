"""How well drift is told from noise, beside Evidently's and NannyML's defaults, on one machine.

    python -m tests.benchmarks.detection [--quick] [--only PART,...] [--json FILE] [--write]

Prints one JSON object. ``--quick`` takes fewer streams, ``--only`` some of the parts,
``--write`` writes the tables into ``docs/benchmarks.md``. Parts: ``false_alarms`` (real streams
without drift), ``fresh`` (about a fresh version's answers), ``simulated`` (alarms over budget on
simulated streams), ``delay`` (to real onsets, at one alarm rate), ``seasonal`` (alarms that no loss
follows), ``estimation`` (performance without labels), ``power`` (of the shifts that `baseline`
promises to find), ``judging`` (CPU seconds).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.benchmarks import (
    delay,
    estimation,
    false_alarms,
    fresh,
    judging,
    power,
    seasons,
    simulated,
)
from tests.benchmarks.runner import main

Answer = dict[str, Any]


def _simulated(quick: bool) -> Answer:
    ratios = simulated.measure(quick)
    return {"simulated_ratio": ratios["holdfast"]["ratio"], "simulated_ratios": ratios}


def _seasonal(quick: bool) -> Answer:
    told = seasons.measure(quick)
    alarms = {name: {tool: each["alarms"] for tool, each in tools.items() if tool != "stream"}
              for name, tools in told.items()}
    return {"seasonal": alarms, "seasonal_details": told}


def _power(quick: bool) -> Answer:
    told = power.measure(quick)
    return {"power_error": round(power.worst(told), 4), "power": told}


PARTS: dict[str, Callable[[bool], Answer]] = {
    "false_alarms": lambda quick: {"false_alarms": false_alarms.measure(quick)},
    "fresh": lambda quick: {"fresh": fresh.measure(quick)},
    "simulated": _simulated,
    "delay": lambda quick: {"delay": delay.measure(quick)},
    "seasonal": _seasonal,
    "estimation": estimation.measure,
    "power": _power,
    "judging": judging.measure,
}


if __name__ == "__main__":
    main(PARTS, __doc__)
