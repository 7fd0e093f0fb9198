"""The scikit-learn trainer of tables: boosted trees, forests and linear models."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from monitor.errors import HoldfastError
from monitor.kinds import ESTIMATORS
from retrain import boosting, conversion, estimator
from retrain.checkpoints import Checkpoints
from retrain.contract import Contract, features_of
from retrain.design import Design
from retrain.estimator import Pipeline, Rows
from retrain.trainer import Options, Split, Unsupported

TRIED = 512
"""Validation rows that every artifact is compared with scikit-learn on."""

TRUSTED = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
           "sklearn.tree._tree.Tree")
"""Types beyond skops' own that a saved model may hold: both hold arrays of nodes alone."""

BOOSTED: dict[str, tuple[float, float]] = {"trees": (10, 300), "leaves": (4, 64),
                                           "least": (5, 100), "rate": (0.02, 0.4),
                                           "penalty": (1e-3, 10.0)}
"""Ends of what a search of boosted trees chooses between."""

BOLDER = ((1, 1 / 2, 1, 2, 1), (1, 1 / 2, 1 / 2, 1.5, 1), (1, 1 / 4, 1, 2, 1),
          (2, 1 / 4, 1, 2, 1))
"""Times the default's values that it tries first, in that order."""


class Scikit:
    """scikit-learn over tables; see ``retrain.trainer.Trainer`` for what each method promises."""

    file: ClassVar[str] = "model.skops"
    tunes_cheaply: ClassVar[bool] = False
    """New trees cost what the first ones did, and the old ones have to be answered for."""

    def fresh(self, data: Split, options: Options, *, checkpoints: Checkpoints | None = None
              ) -> Pipeline:
        name, asked = estimator.settings(options)
        design = Design.fit(data.train, features_of(data.train), options.categorical)
        classes = estimator.classes_of(data.train, options)
        given, chosen = _rows(design, data, options, classes)
        with estimator.one_thread():
            made = _new(name, given, chosen, asked=asked, options=options)
        return _pipeline(Pipeline(name, options.task, made, design, classes), data, chosen)

    def tuned(self, start: Pipeline, data: Split, options: Options, *, name: str = "tune",
              checkpoints: Checkpoints | None = None) -> Pipeline:
        kind, asked = estimator.settings(options)
        if kind != start.kind:
            raise Unsupported(f"a {start.kind} cannot go on as a {kind}")
        design = start.design.renewed(data.train)
        given, chosen = _rows(design, data, options, start.classes)
        with estimator.one_thread():
            made = _further(start, given, chosen, asked=asked)
        return _pipeline(replace(start, estimator=made, design=design), data, chosen)

    def pruned(self, fitted: Pipeline, share: float, data: Split, *, options: Options,
               checkpoints: Checkpoints | None = None) -> Pipeline:
        if fitted.kind == "linear":
            raise Unsupported("a linear model has no inner units that could be removed")
        count = (fitted.estimator.n_iter_ if fitted.kind == "hist_gradient_boosting"
                 else len(fitted.estimator.estimators_))
        kept = max(1, round(count * (1 - share)))
        if kept == count:
            raise Unsupported(f"of {count} trees none can be removed")
        given, chosen = _rows(fitted.design, data, options, fitted.classes)
        with estimator.one_thread():
            smaller = _smaller(fitted, kept, given, chosen, options=options)
        made = min(smaller, key=lambda item: estimator.loss(item, chosen))
        return _pipeline(replace(fitted, estimator=made), data, chosen)

    def capped(self, options: Options, fitted: Pipeline, start: Pipeline | None = None) -> Options:
        made, before = fitted.estimator, None if start is None else start.estimator
        if fitted.kind == "linear":
            fixed = {"penalty": 1 / made.C if hasattr(made, "C") else made.alpha}
        elif fitted.kind == "random_forest":
            fixed = {"trees": len(made.estimators_) - (len(before.estimators_) if before else 0)}
        else:
            fixed = {"trees": made.n_iter_ if before is None
                     else max(1, 2 * (made.n_iter_ - before.n_iter_))}  # half of them at most
        return replace(options, settings={**options.settings, **fixed})

    def export(self, fitted: Pipeline, contract: Contract, path: Path) -> Path:
        return conversion.to_onnx(fitted, contract, path)

    def quantized(self, source: Path, target: Path, *, calibration: pd.DataFrame) -> Path:
        raise Unsupported("ONNX Runtime has no int8 form of trees, and a linear model is one row "
                          "of numbers; fewer trees make it smaller (training.prune)")

    def save(self, fitted: Pipeline, path: Path) -> Path:
        skops = _skops()
        about = {"kind": fitted.kind, "task": fitted.task, "classes": list(fitted.classes),
                 "design": fitted.design.to_dict(), "loss": fitted.loss,
                 "history": fitted.history}
        path.write_bytes(skops.dumps({"about": json.dumps(about),
                                      "estimator": fitted.estimator}))
        return path

    def load(self, path: Path) -> Pipeline:
        skops = _skops()
        try:
            stored = skops.load(path, trusted=list(TRUSTED))
        except skops.exceptions.UntrustedTypesFoundException as error:
            raise HoldfastError(f"{path.name} holds types that no model of ours has, and is not "
                                f"loaded: {error}") from error
        about = json.loads(stored["about"])
        return Pipeline(about["kind"], about["task"], stored["estimator"],
                        Design.from_dict(about["design"]), tuple(about["classes"]),
                        about["history"], about["loss"])

    def firsts(self, options: Options) -> list[dict[str, Any]]:
        """Boosted trees of fewer leaves that correct more each; others are searched from anywhere.
        """
        name, asked = estimator.settings(options)
        if name != "hist_gradient_boosting":
            return []
        return [{key: _inside(asked[key] * times, ends) for (key, ends), times in zip(
            BOOSTED.items(), change, strict=True)} for change in BOLDER]

    def varied(self, trial: Any, options: Options) -> Options:
        name, _ = estimator.settings(options)
        asked: dict[str, Any] = {"estimator": name}
        if name == "linear":
            asked["penalty"] = trial.suggest_float("penalty", 1e-3, 1e3, log=True)
        elif name == "random_forest":
            asked |= {"trees": trial.suggest_int("trees", 5, 150, log=True),
                      "depth": trial.suggest_int("depth", 3, 20),
                      "least": trial.suggest_int("least", 1, 50, log=True),
                      "features": trial.suggest_float("features", 0.1, 1.0)}
        else:
            asked |= {key: trial.suggest_int(key, *ends, log=True) if isinstance(ends[0], int)
                      else trial.suggest_float(key, *ends, log=True)
                      for key, ends in BOOSTED.items()}
        return replace(options, settings=asked)


