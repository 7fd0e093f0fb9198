"""What a profile costs: CPU seconds and memory against a bare scan and against Evidently.

    python -m tests.benchmarks.profile [--quick] [--json FILE]

1,000,000 rows x 51 columns (41 numeric, 10 categorical) of zstd Parquet are generated, and a
reference of 200,000. Every measurement runs in a process of its own, in one run on one machine:
``cpu_ratio_to_scan`` is (profile + all statistics) / (sum or longest text of every column),
``cpu_ratio_to_evidently`` the same to Evidently's DataDriftPreset on the same rows (its frames
already in memory), ``memory_ratio_10x`` peak memory at ten times the rows. ``--quick`` takes a
fifth of the rows, and a tenth of those again for Evidently and for what it is compared with.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

NUMERIC, CATEGORICAL = 41, 10
START = datetime(2026, 1, 1, tzinfo=UTC)
CHUNK = 250_000


def _numbers(kind: int, n: int, rng: np.random.Generator) -> Any:
    """One numeric column; six shapes take turns."""
    shapes: tuple[Callable[[], Any], ...] = (
        lambda: rng.normal(size=n),
        lambda: rng.lognormal(0, 1.5, n),
        lambda: np.where(rng.random(n) < 0.6, 0.0, rng.exponential(10, n)),
        lambda: rng.poisson(20, n),
        lambda: rng.uniform(0, 100, n).round(2),
        lambda: rng.integers(0, 100_000, n))
    return shapes[kind % len(shapes)]()


def _texts(kind: int, n: int, rng: np.random.Generator) -> Any:
    import pyarrow as pa

    size = (2, 3, 5, 10, 20, 50, 100, 200, 500, 2000)[kind]
    names = pa.array([f"value {index}" for index in range(size)])
    return names.take(pa.array(np.minimum(rng.zipf(1.5, n), size) - 1))


def generate(file: Path, rows: int, seed: int) -> None:
    """Write one day of rows, a quarter of a million at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    for first in range(0, rows, CHUNK):
        n, rng = min(CHUNK, rows - first), np.random.default_rng([seed, first])
        micros = ((np.arange(first, first + n) + 0.5) * (86_400e6 / rows)).astype("int64")
        at = np.datetime64(START.replace(tzinfo=None)) + micros.astype("timedelta64[us]")
        columns = {"timestamp": pa.array(at)}
        columns |= {f"x{kind}": pa.array(_numbers(kind, n, rng)) for kind in range(NUMERIC)}
        columns |= {f"c{kind}": _texts(kind, n, rng) for kind in range(CATEGORICAL)}
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
        writer.write_table(table, row_group_size=125_000)
    assert writer is not None
    writer.close()


def model(file: Path) -> Any:
    from monitor.config import Model

    return Model.model_validate({
        "name": "benchmark", "log": {"source": str(file), "timestamp": "timestamp"}})


def reference(file: Path, answer: Path) -> None:
    """Bins and counts of the reference, as JSON: made once, before anything is measured."""
    from monitor.binning import make_bins
    from monitor.config import Limits
    from monitor.source import Source

    with Source(model(file), Limits()) as source:
        bins, aside = make_bins(source.describe(None), model(file))
        assert not aside, aside
        span = source.span()
        assert span is not None
        (pane,) = source.count(bins, span, since=None, until=START + timedelta(days=9))
    packed = base64.b64encode(pane.profile.pack()).decode()
    answer.write_text(json.dumps({"bins": bins.to_dict(), "profile": packed}))


def measured(work: Callable[[], object]) -> dict[str, float]:
    """CPU seconds of this process while it works, and its peak memory in bytes."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_seconds": seconds, "peak_bytes": peak()}


def peak() -> float:
    """Peak memory of this process in bytes; ``ru_maxrss`` would include its parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    assert found is not None
    return int(found[1]) * 1024.0


