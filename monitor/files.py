"""Files: an index of what each file of a glob holds, so that few are opened.

Facts of a file are kept by path, size and modification time (by its ETag in an object store): its
columns, the number of its rows and its range of event time and arrival, from Parquet footers or
one cheap query.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import ibis
import ibis.expr.datatypes as dt

from monitor.cells import Value, micros, offsets
from monitor.engine import Columns, Engine, literal
from monitor.errors import SourceError
from monitor.partitions import Layout, Near, Object, Place
from monitor.relation import Clock, Need, Part, exact, filters, from_micros, to_micros

_READERS = {".parquet": "read_parquet", ".pq": "read_parquet", ".csv": "read_csv",
            ".tsv": "read_csv", ".json": "read_json", ".jsonl": "read_json",
            ".ndjson": "read_json"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What one version of a file holds; times in microseconds, None where there is none.

    ``blank`` rows have no event time.
    """

    version: Object
    columns: tuple[tuple[str, dt.DataType], ...]
    rows: int = 0
    low: int | None = None
    high: int | None = None
    arrival_low: int | None = None
    arrival_high: int | None = None
    blank: int = 0

    @property
    def path(self) -> str:
        return self.version.path

    def matters(self, need: Need, clock: Clock) -> bool:
        """Whether a row of it can be among those needed."""
        if self.low is None or self.high is None:
            return clock.timestamp is None and self.rows > 0
        if self.high < need.start or self.low >= need.end:
            return False
        if clock.arrival is None or self.arrival_low is None or self.arrival_high is None:
            return self.high >= need.event_from
        if min(self.arrival_low, self.low) >= need.before:
            return False
        return self.high >= need.event_from or self.arrival_high >= need.arrival_from


# Ticks of several models share these: another one may empty any of them at any time.
_KNOWN: dict[tuple[Object, Clock], Facts] = {}
_LAYOUTS: dict[str, Layout] = {}
_UNIONS: dict[tuple[object, ...], Columns] = {}
_LOOSE: set[Object] = set()
"""Text files whose first lines suggested a type that a later line does not fit."""
_MOST = 200_000
"""Files whose facts are kept, and at least twice as many as are looked at at once."""
_AT_ONCE = 1000
"""Files that are examined in one query."""


def layout_of(engine: Engine, pattern: str, *, by_date: bool) -> Layout:
    """The layout of a glob, whose folders are looked at once per process where it has ``**``."""
    layout = Layout.of(pattern, by_date=by_date)
    if by_date and "**" in layout.segments:
        if pattern not in _LAYOUTS:
            _LAYOUTS[pattern] = layout.discovered(engine.place(layout.folder))
        layout = _LAYOUTS[pattern]
    return layout


def reader(paths: Sequence[str]) -> str:
    """The table function that reads these files, by their extension."""
    name = _READERS[_suffix(paths[0])]
    files = ", ".join(literal(path) for path in paths)
    options = ", union_by_name = true"
    if name != "read_parquet" and any(path in _loose_paths() for path in paths):
        options += ", sample_size = -1"
    return f"{name}([{files}]{options})"


def _loose_paths() -> set[str]:
    return {item.path for item in tuple(_LOOSE)}


def _suffix(path: str) -> str:
    stem, end = os.path.splitext(path)
    return os.path.splitext(stem)[1].lower() if end in {".gz", ".zst"} else end.lower()


