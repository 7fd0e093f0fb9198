"""Learned preprocessing that lives inside the artifact: raw columns in, tensors out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitor.errors import HoldfastError
from retrain.contract import column_type

UNKNOWN, NULL, FIRST = 0, 1, 2
"""Indices of a category: not in the reference, absent, and the first known one."""

NULL_TEXTS = ("", "None", "nan", "NaN", "<NA>", "null")
"""How an absent value of a text column reaches the runtime (Python objects become text there)."""

LIMIT = 8.0
"""Scaled numbers are held within +- this many scales, so that a drifted input stays bounded."""


@dataclass(frozen=True, slots=True)
class NumericColumn:
    """``clip((x - mean) / scale)`` with the median for nulls; ``scale`` 0 marks a constant."""

    name: str
    median: float
    mean: float
    scale: float
    logged_type: str


@dataclass(frozen=True, slots=True)
class CategoryColumn:
    """Known values, most frequent first; text, or numbers when logged as numbers."""

    name: str
    categories: tuple[Any, ...]
    logged_type: str


@dataclass(frozen=True, slots=True)
class Encoder:
    """What was learned of each input column; the columns keep their order in the frame."""

    numeric: tuple[NumericColumn, ...]
    categorical: tuple[CategoryColumn, ...]
    names: tuple[str, ...]

    @classmethod
    def fit(cls, frame: pd.DataFrame, features: Sequence[str], categorical: Sequence[str],
            *, most: int = 200, least: int = 5) -> Encoder:
        """Medians, scales and the ``most`` frequent categories seen at least ``least`` times."""
        numeric: list[NumericColumn] = []
        categories: list[CategoryColumn] = []
        for name in features:
            kind = column_type(frame[name])
            if kind == "string" or name in categorical:
                categories.append(_category(frame[name], kind, most=most, least=least))
            else:
                numeric.append(_numeric(frame[name], kind))
        return cls(tuple(numeric), tuple(categories), tuple(features))

    @property
    def inputs(self) -> dict[str, str]:
        """Input column -> MLflow type, in the order of the frame."""
        types = {column.name: column.logged_type for column in self.numeric}
        types |= {column.name: column.logged_type for column in self.categorical}
        return {name: types[name] for name in self.names}

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Rows of each embedding: unknown, null and every known category."""
        return tuple(FIRST + len(column.categories) for column in self.categorical)

    def transform(self, frame: pd.DataFrame) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scaled numbers then missing indicators ``[n, 2 k]``, and category indices ``[n, c]``."""
        self._require(frame)
        values = np.zeros((len(frame), 2 * len(self.numeric)), dtype=np.float32)
        for index, column in enumerate(self.numeric):
            scaled, missing = _scaled(column, frame[column.name])
            values[:, index], values[:, len(self.numeric) + index] = scaled, missing
        codes = np.zeros((len(frame), len(self.categorical)), dtype=np.int64)
        for index, category in enumerate(self.categorical):
            codes[:, index] = _codes(category, frame[category.name])
        return values, codes

    def _require(self, frame: pd.DataFrame) -> None:
        absent = [name for name in self.names if name not in frame.columns]
        if absent:
            raise HoldfastError(f"columns {absent} are absent; the model takes {list(self.names)}")

    def widened(self, frame: pd.DataFrame, *, most: int = 200, least: int = 20) -> Encoder:
        """The encoder that also knows what is new in the frame: constants that now move, and
        categories seen at least ``least`` times. What it knew before keeps its place and scale."""
        self._require(frame)
        numeric = tuple(
            column if column.scale else _numeric(frame[column.name], column.logged_type)
            for column in self.numeric)
        categorical = tuple(_grown(column, frame[column.name], most=most, least=least)
                            for column in self.categorical)
        return Encoder(numeric, categorical, self.names)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``from_dict`` reads them back unchanged."""
        return {"numeric": [asdict(column) for column in self.numeric],
                "categorical": [asdict(column) for column in self.categorical],
                "names": list(self.names)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Encoder:
        return cls(tuple(NumericColumn(**row) for row in values["numeric"]),
                   tuple(CategoryColumn(**{**row, "categories": tuple(row["categories"])})
                         for row in values["categorical"]), tuple(values["names"]))


def _numeric(column: pd.Series, kind: str) -> NumericColumn:
    values = numbers(column)
    values = values[np.isfinite(values)]
    if not len(values):
        return NumericColumn(str(column.name), 0.0, 0.0, 0.0, kind)
    low, high = np.quantile(values, (0.01, 0.99))
    inner = np.clip(values, low, high)
    scale = float(inner.std()) if low < high else float(values.std())
    if values.min() == values.max():  # rounding leaves a constant a standard deviation of 1e-19
        scale = 0.0
    return NumericColumn(str(column.name), float(np.median(values)), float(inner.mean()), scale,
                         kind)


def _category(column: pd.Series, kind: str, *, most: int, least: int) -> CategoryColumn:
    values, missing = keys(column, kind)
    counts = pd.Series(values[~missing]).value_counts()
    counts = counts[counts >= least]
    order = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))[:most]
    return CategoryColumn(str(column.name), tuple(_plain(value) for value, _ in order), kind)


def _grown(column: CategoryColumn, values: pd.Series, *, most: int, least: int) -> CategoryColumn:
    newest = _category(values, column.logged_type, most=most, least=least).categories
    added = [value for value in newest if value not in column.categories]
    room = max(0, most - len(column.categories))
    return CategoryColumn(column.name, (*column.categories, *added[:room]), column.logged_type)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def numbers(column: pd.Series) -> NDArray[np.float64]:
    """The column as doubles, NaN where absent."""
    return np.asarray(pd.to_numeric(column, errors="coerce").astype("Float64")
                      .to_numpy(dtype=np.float64, na_value=np.nan))


def keys(column: pd.Series, kind: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The values as the graph looks them up (text, int64 or float32), and where they are null."""
    if kind == "string":
        texts = np.asarray([str(value) for value in column.astype(object)], dtype=object)
        return texts, np.isin(texts.astype(str), NULL_TEXTS)
    values = numbers(column)
    if kind in {"float", "double"}:
        return values.astype(np.float32), np.isnan(values)
    missing = np.isnan(values)
    return np.where(missing, 0, values).astype(np.int64), missing


def _scaled(column: NumericColumn, values: pd.Series) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    raw = numbers(values)
    missing = ~np.isfinite(raw)
    filled = np.where(missing, column.median, raw)
    factor = 1.0 / column.scale if column.scale else 0.0
    return np.clip((filled - column.mean) * factor, -LIMIT, LIMIT), missing


def _codes(column: CategoryColumn, values: pd.Series) -> NDArray[np.int64]:
    found, missing = keys(values, column.logged_type)
    places = {value: FIRST + index for index, value in enumerate(column.categories)}
    codes: NDArray[np.int64] = (pd.Series(found).map(places).fillna(UNKNOWN)
                                .to_numpy(dtype=np.int64, copy=True))
    codes[missing] = NULL
    return codes
