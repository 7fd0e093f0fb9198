"""Rows cut into windows, and real streams resampled in blocks: what every benchmarked tool sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Consecutive windows of rows in time order: window ``k`` is ``frame[edges[k]:edges[k + 1]]``.

    Texts, classes and booleans are pandas categoricals, so that a tool encodes their categories
    once and not every row. ``starts`` say when windows begin, where that matters.
    """

    frame: pd.DataFrame
    edges: Places
    starts: tuple[datetime, ...] = ()

    def __len__(self) -> int:
        return len(self.edges) - 1

    @property
    def sizes(self) -> Places:
        """Rows per window."""
        return np.diff(self.edges)

    @property
    def owner(self) -> Places:
        """The window of every row."""
        return np.repeat(np.arange(len(self)), self.sizes)

    def part(self, first: int, last: int) -> Windows:
        """Windows ``first`` to ``last - 1``."""
        start, end = self.edges[first], self.edges[last]
        return Windows(self.frame.iloc[start:end], self.edges[first:last + 1] - start,
                       self.starts[first:last])


def cut(frame: pd.DataFrame, rows: int) -> Windows:
    """Windows of so many consecutive rows; what is left at the end is dropped."""
    count = len(frame) // rows
    return Windows(frame.iloc[:count * rows], np.arange(count + 1) * rows)


def by_week(frame: pd.DataFrame, stamps: pd.Series) -> Windows:
    """One window per seven days from the first row on; those with few rows are left out."""
    origin = stamps.iloc[0].normalize()
    week = ((stamps - origin).dt.days // 7).to_numpy()
    found, sizes = np.unique(week, return_counts=True)
    found, sizes = found[sizes >= np.median(sizes) / 2], sizes[sizes >= np.median(sizes) / 2]
    starts = [(origin + pd.Timedelta(weeks=int(place))).to_pydatetime() for place in found]
    return Windows(frame[np.isin(week, found)], np.array([0, *np.cumsum(sizes)]),
                   tuple(start.replace(tzinfo=UTC) for start in starts))


def joined(parts: Sequence[Windows]) -> Windows:
    """Windows one after the other."""
    sizes = np.concatenate([part.sizes for part in parts])
    return Windows(pd.concat([part.frame for part in parts], ignore_index=True),
                   np.array([0, *np.cumsum(sizes)]),
                   tuple(start for part in parts for start in part.starts))


def encoded(frame: pd.DataFrame) -> pd.DataFrame:
    """The same columns with everything that is not a number as a categorical of texts."""
    columns = {}
    for name, column in frame.items():
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            columns[name] = column
            continue
        texts = column.astype(object)
        held = texts.notna()
        texts[held] = texts[held].map(lambda value: str(value).lower()
                                      if isinstance(value, bool | np.bool_) else str(value))
        columns[name] = texts.astype("category")
    return pd.DataFrame(columns)


def taken(frame: pd.DataFrame, blocks: Sequence[Places]) -> pd.DataFrame:
    """The rows of these blocks, one after the other."""
    return frame.iloc[np.concatenate(blocks)].reset_index(drop=True)


def whole_blocks(first: int, last: int, length: int) -> list[Places]:
    """Rows ``first`` to ``last - 1`` as blocks of this many; a shorter rest is left out."""
    return [np.arange(start, start + length)
            for start in range(first, last - length + 1, length)]


def weeks(stamps: pd.Series, least: float = 0.8) -> list[Places]:
    """The rows of each week (from Monday on), oldest first; weeks that hold less than this share
    of the usual number of rows are left out."""
    week = stamps.dt.to_period("W").astype(str)
    found = [np.asarray(rows) for rows in week.groupby(week).indices.values()]
    usual = float(np.median([rows.size for rows in found]))
    return [rows for rows in found if rows.size >= least * usual]