def profile(current: Path, told: Path) -> dict[str, float]:
    """The current file counted in the reference's bins, and every statistic of every column."""
    import ibis

    from monitor.bins import Bins, key_of
    from monitor.config import Limits
    from monitor.drift import STATISTICS
    from monitor.profile import Profile
    from monitor.source import Source

    known = json.loads(told.read_text())
    bins = Bins.from_dict(known["bins"])
    old = Profile.unpack(base64.b64decode(known["profile"]))

    ibis.to_sql(ibis.literal(1))  # imports are not what is measured

    def work() -> None:
        with Source(model(current), Limits()) as source:
            span = source.span()
            assert span is not None
            (pane,) = source.count(bins, span, since=None, until=START + timedelta(days=9))
        for feature in bins.features:
            part = bins.slices[key_of(feature)]
            for statistic in STATISTICS.values():
                statistic(old.counts[part], pane.profile.counts[part], feature)

    return measured(work)


def scan(current: Path, _told: Path) -> dict[str, float]:
    """The least that reading every column costs: sums of numbers, longest texts."""
    import duckdb

    sums = [f"sum(x{kind})" for kind in range(NUMERIC)]
    sums += [f"max(length(c{kind}))" for kind in range(CATEGORICAL)]

    def work() -> None:
        with duckdb.connect(config={"threads": 2}) as connection:
            connection.execute(f"SELECT {', '.join(sums)} FROM '{current}'").fetchall()

    return measured(work)


def evidently(current: Path, told: Path) -> dict[str, float]:
    """Evidently's DataDriftPreset on frames that are already in memory."""
    os.environ["DO_NOT_TRACK"] = "1"
    import warnings

    import pandas as pd

    warnings.simplefilter("ignore")
    from evidently import Report
    from evidently.presets import DataDriftPreset

    now = pd.read_parquet(current).drop(columns="timestamp")
    old = pd.read_parquet(told.with_suffix(".parquet")).drop(columns="timestamp")
    return measured(lambda: Report([DataDriftPreset()]).run(now, old))


PARTS = {"profile": profile, "scan": scan, "evidently": evidently}


def apart(part: str, current: Path, told: Path, *, times: int = 1) -> dict[str, float]:
    """One measurement in a process of its own; the cheapest of several."""
    answers = []
    for _ in range(times):
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.profile", "--part", part, str(current),
             str(told)], check=True, capture_output=True, text=True)
        answers.append(json.loads(done.stdout.splitlines()[-1]))
    return min(answers, key=lambda answer: answer["cpu_seconds"])


def run(quick: bool) -> dict[str, float]:
    """Every measurement and the ratios between them."""
    rows = 200_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory(prefix="holdfast-benchmark-") as folder:
        old, now, ten, few = (Path(folder) / f"{name}.parquet"
                              for name in ("old", "now", "ten", "few"))
        generate(old, rows // 5, seed=1)
        generate(now, rows, seed=2)
        told = old.with_suffix(".json")
        reference(old, told)
        ours, bare = (apart(part, now, told, times=3) for part in ("profile", "scan"))
        theirs_on, ours_on = now, ours
        if quick:
            generate(few, rows // 10, seed=3)
            theirs_on, ours_on = few, apart("profile", few, told)
        theirs = apart("evidently", theirs_on, told)
        generate(ten, 10 * rows, seed=4)
        large = apart("profile", ten, told)
    return {
        "rows": rows, "profile_cpu_seconds": ours["cpu_seconds"],
        "scan_cpu_seconds": bare["cpu_seconds"], "evidently_cpu_seconds": theirs["cpu_seconds"],
        "profile_peak_bytes": ours["peak_bytes"], "profile_peak_bytes_10x": large["peak_bytes"],
        "evidently_peak_bytes": theirs["peak_bytes"],
        "cpu_ratio_to_scan": ours["cpu_seconds"] / bare["cpu_seconds"],
        "cpu_ratio_to_evidently": ours_on["cpu_seconds"] / theirs["cpu_seconds"],
        "memory_ratio_10x": large["peak_bytes"] / ours["peak_bytes"],
        # "idle_tick_ratio" is measured with the daemon's tick and added here
    }


def main() -> None:
    """Run, print, and write the JSON that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of the rows")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        part, current, told = given.part
        print(json.dumps(PARTS[part](Path(current), Path(told))))
        return
    answer = run(given.quick)
    for name, value in answer.items():
        print(f"{name:28} {value:,.4g}")
    if given.json:
        given.json.write_text(json.dumps(answer, indent=2) + "\n")


if __name__ == "__main__":
    main()
