"""Chances: how likely each label is, given an answer and its score, learned from the reference.

A score says how sure a model is, a chance how often it is right when it says so. The chances
are calibrated only where that predicts labels better than the scores themselves do, on stretches
of time that the calibration did not see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special
from scipy.optimize import isotonic_regression

from monitor.bins import SCORE_CELLS, AnswerBins
from monitor.outcomes import Outcomes

Floats = npt.NDArray[np.float64]

STRETCHES = 24
"""Stretches of time of about equal numbers of rows that the reference is cut into."""
FOLDS = 5
"""Stretches of time that a calibration is checked on, each by what the others taught."""
RESAMPLED = 40
"""Calibrations of resampled blocks: how far the calibration itself is in doubt."""
FEW = 300
"""Rows of one class from which on it may be calibrated by itself."""
PRIOR = 0.05
"""Rows that an empty score cell starts from, spread as logistic regression says."""
MIDDLES = (np.arange(SCORE_CELLS) + 0.5) / SCORE_CELLS
"""The scores that stand for the cells."""

Curve = Callable[[Floats, Floats], Floats]
"""(hits, rows) per score cell -> the chance of a hit per score cell."""


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Labelled rows by stretch, answer, label and score cell, ``(b, k, k, cells + 1)``.

    Answers and labels are ``AnswerBins.names``; the last cell is for rows without a score.
    ``target`` is the label that the score of each answer speaks of.
    """

    rows: Floats
    target: npt.NDArray[np.int64]
    own: bool

    def __len__(self) -> int:
        return len(self.rows)

    def hits(self, rows: Floats) -> Floats:
        """The rows whose label is the one that the score speaks of, ``(k, cells + 1)``."""
        return np.asarray(rows[np.arange(len(self.target)), self.target])


@dataclass(frozen=True, slots=True, eq=False)
class Chances:
    """``hit`` ``(…, k, cells + 1)``: the chance that the label is the answer's ``target``.

    ``rest`` ``(…, k, k)`` is how the other labels share what is left, by answer.
    """

    hit: Floats
    rest: Floats


def tally(outcomes: Outcomes, answers: AnswerBins) -> Tally:
    """The outcomes as arrays, in at most ``STRETCHES`` stretches of time, oldest first."""
    blocks: dict[int, int] = {}
    for (block, *_), count in sorted(outcomes.cells.items()):
        blocks[block] = blocks.get(block, 0) + count
    place = dict(zip(blocks, cut(np.array(list(blocks.values()), dtype=np.float64), STRETCHES),
                     strict=True))
    size = len(answers.names)
    rows = np.zeros((max(place.values(), default=-1) + 1, size, size, SCORE_CELLS + 1))
    for (block, guess, label, cell), count in outcomes.cells.items():
        where = cell if cell >= 0 else SCORE_CELLS
        rows[place[block], answers.place(guess), answers.place(label), where] += count
    target = (np.arange(size) if answers.own
              else np.full(size, answers.place(answers.positive or "")))
    return Tally(np.maximum(rows, 0.0), target, answers.own)


def merged(found: Tally, count: int) -> Tally:
    """The same rows in at most ``count`` stretches."""
    place = cut(found.rows.sum(axis=(1, 2, 3)), count)
    rows = np.zeros((int(place.max(initial=-1)) + 1, *found.rows.shape[1:]))
    np.add.at(rows, place, found.rows)
    return Tally(rows, found.target, found.own)


def choose(found: Tally) -> str:
    """The name of the curve that predicts labels best on time that it was not fitted to."""
    parts = _folds(found)
    if len(parts) < 2:
        return "logistic"
    names = [name for name in CURVES if found.own or name != "isotonic per class"]
    loss = {name: sum(_loss(found, name, part, parts) for part in parts) for name in names}
    return min(names, key=lambda name: loss[name])


def fit(found: Tally, rows: Floats, name: str) -> Chances:
    """The chances that these rows (summed over blocks) teach, by one of ``CURVES``."""
    hits, total = found.hits(rows), rows.sum(axis=1)
    scored_hits, scored = hits[:, :-1].sum(axis=0), total[:, :-1].sum(axis=0)
    pooled = CURVES[name](scored_hits, scored)
    hit = np.empty((len(rows), SCORE_CELLS + 1))
    hit[:, :-1] = pooled
    if name == "isotonic per class":
        for place in np.flatnonzero(total[:, :-1].sum(axis=1) >= FEW):
            hit[place, :-1] = _isotonic(hits[place, :-1], total[place, :-1], pooled)
    overall = (hits.sum() + 0.5) / (total.sum() + 1)
    usual = (hits.sum(axis=1) + overall) / (total.sum(axis=1) + 1)
    hit[:, -1] = (hits[:, -1] + usual) / (total[:, -1] + 1)
    if found.own:
        hit[0] = 0.0  # no answer is no class
    labels = rows.sum(axis=2)
    rest = labels + labels.sum(axis=0) / max(labels.sum(), 1.0)
    rest[np.arange(len(rows)), found.target] = 0.0
    sums = rest.sum(axis=1, keepdims=True)
    return Chances(hit, np.divide(rest, sums, out=np.zeros_like(rest), where=sums > 0))


