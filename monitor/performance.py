"""Performance: metrics of matured outcomes, with intervals that resample time blocks.

A metric is a function of sums over blocks; its interval is a delete-one-block jackknife with
Student's t, because neighbouring rows are no independent draws. Formulas, sources and limits
are in ``docs/statistics.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt
from scipy import special

from monitor.outcomes import SCORE_CELLS, SUMS, Outcomes

Floats = npt.NDArray[np.float64]

FEWEST_ROWS = 30
"""Labelled rows below which no metric is given."""
FEWEST_BLOCKS = 5
"""Time blocks below which no interval is taken from them."""


@dataclass(frozen=True, slots=True)
class Performance:
    """One metric of labelled rows; ``span`` is the event time that it pools, such as ``1d``.

    ``value`` is None where the rows cannot support it, ``low`` and ``high`` where the blocks
    cannot; ``reason`` says why, or how the interval was taken instead.
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    estimated: bool = False
    span: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Sums per block, oldest first; every array leads with the blocks.

    ``sums`` ``(b, len(SUMS))``; ``pairs`` ``(b, k, k)`` rows by prediction and label among the
    ``k`` ``classes`` ('' is no answer); ``scores`` ``(b, 2, SCORE_CELLS)`` scored rows by label
    (negative, positive) and score cell. ``positive`` is the place of the positive class, or -1.
    """

    sums: Floats
    pairs: Floats
    scores: Floats
    classes: tuple[str, ...]
    positive: int

    def __len__(self) -> int:
        return len(self.sums)

    @property
    def binary(self) -> bool:
        """Whether there are at most two classes, one of them the positive one."""
        return self.positive >= 0 and sum(name != "" for name in self.classes) <= 2

    def pooled(self) -> Table:
        """All blocks as one."""
        return self._with(*(part.sum(axis=0, keepdims=True) for part in self._parts))

    def without_each(self) -> Table:
        """As many tables as blocks, each the sum of all blocks but one."""
        return self._with(*(part.sum(axis=0, keepdims=True) - part for part in self._parts))

    @property
    def _parts(self) -> tuple[Floats, Floats, Floats]:
        return self.sums, self.pairs, self.scores

    def _with(self, sums: Floats, pairs: Floats, scores: Floats) -> Table:
        return Table(sums, pairs, scores, self.classes, self.positive)

    def sum(self, name: str) -> Floats:
        """One of ``SUMS``, shape ``(b,)``."""
        return self.sums[:, SUMS.index(name)]


def tabulate(outcomes: Outcomes, positive: str | None, seconds: int, *,
             like: Outcomes | None = None) -> Table:
    """The outcomes in blocks of ``seconds``; without ``positive`` the later of two classes is it.

    Blocks whose rows were all taken back are left out. Blocks and classes are those of ``like``,
    which holds these rows and more, so that tables of several groups have the same ones.
    """
    frame = outcomes if like is None else like
    blocks = sorted({block // seconds for block, values in frame.sums.items() if values[0]})
    place = {block: index for index, block in enumerate(blocks)}
    classes = tuple(sorted({name for _, guess, label, _ in frame.cells
                            for name in (guess, label)}))
    rank = {name: index for index, name in enumerate(classes)}
    if positive is None and sum(name != "" for name in classes) == 2:
        positive = classes[-1]
    sums = np.zeros((len(blocks), len(SUMS)))
    pairs = np.zeros((len(blocks), len(classes), len(classes)))
    scores = np.zeros((len(blocks), 2, SCORE_CELLS))
    for block, values in outcomes.sums.items():
        if block // seconds in place:
            sums[place[block // seconds]] += values
    for (block, guess, label, cell), count in outcomes.cells.items():
        if block // seconds in place:
            pairs[place[block // seconds], rank[guess], rank[label]] += count
            if cell >= 0:
                scores[place[block // seconds], int(label == positive), cell] += count
    return Table(sums, pairs, scores, classes, rank.get(positive or "", -1))


def _ratio(above: Floats, below: Floats) -> Floats:
    """Above over below; NaN where below is 0."""
    return np.asarray(np.divide(above, below, out=np.full(np.shape(above), np.nan),
                                where=below > 0))


def _accuracy(table: Table) -> Floats:
    return _ratio(np.trace(table.pairs, axis1=1, axis2=2), table.pairs.sum(axis=(1, 2)))


def _balanced_accuracy(table: Table) -> Floats:
    """Mean recall of the classes that occur as labels."""
    recall = _ratio(np.diagonal(table.pairs, axis1=1, axis2=2), table.pairs.sum(axis=1))
    held = np.isfinite(recall)
    return _ratio(np.where(held, recall, 0).sum(axis=1), held.sum(axis=1).astype(np.float64))


def _rates(table: Table) -> tuple[Floats, Floats, Floats]:
    """True positives, predicted and actual ones, of the positive class or of each, ``(b, c)``."""
    hits = np.asarray(np.diagonal(table.pairs, axis1=1, axis2=2))
    guesses, labels = table.pairs.sum(axis=2), table.pairs.sum(axis=1)
    if table.binary:
        only = slice(table.positive, table.positive + 1)
        return hits[:, only], guesses[:, only], labels[:, only]
    return hits, guesses, labels


def _macro(above: Floats, below: Floats, table: Table) -> Floats:
    """Mean over classes, 0 where a class was never guessed, as scikit-learn's ``macro``."""
    if above.shape[1] == 1:
        return _ratio(above[:, 0], below[:, 0])
    share = np.nan_to_num(_ratio(above, below))
    given = np.array([name != "" for name in table.classes])
    present = ((table.pairs.sum(axis=1) + table.pairs.sum(axis=2) > 0) & given).astype(np.float64)
    return _ratio((share * present).sum(axis=1), present.sum(axis=1))