@dataclass(frozen=True)
class Files:
    """A glob of Parquet, CSV or JSON-lines files, read as one table by column names."""

    engine: Engine
    layout: Layout
    clock: Clock
    hidden: frozenset[str] = frozenset()
    _listed: dict[Any, Any] = field(default_factory=dict, compare=False)

    @property
    def pattern(self) -> str:
        return "/".join(self.layout.globs(0))

    @property
    def place(self) -> Place:
        return self.engine.place(self.layout.folder)

    def index(self, near: Near | None = None) -> list[Facts]:
        """Facts of every file near a time, by path; only those new or changed are opened."""
        return self._facts(self.versions(near))

    def edges(self) -> list[Facts]:
        """Facts of the files in the oldest and in the newest folders: all where there are no dates.

        Rows with the first and the last event time are among them.
        """
        if not self.layout.dated:
            return self.index()
        return self._facts(self._checked(list(dict.fromkeys(self._end(False) + self._end(True)))))

    def _end(self, newest: bool) -> list[Object]:
        """Files of the oldest or newest folders that have any."""
        walk = self.layout.walk(self.place, None, newest=newest)
        return next((found for found in walk if found), [])

    def _facts(self, versions: list[Object]) -> list[Facts]:
        if len(_KNOWN) > max(_MOST, 2 * len(versions)):
            _KNOWN.clear()
        held = {version: _KNOWN.get((version, self.clock)) for version in versions}
        fresh = [version for version, facts in held.items() if facts is None]
        for start in range(0, len(fresh), _AT_ONCE):
            some = fresh[start:start + _AT_ONCE]
            self.engine.expect(some, footers=True)
            for facts in _examine(self.engine, some, self.clock):
                held[facts.version] = _KNOWN[facts.version, self.clock] = facts
        return [facts for facts in held.values() if facts is not None]

    def loosen(self) -> bool:
        """From now on look at every line before types are chosen; False when that is so already."""
        versions = {item for listed in self._listed.values() for item in listed}
        if not versions or _LOOSE.issuperset(versions):
            return False
        if any(_READERS[_suffix(item.path)] == "read_parquet" for item in versions):
            return False
        _LOOSE.update(versions)
        for version in versions:
            _KNOWN.pop((version, self.clock), None)
        _UNIONS.clear()
        return True

    def versions(self, near: Near | None = None) -> list[Object]:
        """Every file near a time, listed once per call of the source.

        ``SourceError`` when there is none at any time, or files that cannot be read as one table.
        """
        near = near if self.layout.dated else None
        key = (self.engine.serial, near)
        if key not in self._listed:
            if all(serial != self.engine.serial for serial, _ in self._listed):
                self._listed.clear()
            found = [item for part in self.layout.walk(self.place, near) for item in part]
            if not found and near is not None:
                self._checked(self._end(True))  # says so when there is none anywhere
            self._listed[key] = self._checked(found) if found or near is None else []
        versions: list[Object] = self._listed[key]
        return versions

    def _checked(self, versions: list[Object]) -> list[Object]:
        if not versions:
            raise SourceError(f"{self.pattern}: no file matches; right would be the path or glob "
                              "of at least one Parquet, CSV or JSON-lines file")
        suffixes = {_suffix(item.path): item.path for item in versions}
        for suffix, path in suffixes.items():
            if suffix not in _READERS:
                raise SourceError(f"{path}: {suffix or 'no'} extension; right would be "
                                  ".parquet, .csv, .tsv, .json, .jsonl or .ndjson")
        if len({_READERS[suffix] for suffix in suffixes}) > 1:
            raise SourceError(f"{self.pattern}: matches files of several formats; right would be "
                              "a glob that matches one, such as *.parquet")
        return sorted(versions, key=lambda item: item.path)

    def columns(self) -> Columns:
        """Columns of all files; of the newest ones where folders have dates."""
        if not self.layout.dated:
            return self._union(self.index())
        return self._union(self._facts(self._checked(self._end(True))))

    def part(self, need: Need) -> Part | None:
        chosen = [facts for facts in self.index(need.near) if facts.matters(need, self.clock)]
        if not chosen:
            return None
        self.engine.expect([facts.version for facts in chosen])
        columns = self._union(chosen)
        extent = _extent(chosen, need, self.clock)
        relation = exact(reader([facts.path for facts in chosen]), columns)
        where = "" if extent else filters(need, self.clock, columns)
        if where:
            relation = f"(SELECT * FROM {relation}{where})"  # noqa: S608
        return Part(relation, tuple(columns.items()), sum(facts.rows for facts in chosen), extent)

    def only(self, facts: Facts) -> str:
        """The relation of one file."""
        return exact(reader([facts.path]), dict(facts.columns))

    def _union(self, facts: Iterable[Facts]) -> Columns:
        """Columns of several files together: the engine's own rule for types that differ."""
        kinds: dict[tuple[tuple[str, dt.DataType], ...], str] = {}
        for item in facts:
            kinds.setdefault(item.columns, item.path)
        if len(kinds) == 1:
            union = dict(next(iter(kinds)))
        else:
            key = (self.pattern, *kinds)
            union = _UNIONS.get(key) or self.engine.columns(reader(list(kinds.values())))
            _UNIONS[key] = union
        return {name: dtype for name, dtype in union.items() if name not in self.hidden}


