"""Importance: how much each feature matters to what a version answers.

``retrain.importance`` permutes the features of rows that a version can be run on. For versions
that cannot be run there is a **surrogate**: an additive model that repeats the logged answers, in
which features are permuted instead. See ``docs/statistics.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from monitor.performance import Floats

if TYPE_CHECKING:
    import pandas as pd

REPEATS = 5
"""Permutations of each feature."""
GROUPS, NAMES, CLASSES = 10, 20, 10
"""Groups of a number, named values of a category, and named classes that a surrogate knows."""
WIDEST = 60
"""Features that a surrogate is fitted to: those that tell most of the answers alone."""
LEAST_ROWS = 200
LEAST_EXPLAINED = 0.1
"""Share of the answers' variance below which a surrogate says nothing of the version."""


@dataclass(frozen=True, slots=True)
class Importances:
    """What is lost of ``metric`` when a feature is permuted: {feature: (mean, standard error)}.

    ``explained`` is the share of the logged answers' variance that a surrogate repeats on rows that
    it was not fitted to; None where the version itself was run.
    """

    kind: Literal["permutation", "surrogate"]
    metric: str
    rows: int
    drops: dict[str, tuple[float, float]]
    explained: float | None = None

    @property
    def shares(self) -> dict[str, float]:
        """Each feature's part of all that the features lose; gains count as nothing, nor does what
        is no number."""
        lost = {name: max(0.0, drop) for name, (drop, _) in self.drops.items()}
        whole = sum(lost.values())
        return {name: round(value / whole, 4) if whole else 0.0 for name, value in lost.items()}

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "metric": self.metric, "rows": self.rows,
                "explained": self.explained,
                "drops": {name: list(both) for name, both in self.drops.items()}}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Importances:
        drops = {name: (drop, error) for name, (drop, error) in row["drops"].items()}
        return cls(row["kind"], row["metric"], row["rows"], drops, row["explained"])


def told(drops: Sequence[float]) -> tuple[float, float]:
    """Mean and standard error of repeats, to four digits."""
    values = np.asarray(drops, dtype=np.float64)
    error = values.std(ddof=1) / np.sqrt(values.size) if values.size > 1 else 0.0
    return float(f"{values.mean():.4g}"), float(f"{error:.4g}")


def surrogate(frame: pd.DataFrame, names: Sequence[str], task: str, *, seed: int = 0
              ) -> Importances | None:
    """The importances by an additive model of ``_score``, else ``_prediction``; None where that
    repeats too little of them.

    Half the rows fit it (ridge regression on groups of each feature's values); on the other half
    each feature is permuted, and the loss of explained variance counted.
    """
    what, answers = _answers(frame, task)
    held = np.isfinite(answers).all(axis=1) if answers.size else np.zeros(0, dtype=bool)
    frame, answers = frame.iloc[np.flatnonzero(held)], answers[held]
    names = [name for name in names if name in frame.columns]
    if len(frame) < LEAST_ROWS or not names or not answers.std(axis=0).any():
        return None
    rng = np.random.default_rng(seed)
    fit = np.isin(np.arange(len(frame)), rng.permutation(len(frame))[:len(frame) // 2])
    columns = {name: _groups(frame[name], fit) for name in names}
    parts = _fitted(columns, answers, fit)
    truth = answers[~fit]
    whole = float(((truth - answers[fit].mean(axis=0)) ** 2).sum())
    rest = truth - answers[fit].mean(axis=0) - sum(parts.values())
    explained = 1 - float((rest**2).sum()) / whole if whole else 0.0
    if explained < LEAST_EXPLAINED:
        return None
    drops = dict.fromkeys(names, (0.0, 0.0))
    for name, part in parts.items():
        lost = [float(((rest + part - part[rng.permutation(len(part))]) ** 2).sum()
                      - (rest**2).sum()) / whole for _ in range(REPEATS)]
        drops[name] = told(lost)
    return Importances("surrogate", f"explained variance of the logged {what}", int((~fit).sum()),
                       drops, float(f"{explained:.4g}"))


def _answers(frame: pd.DataFrame, task: str) -> tuple[str, Floats]:
    """What the version answered, as numbers ``(n, k)``."""
    import pandas as pd

    scores = sorted(name for name in frame.columns if str(name).startswith("_score"))
    if scores and frame[scores].notna().all(axis=1).mean() > 0.5:
        return "score", frame[scores].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    if "_prediction" not in frame:
        return "prediction", np.zeros((len(frame), 0))
    said = frame["_prediction"]
    if task == "regression":
        return "prediction", pd.to_numeric(said, errors="coerce").to_numpy(np.float64)[:, None]
    classes = sorted(said.dropna().astype(str).value_counts().index[:CLASSES])
    found = np.stack([(said.astype(str) == name).to_numpy(np.float64) for name in classes[1:]]
                     or [np.zeros(len(said))], axis=1)
    found[said.isna().to_numpy()] = np.nan
    return "prediction", found


def _groups(column: pd.Series[Any], fit: Any) -> Any:
    """The group of each value: of near-equal mass for numbers, the commonest values of names."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column):
        column = (column - column.min()).dt.total_seconds()
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        known = values[fit & np.isfinite(values)]
        edges = (np.unique(np.quantile(known, np.arange(1, GROUPS) / GROUPS)) if known.size
                 else np.zeros(0))
        place = np.searchsorted(edges, values, side="right")
        return np.where(np.isfinite(values), place, len(edges) + 1)
    names = column.astype(str).where(column.notna(), "\0")
    common = sorted(names[fit].value_counts().index[:NAMES])
    known_as = {name: index + 1 for index, name in enumerate(common)}
    return np.array([known_as.get(name, 0) for name in names], dtype=np.intp)


def _fitted(columns: Mapping[str, Any], answers: Floats, fit: Any) -> dict[str, Floats]:
    """What each feature adds to the answers of the rows that were not fitted to."""
    centred = answers[fit] - answers[fit].mean(axis=0)
    designs = {name: np.eye(int(place.max()) + 1)[place] for name, place in columns.items()}
    alone = {name: float((((design[fit].T @ centred) ** 2)
                          / (design[fit].sum(axis=0)[:, None] + 1)).sum())
             for name, design in designs.items()}
    kept = sorted(sorted(alone, key=lambda name: (-alone[name], name))[:WIDEST])
    wide = np.concatenate([designs[name] for name in kept], axis=1)
    inner = wide[fit]
    found = np.linalg.solve(inner.T @ inner + np.eye(wide.shape[1]), inner.T @ centred)
    edges = np.cumsum([0, *(designs[name].shape[1] for name in kept)])
    return {name: designs[name][~fit] @ found[first:last]
            for name, first, last in zip(kept, edges[:-1], edges[1:], strict=True)}
