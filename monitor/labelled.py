"""Labelled rows: predictions joined with the labels known of them, summed to outcomes.

A label of a table of its own counts from its arrival until the next one of the same id arrives:
it is +1 at the first checkpoint that knows it and -1 at the one that knows its correction.
Losses are summed as decimals with 12 places, so that a sum does not depend on the order of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from operator import add

import ibis

from monitor.answers import score_cell, spoken
from monitor.bins import Bins, CategoryBins, NumericBins, key_of
from monitor.cells import Value, amount, broken, category_cell, number, place_of, position, text
from monitor.engine import Row
from monitor.outcomes import SUMS, Cell, Outcomes
from monitor.relation import to_micros
from monitor.rows import LABELS, Frame, Shape, compiled, slot
from monitor.window import EPOCH

_EDGE = 1e-15
_LARGEST = 1e20
_DAY = timedelta(days=1)


def block_length(pane: timedelta) -> timedelta:
    """The length of the time blocks of outcomes: an hour, or a 24th of a shorter pane.

    A 24th is rounded down to whole minutes and is at least one minute (or the pane).
    """
    if pane >= _DAY:
        return timedelta(hours=1)
    minutes = max(1, int(pane.total_seconds() // 60 // 24))
    return min(pane, timedelta(minutes=minutes))


@dataclass
class Labelled:
    """The compiled SQL of outcomes and label cells on one shape of log."""

    shape: Shape
    bins: Bins
    compiled: dict[str, str] = field(default_factory=dict)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        others = tuple(key for key in self.shape.keys if key not in ("pane", "known"))
        return ("pane", "known", *others)

    @property
    def classes(self) -> bool:
        return self.shape.model.task != "regression"

    @property
    def label_numbers(self) -> list[NumericBins]:
        return [item for item in self.bins.role("label") if isinstance(item, NumericBins)]

    def sql(self, name: str, build: Callable[[], Frame]) -> str:
        if name not in self.compiled:
            self.compiled[name] = compiled(build(), self.shape.dialect)
        return self.compiled[name]

    def labels(self) -> Frame:
        """``holdfast_key``, ``holdfast_label``, ``arrived`` and ``ended`` of every known label."""
        source = self.shape.model.log.labels
        assert source is not None
        table = ibis.table(dict(self.shape.labels), name=LABELS)
        found = table.select(
            holdfast_key=self.shape._join_key(table, source.id),
            holdfast_label=self.shape.value(table, source.value),
            arrived=self.shape.instant(table, source.timestamp))
        found = found.filter(found.holdfast_key.notnull(), found.holdfast_label.notnull())
        if source.timestamp is None:
            order = ibis.window(group_by=found.holdfast_key,
                                order_by=text(found.holdfast_label).desc())
            found = found.mutate(rank=ibis.row_number().over(order))
            return found.filter(found["rank"] == 0).drop("rank").mutate(ended=ibis.null("int64"))
        found = found.filter(found.arrived.notnull())
        order = ibis.window(group_by=found.holdfast_key,
                            order_by=[found.arrived, text(found.holdfast_label)])
        return found.mutate(ended=found.arrived.lead().over(order))

    def rows(self) -> Frame:
        """Rows with a label: ``holdfast_label``, its arrival ``told`` and ``weight`` +1 or -1."""
        roles = self.shape.roles
        names = [name for name in (roles.prediction, roles.label) if name]
        names += [column for _, column in roles.scores] + list(roles.segments)
        rows = self.shape.rows(names)
        delay = to_micros(EPOCH + self.shape.model.maturity.delay)
        if not self.shape.labels:
            rows = rows.mutate(holdfast_label=rows[roles.label], weight=ibis.literal(1, "int64"),
                               told=rows.holdfast_ts + delay)
            return rows.filter(rows.holdfast_label.notnull())
        labels = self.labels()
        joined = rows.inner_join(labels, rows.holdfast_id == labels.holdfast_key)
        arrived = ibis.coalesce(joined.arrived, joined.holdfast_ts + delay)
        joined = joined.mutate(told=ibis.array([arrived, joined.ended]).unnest(),
                               weight=ibis.array([1, -1]).unnest())
        return joined.filter(joined.told.notnull()).drop("arrived", "ended", "holdfast_key")

    def latest(self, names: list[str]) -> Frame:
        """Rows with ``holdfast_label``: the newest label known before ``until``, else null."""
        roles = self.shape.roles
        rows = self.shape.rows([*names, *([roles.label] if roles.label else [])])
        mature = rows.holdfast_ts + to_micros(EPOCH + self.shape.model.maturity.delay)
        if not self.shape.labels:
            label = rows[roles.label] if roles.label else ibis.null("string")
            known = ibis.cases((mature < slot("until"), label), else_=ibis.null(label.type()))
            return rows.mutate(holdfast_label=known)
        labels = self.labels()
        labels = labels.filter(labels.arrived.isnull() | (labels.arrived < slot("until")))
        order = ibis.window(group_by=labels.holdfast_key, order_by=[
            labels.arrived.desc(), text(labels.holdfast_label).desc()])
        labels = labels.mutate(place=ibis.row_number().over(order))
        labels = labels.filter(labels.place == 0).drop("place", "ended")
        joined = rows.left_join(labels, rows.holdfast_id == labels.holdfast_key)
        arrived = ibis.coalesce(joined.arrived, mature)
        known = ibis.cases((arrived < slot("until"), joined.holdfast_label),
                           else_=ibis.null(joined.holdfast_label.type()))
        return joined.mutate(holdfast_label=known).drop("holdfast_key", "arrived")

    def due(self) -> Frame:
        """The labelled rows of this call, known from the later of row and label arrival."""
        rows = self.rows()
        own = ibis.coalesce(rows.holdfast_at, rows.holdfast_ts)
        return self.shape.due(self.shape.paned(rows, arrival=ibis.greatest(own, rows.told)))

    def outcomes(self) -> Frame:
        """Joint counts and sums per key, block, prediction, label and score cell."""
        rows = self.due()
        length = to_micros(EPOCH + block_length(self.shape.model.calendar.pane))
        block = rows.holdfast_ts - ((rows.holdfast_ts % length) + length) % length
        columns = self._classes(rows) if self.classes else self._errors(rows)
        rows = rows.select(*self.keys, "weight", block=block, **columns)
        if not self.classes:
            rows = rows.filter(rows.error.notnull())
        sums = {name: (rows[name] * rows.weight.cast("float64")).cast("decimal(38, 12)").sum()
                for name in SUMS[1:-1] if name in columns}
        if "scored" in columns:
            sums["scored"] = (rows.scored * rows.weight).sum()
        return rows.group_by([*self.keys, "block", "prediction", "label_text", "cell"]).agg(
            n=rows.weight.sum(), **sums)

    def _classes(self, rows: Frame) -> dict[str, Value]:
        roles = self.shape.roles
        label = text(rows.holdfast_label)
        if (wrong := broken(rows.holdfast_label)) is not None:
            label = ibis.cases((wrong, ibis.null("string")), else_=label)
        prediction = ibis.literal("")
        if roles.prediction:
            prediction = text(rows[roles.prediction]).fill_null("")
        columns: dict[str, Value] = {"prediction": prediction, "label_text": label,
                                     "cell": ibis.literal(-1, "int16")}
        scores = [(name, number(rows[column])) for name, column in roles.scores]
        if scores:
            columns |= _losses(scores, prediction, label, self.shape)
        return columns

    def _errors(self, rows: Frame) -> dict[str, Value]:
        roles = self.shape.roles
        actual = number(rows.holdfast_label)
        given = number(rows[roles.prediction]) if roles.prediction else ibis.null("float64")
        fine = (actual.abs() < _LARGEST) & (given.abs() < _LARGEST)
        actual = ibis.cases((fine, actual), else_=ibis.null("float64"))
        error = ibis.cases((fine, given - actual), else_=ibis.null("float64"))
        square = ibis.least(error * error, ibis.literal(_LARGEST))
        relative = ibis.cases((actual != 0, ibis.least((error / actual).abs(), _LARGEST)),
                              else_=ibis.literal(0.0))
        return {"prediction": ibis.literal(""), "label_text": ibis.literal(""),
                "cell": ibis.literal(-1, "int16"), "error": error, "absolute": error.abs(),
                "squared": square, "label": actual,
                "label_squared": ibis.least(actual * actual, ibis.literal(_LARGEST)),
                "relative": relative}

    def label_cells(self) -> Frame:
        """Counts of the cells of a numeric label."""
        item = self.label_numbers[0]
        rows = self.due()
        value = amount(rows.holdfast_label, item, zone=self.shape.zone, dialect=self.shape.dialect)
        dialect = self.shape.dialect
        cell = position(rows.holdfast_label, value, item, place=place_of(value, item, dialect),
                        dialect=dialect)
        plain = rows.select(*self.keys, "weight", cell=cell)
        return plain.group_by([*self.keys, "cell"]).agg(n=plain.weight.sum())

    def gather(self, rows: list[Row]) -> dict[tuple[object, ...], Outcomes]:
        """The outcomes of each group from the rows of ``outcomes()``."""
        width = len(self.keys)
        places = [SUMS.index(name) for name in self._summed]
        answer: dict[tuple[object, ...], Outcomes] = {}
        for row in sorted(rows, key=lambda row: [str(part) for part in row[width:width + 4]]):
            block, prediction, label, cell, n, *sums = row[width:]
            if label is None:
                continue
            outcomes = answer.setdefault(tuple(row[:width]), Outcomes())
            place = block // 1_000_000
            key: Cell = (place, prediction, label, cell)
            outcomes.cells[key] = outcomes.cells.get(key, 0) + int(n)
            added = [0.0] * len(SUMS)
            added[0] = float(n)
            for index, value in zip(places, sums, strict=True):
                added[index] = float(value or 0)
            before = outcomes.sums.get(place, (0.0,) * len(SUMS))
            outcomes.sums[place] = tuple(map(add, before, added))
        return answer

    @property
    def _summed(self) -> tuple[str, ...]:
        if not self.classes:
            return ("error", "absolute", "squared", "label", "label_squared", "relative")
        return ("log_loss", "brier", "scored") if self.shape.roles.scores else ()

    def label_counts(self, outcomes: Outcomes) -> dict[str, list[tuple[int, int]]]:
        """(cell, count) of each categorical label, keyed as bins are."""
        answer: dict[str, list[tuple[int, int]]] = {}
        for item in self.bins.role("label"):
            if isinstance(item, CategoryBins) and self.classes:
                answer[key_of(item)] = [(category_cell(label, item), count) for (_, _, label, _),
                                        count in outcomes.cells.items()]
        return answer


def _losses(scores: list[tuple[str, Value]], prediction: Value, label: Value,
            shape: Shape) -> dict[str, Value]:
    """Log loss, Brier loss, score cell and whether the score is one at all."""
    positive = shape.model.log.positive_label
    scores, score, valid = spoken(scores, prediction, shape.model)
    if len(scores) == 1:
        truth = label.isin([positive] if positive else ["1", "true"])
        hit = ibis.cases((truth, score), else_=1.0 - score)
        brier = (1.0 - hit) * (1.0 - hit)
    else:
        hit = ibis.cases(*[(label == name, value) for name, value in scores], else_=0.0)
        unhit = sum((value * value for _, value in scores), ibis.literal(0.0))
        brier = unhit - hit * hit + (1.0 - hit) * (1.0 - hit)
    loss = -ibis.least(ibis.greatest(hit, _EDGE), 1.0 - _EDGE).ln()
    none = ibis.literal(0.0)
    return {"log_loss": ibis.cases((valid, loss), else_=none),
            "brier": ibis.cases((valid, brier), else_=none),
            "cell": score_cell(score, valid),
            "scored": valid.ifelse(1, 0)}
