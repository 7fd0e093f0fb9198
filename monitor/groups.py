"""Groups: how far the groups of one column lie apart, with simultaneous intervals.

All pairs of groups are compared on the same time blocks, one left out of all groups at a time, so
that shocks common to the groups cancel. Every pair's interval has Šidák's level: together they
cover all pairs, and so the widest of them. Formulas, sources and limits are in
``docs/statistics.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt
from scipy import special

from monitor.config import Model
from monitor.outcomes import Outcomes, total
from monitor.performance import (
    FEWEST_BLOCKS,
    FEWEST_ROWS,
    METRICS,
    Floats,
    Performance,
    Table,
    standard_error,
    tabulate,
    wilson,
)


@dataclass(frozen=True, slots=True)
class GroupGap:
    """The widest gap between two groups of ``column`` in one measure.

    ``low`` and ``high`` hold it at ``level``, however many groups there are; ``p`` is the chance
    of such a gap between equal groups, corrected for their number too. ``n_by_group`` are the rows
    that each group's rate is of (the smaller of two). ``value`` is None where the rows cannot
    support it and ``reason`` says why; it names groups that were left out, too.
    """

    column: str
    measure: str
    value: float | None
    low: float | None
    high: float | None
    level: float
    p: float | None
    lowest: str
    highest: str
    n_by_group: dict[str, int]
    reason: str = ""
    certain: bool = False
    """Whether Holm's procedure over everything that is told at once finds it at 5 %."""


@dataclass(frozen=True, slots=True)
class Groups:
    """The labelled rows of every group of one column, laid out on common blocks.

    ``tables`` hold a table per group for each length of blocks, the usual one first.
    """

    column: str
    names: tuple[str, ...]
    tables: tuple[tuple[Table, ...], ...]


