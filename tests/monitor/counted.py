"""Raw columns summarized and counted in plain numpy: what a source must come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from monitor.binning import make_bins
from monitor.bins import QUANTILES, Bins, CategoryBins, ColumnSummary, FeatureBins, NumericBins
from monitor.config import Model
from monitor.expectations import canonical
from monitor.profile import Profile


def model(**keys: Any) -> Model:
    """A configured model with only what it must have, and ``keys``."""
    log = {"source": "log.parquet", "timestamp": "timestamp", **keys.pop("log", {})}
    return Model.model_validate({"name": "m", "log": log, **keys})


def kind_of(column: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(column):
        return "boolean"
    if pd.api.types.is_numeric_dtype(column):
        return "numeric"
    return "datetime" if pd.api.types.is_datetime64_any_dtype(column) else "categorical"


def summary(column: pd.Series) -> ColumnSummary:
    """What the engine would tell of the column, given in event-time order."""
    kind = kind_of(column)
    held = column.dropna()
    number = kind in {"numeric", "datetime"}
    values = _numbers(held) if number else held.map(_text)
    top = pd.Series(values).value_counts().head(100 if number else 10_001)
    finite = values[np.isfinite(values)] if number else []
    return ColumnSummary(
        str(column.name), kind, bool(number and (np.floor(finite) == finite).all()),
        len(column), int(column.isna().sum()), int(pd.Series(values).nunique()),
        tuple(np.quantile(finite, QUANTILES)) if len(finite) else (),
        tuple(zip(top.index, top.tolist(), strict=True)),
        bool(number and (np.diff(values) >= 0).all()))


def _numbers(column: pd.Series) -> np.ndarray:
    if kind_of(column) == "datetime":
        return column.to_numpy().astype("datetime64[us]").astype(np.int64) / 1e6
    return column.to_numpy(dtype=np.float64)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool | np.bool_) else (
        value if isinstance(value, str) else canonical(float(value)))


def count(column: pd.Series, feature: FeatureBins) -> np.ndarray:
    """How many values fall in each of the feature's cells."""
    return np.bincount(cells(column, feature), minlength=feature.size).astype(np.int64)


def cells(column: pd.Series, feature: FeatureBins) -> np.ndarray:
    """The cell of every value."""
    if isinstance(feature, CategoryBins):
        place = {name: feature.first + index for index, name in enumerate(feature.categories)}
        place |= dict.fromkeys(feature.known, 3)
        default = 3 if feature.rest else 2
        return np.array([0 if pd.isna(value) else place.get(_text(value), default)
                         for value in column], dtype=int)
    found = np.zeros(len(column), dtype=int)
    held = column.notna().to_numpy()
    values = _numbers(column[held])
    found[held] = np.select([np.isnan(values), np.isinf(values)], [1, 2],
                            default=_place(values, feature))
    return found


def _place(values: np.ndarray, bins: NumericBins) -> np.ndarray:
    if bins.cells == 0:
        cell = np.where(values < bins.center, bins.first - 1, bins.above)
    else:
        moved = (values if bins.transform == "linear"
                 else np.arcsinh((values - bins.center) / bins.scale))
        place = np.floor((moved - bins.low) * bins.cells / (bins.high - bins.low))
        cell = bins.first + np.clip(np.nan_to_num(place), -1, bins.cells).astype(int)
    for index, point in enumerate(bins.exact):
        cell = np.where(values == point, bins.above + 1 + index, cell)
    if bins.least is not None:
        cell = np.where(values < bins.least, bins.impossible, cell)
    return cell if bins.most is None else np.where(values > bins.most, bins.impossible, cell)


def feature_of(column: pd.Series, **keys: Any) -> FeatureBins:
    """The cells that the column as reference would get."""
    bins, aside = make_bins({str(column.name): summary(column)}, model(**keys))
    assert not aside, aside
    return bins.features[0]


def profile(frame: pd.DataFrame, bins: Bins) -> Profile:
    """The frame counted over the bins; columns by the features' names."""
    parts = [count(frame[feature.name], feature) for feature in bins.features]
    return Profile(len(frame), np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64))


def windows(frame: pd.DataFrame, bins: Bins, every: str = "1D", by: str = "timestamp",
            ) -> list[tuple[datetime, Profile]]:
    """One profile per calendar window, oldest first; windows without rows are left out."""
    columns = {feature: cells(frame[feature.name], feature) for feature in bins.features}
    stamps = pd.to_datetime(frame[by]).dt.floor(every)
    found = []
    for start, rows in stamps.groupby(stamps).indices.items():
        parts = [np.bincount(column[rows], minlength=feature.size)
                 for feature, column in columns.items()]
        found.append((pd.Timestamp(start).to_pydatetime().replace(tzinfo=UTC),
                      Profile(len(rows), np.concatenate(parts).astype(np.int64))))
    return found


def summaries(frame: pd.DataFrame, columns: Sequence[str]) -> Mapping[str, ColumnSummary]:
    return {name: summary(frame[name]) for name in columns}