def _precision(table: Table) -> Floats:
    hits, guesses, _ = _rates(table)
    return _macro(hits, guesses, table)


def _recall(table: Table) -> Floats:
    hits, _, labels = _rates(table)
    return _macro(hits, labels, table)


def _f1(table: Table) -> Floats:
    hits, guesses, labels = _rates(table)
    return _macro(2 * hits, guesses + labels, table)


def _roc_auc(table: Table) -> Floats:
    """Mann-Whitney over score cells, ties within a cell count half."""
    negative, positive = table.scores[:, 0], table.scores[:, 1]
    lower = np.cumsum(negative, axis=1) - negative / 2
    return _ratio((positive * lower).sum(axis=1), positive.sum(axis=1) * negative.sum(axis=1))


def roc_auc_bound(table: Table) -> float:
    """How far the rows' ROC AUC may lie from that of the cells: half the tied pairs' share."""
    negative, positive = table.scores.sum(axis=0)
    return float((negative * positive).sum() / max(2 * negative.sum() * positive.sum(), 1))


def _average_precision(table: Table) -> Floats:
    """Mean precision at the positives, their order within a cell left to chance.

    With ``a`` of the ``m`` rows of a cell positive, a positive that is the j-th row of its cell
    has on average ``(j - 1)(a - 1) / (m - 1)`` of them before it.
    """
    positive = table.scores[:, 1, ::-1]
    rows = table.scores[:, :, ::-1].sum(axis=1)
    found, named = np.cumsum(positive, axis=1) - positive, np.cumsum(rows, axis=1) - rows
    share = np.nan_to_num(_ratio(positive - 1, rows - 1))
    ranks = special.digamma(named + rows + 1) - special.digamma(named + 1)
    precision = rows * share + (found + 1 - share * (named + 1)) * ranks
    gain = np.nan_to_num(_ratio(positive, rows)) * precision
    return _ratio(gain.sum(axis=1), positive.sum(axis=1))


def _ece(table: Table) -> Floats:
    """Expected calibration error in 10 equal cells of the score, whose middles stand for it."""
    middles = (np.arange(SCORE_CELLS) + 0.5) / SCORE_CELLS
    both = table.scores.sum(axis=1)
    gap = (both * middles - table.scores[:, 1]).reshape(len(table), 10, -1).sum(axis=2)
    return _ratio(np.abs(gap).sum(axis=1), both.sum(axis=1))


def _mean(name: str, over: str = "n") -> Callable[[Table], Floats]:
    return lambda table: _ratio(table.sum(name), table.sum(over))