def lay_out(column: str, outcomes: Mapping[str, Outcomes], *, positive: str | None,
            block: timedelta) -> Groups:
    """The groups' outcomes in blocks of length ``block``, and in those in which they are kept."""
    whole = total(outcomes.values())
    names = tuple(sorted(outcomes))
    length = max(int(block.total_seconds()), 1)
    few = len({start // length for start in whole.sums}) < FEWEST_BLOCKS
    if positive is None:
        given = sorted({name for _, guess, label, _ in whole.cells for name in (guess, label)
                        if name})
        positive = given[-1] if len(given) == 2 else None
    return Groups(column, names, tuple(
        tuple(tabulate(outcomes[name], positive, seconds, like=whole) for name in names)
        for seconds in ([length, 1] if few and length > 1 else [length])))


Places = npt.NDArray[np.intp]
Part = tuple[Floats, Floats]
"""What a rate is of: the rows that count, over the rows that it is a share of, ``(b,)`` each."""


def _selected(table: Table) -> Part:
    return table.pairs[:, table.positive].sum(axis=1), table.pairs.sum(axis=(1, 2))


def _found(table: Table) -> Part:
    place = table.positive
    return table.pairs[:, place, place], table.pairs[:, :, place].sum(axis=1)


def _mistaken(table: Table) -> Part:
    of = table.pairs.sum(axis=(1, 2)) - table.pairs[:, :, table.positive].sum(axis=1)
    return table.pairs[:, table.positive].sum(axis=1) - _found(table)[0], of


def _confirmed(table: Table) -> Part:
    return _found(table)[0], _selected(table)[0]


RATES: dict[str, Callable[[Table], Part]] = {
    "selection_rate": _selected,
    "true_positive_rate": _found,
    "false_positive_rate": _mistaken,
    "precision": _confirmed,
}
"""Rates of the positive class against all others."""

_OF = {"selection_rate": "rows", "true_positive_rate": "rows of the positive class",
       "false_positive_rate": "rows of other classes",
       "precision": "rows predicted as the positive class"}

MEASURES: dict[str, tuple[str, ...]] = {
    "demographic_parity_difference": ("selection_rate",),
    "demographic_parity_ratio": ("selection_rate",),
    "equal_opportunity_difference": ("true_positive_rate",),
    "equalized_odds_difference": ("true_positive_rate", "false_positive_rate"),
    "predictive_parity_difference": ("precision",),
}
"""Measure -> the rates whose largest gap it is. ``METRIC_difference`` is one of any metric."""


def measures(task: str, metric: str) -> tuple[str, ...]:
    """The measures of a task: the deciding metric's gap, and for two classes those of fairness."""
    return (f"{metric}_difference", *(MEASURES if task == "binary" else ()))


def tell(outcomes: Mapping[str, Outcomes], model: Model, *, block: timedelta, span: str = ""
         ) -> tuple[tuple[GroupGap, ...], dict[str, tuple[Performance, ...]]]:
    """Every gap between the segments (``column=value``) of each column, and every group's rates.

    The rates' intervals hold for all groups of a column at once, at 95 %.
    """
    columns: dict[str, dict[str, Outcomes]] = {}
    for segment, part in outcomes.items():
        column, _, value = segment.partition("=")
        if part:
            columns.setdefault(column, {})[value] = part
    gaps: list[GroupGap] = []
    told: dict[str, tuple[Performance, ...]] = {}
    least = max(FEWEST_ROWS, model.privacy.min_count)
    for column, parts in columns.items():
        groups = lay_out(column, parts, positive=model.log.positive_label, block=block)
        if len(parts) > 1:
            gaps += [compare(groups, measure, least=least)
                     for measure in measures(model.task, model.metric)]
        if model.task == "binary":
            each = 0.95 ** (1 / len(parts))
            told |= {f"{column}={value}": rates(value, groups, level=each, span=span)
                     for value in parts}
    certain = zip(gaps, holm([gap.p for gap in gaps]), strict=True)
    return tuple(replace(gap, certain=found) for gap, found in certain), told


def rates(group: str, groups: Groups, *, level: float = 0.95, span: str = ""
          ) -> tuple[Performance, ...]:
    """Selection rate, true and false positive rate of one group, with intervals of their own."""
    place, found = groups.names.index(group), []
    for name in ("selection_rate", "true_positive_rate", "false_positive_rate"):
        sides = _Sides.of(name, groups)
        if isinstance(sides, str):
            continue
        n, value = int(sides.rows[place]), float(sides.value[place])
        if n < FEWEST_ROWS:
            found.append(Performance(name, None, None, None, n, span=span,
                                     reason=f"{n} {_OF[name]}, at least {FEWEST_ROWS} are asked "
                                            "for"))
            continue
        low, high = sides.alone(place, level)
        found.append(Performance(name, value, low, high, n, span=span))
    return tuple(found)


def compare(groups: Groups, measure: str, *, level: float = 0.95, least: int = FEWEST_ROWS
            ) -> GroupGap:
    """The widest gap in the measure, as Fairlearn and AIF360 define it.

    ``METRIC_difference``, ``demographic_parity_difference`` and the like are the largest rate
    minus the smallest one; ``equalized_odds_difference`` is the larger of the two of its rates;
    ``demographic_parity_ratio`` is the smallest over the largest. Groups whose rates are of fewer
    than ``least`` rows are left out.
    """
    names = MEASURES.get(measure, (measure.removesuffix("_difference"),))
    sides: list[_Sides] = []
    for name in names:
        side = _Sides.of(name, groups)
        if isinstance(side, str):
            return _unknown(groups, measure, level, side)
        sides.append(side)
    rows = np.min([side.rows for side in sides], axis=0)
    usable = (rows >= least) & np.all([np.isfinite(side.value) for side in sides], axis=0)
    counted = {name: int(n) for name, n in zip(groups.names, rows, strict=True)}
    small = [f"{name} ({counted[name]})" for name, held in zip(groups.names, usable, strict=True)
             if not held]
    left_out = (f"left out for fewer than {least} {_OF.get(names[0], 'rows')}: "
                + ", ".join(small)) if small else ""
    if usable.sum() < 2:
        return _unknown(groups, measure, level, "fewer than two groups can be compared"
                        + (f"; {left_out}" if small else ""), counted)
    gaps = [side.gap(np.flatnonzero(usable), level, parts=len(sides),
                     ratio=measure.endswith("_ratio")) for side in sides]
    widest = max(gaps, key=lambda gap: gap.size)
    bounds = _bounds(gaps, measure)
    reason = "; ".join(text for text in (widest.reason, left_out) if text)
    return GroupGap(groups.column, measure, bounds[0], bounds[1], bounds[2], level,
                    min(1.0, min(gap.p for gap in gaps)),
                    groups.names[widest.lowest], groups.names[widest.highest],
                    {name: n for name, n in counted.items() if n >= least}, reason)


def _unknown(groups: Groups, measure: str, level: float, reason: str,
             rows: Mapping[str, int] | None = None) -> GroupGap:
    return GroupGap(groups.column, measure, None, None, None, level, None, "", "",
                    dict(rows or {}), reason)


@dataclass(frozen=True, slots=True)
class _Gap:
    """The widest gap in one rate: its size (of logarithms for a ratio), between which groups."""

    size: float
    low: float | None
    high: float | None
    p: float
    lowest: int
    highest: int
    reason: str


def _bounds(gaps: Sequence[_Gap], measure: str) -> tuple[float, float | None, float | None]:
    """The measure and its interval: the largest of the rates' gaps."""
    size = max(gap.size for gap in gaps)
    low = max((gap.low for gap in gaps if gap.low is not None), default=None)
    known = [gap.high for gap in gaps if gap.high is not None]
    high = max(known) if len(known) == len(gaps) else None
    if measure.endswith("_ratio"):
        return (float(np.exp(-size)), None if high is None else float(np.exp(-high)),
                None if low is None else float(np.exp(-low)))
    if measure in MEASURES and high is not None:
        high = min(high, 1.0)
    return size, low, high


@dataclass(frozen=True, slots=True)
class _Sides:
    """One rate of every group: ``value`` and ``rows`` are ``(g,)``; ``left_out`` holds, per
    length of blocks, ``(g, b)`` without each block, and ``held`` in how many blocks rows lie."""

    value: Floats
    rows: Floats
    left_out: tuple[Floats, ...]
    held: tuple[Floats, ...]
    share: bool

    @classmethod
    def of(cls, name: str, groups: Groups) -> _Sides | str:
        """The rate, or why there is none."""
        if name in RATES and groups.tables[0][0].positive < 0:
            return f"{name} needs a positive class; set log.positive_label"
        if name not in RATES and name not in METRICS:
            return f"{name} is no metric"
        share = name in RATES or name == "accuracy"
        pooled = [table.pooled() for table in groups.tables[0]]
        with np.errstate(all="ignore"):
            value = np.array([_rate(name, table)[0] for table in pooled])
            rows = np.array([_rows(name, table).sum() for table in groups.tables[0]])
            left_out = tuple(np.stack([_rate(name, table.without_each()) for table in tables])
                             for tables in groups.tables)
        held = tuple(np.array([np.count_nonzero(_rows(name, table)) for table in tables])
                     for tables in groups.tables)
        return cls(value, rows, left_out, held, share)

    def alone(self, place: int, level: float) -> tuple[float | None, float | None]:
        """The interval of one group's share, by blocks on the logit scale, else by rows."""
        for left_out, held in zip(self.left_out, self.held, strict=True):
            one = left_out[place]
            if held[place] < FEWEST_BLOCKS or not ((one > 0) & (one < 1)).all():
                continue
            half = float(special.stdtrit(held[place] - 1, (1 + level) / 2)
                         * standard_error(special.logit(one)))
            if half > 0:
                middle = float(special.logit(self.value[place]))
                return float(special.expit(middle - half)), float(special.expit(middle + half))
        low, high = wilson(self.value[place], self.rows[place], level)
        return float(low), float(high)

    def gap(self, usable: Places, level: float, *, parts: int, ratio: bool) -> _Gap:
        """The widest gap among the usable groups, of ``parts`` rates that are asked at once."""
        first, second = (usable[side] for side in np.triu_indices(len(usable), 1))
        pairs = len(first) * parts
        each = level ** (1 / pairs)
        scale = np.log if ratio else np.asarray
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.abs(scale(self.value[first]) - scale(self.value[second]))
        size = np.where(np.isfinite(size), size, np.where(
            self.value[first] == self.value[second], 0.0, np.inf))
        half, p = self._by_blocks(first, second, each, scale=scale)
        low, high, reason = size - half, size + half, ""
        by_rows = ~np.isfinite(half) | ~np.isfinite(size)
        if by_rows.any() and self.share:
            where = first[by_rows], second[by_rows]
            low[by_rows], high[by_rows], p[by_rows] = self._by_rows(*where, each, ratio=ratio)
            reason = "intervals that take rows as independent where blocks cannot tell"
        widest = int(np.argmax(size))
        ends = sorted((int(first[widest]), int(second[widest])), key=lambda at: self.value[at])
        known = np.isfinite(low)
        return _Gap(float(size[widest]), float(max(low[known].max(), 0.0)) if known.any() else None,
                    float(high.max()) if not np.isnan(high).any() else None,
                    float(1 - (1 - np.nanmin(p)) ** pairs) if np.isfinite(p).any() else 1.0,
                    ends[0], ends[1], reason)

    def _by_blocks(self, first: Places, second: Places, level: float, *,
                   scale: Callable[[Floats], Floats]) -> tuple[Floats, Floats]:
        """Half-widths and p-values per pair by the joint jackknife; NaN where it cannot tell."""
        half, p = np.full(len(first), np.nan), np.full(len(first), np.nan)
        for left_out, held in zip(self.left_out, self.held, strict=True):
            with np.errstate(divide="ignore", invalid="ignore"):
                apart = scale(left_out[first]) - scale(left_out[second])
                error = standard_error(apart)
                size = np.abs(scale(self.value[first]) - scale(self.value[second]))
            free = np.minimum(held[first], held[second]) - 1
            can = (np.isnan(half) & np.isfinite(error) & (error > 1e-12)
                   & (free >= FEWEST_BLOCKS - 1))
            half[can] = special.stdtrit(free[can], (1 + level) / 2) * error[can]
            p[can] = 2 * special.stdtr(free[can], -size[can] / error[can])
        return half, p

    def _by_rows(self, first: Places, second: Places, level: float, *, ratio: bool
                 ) -> tuple[Floats, Floats, Floats]:
        """Newcombe's interval (1998) of differences, or a box of two Wilson intervals of ratios."""
        larger = np.where(self.value[first] >= self.value[second], first, second)
        smaller = np.where(larger == first, second, first)
        a, b = self.value[larger], self.value[smaller]
        pooled = (a * self.rows[larger] + b * self.rows[smaller]) / (
            self.rows[larger] + self.rows[smaller])
        spread = np.sqrt(pooled * (1 - pooled) * (1 / self.rows[larger] + 1 / self.rows[smaller]))
        z = np.divide(a - b, spread, out=np.zeros_like(a), where=spread > 0)
        p = 2 * special.ndtr(-z)
        each = np.sqrt(level) if ratio else level
        (low_a, high_a), (low_b, high_b) = (wilson(self.value[side], self.rows[side], each)
                                            for side in (larger, smaller))
        if ratio:
            with np.errstate(divide="ignore"):
                return (np.maximum(np.log(low_a) - np.log(high_b), 0.0),
                        np.log(high_a) - np.log(low_b), p)
        return (a - b - np.hypot(a - low_a, high_b - b), a - b + np.hypot(high_a - a, b - low_b), p)


def _rate(name: str, table: Table) -> Floats:
    if name not in RATES:
        return METRICS[name](table)
    above, below = RATES[name](table)
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0))


def _rows(name: str, table: Table) -> Floats:
    return RATES[name](table)[1] if name in RATES else table.sum("n")


def holm(p_values: Sequence[float | None], level: float = 0.05) -> list[bool]:
    """Which of several tests are beyond doubt together (Holm 1979); None is not tested."""
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    found = [False] * len(p_values)
    for step, (p, place) in enumerate(order):
        if p > level / (len(order) - step):
            break
        found[place] = True
    return found
