"""Boosting: histogram gradient boosting that stops, goes on and shrinks on validation rows.

scikit-learn's own warm start reads the old trees by the bins of the new rows, which is right for
the same rows only; here the old trees answer raw values and the new ones learn what is left.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from monitor.errors import HoldfastError
from retrain.estimator import Floats, Rows
from retrain.trainer import Options

PATIENCE = 12
"""Trees without a better validation loss after which no more are fitted."""


def fresh(given: Rows, chosen: Rows, asked: Mapping[str, float], *, classifies: bool,
          options: Options) -> Any:
    """New trees, as many as the validation rows want."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    made = HistGradientBoostingClassifier if classifies else HistGradientBoostingRegressor
    trees = made(max_iter=int(asked["trees"]), max_leaf_nodes=int(asked["leaves"]),
                 max_depth=int(asked["depth"]) or None, min_samples_leaf=int(asked["least"]),
                 learning_rate=float(asked["rate"]), l2_regularization=float(asked["penalty"]),
                 early_stopping=True, n_iter_no_change=PATIENCE, tol=0.0,
                 random_state=options.seed)
    _fit(trees, given, chosen)
    return first(trees, int(np.argmax(trees.validation_score_[1:])) + 1)


def further(start: Any, given: Rows, chosen: Rows, more: int) -> Any:
    """A copy with up to ``more`` trees of the new rows; none, where they only do harm."""
    trees = copy.deepcopy(start)
    old = [_raw(start, part) for part in (given, chosen)]  # the fit adds to these in place
    before = _score(start, old[1], chosen)
    trees.set_params(warm_start=True, max_iter=start.n_iter_ + more)
    trees.train_score_ = trees.validation_score_ = np.zeros(0)
    waiting = iter(old)
    trees._raw_predict = lambda *_, **__: next(waiting)
    try:
        _fit(trees, given, chosen)
    finally:
        del trees._raw_predict
    trees.set_params(warm_start=False)
    scores = trees.validation_score_
    new = int(np.argmax(scores)) + 1 if scores.max() > before else 0
    kept = first(trees, start.n_iter_ + new)
    kept.validation_score_ = np.concatenate([start.validation_score_,
                                             scores[:new]])
    return kept


def _fit(trees: Any, given: Rows, chosen: Rows) -> None:
    trees.fit(given.matrix, given.target, sample_weight=given.weight, X_val=chosen.matrix,
              y_val=chosen.target, sample_weight_val=chosen.weight)


def _raw(trees: Any, given: Rows) -> Floats:
    try:
        return np.asfortranarray(trees._raw_predict(given.matrix))
    except AttributeError as error:
        raise HoldfastError("this release of scikit-learn keeps its trees otherwise; right would "
                            "be the one in constraints.txt") from error


def first(trees: Any, count: int) -> Any:
    """A copy with its first trees (one per class each) alone."""
    small = copy.copy(trees)
    small._predictors = list(trees._predictors[:count])
    small.train_score_ = trees.train_score_[:count + 1]
    small.validation_score_ = trees.validation_score_[:count + 1]
    return small.set_params(max_iter=count)


def history(trees: Any) -> list[dict[str, float]]:
    """The loss on the validation rows after each tree, in scikit-learn's units."""
    return [{"epoch": float(index), "validation_loss": -float(score)}
            for index, score in enumerate(trees.validation_score_[1:])]


def _score(trees: Any, raw: Floats, chosen: Rows) -> float:
    """What the validation score of these raw answers is."""
    flat = raw[:, 0] if raw.shape[1] == 1 else raw
    return -float(trees._loss(chosen.target.astype(np.float64), np.ascontiguousarray(flat),
                              sample_weight=chosen.weight))
