"""Effects: the errors of a regression estimated without labels, from what its columns hold.

Direct loss estimation (DLE, as NannyML names it) with a model that counts can be put into: the
loss of a row is a sum of effects of the cells that its inputs and its prediction fall in. The mean
of a window then follows exactly from its marginal counts, and no row has to be looked at again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import special

from monitor.bins import Bins, CategoryBins, FeatureBins, NumericBins, key_of
from monitor.chances import FOLDS, STRETCHES, beyond, cut
from monitor.expectations import canonical
from monitor.outcomes import Outcomes
from monitor.performance import FEWEST_ROWS, Performance
from monitor.refutation import Check, held, unestimated

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Places = npt.NDArray[np.int64]

ROWS = 20_000
"""Labelled rows at most that effects are learned from, by hash."""
VALUES = 4_000_000
"""Values at most that leave the log for it."""
FEWEST = 200
"""Labelled rows below which nothing is learned."""
GROUPS, COLUMNS = 12, 40
"""Groups of cells per column that get an effect, and columns that have some: those whose groups
tell most of the losses."""
SHRUNK = 5.0
"""Rows that pull every effect towards none (the ridge)."""
OF = {"mae": "absolute", "rmse": "squared", "mape": "relative"}
"""The loss whose mean each metric is of."""
_CHECKED = ("absolute", "squared", "relative")


@dataclass(frozen=True, slots=True)
class Loss:
    """Effects of cells by column, around ``base``; ``noise`` of a row, ``extra`` of a window."""

    base: float
    mean: float
    effects: dict[str, tuple[float, ...]]
    noise: float
    extra: float


@dataclass(frozen=True, slots=True)
class Losses:
    """What ``rows`` labelled rows of the reference taught of every loss."""

    rows: int
    of: dict[str, Loss]

    def to_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "of": {
            name: {slot: getattr(loss, slot) for slot in loss.__slots__}
            for name, loss in self.of.items()}}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Losses:
        return cls(row["rows"], {name: Loss(**{**loss, "effects": {
            key: tuple(effects) for key, effects in loss["effects"].items()}})
            for name, loss in row["of"].items()})


@dataclass(frozen=True, slots=True)
class LossEstimator:
    """Estimates of a regression's errors, from the counts of its columns."""

    bins: Bins
    losses: Losses

    @property
    def metrics(self) -> tuple[str, ...]:
        """What can be estimated."""
        return tuple(OF)

    def estimate(self, counts: Counts, metrics: Sequence[str], *, level: float = 0.95,
                 span: str = "") -> tuple[Performance, ...]:
        """The metrics that the labels of these rows are expected to have, with their intervals."""
        return tuple(replace(self._estimated(counts, name, level, None), span=span)
                     for name in metrics)

    def check(self, outcomes: Outcomes, counts: Counts, realized: Performance, *, level: float
              ) -> Check:
        """Whether the realized metric of labelled rows is what was estimated of their panes."""
        found = self._estimated(counts, realized.metric, level, realized.n)
        return held(found, realized)

    def _estimated(self, counts: Counts, metric: str, level: float, labelled: int | None
                   ) -> Performance:
        some = next(iter(self.losses.of["absolute"].effects), None)
        n = int(counts[self.bins.slices[some]].sum()) if some else 0
        if metric not in OF or n < FEWEST_ROWS:
            return unestimated(metric, n, f"{metric} is not estimated" if metric not in OF else
                               f"{n} rows, at least {FEWEST_ROWS} are asked for")
        loss = self.losses.of[OF[metric]]
        value = loss.base
        for key, effects in loss.effects.items():
            share = counts[self.bins.slices[key]] / n
            value += float(share @ np.array(effects))
        value = max(value, 0.02 * loss.mean)
        scale = value / loss.mean if loss.mean > 0 else 1.0  # where losses are larger, so is chance
        error = scale * float(np.hypot(loss.noise / np.sqrt(labelled or n), loss.extra))
        half = float(special.ndtri((1 + level) / 2)) * error
        ends = [max(value - half, 0.0), value, value + half]
        low, middle, high = np.sqrt(ends) if metric == "rmse" else ends
        return Performance(metric, float(middle), float(low), float(high), n, estimated=True)


def learn(frame: pd.DataFrame, bins: Bins) -> Losses | None:
    """What a sample of labelled rows teaches; None where there are too few.

    ``frame`` is oldest first, as a source samples it.
    """
    import pandas as pd

    given = pd.to_numeric(frame["_prediction"], errors="coerce").to_numpy(dtype=np.float64)
    label = pd.to_numeric(frame["_label"], errors="coerce").to_numpy(dtype=np.float64)
    fine = np.isfinite(given) & np.isfinite(label)
    if fine.sum() < FEWEST:
        return None
    error = (given - label)[fine]
    relative = np.divide(np.abs(error), np.abs(label[fine]), out=np.zeros(len(error)),
                         where=label[fine] != 0)
    wanted = np.stack([np.abs(error), error**2, relative], axis=1)
    columns = {}
    for item in bins.features:
        name = "_prediction" if item.role == "prediction" else item.name
        if item.role in {"feature", "prediction"} and name in frame:
            columns[key_of(item)] = place(frame[name][fine], item)
    design = _design(columns, bins, wanted[:, 0])
    if not design:
        return None
    return _fitted(design, bins, wanted)