def _rmse(table: Table) -> Floats:
    return np.asarray(np.sqrt(_ratio(np.maximum(table.sum("squared"), 0), table.sum("n"))))


def _r2(table: Table) -> Floats:
    n, label = table.sum("n"), table.sum("label")
    spread = table.sum("label_squared") - _ratio(label**2, n)
    certain = spread > 1e-12 * table.sum("label_squared")
    return 1 - _ratio(table.sum("squared"), np.where(certain, spread, 0.0))


METRICS: dict[str, Callable[[Table], Floats]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
    "log_loss": _mean("log_loss", "scored"),
    "brier": _mean("brier", "scored"),
    "ece": _ece,
    "mae": _mean("absolute"),
    "rmse": _rmse,
    "mape": _mean("relative"),
    "r2": _r2,
    "bias": _mean("error"),
}
"""Every metric of a table, one value per block; NaN where it does not exist."""

METRICS_OF: dict[str, tuple[str, ...]] = {
    "binary": ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc",
               "average_precision", "log_loss", "brier", "ece"),
    "multiclass": ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "log_loss",
                   "brier"),
    "regression": ("mae", "rmse", "mape", "r2", "bias"),
}
"""The metrics of each task."""

HIGHER_IS_BETTER = frozenset({"accuracy", "balanced_accuracy", "precision", "recall", "f1",
                              "roc_auc", "average_precision", "r2"})
"""Metrics that fall when a model gets worse."""
RELATIVE = frozenset({"mae", "rmse", "mape"})
"""Metrics whose ``performance.drop`` is a share of the reference value."""

_SHARES = frozenset(METRICS) - {"log_loss", "mae", "rmse", "mape", "r2", "bias"}
_RATIOS = {"accuracy", "recall", "precision"}
_SCORED = {"roc_auc", "average_precision", "log_loss", "brier", "ece"}
_CELLS = {"roc_auc", "average_precision", "ece"}
_CLASSES = frozenset(METRICS) - {"mae", "rmse", "mape", "r2", "bias"}
_SIGNED = {"bias", "r2"}


def measure(outcomes: Outcomes, metric: str, *, positive: str | None, block: timedelta,
            span: str = "", level: float = 0.95) -> Performance:
    """The metric of all the rows, with its interval from time blocks of length ``block``."""
    return measure_all(outcomes, (metric,), positive=positive, block=block, span=span,
                       level=level)[0]


def measure_all(outcomes: Outcomes, metrics: Sequence[str], *, positive: str | None,
                block: timedelta, span: str = "", level: float = 0.95) -> tuple[Performance, ...]:
    """Several metrics of the same rows at the price of one pass over them."""
    seconds = max(int(block.total_seconds()), 1)
    tables = [tabulate(outcomes, positive, seconds)]
    if len(tables[0]) < FEWEST_BLOCKS and seconds > 1:
        tables.append(tabulate(outcomes, positive, 1))
    return tuple(replace(_measured(tables, metric, level), span=span) for metric in metrics)


def _measured(tables: Sequence[Table], metric: str, level: float) -> Performance:
    """The metric with its interval from the first of the tables, or else from shorter blocks."""
    pooled = tables[0].pooled()
    n = round(float(pooled.sum("n")[0]))
    value, reason = _value(pooled, metric, n)
    if value is None:
        return Performance(metric, None, None, None, n, reason=reason)
    low = high = None
    for table in tables:
        low, high, how = _interval(table, metric, value, level)
        if low is not None:
            break
    if low is not None and table is not tables[0]:
        how = (f"interval from {len(table)} shorter blocks: the rows do not fill "
               f"{FEWEST_BLOCKS} of the usual length")
    if low is None or high is None:
        low, high, how = _by_rows(pooled, metric, value, level)
    return Performance(metric, value, low, high, n, reason=how)


