"""Counting: rows in, counts per cell out, in the way that is cheapest for their number.

A **census** says which groups (pane, known at, version, segment) there are and how many rows each
has. Few rows are then counted **wide**: one pass in which every row yields a cell per column. Many
rows of a column store are counted **tall**: one narrow scan per column, without grouping keys
where the census found a single group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import ibis
import numpy as np

from monitor.answers import joint
from monitor.bins import Bins, CategoryBins, NumericBins, key_of
from monitor.cells import (
    Value,
    amount,
    lookup_entries,
    lookup_key,
    place_of,
    position,
)
from monitor.engine import Engine, Row
from monitor.patterns import adapted, pattern
from monitor.profile import Counts
from monitor.rows import LOOKUP, PLACED, Frame, Shape, compiled, filled

Group = tuple[object, ...]
"""Values of ``Shape.keys``."""

FEW = 6
"""From this many values with cells of their own on, integers are grouped before they are placed."""

WIDE_ROWS = 60_000
"""Up to this many rows a column store counts wide too."""


_PATTERNS: dict[tuple[object, ...], str] = {}


@dataclass
class Tally:
    """Counts of one group while they are being made."""

    n: int
    future: int
    counts: Counts


@dataclass
class Counting:
    """The compiled SQL that counts ``bins`` on one shape of log."""

    shape: Shape
    bins: Bins
    compiled: dict[tuple[object, ...], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.counted = tuple(feature for feature in self.bins.features
                             if feature.role != "label")
        self.numbers = [item for item in self.counted if isinstance(item, NumericBins)]
        self.texts = [item for item in self.counted if isinstance(item, CategoryBins)]
        self.entries = [entry for index, item in enumerate(self.texts)
                        for entry in lookup_entries(index, item)]

    def sql(self, name: str, build: Callable[..., Frame], *arguments: object) -> str:
        """The SQL of one expression, compiled once."""
        key = (name, *arguments)
        if key not in self.compiled:
            self.compiled[key] = compiled(build(*arguments), self.shape.dialect)
        return self.compiled[key]

    # expressions

    def rows(self, names: tuple[str, ...], *, due: bool = True) -> Frame:
        """The rows to be counted, with their keys and these columns; all rows unless ``due``."""
        if not due:
            return self.shape.values(names)
        rows = self.shape.rows((*names, *self.shape.roles.segments))
        return self.shape.due(self.shape.paned(rows))

    def census(self) -> Frame:
        rows = self.rows(())
        late = (rows.holdfast_ts > rows.holdfast_at).fill_null(False)
        return rows.group_by(self.shape.keys).agg(n=rows.count(), future=late.sum())

    def wide_numbers(self) -> Frame:
        rows = self.rows(tuple(item.name for item in self.numbers))
        cells = []
        for item in self.numbers:
            raw = rows[item.name]
            cell = self._cell(raw, item)
            start = self.bins.slices[key_of(item)].start
            cells.append(cell.cast("int32") + ibis.literal(start, "int32"))
        spread = rows.select(*self.shape.keys, cell=ibis.array(cells).unnest())
        return spread.group_by([*self.shape.keys, "cell"]).agg(n=spread.count())

    def wide_texts(self) -> Frame:
        rows = self.rows(tuple(item.name for item in self.texts))
        found = [lookup_key(rows[item.name], index, item) for index, item in enumerate(self.texts)]
        spread = rows.select(*self.shape.keys, key=ibis.array(found).unnest())
        return self._looked_up(spread.group_by([*self.shape.keys, "key"]).agg(n=spread.count()),
                               self.shape.keys)

    def answers(self) -> Frame:
        """Joint counts of what was answered and how surely."""
        item = self.bins.answers
        assert item is not None
        columns = (item.prediction, *(column for _, column in self.shape.roles.scores))
        return joint(self.rows(columns), item, self.shape)

    def tall(self, index: int, due: bool, keys: tuple[str, ...]) -> Frame:
        """Counts of one column, of all rows unless ``due``."""
        item = self.counted[index]
        rows = self.rows((item.name,), due=due)
        if isinstance(item, CategoryBins):
            plain = rows.select(*keys, value=rows[item.name])
            grouped = plain.group_by([*keys, "value"]).agg(n=plain.count())
            key = lookup_key(grouped["value"], self.texts.index(item), item)
            return self._looked_up(grouped.select(*keys, "n", key=key), keys)
        raw = rows[item.name]
        if raw.type().is_integer() and len(item.exact) >= FEW:  # few values: group, then place
            plain = rows.select(*keys, value=raw)
            grouped = plain.group_by([*keys, "value"]).agg(rows=plain.count())
            raw = grouped["value"]
            plain = grouped.select(*keys, "rows", cell=self._cell(raw, item))
            return plain.group_by([*keys, "cell"]).agg(n=plain["rows"].sum())
        if due or not item.cells:
            plain = rows.select(*keys, cell=self._cell(raw, item))
            return plain.group_by([*keys, "cell"]).agg(n=plain.count())
        placed = ibis.table({"raw": raw.type(), "amount": "float64", "place": "float64"},
                            name=PLACED)
        cells = placed.select(cell=position(
            placed.raw, placed.amount, item, place=placed.place, dialect=self.shape.dialect))
        return cells.group_by("cell").agg(n=cells.count())

    def placed(self, index: int) -> Frame:
        """What ``tall`` reads for a number: its place is computed once, not once per branch."""
        item = self.counted[index]
        rows = self.rows((item.name,), due=False)
        assert isinstance(item, NumericBins)
        value = self._amount(rows[item.name], item)
        return rows.select(raw=rows[item.name], amount=value,
                           place=place_of(value, item, self.shape.dialect))

    def tall_sql(self, index: int, due: bool, keys: tuple[str, ...]) -> str:
        """The SQL of ``tall``: compiled once for all columns that differ in numbers alone."""
        item = self.counted[index]
        kind = dict(self.shape.log).get(item.name)
        if due or kind is None or item.name in self.shape.model.privacy.hash:
            return self._nested(self.sql("tall", self.tall, index, due, keys), index)
        model = pattern(item)
        key = (model, kind, self.shape.dialect, self.shape.zone)
        if key not in _PATTERNS:
            shape = replace(self.shape, log=((model.name, kind),))
            plan = Counting(shape, Bins((model,)))
            _PATTERNS[key] = plan._nested(plan.sql("tall", plan.tall, 0, due, keys), 0)
        place = self.texts.index(item) if isinstance(item, CategoryBins) else 0
        return adapted(_PATTERNS[key], model, item, place)

    def _cell(self, raw: Value, item: NumericBins) -> Value:
        value = self._amount(raw, item)
        dialect = self.shape.dialect
        return position(raw, value, item, place=place_of(value, item, dialect), dialect=dialect)

    def _nested(self, sql: str, index: int) -> str:
        if f'"{PLACED}"' not in sql:
            return sql
        return sql.replace(f'"{PLACED}"', f"({self.sql('placed', self.placed, index)})")

    def _amount(self, raw: Value, item: NumericBins) -> Value:
        return amount(raw, item, zone=self.shape.zone, dialect=self.shape.dialect)

    def _looked_up(self, counted: Frame, keys: tuple[str, ...]) -> Frame:
        known = ibis.table({"key": "string", "cell": "int32"}, name=LOOKUP)
        joined = counted.left_join(known, counted["key"] == known["key"])
        joined = joined.select(*keys, "n", "cell", column=counted["key"].left(4).cast("int32"))
        return joined.group_by([*keys, "column", "cell"]).agg(n=joined["n"].sum())


@dataclass
class Count:
    """One call: where the rows are, and the bounds of what is counted."""

    plan: Counting
    engine: Engine
    relations: Mapping[str, str]
    bounds: Mapping[str, int]
    rows: int | None
    """Rows of the relation where they are known beforehand."""
    pane: int | None = None
    """The pane that all of them lie in, where that is known beforehand."""

    def run(self) -> dict[Group, Tally]:
        """Counts of every group that has rows."""
        keys = self.plan.shape.keys
        if self.pane is not None and keys == ("pane",) and self.rows:
            tallies: dict[Group, Tally] = {(self.pane,): Tally(self.rows, 0, self._zeros())}
        else:
            census = self._fetch(self.plan.sql("census", self.plan.census))
            tallies = {tuple(row[:len(keys)]): Tally(int(row[-2]), int(row[-1] or 0),
                                                     self._zeros()) for row in census}
        if tallies and self.plan.bins.answers is not None:
            for *group, cell, n in self._fetch(self.plan.sql("answers", self.plan.answers)):
                tallies[tuple(group)].counts[self.plan.bins.columns + cell] += n
        if not tallies or not self.plan.counted:
            return tallies
        total = sum(tally.n for tally in tallies.values())
        if self.engine.dialect == "duckdb" and total > WIDE_ROWS:
            self._count_tall(tallies, total)
        else:
            self._count_wide(tallies)
        return tallies

    def _zeros(self) -> Counts:
        return np.zeros(self.plan.bins.size, dtype=np.int64)

    def _fetch(self, sql: str) -> list[Row]:
        relations = dict(self.relations)
        if f'"{LOOKUP}"' in sql:
            relations[LOOKUP] = self.engine.lookup(self.plan.entries)
        return self.engine.fetch(filled(sql, relations, self.bounds))

    def _count_wide(self, tallies: dict[Group, Tally]) -> None:
        plan = self.plan
        if plan.numbers:
            for *group, cell, n in self._fetch(plan.sql("numbers", plan.wide_numbers)):
                tallies[tuple(group)].counts[cell] += n
        if plan.texts:
            for *group, column, cell, n in self._fetch(plan.sql("texts", plan.wide_texts)):
                self._add_text(tallies[tuple(group)], plan.texts[column], cell, int(n))

    def _add_text(self, tally: Tally, item: CategoryBins, cell: int | None, n: int) -> None:
        place = (3 if item.rest else 2) if cell is None else cell
        tally.counts[self.plan.bins.slices[key_of(item)].start + place] += n

    def _count_tall(self, tallies: dict[Group, Tally], total: int) -> None:
        plan = self.plan
        single = len(tallies) == 1
        due = not (single and total == self.rows)
        keys = () if single else plan.shape.keys
        only = next(iter(tallies))
        for index, item in enumerate(plan.counted):
            for *group, cell, n in self._fetch(plan.tall_sql(index, due, keys)):
                tally = tallies[only if single else tuple(group[:len(keys)])]
                if isinstance(item, CategoryBins):
                    self._add_text(tally, item, cell, int(n))
                else:
                    tally.counts[plan.bins.slices[key_of(item)].start + cell] += int(n)
