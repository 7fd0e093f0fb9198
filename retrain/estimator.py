"""Estimators of scikit-learn over a design: boosted trees, forests and linear models.

Everything runs on one thread and is repeatable. Labels are codes of the classes; a class that the
rows do not hold gets one row of weight zero, so that every model knows every class.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitor.errors import HoldfastError
from monitor.kinds import ESTIMATORS, require_settings
from retrain.contract import Task, class_codes, class_values
from retrain.design import Design
from retrain.preprocess import numbers
from retrain.trainer import WEIGHT, Options

Floats = NDArray[np.float64]

FLOOR = 1e-7
"""Probabilities are held this far from 0 in logarithms."""


@dataclass(slots=True)
class Pipeline:
    """A fitted estimator behind its design, and how it came about.

    ``tried`` are rows that every artifact of it is compared on; they are not saved.
    """

    kind: str
    task: Task
    estimator: Any
    design: Design
    classes: tuple[Any, ...]
    history: list[dict[str, float]] = field(default_factory=list)
    loss: float = math.inf
    tried: pd.DataFrame | None = None

    @property
    def inputs(self) -> dict[str, str]:
        """Input column -> MLflow type."""
        return self.design.encoder.inputs

    def answer(self, frame: pd.DataFrame) -> Floats:
        """Class probabilities ``[n, classes]``, or values ``[n]``, by scikit-learn itself."""
        return answer(self.estimator, self.design.matrix(frame))


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as estimators take them: matrix, codes or values, and weights."""

    matrix: NDArray[np.float32]
    target: NDArray[Any]
    weight: Floats

    def __len__(self) -> int:
        return len(self.target)


def rows(design: Design, frame: pd.DataFrame, *, task: Task, classes: tuple[Any, ...]) -> Rows:
    """The frame's rows whose label is a value, or one of the classes."""
    if task == "regression":
        target: NDArray[Any] = numbers(frame["_label"])
        known = np.isfinite(target)
    else:
        target = class_codes(frame["_label"], classes)
        known = target >= 0
    frame, target = frame[known], target[known]
    if not len(frame):
        raise HoldfastError("no row has a usable label; train on a window whose labels are mature")
    weight = (frame[WEIGHT].to_numpy(np.float64) if WEIGHT in frame else np.ones(len(frame)))
    return Rows(design.matrix(frame), target, weight)


def complete(given: Rows, classes: int) -> Rows:
    """The rows, and one of weight zero for each class that they do not hold."""
    absent = np.setdiff1d(np.arange(classes), given.target)
    if not len(absent):
        return given
    return Rows(np.concatenate([given.matrix, given.matrix[np.zeros(len(absent), dtype=int)]]),
                np.concatenate([given.target, absent]),
                np.concatenate([given.weight, np.zeros(len(absent))]))


def classes_of(frame: pd.DataFrame, options: Options) -> tuple[Any, ...]:
    """The classes that the contract knows, or those of the rows; none for regression."""
    if options.task == "regression":
        return ()
    found = class_values(frame["_label"])
    if len(found) < 2:
        raise HoldfastError(f"the training rows hold {len(found)} class; at least two are needed: "
                            "train on more rows")
    return options.classes or found


def settings(options: Options) -> tuple[str, dict[str, float]]:
    """The estimator's name and all of its settings; ``HoldfastError`` where one is wrong."""
    asked = dict(options.settings)
    name = str(asked.pop("estimator", "hist_gradient_boosting"))
    if name not in ESTIMATORS:
        raise HoldfastError(f"training.estimator: {name!r} is none; right would be one of "
                            f"{', '.join(ESTIMATORS)}")
    try:
        require_settings(name, asked)
    except ValueError as error:
        raise HoldfastError(f"training.{error}") from error
    return name, {key: item.default for key, item in ESTIMATORS[name].items()} | asked