def _skops() -> ModuleType:
    """``skops.io``. It imports every package of scikit-learn to learn the names of its estimators,
    and with one of them torch, which none of them needs: 1.4 seconds and 180 MB."""
    spared = "sklearn.externals.array_api_compat.torch"
    hidden = {"skops.io", spared}.isdisjoint(sys.modules)
    if hidden:
        sys.modules[spared] = None  # type: ignore[assignment]
    try:
        return import_module("skops.io")
    finally:
        if hidden:
            del sys.modules[spared]


def _inside(value: float, ends: tuple[float, float]) -> float:
    """The value between these ends, a whole number where they are."""
    held = min(max(value, ends[0]), ends[1])
    return int(held) if isinstance(ends[0], int) else held


def _rows(design: Design, data: Split, options: Options, classes: tuple[Any, ...]
          ) -> tuple[Rows, Rows]:
    """Training rows that hold every class, and validation rows."""
    given, chosen = (estimator.rows(design, part, task=options.task, classes=classes)
                     for part in (data.train, data.validation))
    return estimator.complete(given, len(classes)), chosen


def _new(name: str, given: Rows, chosen: Rows, *, asked: dict[str, float], options: Options
         ) -> Any:
    """A new estimator of this name; the validation rows decide when to stop."""
    classifies = options.task != "regression"
    if name == "hist_gradient_boosting":
        return boosting.fresh(given, chosen, asked, classifies=classifies, options=options)
    if name == "random_forest":
        return estimator.forest(given, asked, classifies=classifies, seed=options.seed)
    return estimator.linear(given, chosen, asked, classifies=classifies)


def _further(start: Pipeline, given: Rows, chosen: Rows, *, asked: dict[str, float]) -> Any:
    """The estimator with more trees of these rows, or with coefficients that went on."""
    if start.kind == "linear":
        return estimator.linear(given, chosen, asked, classifies=start.task != "regression",
                                start=start.estimator)
    if start.kind == "hist_gradient_boosting":
        return boosting.further(start.estimator, given, chosen, max(1, int(asked["trees"]) // 2))
    have = len(start.estimator.estimators_)
    return estimator.grown(start.estimator, given, min(have, int(asked["trees"])))


def _smaller(fitted: Pipeline, kept: int, given: Rows, chosen: Rows, *, options: Options
             ) -> list[Any]:
    """Estimators with this many trees: the first ones, and of boosted trees bolder new ones."""
    if fitted.kind == "random_forest":
        return [estimator.first_trees(fitted.estimator, kept)]
    have = fitted.estimator.n_iter_
    asked = {key: item.default for key, item in ESTIMATORS[fitted.kind].items()}
    asked |= {"trees": kept, "rate": min(0.5, fitted.estimator.learning_rate * have / kept),
              "leaves": fitted.estimator.max_leaf_nodes,
              "least": fitted.estimator.min_samples_leaf}
    again = boosting.fresh(given, chosen, asked, classifies=fitted.task != "regression",
                           options=options)
    return [boosting.first(fitted.estimator, kept), again]


def _pipeline(made: Pipeline, data: Split, chosen: Rows) -> Pipeline:
    """The pipeline with its loss, its history, and the rows that artifacts are tried on."""
    made.loss = estimator.loss(estimator.settled(made.estimator), chosen)
    boosted = made.kind == "hist_gradient_boosting"
    made.history = (boosting.history(made.estimator) if boosted
                    else [{"epoch": 0.0, "validation_loss": made.loss}])
    places = np.linspace(0, len(data.validation) - 1, min(TRIED, len(data.validation)))
    made.tried = data.validation.iloc[places.astype(int)].reset_index(drop=True)
    return made
