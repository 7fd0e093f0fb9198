"""Counting laws: in whichever files, order and ticks rows come, their counts end the same."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import Phase, given, settings
from hypothesis import strategies as some

from monitor.baseline import Baseline
from monitor.bins import Bins
from monitor.config import Limits, Model
from monitor.fold import Epoch
from monitor.source import Increment, Source
from monitor.store import Store
from monitor.watch import count, merged
from monitor.window import Window, parse_time
from tests.monitor.sourced import category, number

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
START = parse_time("2026-03-01")
END = START + 20 * DAY
"""After every story: it has at most five steps of 80 hours."""
BINS = Bins((number("x"), category("c", ("a", "b"))))
SCHEMA = pa.schema([("ts", pa.timestamp("us", "UTC")), ("at", pa.timestamp("us", "UTC")),
                    ("id", pa.string()), ("x", pa.float64()), ("c", pa.string()),
                    ("p", pa.string()), ("y", pa.string())])
FEW = settings(deadline=None, max_examples=12, phases=[Phase.reuse, Phase.generate])

Row = dict[str, Any]
Change = tuple[str, list[Row]]
"""A file, and the rows that it holds from then on; none removes it."""


@some.composite
def rows(draw: some.DrawFn) -> Row:
    """A row of the first ten days, its arrival up to a day later; some lack this or that."""
    event = START + draw(some.integers(0, 10 * 24 * 4 - 1)) * timedelta(minutes=15)
    arrival = event + draw(some.integers(0, 24 * 4)) * timedelta(minutes=15)
    rare = draw(some.integers(0, 19))
    return {"ts": None if rare == 0 else event, "at": None if rare == 1 else arrival,
            "id": None if rare == 2 else f"r{draw(some.integers(0, 30))}",
            "x": draw(some.sampled_from([None, -5.0, 0.0, 1.0, float("nan")])),
            "c": draw(some.sampled_from(["a", "b", "new", None])),
            "p": draw(some.sampled_from(["UP", "DOWN"])),
            "y": draw(some.sampled_from(["UP", "DOWN", None]))}


@some.composite
def stories(draw: some.DrawFn) -> list[tuple[list[Change], timedelta]]:
    """Files that are written, written again with other rows, or removed; and the ticks between."""
    steps, at = [], timedelta(0)
    for _ in range(draw(some.integers(1, 5))):
        changes = draw(some.lists(some.tuples(some.sampled_from("abc"), some.lists(
            rows(), max_size=6)), max_size=2))
        at += draw(some.integers(1, 80)) * HOUR
        steps.append((changes, at))
    return steps


class Log:
    """Files in a folder, counted into a store tick by tick."""

    def __init__(self, folder: Path, **log: Any) -> None:
        self.folder, self.written = folder, 0
        self.model = Model.model_validate({
            "name": "m", "maturity": {"delay": "2d"}, "window": {"length": "1d", "step": "6h"},
            "log": {"source": f"{folder}/*.parquet", "timestamp": "ts", "prediction": "p",
                    "features": {"include": ["x", "c"]}, "segments": ["c"], **log}})
        self.store = Store.open(f"sqlite:///{folder}/holdfast.db")
        self.epoch = Epoch("1", "k", cast(Baseline, SimpleNamespace(bins=BINS)), START, None)

    def write(self, change: Change) -> None:
        path = self.folder / f"{change[0]}.parquet"
        if not change[1]:
            path.unlink(missing_ok=True)
            return
        self.written += 1
        pq.write_table(pa.Table.from_pylist(change[1], SCHEMA), path, compression=(
            "none", "snappy")[self.written % 2])

    def tick(self, now: datetime) -> None:
        if list(self.folder.glob("*.parquet")):
            until = self.model.calendar.last_checkpoint(now)
            with Source(self.model, Limits()) as source:
                count([self.epoch], self.model, source, self.store, until=until)

    def stored(self) -> dict[Any, Any]:
        """What is known of every pane in the end."""
        return summed(self.store.increments("m", "k", Window(START - DAY, END), until=END))

    def recounted(self) -> dict[Any, Any]:
        """The same, counted at once from the files as they are now."""
        calendar = self.model.calendar
        span = Window(calendar.closing(START).start, calendar.closing(END).end)
        with Source(self.model, Limits()) as source:
            return summed(source.count(BINS, span, since=None,
                                       until=calendar.last_checkpoint(END)))


def summed(increments: list[Increment]) -> dict[Any, Any]:
    """(rows, repeated, counts, outcomes) per pane, version and segment, whenever known."""
    moved = [Increment(item.pane, START, item.version, item.segment, item.profile, item.outcomes)
             for item in increments]
    return {(item.pane, item.segment): (
        item.profile.tallies, item.profile.counts.tolist(),
        {cell: n for cell, n in item.outcomes.cells.items() if n}) for item in merged(moved)}


@contextmanager
def log(**roles: Any) -> Iterator[Log]:
    with tempfile.TemporaryDirectory() as folder:
        made = Log(Path(folder), **roles)
        try:
            yield made
        finally:
            made.store.close()


def live(made: Log, story: list[tuple[list[Change], timedelta]]) -> None:
    for changes, at in story:
        for change in changes:
            made.write(change)
        made.tick(START + at)
    made.write(("last", [{"ts": START, "at": START, "id": "last", "x": 0.0, "c": "a", "p": "UP",
                          "y": "UP"}]))
    made.tick(END - 6 * HOUR)
    made.tick(END)


@FEW
@given(stories())
def test_unannounced_rows_and_rewritten_files_are_found(
    story: list[tuple[list[Change], timedelta]]) -> None:
    with log(id="id", label="y") as made:
        live(made, story)
        assert made.stored() == made.recounted()


@FEW
@given(stories())
def test_files_that_appear_after_their_rows_arrived_are_found(
    story: list[tuple[list[Change], timedelta]]) -> None:
    with log(id="id", ingested_at="at") as made:
        live(made, story)
        assert made.stored() == made.recounted()


@FEW
@given(some.lists(rows(), min_size=1, max_size=20), some.randoms(use_true_random=False),
       some.integers(1, 6))
def test_any_split_of_the_same_rows_into_files_is_counted_alike(
    given_rows: list[Row], random: Any, files: int) -> None:
    found = []
    for parts in (1, files):
        with log(id="id", ingested_at="at") as made:
            shuffled = random.sample(given_rows, len(given_rows))
            for index in range(parts):
                made.write((f"part-{index}", shuffled[index::parts]))
            for day in (range(1, 13) if parts > 1 else (12,)):
                made.tick(START + day * DAY)
            found.append({(item.pane, item.known_at, item.segment): (
                item.profile.tallies, item.profile.counts.tolist())
                for item in made.store.increments("m", "k", Window(START - DAY, END), until=END)})
    assert found[0] == found[1]
