"""Runner: the command line that all benchmarks of several parts share."""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from tests.benchmarks import tables

Parts = Mapping[str, Callable[[bool], dict[str, Any]]]
"""Part -> what measures it, quickly or in full, as {key: its numbers}."""


def run(parts: Parts, quick: bool, only: list[str], say: Callable[[str], None]
        ) -> dict[str, Any]:
    """Every part that is asked for."""
    answer: dict[str, Any] = {"quick": quick}
    for name in only:
        started = time.monotonic()
        answer |= parts[name](quick)
        say(f"{name}: {time.monotonic() - started:.0f} s")
    return answer


def main(parts: Parts, about: str) -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer streams or rows")
    parser.add_argument("--only", default=",".join(parts), help="parts, separated by commas")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    given = parser.parse_args()
    only = given.only.split(",")
    if unknown := sorted(set(only) - set(parts)):
        parser.error(f"--only: {', '.join(unknown)}; right are {', '.join(parts)}")
    warnings.simplefilter("ignore")
    with threadpool_limits(1):  # threads that wait for a busy core cost more than they do
        answer = run(parts, given.quick, only, lambda line: print(line, file=sys.stderr))
    print(json.dumps(answer))
    if given.json:
        given.json.write_text(json.dumps(answer, indent=1) + "\n")
    if given.write:
        tables.write(answer)
