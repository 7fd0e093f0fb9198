"""A log that stopped, and labels that do not come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from monitor.bins import Bins
from monitor.faults import Fault, find
from monitor.freshness import freshness, lateness, staleness
from monitor.norms import Norms, learn
from monitor.profile import Profile
from monitor.window import Window
from tests.data import path
from tests.monitor.command import configured, holdfast
from tests.monitor.counted import model, profile
from tests.monitor.test_faults import GRID, NORMAL, frame
from tests.story.deployment import register

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
END = datetime(2026, 3, 2, tzinfo=UTC)
WINDOW = Window(END - DAY, END)


def norms(*rows: int) -> Norms:
    bins = Bins(())
    empty = Profile.empty(bins)
    return learn(bins, [Profile(n, empty.counts) for n in rows], grid=GRID, level=1e-4)


def found(newest: datetime | None, known: Norms, **log: Any) -> list[Fault]:
    return list(staleness(freshness(model(log=log), known, WINDOW, newest)))


def test_a_log_may_be_silent_for_as_long_as_the_reference_was() -> None:
    quiet = norms(5, 0, 0, 6, 0, 7)
    assert quiet.silence == 2
    assert found(END - 3 * DAY, quiet) == []
    (stale,) = found(END - 4 * DAY, quiet)
    assert (stale.check, stale.severity, stale.limit) == ("freshness", "warning", 3 * 86400)
    assert "no row since 2026-02-26T00:00:00Z" in stale.message
    assert Norms.from_dict(quiet.to_dict()) == quiet


def test_a_declared_freshness_is_a_fault() -> None:
    assert found(END - 2 * HOUR, norms(5), freshness="2h") == []
    (stale,) = found(END - 3 * HOUR, norms(5), freshness="2h")
    assert (stale.severity, stale.value) == ("fault", 3 * 3600)
    assert "longer than is looked back" in found(None, norms(5), freshness="2h")[0].message


@pytest.mark.parametrize(("share", "days", "warned"), [
    (0.2, 7, True), (0.2, 6, False), (0.5, 7, False), (None, 7, False)])
def test_labels_that_are_late_beyond_their_delay_warn(share: float | None, days: int,
                                                      warned: bool) -> None:
    told = list(lateness(model(), WINDOW, END + days * DAY, share=share, usual=0.9, rows=100))
    assert [item.severity for item in told] == ["warning"] * warned


def test_a_window_that_lost_nearly_all_rows_is_a_fault() -> None:
    steady = [Profile(1000, Profile.empty(NORMAL.bins).counts) for _ in range(20)]
    known = type(NORMAL)(NORMAL.bins, NORMAL.reference,
                         learn(NORMAL.bins, steady, grid=GRID, level=1e-4))
    few, some = (next(item for item in find(profile(frame(1, n, 2), NORMAL.bins), known)
                      if item.check == "volume") for n in (9, 90))
    assert (few.severity, some.severity) == ("fault", "warning")


def test_the_ten_silent_months_of_real_traffic_are_faulty_and_stale(tmp_path: Path) -> None:
    rows = pd.read_parquet(path("metro_traffic"), columns=["timestamp", "temp", "traffic_volume"])
    rows = rows[rows["timestamp"] < "2015-07-01"]
    rows.to_parquet(tmp_path / "log.parquet", index=False)
    log = {"source": "log.parquet", "timestamp": "timestamp", "prediction": "traffic_volume"}
    file = configured(tmp_path, {"name": "a", "task": "regression", "log": log,
                                 "reference": {"from": "2014-06-01", "to": "2014-08-01"}})
    register(f"sqlite:///{tmp_path / 'mlflow.db'}", "a")
    said = holdfast("replay", file, "--from", "2014-08-05", "--to", "2014-08-20", "--json")
    days = {line["start"][:10]: line for line in said.lines if line["revision"] == 0}
    assert days["2014-08-07"]["freshness"]["stale"] is False
    gap = days["2014-08-12"]
    assert gap["verdict"] == "faulty"
    assert {item["check"] for item in gap["faults"]} == {"empty", "freshness"}
    assert gap["freshness"] == {"newest": "2014-08-09T00:00:00Z", "limit": 259200.0, "stale": True}