def place(column: pd.Series[Any], item: FeatureBins) -> Places:
    """The cell of every value of a sampled column."""
    import pandas as pd

    if isinstance(item, CategoryBins):
        codes, values = pd.factorize(column)
        known = {name: item.first + index for index, name in enumerate(item.categories)}
        known |= dict.fromkeys(item.known, 3)
        cells = [known.get(canonical(value), 3 if item.rest else 2) for value in values]
        return np.array([*cells, 0], dtype=np.int64)[codes]  # -1, the last one, is null
    if item.kind == "datetime":
        stamps = pd.to_datetime(column, utc=True, errors="coerce")
        seconds = (stamps - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
        return _number(np.asarray(seconds, dtype=np.float64), item)
    return _number(pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64), item)


def _number(values: Floats, bins: NumericBins) -> Places:
    with np.errstate(invalid="ignore", over="ignore"):
        if bins.cells == 0:
            cell = np.where(values < bins.center, bins.first - 1, bins.above)
        else:
            moved = (values if bins.transform == "linear"
                     else np.arcsinh((values - bins.center) / bins.scale))
            at = np.floor((moved - bins.low) * bins.cells / (bins.high - bins.low))
            cell = bins.first + np.clip(np.nan_to_num(at), -1, bins.cells).astype(np.int64)
    for index, point in enumerate(bins.exact):
        cell = np.where(values == point, bins.above + 1 + index, cell)
    cell = np.where(np.isnan(values), 0, np.where(np.isinf(values), 2, cell))
    return np.asarray(cell, dtype=np.int64)


def _design(columns: Mapping[str, Places], bins: Bins, loss: Floats
            ) -> dict[str, tuple[Places, Places]]:
    """(group of each cell, group of each row) of the columns that tell most of the loss."""
    found: dict[str, tuple[Places, Places]] = {}
    told: dict[str, float] = {}
    for key, cells in columns.items():
        groups = cut(np.bincount(cells, minlength=bins.by_key[key].size).astype(float), GROUPS)
        rows = groups[cells]
        sizes = np.bincount(rows)
        if np.count_nonzero(sizes) < 2:
            continue
        means = np.bincount(rows, weights=loss) / np.maximum(sizes, 1)
        between = float((sizes * (means - loss.mean()) ** 2).sum()) / np.count_nonzero(sizes)
        found[key], told[key] = (groups, rows), between
    best = sorted(found, key=lambda key: (-told[key], key))[:COLUMNS]
    return {key: found[key] for key in found if key in best}


def _fitted(design: Mapping[str, tuple[Places, Places]], bins: Bins, wanted: Floats) -> Losses:
    starts = np.cumsum([0, *(int(groups.max()) + 1 for groups, _ in design.values())])
    hot = np.zeros((len(wanted), starts[-1]))
    for start, (_, rows) in zip(starts, design.values(), strict=False):
        hot[np.arange(len(rows)), start + rows] = 1.0
    base, effects = _ridge(hot, wanted)
    extra, noise = _errors(hot, wanted)
    of = {}
    for index, name in enumerate(_CHECKED):
        cells = {key: tuple(float(f"{value:.6g}") for value in
                            effects[start:start + int(groups.max()) + 1, index][groups])
                 for start, (key, (groups, _)) in zip(starts, design.items(), strict=False)}
        of[name] = Loss(float(base[index]), float(wanted[:, index].mean()), cells,
                        float(noise[index]), extra[index])
    return Losses(len(wanted), of)


def _ridge(hot: Floats, wanted: Floats) -> tuple[Floats, Floats]:
    """(base, effects) of ridge regression (Hoerl and Kennard 1970) around the means."""
    middle, mean = hot.mean(axis=0), wanted.mean(axis=0)
    centred = hot - middle
    square = centred.T @ centred + SHRUNK * np.eye(hot.shape[1])
    effects = np.linalg.solve(square, centred.T @ (wanted - mean))
    return mean - middle @ effects, effects


def _errors(hot: Floats, wanted: Floats) -> tuple[list[float], Floats]:
    """The spread of stretches beyond chance, and that of rows, on time that was left out."""
    fold = cut(np.ones(len(wanted)), FOLDS)
    rest = np.zeros_like(wanted)
    for part in np.unique(fold):
        base, effects = _ridge(hot[fold != part], wanted[fold != part])
        rest[fold == part] = wanted[fold == part] - base - hot[fold == part] @ effects
    noise = rest.std(axis=0)
    shown = []
    for count in (STRETCHES, STRETCHES // 3):
        stretch = cut(np.ones(len(wanted)), count)
        sizes = np.bincount(stretch)
        means = np.stack([np.bincount(stretch, weights=rest[:, index]) / sizes
                          for index in range(wanted.shape[1])], axis=1)
        shown.append([beyond(np.stack([means[:, index], noise[index] ** 2 / sizes], axis=1))
                      for index in range(wanted.shape[1])])
    return [min(pair) for pair in zip(*shown, strict=True)], noise
