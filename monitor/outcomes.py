"""Outcomes: joint counts of prediction, label and score, and sums of losses. They only add."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from monitor.bins import SCORE_CELLS as SCORE_CELLS

SUMS = ("n", "log_loss", "brier", "error", "absolute", "squared", "label", "label_squared",
        "relative", "scored")
"""What is summed per block: rows; log loss and Brier loss of the score; prediction - label, its
absolute value and its square; the label and its square; |error / label| where the label is not 0;
rows with a score. Losses of classes are 0 for regression, errors are 0 for classes."""

MOST_CELLS = 8_000
"""Joint cells of reference outcomes that a baseline carries; more are kept in longer blocks."""

Cell = tuple[int, str, str, int]
"""(block, prediction, label, score cell): ``block`` is seconds since the epoch; prediction and
label are canonical class texts, or '' for regression."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Labelled rows of one pane, version and segment, split into time blocks.

    ``cells`` are exact signed counts (a corrected label takes its old row back); ``sums`` hold
    ``SUMS`` per block, accurate to 1e-9.
    """

    cells: dict[Cell, int] = field(default_factory=dict)
    sums: dict[int, tuple[float, ...]] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Labelled rows."""
        return round(sum(values[0] for values in self.sums.values()))

    def __add__(self, other: Outcomes) -> Outcomes:
        return total((self, other))

    def __sub__(self, other: Outcomes) -> Outcomes:
        negative = Outcomes({key: -count for key, count in other.cells.items()},
                            {block: tuple(-value for value in values)
                             for block, values in other.sums.items()})
        return self + negative

    def __bool__(self) -> bool:
        return bool(self.cells) or any(round(values[0]) for values in self.sums.values())

    def blocks(self, seconds: int) -> list[Outcomes]:
        """The same outcomes split into time blocks of this length, oldest first."""
        parts: dict[int, Outcomes] = {}
        for key, count in self.cells.items():
            part = parts.setdefault(key[0] // seconds, Outcomes())
            part.cells[key] = count
        for block, values in self.sums.items():
            parts.setdefault(block // seconds, Outcomes()).sums[block] = values
        return [parts[index] for index in sorted(parts)]

    def pack(self) -> bytes:
        """Compressed JSON; ``unpack`` reads it back unchanged."""
        plain = [[*key, count] for key, count in sorted(self.cells.items())]
        sums = [[block, *values] for block, values in sorted(self.sums.items())]
        told = json.dumps([plain, sums], separators=(",", ":"))
        return zlib.compress(told.encode(), 6)

    @classmethod
    def unpack(cls, packed: bytes) -> Outcomes:
        plain, sums = json.loads(zlib.decompress(packed))
        return cls({(row[0], row[1], row[2], row[3]): row[4] for row in plain},
                   {row[0]: tuple(row[1:]) for row in sums})


def total(parts: Iterable[Outcomes]) -> Outcomes:
    """The sum of many; cells that cancel out are left out."""
    cells: dict[Cell, int] = {}
    sums: dict[int, tuple[float, ...]] = {}
    for part in parts:
        for key, count in part.cells.items():
            cells[key] = cells.get(key, 0) + count
        for block, values in part.sums.items():
            before = sums.get(block)
            sums[block] = values if before is None else tuple(
                old + new for old, new in zip(before, values, strict=True))
    return Outcomes({key: count for key, count in cells.items() if count},
                    {block: values for block, values in sums.items() if round(values[0])})


def coarsened(outcomes: Outcomes, most: int = MOST_CELLS) -> Outcomes:
    """The same outcomes in blocks long enough that at most ``most`` cells are left."""
    for hours in (1, 6, 24, 168, *(336 * 2**index for index in range(8))):
        if len(outcomes.cells) <= most:
            break
        outcomes = reblocked(outcomes, 3600 * hours)
    return outcomes


def reblocked(outcomes: Outcomes, seconds: int) -> Outcomes:
    """The same outcomes in blocks of this length: counts are exact, sums are those of sums."""
    cells: dict[Cell, int] = {}
    sums: dict[int, tuple[float, ...]] = {}
    for (block, guess, label, score), count in outcomes.cells.items():
        key = (block // seconds * seconds, guess, label, score)
        cells[key] = cells.get(key, 0) + count
    for block, values in outcomes.sums.items():
        start = block // seconds * seconds
        before = sums.get(start, (0.0,) * len(values))
        sums[start] = tuple(a + b for a, b in zip(before, values, strict=True))
    return Outcomes(cells, sums)


def unscored(outcomes: Outcomes) -> Outcomes:
    """The same outcomes without the cells of their scores: few cells, and no rankings."""
    cells: dict[Cell, int] = {}
    for (block, guess, label, _), count in outcomes.cells.items():
        key = (block, guess, label, -1)
        cells[key] = cells.get(key, 0) + count
    return Outcomes(cells, dict(outcomes.sums))