def left_out(found: Tally, name: str) -> list[tuple[npt.NDArray[np.int64], Chances]]:
    """(blocks, the chances that all other stretches teach), stretch by stretch."""
    whole = found.rows.sum(axis=0)
    return [(part, fit(found, whole - found.rows[part].sum(axis=0), name))
            for part in _folds(found)]


def resampled(found: Tally, name: str, seed: int = 0) -> Chances:
    """``RESAMPLED`` chances of blocks drawn anew, stacked; of rows where blocks are few."""
    draw = np.random.default_rng(seed)
    count = len(found)
    whole = found.rows.sum(axis=0)
    made = []
    for _ in range(RESAMPLED):
        if count >= FOLDS:
            weights = draw.multinomial(count, np.full(count, 1 / count)).astype(np.float64)
            rows = np.tensordot(weights, found.rows, axes=1)
        else:
            rows = draw.poisson(whole).astype(np.float64)
        made.append(fit(found, rows, name))
    return Chances(np.stack([item.hit for item in made]), np.stack([item.rest for item in made]))


def cut(sums: Floats, count: int) -> npt.NDArray[np.int64]:
    """The stretch that each block falls in, so that all hold about as many rows."""
    middle = (np.cumsum(sums) - sums / 2) / max(sums.sum(), 1.0)
    place = np.clip((middle * count).astype(np.int64), 0, count - 1)
    return np.asarray(np.unique(place, return_inverse=True)[1], dtype=np.int64)


def _folds(found: Tally) -> list[npt.NDArray[np.int64]]:
    """The stretches that are left out together."""
    place = cut(found.rows.sum(axis=(1, 2, 3)), FOLDS)
    return [np.flatnonzero(place == index) for index in np.unique(place)]


def _loss(found: Tally, name: str, part: npt.NDArray[np.int64],
          parts: Sequence[npt.NDArray[np.int64]]) -> float:
    """Log loss on one stretch of the curve that the other stretches teach."""
    inside = found.rows[part].sum(axis=0)
    outside = sum((found.rows[other].sum(axis=0) for other in parts if other is not part),
                  np.zeros_like(inside))
    hit = np.clip(fit(found, outside, name).hit, 1e-6, 1 - 1e-6)
    hits, total = found.hits(inside), inside.sum(axis=1)
    first = 1 if found.own else 0
    return float(-(hits * np.log(hit) + (total - hits) * np.log1p(-hit))[first:].sum())


def _score(_hits: Floats, _rows: Floats) -> Floats:
    """The scores themselves."""
    return MIDDLES.copy()


def _logistic(hits: Floats, rows: Floats) -> Floats:
    """Logistic regression on the logit of the score (Platt 1999), by Newton's method."""
    sloped = np.stack([np.ones(SCORE_CELLS), special.logit(MIDDLES)])
    weights = np.array([0.0, 1.0])
    doubt = np.diag([1e-3, 1e-3])  # keeps a reference without misses finite
    for _ in range(25):
        chance = special.expit(weights @ sloped)
        slope = sloped @ (hits - rows * chance) - doubt @ (weights - [0.0, 1.0])
        bend = (sloped * (rows * chance * (1 - chance))) @ sloped.T + doubt
        step = np.linalg.solve(bend, slope)
        weights = weights + step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    return np.asarray(special.expit(weights @ sloped))


def _isotonic(hits: Floats, rows: Floats, prior: Floats) -> Floats:
    """Isotonic regression of the cells; each cell starts from a little of the prior."""
    weight = rows + PRIOR
    rate = (hits + PRIOR * prior) / weight
    return np.asarray(isotonic_regression(rate, weights=weight).x)


def _own_isotonic(hits: Floats, rows: Floats) -> Floats:
    return _isotonic(hits, rows, _logistic(hits, rows))


CURVES: dict[str, Curve] = {
    "score": _score,
    "logistic": _logistic,
    "isotonic": _own_isotonic,
    "isotonic per class": _own_isotonic,
}
"""Ways from a score to a chance, simplest first."""


def beyond(errors: Floats) -> float:
    """The spread of errors beyond their variances, rows of (error, variance).

    The moment estimate of DerSimonian and Laird (1986), around no error.
    """
    fine = errors[np.isfinite(errors).all(axis=1) & (errors[:, 1] > 0)] if len(errors) else errors
    if len(fine) < 5:
        return 0.0
    weight = 1 / fine[:, 1]
    return float(np.sqrt(max((weight * fine[:, 0] ** 2).sum() - len(fine), 0.0) / weight.sum()))
