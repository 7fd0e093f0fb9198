"""Bend: the rung that bends the champion's answers to the newest labels.

A curve is fitted on rows that the champion has not learned from: of those that it has, it is too
sure, and a curve by them would make it surer still.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitor.errors import HoldfastError
from retrain.evaluate import Answers, score, together
from retrain.ground import Ground
from retrain.proposal import Proposal, room, runnable
from retrain.recalibrate import LEAST, Curve, bent, curve

NEWEST = "the newest weeks"
"""The rows of validation, as a window to bend by."""


def probabilities(ground: Ground) -> Proposal:
    """The champion with its answers bent to the newest labels; of the windows, the best."""
    runnable(ground)
    made: list[Proposal] = []
    refusals: list[str] = []
    for name in (*(name for name, _ in ground.splits), NEWEST):
        try:
            made.append(_crossed(ground) if name == NEWEST else _by_window(ground, name))
        except HoldfastError as error:
            refusals.append(str(error))
    if not made:
        raise HoldfastError(refusals[0])
    return max(made, key=lambda item: ground.gain(item.scores))


def renewed(ground: Ground, proposal: Proposal) -> Proposal:
    """The same by a curve that knows the rows of validation and holdout too."""
    if proposal.bent_on == NEWEST:
        rows = pd.concat([ground.validation, ground.holdout], ignore_index=True)
        weight = np.ones(len(rows))
    else:
        split = ground.split(proposal.bent_on).whole
        rows, weight = split.train, split.weight
    found = _curve(ground, *_unknown(ground, rows, weight))
    return replace(proposal, **_bent(ground, found, room(ground, "renewed") / "bent.onnx"))


def _by_window(ground: Ground, name: str) -> Proposal:
    split = ground.split(name)
    return _proposal(ground, _curve(ground, *_unknown(ground, split.train, split.weight)), name)


def _crossed(ground: Ground) -> Proposal:
    """By the validation rows: what it is worth on a half of them is told by the other's curve."""
    rows, ones = _unknown(ground, ground.validation, np.ones(len(ground.validation)))
    if len(rows) < 2 * LEAST:
        raise HoldfastError(f"{len(rows)} labelled rows of the newest weeks that the champion has "
                            f"not learned from are too few for two curves, {2 * LEAST} are needed")
    middle = rows["_timestamp"].iloc[len(rows) // 2]
    before = (ground.validation["_timestamp"] < middle).to_numpy()
    first = (rows["_timestamp"] < middle).to_numpy()
    said: list[Answers] = []
    for place, (asked, fitted) in enumerate(((before, ~first), (~before, first))):
        found = _curve(ground, rows[fitted], ones[fitted])
        path = bent(runnable(ground)[1], found, ground.contract,
                    room(ground, "probabilities") / f"half-{place}.onnx")
        said.append(ground.answers(path, ground.validation[asked]))
    made = _proposal(ground, _curve(ground, rows, ones), NEWEST)
    return replace(made, scores=score("candidate", together(said), ground.validation,
                                      contract=ground.contract, metrics=ground.metrics))


def _unknown(ground: Ground, rows: pd.DataFrame, weight: NDArray[np.float64]
             ) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """Those of the rows that the champion has not learned from."""
    until = runnable(ground)[0].until
    fresh = np.ones(len(rows), bool) if until is None else (
        rows["_timestamp"] > until).to_numpy()
    return rows[fresh], weight[fresh]


def _curve(ground: Ground, rows: pd.DataFrame, weight: NDArray[np.float64]) -> Curve:
    champion, artifact = runnable(ground)
    if len(rows) < LEAST:
        raise HoldfastError(f"{len(rows)} labelled rows that {champion.name} has not learned from "
                            f"are too few for a curve, {LEAST} are needed")
    return curve(ground.scored(champion.name, artifact, rows.reset_index(drop=True)), weight)


def _proposal(ground: Ground, found: Curve, window: str) -> Proposal:
    champion, _ = runnable(ground)
    made = _bent(ground, found, room(ground, "probabilities") / f"{window.replace(' ', '-')}.onnx")
    return Proposal(
        "probabilities", f"{champion.name} with {found.words(ground.contract)}, by the rows of "
        f"{window}", scores=ground.scored("candidate", made["artifact"], ground.validation),
        fitted=champion.fitted, bent_on=window, **made)


def _bent(ground: Ground, found: Curve, target: Path) -> dict[str, Any]:
    """The champion's ``artifact``, and its ``parent`` and ``whole`` forms where there are such,
    with the curve behind them."""
    champion, artifact = runnable(ground)
    forms = {"artifact": artifact, "parent": champion.parent, "whole": champion.whole}
    return {name: bent(path, found, ground.contract, target.with_name(f"{target.stem}-{name}.onnx"))
            for name, path in forms.items() if path is not None}