def _value(pooled: Table, metric: str, n: int) -> tuple[float | None, str]:
    """The metric of all rows, or why there is none."""
    if n < FEWEST_ROWS:
        return None, f"{n} labelled rows, at least {FEWEST_ROWS} are asked for"
    if metric in _CLASSES and not any(pooled.classes):
        return None, f"{metric} needs classes, and the outcomes hold values"
    if metric in _CELLS and pooled.positive < 0:
        return None, f"{metric} needs a positive class; set log.positive_label"
    if metric in _SCORED and pooled.sum("scored")[0] < FEWEST_ROWS:
        return None, "fewer than 30 rows carry a score"
    if metric in {"roc_auc", "average_precision"} and not pooled.scores[0].sum(axis=1).all():
        return None, "the labels hold one class only"
    if metric == "balanced_accuracy" and np.count_nonzero(pooled.pairs.sum(axis=1)) < 2:
        return None, "the labels hold one class only"
    value = float(METRICS[metric](pooled)[0])
    if not np.isfinite(value):
        return None, {"precision": "the positive class was never predicted",
                      "recall": "the positive class never occurred",
                      "f1": "the positive class was neither predicted nor did it occur",
                      "r2": "the labels are constant"}.get(metric, "not defined on these rows")
    return value, ""


def _interval(table: Table, metric: str, value: float, level: float
              ) -> tuple[float | None, float | None, str]:
    """Jackknife over blocks with Student's t; None where blocks are few or all agree.

    Efron and Stein (1981) for the variance; neighbouring blocks' covariance is added when it is
    positive (Bartlett weights, Newey and West 1987). Shares are taken on the logit scale.
    """
    count = len(table)
    if count < FEWEST_BLOCKS:
        return None, None, ""
    left_out = METRICS[metric](table.without_each())
    if not np.isfinite(left_out).all():
        return None, None, ""
    logit = metric in _SHARES and 0 < value < 1 and bool(((left_out > 0) & (left_out < 1)).all())
    middle = float(special.logit(value)) if logit else value
    pseudo = special.logit(left_out) if logit else left_out
    error = float(standard_error(np.asarray(pseudo, dtype=np.float64)))
    if error <= 1e-12 * max(abs(middle), 1e-12):
        return None, None, ""
    half = float(special.stdtrit(count - 1, (1 + level) / 2)) * error
    low, high = middle - half, middle + half
    if logit:
        return float(special.expit(low)), float(special.expit(high)), ""
    return _clipped(metric, low, high)


def standard_error(left_out: Floats) -> Floats:
    """Jackknife standard errors of values that leave one block out each: ``(..., b)``, in time
    order, to ``(...)``."""
    count = left_out.shape[-1]
    gap = left_out - left_out.mean(axis=-1, keepdims=True)
    own = (gap * gap).sum(axis=-1)
    variance = own.copy()
    lags = max(1, int(count ** (1 / 3)))
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * (gap[..., lag:] * gap[..., :-lag]).sum(axis=-1)
    return np.asarray(np.sqrt((count - 1) / count * np.maximum(variance, own)))


def _clipped(metric: str, low: float, high: float) -> tuple[float, float, str]:
    if metric in _SHARES:
        return max(low, 0.0), min(high, 1.0), ""
    return (low if metric in _SIGNED else max(low, 0.0)), high, ""


def _by_rows(pooled: Table, metric: str, value: float, level: float
             ) -> tuple[float | None, float | None, str]:
    """Wilson's interval (1927) of a plain share; nothing for other metrics."""
    few = f"fewer than {FEWEST_BLOCKS} time blocks tell it apart"
    rows = _trials(pooled, metric)
    if rows is None or rows < 1:
        return None, None, f"no interval: {few}"
    low, high = wilson(np.array(value), np.array(rows), level)
    return (float(low), float(high),
            f"Wilson interval that takes rows as independent: {few}")


def wilson(share: Floats, rows: Floats, level: float) -> tuple[Floats, Floats]:
    """Wilson's interval (1927) of shares of independent rows."""
    z = float(special.ndtri((1 + level) / 2))
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * np.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


def _trials(pooled: Table, metric: str) -> float | None:
    """The number of rows that a plain share is of; None for other metrics."""
    if metric == "accuracy":
        return float(pooled.sum("n")[0])
    if metric not in _RATIOS or not pooled.binary:
        return None
    _, guesses, labels = _rates(pooled)
    return float((guesses if metric == "precision" else labels)[0, 0])
