"""Counting: rows in, counts per cell out, in the way that is cheapest for their number.

A **census** says which groups (pane, known at, version, segment) there are and how many rows each
has. Few rows are then counted **wide**: one pass in which every row yields a cell per column. Many
rows of a column store are counted **tall**: one narrow scan per column, without grouping keys
where the census found a single group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import ibis
import numpy as np

from monitor.bins import Bins, CategoryBins, NumericBins, key_of
from monitor.cells import (
    Value,
    amount,
    broken,
    careful_position,
    lookup_entries,
    lookup_key,
    position,
)
from monitor.engine import Engine, Row
from monitor.profile import Counts
from monitor.rows import LOOKUP, Frame, Shape, compiled, filled

Group = tuple[object, ...]
"""Values of ``Shape.keys``."""

WIDE_ROWS = 60_000
"""Up to this many rows a column store counts wide too."""


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
        """The rows to be counted, with their keys and these columns."""
        rows = self.shape.rows((*names, *self.shape.roles.segments))
        return self.shape.due(self.shape.paned(rows)) if due else rows

    def census(self) -> Frame:
        rows = self.rows(())
        late = (rows.holdfast_ts > rows.holdfast_at).fill_null(False)
        return rows.group_by(self.shape.keys).agg(n=rows.count(), future=late.sum())

    def wide_numbers(self) -> Frame:
        rows = self.rows(tuple(item.name for item in self.numbers))
        cells = []
        for item in self.numbers:
            raw = rows[item.name]
            cell = careful_position(raw, self._amount(raw, item), item)
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

    def tall(self, index: int, due: bool, keys: tuple[str, ...]) -> Frame:
        """Counts of one column; ``present`` leaves out nulls, which the fast cells misplace."""
        item = self.counted[index]
        rows = self.rows((item.name,), due=due)
        if isinstance(item, CategoryBins):
            plain = rows.select(*keys, value=rows[item.name])
            grouped = plain.group_by([*keys, "value"]).agg(n=plain.count())
            key = lookup_key(grouped["value"], self.texts.index(item), item)
            return self._looked_up(grouped.select(*keys, "n", key=key), keys)
        raw = rows[item.name]
        value = self._amount(raw, item)
        if not self.fast(item):
            plain = rows.select(*keys, cell=careful_position(raw, value, item),
                                present=ibis.literal(1, "int8"))
        else:
            plain = rows.select(*keys, cell=position(value, item), present=value)
        return plain.group_by([*keys, "cell"]).agg(n=plain.count(), present=plain.present.count())

    def specials(self, indexes: tuple[int, ...], due: bool, keys: tuple[str, ...]) -> Frame:
        """NaN, infinity and minus infinity of columns whose outermost cells were hit."""
        names = tuple(self.counted[index].name for index in indexes)
        rows = self.rows(names, due=due)
        sums = {}
        for index, name in zip(indexes, names, strict=True):
            value = rows[name]
            sums[f"nan_{index}"] = value.isnan().sum()
            sums[f"plus_{index}"] = (value == ibis.literal("inf").cast(value.type())).sum()
            sums[f"minus_{index}"] = (value == ibis.literal("-inf").cast(value.type())).sum()
        return rows.group_by(keys).agg(**sums) if keys else rows.agg(**sums)

    def fast(self, item: NumericBins) -> bool:
        """Whether a column's own type lets nulls, NaN and infinity be set apart afterwards."""
        dtype = self.shape.rows((item.name,))[item.name].type()
        return bool(dtype.is_numeric() and item.kind == "numeric")

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

    def run(self) -> dict[Group, Tally]:
        """Counts of every group that has rows."""
        keys = self.plan.shape.keys
        tallies = {tuple(row[:len(keys)]): Tally(int(row[-2]), int(row[-1] or 0), self._zeros())
                   for row in self._fetch(self.plan.sql("census", self.plan.census))}
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
        hit: list[int] = []
        for index, item in enumerate(plan.counted):
            rows = self._fetch(plan.sql("tall", plan.tall, index, due, keys))
            for row in rows:
                tally = tallies[only if single else tuple(row[:len(keys)])]
                if isinstance(item, CategoryBins):
                    self._add_text(tally, item, row[-2], int(row[-1]))
                    continue
                cell, n, present = row[-3:]
                counts = tally.counts[plan.bins.slices[key_of(item)]]
                counts[cell] += present
                counts[0] += n - present
            if isinstance(item, NumericBins) and self._outermost(tallies, item):
                hit.append(index)
        if hit:
            self._set_apart(tallies, tuple(hit), due, keys)

    def _outermost(self, tallies: dict[Group, Tally], item: NumericBins) -> bool:
        """Whether NaN or infinity may be among the values above or below."""
        if not self.plan.fast(item):
            return False
        raw = self.plan.shape.rows((item.name,))[item.name]
        if broken(raw) is None:
            return False
        part = self.plan.bins.slices[key_of(item)]
        return any(tally.counts[part][item.above] or tally.counts[part][item.first - 1]
                   for tally in tallies.values())

    def _set_apart(self, tallies: dict[Group, Tally], hit: tuple[int, ...], due: bool,
                   keys: tuple[str, ...]) -> None:
        plan = self.plan
        for row in self._fetch(plan.sql("specials", plan.specials, hit, due, keys)):
            tally = tallies[tuple(row[:len(keys)]) if keys else next(iter(tallies))]
            for place, index in enumerate(hit):
                nan, plus, minus = (int(value or 0)
                                    for value in row[len(keys) + 3 * place:][:3])
                item = plan.counted[index]
                assert isinstance(item, NumericBins)
                counts = tally.counts[plan.bins.slices[key_of(item)]]
                counts[1] += nan
                counts[2] += plus + minus
                counts[item.above] -= nan + plus
                counts[item.first - 1] -= minus

