"""Rows: the log as one Ibis table with event time, arrival, version and the columns wanted.

Everything here only builds expressions over unbound tables; ``Part`` says later what they are
read from, and the ``SLOTS`` are filled with the bounds of one call, so that the SQL is compiled
once per set of bins and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import ibis
import ibis.expr.datatypes as dt

from monitor.cells import Value, hashed, micros, offsets, text
from monitor.config import Model
from monitor.relation import to_micros
from monitor.window import EPOCH

Key = TypeVar("Key")
Made = TypeVar("Made")
Frame = Any
"""An Ibis table expression."""

LOG, LABELS, FEATURES, LOOKUP, PLACED = (
    "holdfast_log", "holdfast_labels", "holdfast_features", "holdfast_lookup", "holdfast_placed")
SLOTS = {"start": 7_700_000_000_000_000_017, "end": 7_700_000_000_000_000_029,
         "since": 7_700_000_000_000_000_031, "until": 7_700_000_000_000_000_043}
"""Stand-ins for: first pane, end of the last pane, known after, known at the latest."""

Kinds = tuple[tuple[str, dt.DataType], ...]


_JSON = dt.JSON(binary=True)


@ibis.udf.scalar.builtin(  # type: ignore[untyped-decorator]
    name="jsonb_extract_path_text", signature=((_JSON, dt.string), dt.string))
def json_field(_document: Any, _field: Any) -> Any:
    """A field of a JSON document as text (PostgreSQL)."""


@ibis.udf.scalar.builtin(  # type: ignore[untyped-decorator]
    name="jsonb_extract_path", signature=((_JSON, dt.string), _JSON))
def json_object(_document: Any, _field: Any) -> Any:
    """A field of a JSON document as a document (PostgreSQL)."""


@ibis.udf.scalar.builtin(name="to_jsonb", signature=((_JSON,), _JSON))  # type: ignore[untyped-decorator]
def to_jsonb(_document: Any) -> Any:
    """A document of either JSON type as one that has functions (PostgreSQL)."""


@ibis.udf.scalar.builtin(  # type: ignore[untyped-decorator]
    name="json_extract_string", signature=((dt.JSON(), dt.string), dt.string))
def json_text(_document: Any, _path: Any) -> Any:
    """A value of mixed types in JSON lines as text (DuckDB)."""


def slot(name: str) -> Value:
    """The bound of a call, filled in when the SQL is run."""
    return ibis.literal(SLOTS[name], "int64")


@dataclass(frozen=True, slots=True)
class Roles:
    """The column of each role, None where there is none."""

    timestamp: str | None
    arrival: str | None
    id: str | None
    version: str | None
    prediction: str | None
    scores: tuple[tuple[str, str], ...]
    label: str | None
    segments: tuple[str, ...]

    @classmethod
    def of(cls, model: Model) -> Roles:
        log = model.log
        scores: tuple[tuple[str, str], ...] = ()
        if isinstance(log.score, dict):
            scores = tuple(log.score.items())
        elif log.score:
            scores = ((log.positive_label or "", log.score),)
        return cls(log.timestamp, log.ingested_at, log.id, log.model_version, log.prediction,
                   scores, log.label, tuple(log.segments))

    @property
    def columns(self) -> list[str]:
        """Every column of the log that has a role, segments aside."""
        names = [self.timestamp, self.arrival, self.id, self.version, self.prediction, self.label]
        return [name for name in names if name] + [column for _, column in self.scores]


def flattened(columns: Mapping[str, dt.DataType]) -> dict[str, dt.DataType]:
    """The columns with the fields of structs in their place, dotted."""
    flat: dict[str, dt.DataType] = {}
    for name, dtype in columns.items():
        if isinstance(dtype, dt.Struct):
            inner = flattened(dict(dtype.items()))
            flat.update({f"{name}.{field}": kind for field, kind in inner.items()})
        else:
            flat[name] = dtype
    return flat


def field(table: Frame, name: str) -> Value | None:
    """The column or, for a dotted name, the nested field; None where there is none."""
    if name in table.columns:
        return table[name]
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        root = ".".join(parts[:cut])
        if root in table.columns:
            return _nested(table[root], parts[cut:])
    return None


def _nested(value: Value, path: list[str]) -> Value | None:
    for place, part in enumerate(path):
        dtype = value.type()
        if isinstance(dtype, dt.Struct) and part in dtype.names:
            value = value[part]
        elif isinstance(dtype, dt.JSON):
            document = to_jsonb(value)
            for inner in path[place:-1]:
                document = json_object(document, inner)
            return json_field(document, path[-1])
        else:
            return None
    return value


@dataclass(frozen=True)
class Shape:
    """All that the SQL of a log depends on: its model, its columns and the engine's dialect."""

    model: Model
    roles: Roles
    dialect: str
    log: Kinds
    labels: Kinds = ()
    features: Kinds = ()
    years: tuple[int, int] = (2000, 2040)

    @property
    def zone(self) -> tuple[tuple[int, int], ...]:
        return offsets(self.model.log.timezone, *self.years)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """What counts are grouped by."""
        keys = ["pane"]
        keys += ["known"] if self._has(self.roles.arrival) else []
        keys += ["version"] if self._has(self.roles.version) else []
        return (*keys, "segment") if self.roles.segments else tuple(keys)

    def _has(self, name: str | None) -> bool:
        return name is not None and field(ibis.table(dict(self.log), name=LOG), name) is not None

    def value(self, table: Frame, name: str) -> Value:
        """A column by its logged name, hashed where privacy says so; nulls where absent."""
        found = field(table, name)
        if found is None:
            return ibis.null("string")
        if found.type() == dt.JSON():
            found = json_text(found, "$")
        if name in self.model.privacy.hash:
            return hashed(found, salt=self.model.privacy.salt, dialect=self.dialect)
        return found

    def instant(self, table: Frame, name: str | None) -> Value:
        found = field(table, name) if name else None
        if found is None:
            return ibis.null("int64")
        return micros(found, self.zone, self.dialect)

    def rows(self, wanted: Iterable[str] = ()) -> Frame:
        """``ts``, ``at``, ``version``, ``id`` and the wanted columns, one row per logged row."""
        wanted = list(dict.fromkeys(wanted))
        table = self._table((*wanted, *self.roles.columns))
        here = [name for name in wanted if field(table, name) is not None or not self.features]
        timeless = self.roles.timestamp is None
        event = ibis.literal(0, "int64") if timeless else self.instant(table, self.roles.timestamp)
        chosen = {"holdfast_ts": event, "holdfast_at": self.instant(table, self.roles.arrival)}
        chosen["holdfast_version"] = ibis.literal("")
        if self.roles.version and field(table, self.roles.version) is not None:
            chosen["holdfast_version"] = text(self.value(table, self.roles.version)).fill_null("")
        if self.roles.id:
            chosen["holdfast_id"] = text(self.value(table, self.roles.id))
        rows = table.select(**chosen, **{name: self.value(table, name) for name in here})
        elsewhere = [name for name in wanted if name not in here]
        return self._joined(rows, elsewhere) if elsewhere else rows

    def values(self, names: Iterable[str]) -> Frame:
        """These columns alone, of every logged row."""
        names = tuple(names)
        table = self._table(names)
        if any(field(table, name) is None for name in names):
            return self.rows(names)
        return table.select(**{name: self.value(table, name) for name in names})

    def _table(self, names: Iterable[str]) -> Frame:
        """The log with no more columns than these names need: expressions stay small."""
        needed = {name[:end] for name in names
                  for end in (*(place for place, sign in enumerate(name) if sign == "."), None)}
        return ibis.table({name: dtype for name, dtype in self.log if name in needed}
                          or dict(self.log), name=LOG)

    def _joined(self, rows: Frame, wanted: list[str]) -> Frame:
        """The rows with columns of the feature table: the newest one of the same id."""
        source = self.model.log.features_from
        assert source is not None
        table = ibis.table(dict(self.features), name=FEATURES)
        columns = {name: self.value(table, name) for name in wanted}
        found = table.select(
            holdfast_key=self._join_key(table, source.id),
            holdfast_when=self.instant(table, source.timestamp), **columns)
        found = found.filter(found.holdfast_key.notnull())
        order = ibis.window(group_by=found.holdfast_key,
                            order_by=found.holdfast_when.desc(nulls_first=False))
        found = found.mutate(holdfast_rank=ibis.row_number().over(order))
        found = found.filter(found.holdfast_rank == 0).drop("holdfast_rank", "holdfast_when")
        return rows.left_join(found, rows.holdfast_id == found.holdfast_key).drop("holdfast_key")

    def _join_key(self, table: Frame, name: str) -> Value:
        """The id of another table in the form that ``holdfast_id`` has."""
        found = field(table, name)
        if found is None:
            return ibis.null("string")
        privacy = self.model.privacy
        if name in privacy.hash or (self.roles.id or "") in privacy.hash:
            return hashed(found, salt=privacy.salt, dialect=self.dialect)
        return text(found)

    def paned(self, rows: Frame, *, arrival: Value | None = None) -> Frame:
        """The rows with ``pane`` and ``known`` in microseconds; segments multiply rows.

        ``arrival`` is the arrival of what is counted, the row's own by default. What comes too
        late to revise anything is left out.
        """
        calendar = self.model.calendar
        length, lateness, reach = (to_micros(EPOCH + span) for span in (
            calendar.pane, calendar.lateness, calendar.reach))
        at = ibis.coalesce(rows.holdfast_at, rows.holdfast_ts) if arrival is None else arrival
        origin = to_micros(calendar.origin)
        pane = _floor(rows.holdfast_ts, length, origin)
        known = ibis.greatest(pane, _floor(at - lateness, length, origin)) + (length + lateness)
        columns = {"pane": pane, "known": known, "version": rows.holdfast_version}
        if self.roles.segments:
            names = [ibis.literal("")] + [ibis.literal(f"{name}=") + text(rows[name])
                                          for name in self.roles.segments]
            columns["segment"] = ibis.array(names).unnest()
        rows = rows.mutate(**columns)
        if arrival is not None or self._has(self.roles.arrival):
            rows = rows.filter(rows.known <= rows.pane + reach)
        return rows.filter(rows.segment.notnull()) if self.roles.segments else rows

    def due(self, rows: Frame) -> Frame:
        """Only what became known in this call's checkpoints, of this call's panes."""
        return rows.filter(rows.pane >= slot("start"), rows.pane < slot("end"),
                           rows.known > slot("since"), rows.known <= slot("until"))


def _floor(value: Value, length: int, origin: int) -> Value:
    moved = value - origin if origin else value
    return value - ((moved % length) + length) % length


def compiled(expression: Frame, dialect: str) -> str:
    """The SQL of an expression."""
    return str(ibis.to_sql(expression, dialect=dialect, pretty=False))


def kept(made: dict[Key, Made], key: Key, make: Callable[[], Made], *, most: int) -> Made:
    """What was made for the key, or is made now; the newest ``most`` are kept.

    Ticks of several models share it: another one may push anything out at any time.
    """
    found = made.get(key)
    if found is None:
        if len(made) >= most:
            made.pop(next(iter(tuple(made))), None)
        found = made[key] = make()
    return found


def filled(sql: str, relations: Mapping[str, str], bounds: Mapping[str, int]) -> str:
    """SQL with its tables and bounds put in place."""
    for name, value in bounds.items():
        sql = sql.replace(str(SLOTS[name]), str(value))
    for name, relation in relations.items():
        sql = sql.replace(f'"{name}"', relation)
    return sql