def forest(given: Rows, asked: Mapping[str, float], *, classifies: bool, seed: int) -> Any:
    """A random forest fitted to the rows."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    made = RandomForestClassifier if classifies else RandomForestRegressor
    trees = made(int(asked["trees"]), max_depth=int(asked["depth"]) or None,
                 min_samples_leaf=int(asked["least"]), max_features=float(asked["features"]),
                 n_jobs=1, random_state=seed)
    return trees.fit(given.matrix, given.target, sample_weight=given.weight)


PENALTIES = (0.03, 0.3, 3.0, 30.0)
"""Weights of squared coefficients that the validation rows choose among."""


def linear(given: Rows, chosen: Rows, asked: Mapping[str, float], *, classifies: bool,
           start: Any = None) -> Any:
    """A logistic or ridge regression; from ``start`` its coefficients are where it begins.

    Values: what ``start`` leaves over is fitted, so that few rows stay near its coefficients.
    """
    tries = [float(asked["penalty"])] if asked["penalty"] else PENALTIES
    fitted = [_logistic(given, penalty, start) if classifies else _ridge(given, penalty, start)
              for penalty in tries]
    return min(fitted, key=lambda item: loss(item, chosen))


def _logistic(given: Rows, penalty: float, start: Any) -> Any:
    from sklearn.linear_model import LogisticRegression

    made = LogisticRegression(C=1 / penalty, max_iter=200, warm_start=start is not None)
    if start is not None:
        made.coef_, made.intercept_ = start.coef_.copy(), start.intercept_.copy()
        made.classes_ = start.classes_.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what 200 steps reach is good enough
        made.fit(given.matrix, given.target, sample_weight=given.weight)
    return made


def _ridge(given: Rows, penalty: float, start: Any) -> Any:
    from sklearn.linear_model import Ridge

    left = given.target if start is None else given.target - start.predict(given.matrix)
    made = Ridge(alpha=penalty).fit(given.matrix.astype(np.float64), left,
                                    sample_weight=given.weight)
    if start is not None:
        made.coef_, made.intercept_ = made.coef_ + start.coef_, made.intercept_ + start.intercept_
    return made


def grown(start: Any, given: Rows, trees: int) -> Any:
    """A copy of the forest with more trees, fitted to these rows."""
    more = copy.copy(start)
    more.estimators_ = list(start.estimators_)
    more.set_params(warm_start=True, n_estimators=len(start.estimators_) + trees)
    more.fit(given.matrix, given.target, sample_weight=given.weight)
    return more.set_params(warm_start=False)


def first_trees(forest: Any, count: int) -> Any:
    """A copy of the forest with its first trees alone."""
    small = copy.copy(forest)
    small.estimators_ = forest.estimators_[:count]
    return small.set_params(n_estimators=count)


def settled(estimator: Any) -> Any:
    """The estimator with thresholds that single floats can hold, as its graph has them.

    Rows are single floats: one lies below a threshold exactly where it lies below the next smaller
    single float, but not always below the nearest one.
    """
    for nodes in _nodes(estimator):
        single = nodes.astype(np.float32)
        above = single.astype(np.float64) > nodes
        nodes[:] = np.where(above, np.nextafter(single, np.float32(-np.inf)), single)
    return estimator


def _nodes(estimator: Any) -> Iterator[NDArray[np.float64]]:
    """The thresholds of each tree, to be written to; none of a linear model."""
    for trees in getattr(estimator, "_predictors", []):
        for tree in trees:
            yield tree.nodes["num_threshold"]
    for tree in getattr(estimator, "estimators_", []):
        yield tree.tree_.threshold


def answer(estimator: Any, matrix: NDArray[np.float32]) -> Floats:
    """Class probabilities ``[n, classes]``, or values ``[n]``."""
    with one_thread():
        said = (estimator.predict_proba(matrix) if hasattr(estimator, "predict_proba")
                else estimator.predict(matrix))
    return np.asarray(said, dtype=np.float64)


def loss(estimator: Any, chosen: Rows) -> float:
    """The mean logarithmic loss, or the squared error in units of the labels' variance."""
    return lost(answer(estimator, chosen.matrix), chosen)


def lost(said: Floats, chosen: Rows) -> float:
    """The loss of answers about these rows; see ``loss``."""
    if said.ndim == 1:
        scale = float(np.var(chosen.target)) or 1.0
        return float(np.average((said - chosen.target) ** 2, weights=chosen.weight) / scale)
    share = said[np.arange(len(chosen)), chosen.target]
    return float(np.average(-np.log(np.maximum(share, FLOOR)), weights=chosen.weight))


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for BLAS and OpenMP, so that sums have one order."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
