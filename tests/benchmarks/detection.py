"""How well drift is told from noise, beside Evidently's and NannyML's defaults, on one machine.

    python -m tests.benchmarks.detection [--quick] [--only PART,...] [--json FILE] [--write]

Prints one JSON object. ``--quick`` takes fewer streams, ``--only`` some of the parts,
``--write`` writes the tables into ``docs/benchmarks.md``. Parts: ``false_alarms`` (real streams
without drift), ``simulated`` (alarms over budget on simulated ones), ``delay`` (to real onsets, at
one alarm rate), ``seasonal`` (alarms that no loss follows), ``estimation`` (performance without
labels), ``power`` (of the shifts that `baseline` promises to find), ``judging`` (CPU seconds).
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from tests.benchmarks import delay, false_alarms, judging, power, seasons, simulated, tables

Answer = dict[str, Any]


def _simulated(quick: bool) -> Answer:
    ratios = simulated.measure(quick)
    return {"simulated_ratio": ratios["holdfast"]["ratio"], "simulated_ratios": ratios}


def _seasonal(quick: bool) -> Answer:
    told = seasons.measure(quick)
    alarms = {name: {tool: each["alarms"] for tool, each in tools.items() if tool != "stream"}
              for name, tools in told.items()}
    return {"seasonal": alarms, "seasonal_details": told}


def _estimation(quick: bool) -> Answer:
    """What ``tests.benchmarks.estimation`` measures, once there is one."""
    if importlib.util.find_spec("tests.benchmarks.estimation") is None:
        return {}
    found: Answer = importlib.import_module("tests.benchmarks.estimation").measure(quick)
    return found


def _power(quick: bool) -> Answer:
    told = power.measure(quick)
    return {"power_error": round(power.worst(told), 4), "power": told}


PARTS: dict[str, Callable[[bool], Answer]] = {
    "false_alarms": lambda quick: {"false_alarms": false_alarms.measure(quick)},
    "simulated": _simulated,
    "delay": lambda quick: {"delay": delay.measure(quick)},
    "seasonal": _seasonal,
    "estimation": _estimation,
    "power": _power,
    "judging": judging.measure,
}


def run(quick: bool, only: list[str], say: Callable[[str], None]) -> Answer:
    """Every part that is asked for."""
    answer: Answer = {"quick": quick}
    for name in only:
        started = time.monotonic()
        answer |= PARTS[name](quick)
        say(f"{name}: {time.monotonic() - started:.0f} s")
    return answer


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer streams")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    given = parser.parse_args()
    only = given.only.split(",")
    if unknown := sorted(set(only) - set(PARTS)):
        parser.error(f"--only: {', '.join(unknown)}; right are {', '.join(PARTS)}")
    warnings.simplefilter("ignore")
    with threadpool_limits(1):  # threads that wait for a busy core cost more than they do
        answer = run(given.quick, only, lambda line: print(line, file=sys.stderr))
    print(json.dumps(answer))
    if given.json:
        given.json.write_text(json.dumps(answer, indent=1) + "\n")
    if given.write:
        tables.write(answer)


if __name__ == "__main__":
    main()