def _extent(chosen: Sequence[Facts], need: Need, clock: Clock) -> tuple[int, int] | None:
    """First and last event time of files of which every row is needed; None if some may not be."""
    if clock.arrival is not None or any(facts.blank or facts.low is None for facts in chosen):
        return None
    low = min(facts.low for facts in chosen if facts.low is not None)
    high = max(facts.high for facts in chosen if facts.high is not None)
    return (low, high) if max(need.start, need.event_from) <= low and high < need.end else None


def _examine(engine: Engine, versions: list[Object], clock: Clock) -> list[Facts]:
    """Facts of files that are not known yet, in as few queries as possible."""
    paths = [item.path for item in versions]
    parquet = _READERS[_suffix(paths[0])] == "read_parquet"
    kinds = _parquet_kinds(engine, paths) if parquet else {
        path: columns_of(engine, path) for path in paths}
    facts = {item.path: Facts(item, kinds[item.path]) for item in versions}
    left = list(facts.values())
    if parquet:
        left = []
        for item in _from_footers(engine, facts, clock):
            facts[item.path] = item
            if item.rows and item.low is None and _has(item, clock.timestamp):
                left.append(item)
    for item in _from_rows(engine, left, clock):
        facts[item.path] = item
    return list(facts.values())


def columns_of(engine: Engine, path: str) -> tuple[tuple[str, dt.DataType], ...]:
    """The columns of one file; ``SourceError`` names the file when it cannot be read."""
    try:
        return tuple(engine.columns(reader([path])).items())
    except SourceError as error:
        if "limits.deadline" in str(error):
            raise
        raise SourceError(f"{path}: cannot be read: {str(error).partition(': ')[2]}; right would "
                          "be a whole file (write beside the log, then rename)") from error


def _parquet_kinds(engine: Engine, paths: list[str]
                   ) -> dict[str, tuple[tuple[str, dt.DataType], ...]]:
    """Columns of each file: one description per distinct footer schema."""
    files = "[" + ", ".join(literal(path) for path in paths) + "]"
    try:
        schemas = engine.fetch(
            "SELECT file_name, md5(string_agg(concat_ws('|', name, duckdb_type, type, "  # noqa: S608
            "converted_type, logical_type, num_children), ',' ORDER BY column_id)) "
            f"FROM parquet_schema({files}) GROUP BY file_name")
    except SourceError:
        return {path: columns_of(engine, path) for path in paths}
    described: dict[str, tuple[tuple[str, dt.DataType], ...]] = {}
    kinds = {}
    for path, digest in schemas:
        if digest not in described:
            described[digest] = columns_of(engine, path)
        kinds[path] = described[digest]
    return kinds


def _has(facts: Facts, name: str | None) -> bool:
    return any(column == name for column, _ in facts.columns)


