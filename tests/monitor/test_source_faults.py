"""What the source says of broken logs: in words, for one column, and in time."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from monitor.bins import Bins
from monitor.config import Limits
from monitor.errors import SourceError
from monitor.source import Source
from tests.monitor.logs import Logs
from tests.monitor.sourced import (
    DAY,
    LATER,
    SPAN,
    START,
    category,
    cells,
    counted,
    model,
    number,
    times,
    whole,
)

TWO = Bins((number("x"), category("c", ("a", "b"))))


@pytest.fixture(params=("parquet", "csv", "jsonl"))
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Logs:
    return Logs(request.param, tmp_path)


def good(*days: float, **other: Any) -> dict[str, Any]:
    return {"ts": times(*days), "x": [0.0] * len(days), "c": ["a"] * len(days)} | other


def test_a_column_renamed_in_one_file_is_a_fault_of_that_file(files: Logs) -> None:
    files.add(good(.5, .6))
    renamed = good(1.5)
    renamed["x_new"] = renamed.pop("x")
    with Source(model(files.add(renamed)), Limits()) as source:
        (window, column, message), = source.schema_faults(TWO, SPAN)
        profile = whole(counted(source, TWO), TWO)
    assert (window.start, column) == (START + 1.5 * DAY, "x")
    assert "'x_new' is new and may be its new name" in message
    assert "log-002" in message
    assert cells(profile, TWO, "x")[0] == 1
    assert cells(profile, TWO, "c") == [0, 0, 0, 0, 3, 0]


def test_a_column_that_became_text_is_a_fault_and_the_rest_is_counted(files: Logs) -> None:
    files.add(good(.5))
    with Source(model(files.add(good(1.5, 1.6, x=["0.5", "n/a"]))), Limits()) as source:
        (_, column, message), = source.schema_faults(TWO, SPAN)
        profile = whole(counted(source, TWO), TWO)
    assert column == "x"
    assert "is categorical" in message
    assert "would be numeric" in message
    assert cells(profile, TWO, "x") == [0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0]
    assert cells(profile, TWO, "c") == [0, 0, 0, 0, 3, 0]


def test_a_column_that_no_file_has_is_all_null(files: Logs) -> None:
    bins = Bins((*TWO.features, number("gone")))
    with Source(model(files.add(good(.5, .6))), Limits()) as source:
        assert [column for _, column, _ in source.schema_faults(bins, SPAN)] == ["gone"]
        profile = whole(counted(source, bins), bins)
    assert cells(profile, bins, "gone")[0] == 2


def test_rows_without_a_readable_time_are_told_and_not_counted(files: Logs) -> None:
    texts = good(.5, .6, .7, ts=["2026-03-01T12:00:00Z", "31.02.2026", None])
    with Source(model(files.add(texts)), Limits()) as source:
        faults = source.schema_faults(TWO, SPAN)
        assert whole(counted(source, TWO), TWO).n == 1
    assert [column for _, column, _ in faults] == ["ts"]
    assert "2 of 3 rows have no readable 'ts'" in faults[0][2]


def test_files_in_any_order_and_with_overlapping_times_count_once(files: Logs) -> None:
    for days in ((5.1, .2), (3.3,), (.1, 9.9, 4.4)):
        where = files.add(good(*days))
    with Source(model(where), Limits()) as source:
        assert source.span() == SPAN
        assert whole(counted(source, TWO), TWO).n == 6
        part = counted(source, TWO, since=START + 3 * DAY, until=START + 6 * DAY)
        assert sorted((item.pane - START) // DAY for item in part) == [3, 4]


def test_a_file_that_breaks_off_is_named(tmp_path: Path) -> None:
    logs = Logs("parquet", tmp_path)
    where = logs.add(good(.5))
    (tmp_path / "log-002.parquet").write_bytes(b"PAR1 and then nothing")
    right = r"log-002\.parquet.*right would be a whole file"
    with Source(model(where), Limits()) as source, pytest.raises(SourceError, match=right) as said:
        source.span()
    assert "SELECT" not in str(said.value), "nobody who reads it wrote the statement"


def test_a_late_bad_value_in_a_csv_is_invalid_and_no_error(tmp_path: Path) -> None:
    lines = ["ts,x,c"] + ["2026-03-01 12:00:00,0.5,a"] * 30_000 + ["2026-03-01 12:00:00,oops,a"]
    (tmp_path / "log.csv").write_text("\n".join(lines))
    with Source(model({"source": f"{tmp_path}/*.csv"}), Limits()) as source:
        profile = whole(counted(source, TWO), TWO)
    assert profile.n == 30_001
    assert cells(profile, TWO, "x")[3] == 1


@pytest.mark.parametrize(("source", "words"), [
    ("/nowhere/*.parquet", "no file matches; right would be"),
    ("duckdb:///nowhere.duckdb", "no such file; right would be a DuckDB file"),
    ("postgresql://me:hunter22@127.0.0.1:1/x", "does not answer.*right would be postgresql://"),
    ("ftp://bucket/log.parquet", "ftp:// is not a source")])
def test_an_unreachable_log_is_an_error_in_words_without_secrets(source: str, words: str) -> None:
    with (pytest.raises(SourceError, match=words) as raised,
          Source(model({"source": source, "table": "t"}), Limits()) as opened):
        opened.span()
    assert "hunter22" not in str(raised.value)


def test_a_missing_table_and_a_bad_query_are_errors_in_words(postgres: str) -> None:
    for log in ({"table": "absent"}, {"query": "SELEC 1"}):
        with (Source(model({"source": postgres} | log), Limits()) as source,
              pytest.raises(SourceError, match=r"does not exist|syntax error")):
            source.schema()


def test_a_query_is_a_log_too(postgres: str, tmp_path: Path) -> None:
    for logs in (Logs("postgres", tmp_path, postgres), Logs("duckdb", tmp_path)):
        where = logs.add(good(.5, .6, 1.5))
        where["query"] = f"SELECT ts, x * 2 AS x, c FROM {where.pop('table')} WHERE c = 'a';"
        with Source(model(where), Limits()) as source:
            assert source.features() == ["x", "c"]
            assert whole(counted(source, TWO), TWO).n == 3



def test_postgresql_is_cancelled_at_the_deadline(postgres: str) -> None:
    query = "SELECT timestamp '2026-03-01' AS ts, length(pg_sleep(30)::text) AS x"
    check_deadline({"source": postgres, "query": query})


def test_duckdb_is_cancelled_at_the_deadline(tmp_path: Path) -> None:
    file = tmp_path / "slow.duckdb"
    duckdb.connect(str(file)).close()
    query = ("SELECT TIMESTAMP '2026-03-01' AS ts, a.range * b.range % 7 AS x, 'a' AS c "
             "FROM range(1000000) a, range(1000000) b")
    check_deadline({"source": f"duckdb://{file}", "query": query})


def check_deadline(log: dict[str, str]) -> None:
    begun = time.monotonic()
    with (Source(model(log), Limits(deadline=timedelta(seconds=1))) as source,
          pytest.raises(SourceError, match=r"took longer than limits\.deadline \(1s\)")):
        counted(source, TWO, until=LATER)
    assert time.monotonic() - begun < 10
    assert threading.active_count() < 20


def test_a_log_that_somebody_writes_to_can_be_read_in_between(tmp_path: Path) -> None:
    logs = Logs("duckdb", tmp_path)
    with Source(model(logs.add(good(.5))), Limits()) as source:
        assert whole(counted(source, TWO), TWO).n == 1
        logs.add(good(.6))
        assert whole(counted(source, TWO), TWO).n == 2


def test_nested_fields_are_dotted(tmp_path: Path) -> None:
    nested = pa.array([{"a": 0.5, "deep": {"b": "u"}}, {"a": None, "deep": {"b": "v"}}])
    bins = Bins((number("in.a"), category("in.deep.b", ("u", "v"))))
    for backend in ("parquet", "jsonl"):
        where = Logs(backend, tmp_path).add(pa.table({"ts": times(.5, .6), "in": nested}))
        with Source(model(where), Limits()) as source:
            assert source.features() == ["in.a", "in.deep.b"]
            profile = whole(counted(source, bins), bins)
        assert cells(profile, bins, "in.deep.b") == [0, 0, 0, 0, 1, 1]
        assert cells(profile, bins, "in.a")[0] == 1
