"""Contours: columns by how far they moved, with what they look like in the reference and now.

Shares come from stored counts; no row is read. Cells are joined until a small picture can show
them: numbers into neighbouring ranges, categories into the commonest and the rest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from monitor.bins import Bins, CategoryBins, NumericBins
from monitor.config import Model
from monitor.movement import kind_of
from monitor.profile import Counts
from monitor.store import Store
from monitor.window import EPOCH, Window, parse_time

RANGES = 16
"""Ranges of numbers, or values of a category, that a picture tells apart at most."""
OWN = 0.9
"""Share of the reference from which on values with cells of their own are shown one by one."""

Side = tuple[float, float]
"""Rows in the reference and in the window."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A column and the statistic of it that lies farthest beyond its threshold.

    ``rank`` is value over threshold, times what the column is worth where that is known.
    """

    name: str
    kind: str
    statistic: str | None
    value: float | None
    threshold: float | None
    windows: int
    drifted: bool
    importance: float | None
    rank: float | None


@dataclass(frozen=True, slots=True)
class Cell:
    """Some values of a column: what they are called, and their shares of the rows."""

    label: str
    reference: float
    current: float
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Contour:
    """A column beside its reference; without cells where the store holds no counts."""

    item: Ranked
    reference_rows: int
    current_rows: int
    cells: tuple[Cell, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        told = asdict(self)
        item = told.pop("item")
        return {key: item[key] for key in ("name", "statistic", "value", "threshold", "drifted",
                                           "importance", "rank")} | told


def ranked(line: dict[str, Any]) -> list[Ranked]:
    """The columns of a verdict line: drifted inputs first, by rank, then answers and labels."""
    best: dict[str, Ranked] = {}
    for row in line["features"]:
        item = _ranked(row)
        before = best.get(item.name)
        if before is None or _order(item) < _order(before):
            best[item.name] = item
    kinds = ("inputs", "answers", "labels")
    return sorted(best.values(), key=lambda item: (kinds.index(item.kind), *_order(item)))


def _ranked(row: dict[str, Any]) -> Ranked:
    value, threshold, worth = row["value"], row["threshold"], row.get("importance")
    beyond = None if value is None or not threshold else value / threshold
    rank = beyond if beyond is None or worth is None else beyond * worth
    return Ranked(row["name"], kind_of(row["name"]), row["statistic"], value, threshold,
                  row.get("windows", 1), bool(row["drifted"]), worth, rank)


def _order(item: Ranked) -> tuple[bool, float, float, str]:
    return not item.drifted, -(item.rank or 0.0), -(item.value or 0.0), item.name


def contours(store: Store, model: Model, line: dict[str, Any], shown: Sequence[Ranked]
             ) -> list[Contour]:
    """These columns in the reference and in the line's window, as known at its checkpoint."""
    held = _held(store, model, line)
    if held is None:
        return [Contour(item, 0, 0, ()) for item in shown]
    bins, reference, inputs, outputs = held
    made = []
    for item in shown:
        part = bins.slices.get(item.name)
        if part is None:
            made.append(Contour(item, 0, 0, ()))
            continue
        current = (inputs if item.kind == "inputs" else outputs)[part]
        sides = np.stack([reference[part], current], axis=1).astype(np.float64)
        if item.kind != "inputs" and item.statistic != "null_rate":
            # a version is not asked about rows that it was fitted to, labels come later: what its
            # statistic leaves out is no change
            sides[: _empty(bins.by_key[item.name])] = 0.0
        rows = sides.sum(axis=0)
        shares = sides / np.maximum(rows, 1.0)
        cells = tuple(cell for cell in _cells(bins.by_key[item.name], shares)
                      if cell.reference or cell.current)
        made.append(Contour(item, int(rows[0]), int(rows[1]), cells))
    return made


