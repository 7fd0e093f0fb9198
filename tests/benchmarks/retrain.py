"""What retraining is worth: the loop, the search, and smaller networks.

    python -m tests.benchmarks.retrain [--quick] [--only PART,...] [--json FILE] [--write]

Prints one JSON object. ``--quick`` takes fewer rows, ``--only`` some of the parts, ``--write``
writes the tables into ``docs/benchmarks.md``. What is measured is written in the module of each
part.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from tests.benchmarks import tables

PARTS = {"loop": "loop", "compression": "compression", "search": "searching"}
"""Part -> the module that measures it."""


def measured(part: str, quick: bool) -> dict[str, Any]:
    """{part: its numbers}."""
    module = importlib.import_module(f"tests.benchmarks.{PARTS[part]}")
    found = module.measured(quick) if part == "loop" else module.measure(quick)
    return found if part in found else {part: found}


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rows")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    given = parser.parse_args()
    only = given.only.split(",")
    if unknown := sorted(set(only) - set(PARTS)):
        parser.error(f"--only: {', '.join(unknown)}; right are {', '.join(PARTS)}")
    warnings.simplefilter("ignore")
    answer: dict[str, Any] = {"quick": given.quick}
    with threadpool_limits(1):
        for part in only:
            started = time.monotonic()
            answer |= measured(part, given.quick)
            print(f"{part}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    print(json.dumps(answer))
    if given.json:
        given.json.write_text(json.dumps(answer, indent=1) + "\n")
    if given.write:
        tables.write(answer)


if __name__ == "__main__":
    main()
