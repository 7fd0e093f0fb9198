"""Summaries: what the engine tells of each reference column, from which bins are made."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast

import ibis

from monitor.bins import QUANTILES, Bins, ColumnSummary, NumericBins, Role
from monitor.cells import amount, kind_of, number, small, text
from monitor.changes import held
from monitor.engine import Row
from monitor.labelled import Labelled
from monitor.relation import EVERYTHING, FAR, Need, to_micros
from monitor.rows import Frame, Shape, compiled, filled, slot
from monitor.tables import Tables
from monitor.window import Window

Kind = Literal["numeric", "categorical", "boolean", "datetime"]
Fetch = Callable[[str], list[Row]]

SAMPLED = 4_000_000
"""From this many rows on, quantiles and frequent values come from a hash sample of that size."""

_TOP_NUMBERS, _TOP_TEXTS, _STEPS, _PRIME = 100, 10_001, 200, 2_147_483_647


@dataclass(frozen=True)
class Asked:
    """One column to be summarised."""

    key: str
    name: str
    role: Role
    kind: Kind


@dataclass
class Summaries:
    """Summaries of the columns of one shape of log within a span, excluded periods left out."""

    shape: Shape
    labelled: Labelled
    exclude: Sequence[Window]
    fetch: Fetch
    early: bool = False
    """Only rows that had arrived by the call's bound."""

    def describe(self, asked: Sequence[Asked]) -> dict[str, ColumnSummary]:
        """A summary per key; columns that hold nothing but nulls are among them."""
        total = self._one(self._rows(["-"]).count())[0]
        rises = self._rises([item for item in asked if item.kind == "numeric"])
        answer = {}
        for item in asked:
            numeric = item.kind in ("numeric", "datetime")
            summary = self._number if numeric else self._text
            answer[item.key] = summary(item, int(total), rises.get(item.key, False))
        return answer

    def _rows(self, names: list[str], label: bool = False) -> Frame:
        kept = [name for name in names if name != "-"]
        rows = self.labelled.latest(kept) if label else self.shape.rows(kept)
        rows = rows.filter(rows.holdfast_ts >= slot("start"), rows.holdfast_ts < slot("end"))
        if self.early:
            rows = rows.filter(ibis.coalesce(rows.holdfast_at, rows.holdfast_ts) < slot("until"))
        for period in self.exclude:
            rows = rows.filter((rows.holdfast_ts < to_micros(period.start))
                               | (rows.holdfast_ts >= to_micros(period.end)))
        return rows

    def _column(self, item: Asked, total: int) -> Frame:
        """``value`` as logged, of the rows that a summary looks at."""
        label = item.role == "label"
        rows = self._rows([] if label else [item.name], label)
        rows = rows.select("holdfast_ts", value=rows["holdfast_label" if label else item.name])
        if label:
            rows = rows.filter(rows["value"].notnull())
        if total > SAMPLED:
            drawn = ((rows.holdfast_ts % _PRIME) * 48_271) % _PRIME
            rows = rows.filter(drawn < int(_PRIME * (SAMPLED / total)))
        return rows

    def _number(self, item: Asked, total: int, rises: bool) -> ColumnSummary:
        rows = self._column(item, total)
        datetime = item.kind == "datetime"
        value = (self._seconds(rows["value"]) if datetime else number(rows["value"]))
        rows = rows.select(raw=rows["value"], value=value)
        count, nulls = self._one(rows.agg(n=rows.count(), nulls=rows.raw.isnull().sum()))
        fine = rows.filter(rows["value"].notnull(), ~rows["value"].isnan(),
                           ~rows["value"].isinf())
        held = small(fine["value"])
        whole = (held == held.round().cast("float64")).all()
        kept, distinct, low, high, integral, inner = self._one(fine.agg(
            n=fine.count(), distinct=fine["value"].nunique(), low=fine["value"].min(),
            high=fine["value"].max(), integral=whole,
            inner=fine["value"].quantile(list(QUANTILES[1:-1]))))
        if not kept:
            return ColumnSummary(item.name, item.kind, False, int(count), int(nulls or 0), 0,
                                 (), ())
        top = fine.group_by("value").agg(n=fine.count())
        top = top.order_by([top.n.desc(), top["value"]]).limit(_TOP_NUMBERS)
        frequent = tuple((float(entry), int(n)) for entry, n in self._all(top))
        quantiles = (float(low), *(float(part) for part in inner), float(high))
        return ColumnSummary(item.name, item.kind, bool(integral), int(count), int(nulls or 0),
                             int(distinct), quantiles, frequent, rises)

    def _seconds(self, value: object) -> Frame:
        instant = NumericBins("", "feature", "datetime", "linear", 0, 1, 0, 1, 1)
        return amount(value, instant, zone=self.shape.zone, dialect=self.shape.dialect)

    def _text(self, item: Asked, total: int, _rises: bool) -> ColumnSummary:
        rows = self._column(item, total)
        rows = rows.select(raw=rows["value"], value=text(rows["value"]))
        if item.kind == "boolean":
            rows = rows.mutate(value=rows["value"].lower())
        count, nulls, distinct = self._one(rows.agg(
            n=rows.count(), nulls=rows["value"].isnull().sum(), distinct=rows["value"].nunique()))
        known = rows.filter(rows["value"].notnull())
        top = known.group_by("value").agg(n=known.count())
        top = top.order_by([top.n.desc(), top["value"]]).limit(_TOP_TEXTS)
        frequent = sorted(((str(entry), int(n)) for entry, n in self._all(top)),
                          key=lambda pair: (-pair[1], pair[0]))
        return ColumnSummary(item.name, item.kind, False, int(count), int(nulls or 0),
                             int(distinct), (), tuple(frequent))

    def _rises(self, asked: Sequence[Asked]) -> dict[str, bool]:
        """Whether a column never falls from one 200th of the event time to the next."""
        asked = [item for item in asked if item.role == "feature"]
        if not asked:
            return {}
        rows = self._rows([item.name for item in asked])
        low, high = self._one(rows.agg(low=rows.holdfast_ts.min(), high=rows.holdfast_ts.max()))
        if low is None or low == high:
            return {}
        step = (high - low) // _STEPS + 1
        shifted = rows.holdfast_ts - low
        bucketed = rows.mutate(bucket=shifted - shifted % step)
        sums = {}
        for index, item in enumerate(asked):
            value = number(bucketed[item.name])
            sums[f"low_{index}"], sums[f"high_{index}"] = value.min(), value.max()
        found = bucketed.group_by("bucket").agg(**sums)
        buckets = self._all(found.order_by("bucket"))
        return {item.key: _never_falls([row[1 + 2 * index:3 + 2 * index] for row in buckets])
                for index, item in enumerate(asked)}

    def _all(self, expression: Frame) -> list[Row]:
        return self.fetch(compiled(expression, self.shape.dialect))

    def _one(self, expression: Frame) -> Row:
        return self._all(expression)[0]