def _from_footers(engine: Engine, facts: dict[str, Facts], clock: Clock) -> list[Facts]:
    """Row counts and, where the footers hold them, ranges of the time columns."""
    files = "[" + ", ".join(literal(path) for path in facts) + "]"
    rows: dict[str, int] = dict(engine.fetch(
        f"SELECT file_name, num_rows FROM parquet_file_metadata({files})"))  # noqa: S608
    names = [name for name in (clock.timestamp, clock.arrival) if name]
    listed = ", ".join(literal(name) for name in names) or "''"
    least, most = (f"epoch_us(try_cast(stats_{end}_value AS TIMESTAMPTZ))"
                   for end in ("min", "max"))
    ranges = {(path, name): rest for path, name, *rest in engine.fetch(
        f"SELECT file_name, path_in_schema, min({least}), max({most}), "  # noqa: S608
        f"sum(stats_null_count), count(*) - count({least}) "
        f"FROM parquet_metadata({files}) WHERE path_in_schema IN ({listed}) GROUP BY ALL")}
    answer = []
    for path, item in facts.items():
        found = replace(item, rows=rows.get(path, 0))
        low, high, blank = _range(found, clock.timestamp, ranges, clock)
        if low is not None:
            early, late, missing = _range(found, clock.arrival, ranges, clock)
            if clock.arrival and _has(found, clock.arrival) and (early is None or missing):
                low = high = None  # arrival is not told by the footer: ask the rows
            found = replace(found, low=low, high=high, blank=blank,
                            arrival_low=early, arrival_high=late)
        answer.append(found)
    return answer


def _range(facts: Facts, name: str | None, ranges: dict[tuple[str, str], list[object]],
           clock: Clock) -> tuple[int | None, int | None, int]:
    dtype = dict(facts.columns).get(name or "")
    known = ranges.get((facts.path, name or ""))
    if not isinstance(dtype, dt.Timestamp) or known is None or None in known[:2] or known[3]:
        return None, None, 0
    low, high, blank = known[0], known[1], int(str(known[2] or 0))
    zone = None if dtype.timezone else ZoneInfo(clock.timezone)
    return min(_instants(low, zone)), max(_instants(high, zone)), blank


def _instants(value: object, zone: ZoneInfo | None) -> list[int]:
    """What a footer's time can mean: two instants in the hour that a zone repeats."""
    micro = int(str(value))
    if zone is None:
        return [micro]
    told = from_micros(micro)
    return [to_micros(told.replace(tzinfo=zone, fold=fold).astimezone(UTC)) for fold in (0, 1)]


def micros_of(table: Value, name: str | None, clock: Clock, dialect: str) -> Value:
    """The column as microseconds; null where the table has no such column."""
    if name is None or name not in table.columns:
        return ibis.null("int64")
    return micros(table[name], offsets(clock.timezone, 1970, 2060), dialect)


def _from_rows(engine: Engine, facts: list[Facts], clock: Clock) -> list[Facts]:
    """The same by a query over the time columns, one per distinct set of columns."""
    groups: dict[tuple[tuple[str, dt.DataType], ...], list[Facts]] = {}
    for item in facts:
        groups.setdefault(item.columns, []).append(item)
    answer = []
    for columns, members in groups.items():
        table = ibis.table({**dict(columns), "filename": dt.string}, name="holdfast_log")
        event = micros_of(table, clock.timestamp, clock, engine.dialect)
        arrival = micros_of(table, clock.arrival, clock, engine.dialect)
        summed = table.select(file=table["filename"], event=event, arrival=arrival)
        summed = summed.group_by("file").agg(
            rows=summed.count(), known=summed.event.count(),
            low=summed.event.min(), high=summed.event.max(),
            early=ibis.coalesce(summed.arrival, summed.event).min(),
            late=ibis.coalesce(summed.arrival, summed.event).max())
        relation = exact(reader([item.path for item in members])[:-1] + ", filename = true)",
                         dict(columns))
        sql = str(ibis.to_sql(summed, dialect=engine.dialect))
        told = {row[0]: row[1:] for row in engine.fetch(
            sql.replace('"holdfast_log"', relation))}
        for item in members:
            rows, known, low, high, early, late = told.get(item.path, (0, 0) + (None,) * 4)
            answer.append(replace(item, rows=rows, low=low, high=high, arrival_low=early,
                                  arrival_high=late, blank=rows - known))
    return answer