def _held(store: Store, model: Model, line: dict[str, Any]
          ) -> tuple[Bins, Counts, Counts, Counts] | None:
    """Bins, the reference's counts, the window's, and those of the version's own rows in it."""
    known_at = parse_time(line["known_at"])
    adopted = [item for item in store.adoptions(model.name)
               if item.version == line["version"] and item.at <= known_at]
    stored = adopted and store.baseline(model.name, line["version"], adopted[-1].key)
    if not adopted or not stored:
        return None
    row = json.loads(stored[1])
    bins = Bins.from_dict(row["bins"])
    reference = np.array(row["reference"][3:], dtype=np.int64)
    span = Window(parse_time(line["start"]), parse_time(line["end"]))
    merged = store.merged_to(model.name, adopted[-1].key)
    if merged is not None and merged > span.start:
        return None  # a day's counts are not the window's
    inputs, outputs = np.zeros_like(reference), np.zeros_like(reference)
    logged = line["version"] if model.log.model_version else ""
    for version, profile in store.profiles(model.name, adopted[-1].key, span, until=known_at):
        if profile.counts.size == reference.size:
            inputs += profile.counts
            outputs += profile.counts if version == logged else 0
    return bins, reference, inputs, outputs


def _cells(bins: NumericBins | CategoryBins, shares: Any) -> Iterator[Cell]:
    yield from (_categories(bins, shares) if isinstance(bins, CategoryBins)
                else _numbers(bins, shares))


def _empty(bins: NumericBins | CategoryBins) -> int:
    """How many cells, the first ones, hold rows without a value."""
    return 2 if isinstance(bins, CategoryBins) else bins.first - 1


def _cell(label: str, part: Any, missing: bool = False) -> Cell:
    reference, current = np.atleast_2d(part).sum(axis=0)
    return Cell(label, round(float(reference), 6), round(float(current), 6), missing)


def _categories(bins: CategoryBins, shares: Any) -> Iterator[Cell]:
    """The commonest values in the order of the bins, then the rest."""
    named = shares[bins.first:]
    common = sorted(np.argsort(-named.max(axis=1), kind="stable")[:RANGES])
    rest = np.setdiff1d(np.arange(len(named)), common)
    for place in common:
        yield _cell(bins.categories[place] or "empty", named[place])
    yield _cell("others", np.concatenate([named[rest], shares[3:4]]))
    yield _cell("new values", shares[2])
    yield _cell("missing", shares[: _empty(bins)], missing=True)


def _numbers(bins: NumericBins, shares: Any) -> Iterator[Cell]:
    """Neighbouring ranges, or single values where these are nearly all."""
    exact = shares[bins.above + 1 : bins.above + 1 + len(bins.exact)]
    if bins.exact and len(bins.exact) <= RANGES and exact.sum(axis=0).min() >= OWN:
        for place in np.argsort(bins.exact, kind="stable"):
            yield _cell(_value(bins, bins.exact[place]), exact[place])
        yield _cell("others", shares[bins.first - 1 : bins.above + 1])
    else:
        yield from _ranges(bins, shares, exact)
    yield _cell("missing", shares[: _empty(bins)], missing=True)
    if bins.declared:
        yield _cell("impossible", shares[bins.impossible], missing=True)


def _ranges(bins: NumericBins, shares: Any, exact: Any) -> Iterator[Cell]:
    edges = [_back(bins, place) for place in range(bins.cells + 1)]
    step = max(1, math.ceil(bins.cells / RANGES))
    ends = edges or [bins.center]
    whose = np.searchsorted(ends, bins.exact, side="right")
    below, above = whose == 0, whose > bins.cells
    first, last = _value(bins, ends[0]), _value(bins, ends[-1])
    yield _cell(f"below {first}", np.concatenate([shares[bins.first - 1][None], exact[below]]))
    for start in range(0, bins.cells, step):
        stop = min(start + step, bins.cells)
        inside = exact[(whose > start) & (whose <= stop)]
        yield _cell(f"{_value(bins, edges[start])} to {_value(bins, edges[stop])}",
                    np.concatenate([shares[bins.first + start : bins.first + stop], inside]))
    yield _cell(f"{last} and more", np.concatenate([shares[bins.above][None], exact[above]]))


def _back(bins: NumericBins, place: int) -> float:
    """The value at the lower edge of ``cell place``."""
    at = bins.low + place * (bins.high - bins.low) / max(bins.cells, 1)
    return at if bins.transform == "linear" else bins.center + bins.scale * math.sinh(at)


def _value(bins: NumericBins, value: float) -> str:
    if bins.kind == "datetime":
        return _date(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _date(seconds: float) -> str:
    """``2026-03-14``; what no calendar holds is told in seconds."""
    try:
        return f"{datetime.fromtimestamp(seconds, EPOCH.tzinfo):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.3g} s"