def _never_falls(ranges: Sequence[Row]) -> bool:
    known = [(low, high) for low, high in ranges if low is not None]
    if len(known) < 10 or known[0][0] == known[-1][1]:
        return False
    steps = itertools.pairwise(known)
    return all(before[1] <= after[0] for before, after in steps)


def kind_in(shape: Shape, name: str, role: Role) -> Kind:
    """What a column is summarised as, by its role, its type and the configuration."""
    model = shape.model
    value = shape.rows([name])[name] if role != "label" or not shape.labels else None
    kind = "categorical" if value is None else kind_of(value.type())
    if name in model.privacy.hash or name in model.log.features.categorical:
        return "categorical"
    if role == "score" or (role in ("prediction", "label") and model.task == "regression"):
        return "numeric"
    if role in ("prediction", "label"):
        return "boolean" if kind == "boolean" else "categorical"
    return cast(Kind, kind)


def summaries(tables: Tables, span: Window | None, exclude: Sequence[Window],
              known_by: datetime | None = None) -> dict[str, ColumnSummary]:
    """A summary of every input and output of a model within the span, keyed as bins are."""
    span = span or held(tables)
    if span is None:
        return {}
    start, end = to_micros(span.start), to_micros(span.end)
    read = tables.read(Need(start, end), span, labels=EVERYTHING)
    if read is None:
        return {}
    bounds = {"start": start, "end": end, "until": FAR if known_by is None else to_micros(known_by)}

    def fetch(sql: str) -> list[Row]:
        return tables.engine.fetch(filled(sql, read.relations, bounds))

    shape = read.shape
    asked = [Asked(name, name, "feature", kind_in(shape, name, "feature"))
             for name in tables.inputs()]
    asked += [Asked(f"{role}:{name}", name, role, kind_in(shape, name, role))
              for role, name in tables.outputs()]
    return Summaries(shape, Labelled(shape, Bins(())), exclude, fetch,
                     known_by is not None).describe(asked)
