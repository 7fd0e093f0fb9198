"""Losses: whether the stream of errors changed, told earlier than a pool of all of it can.

A Shiryaev-Roberts statistic over blocks of matured outcomes (Shiryaev 1963, Roberts 1966): the sum,
over every block since which the losses may have been larger, of the likelihood ratio of what
followed. While nothing changes it grows by at most one a block on average, so that it crosses
``limit`` no more often than once in ``limit`` blocks (Pollak 1985).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from scipy import special

from monitor.config import Model
from monitor.outcomes import SUMS, Outcomes
from monitor.performance import FEWEST_ROWS, Floats, standard_error
from monitor.window import EPOCH

FEWEST_BLOCKS = 8
"""Reference blocks below which nothing is said of how losses scatter."""
SIZES = (1.0, 2.0, 4.0)
"""Changes that are looked for, in multiples of what counts as too bad."""
ABSOLUTE = frozenset({"mae", "mape"})
"""Deciding metrics that follow absolute errors; other ones of values follow squared ones."""
DOUBT = 1.645
"""Standard errors that are added to the reference's mean loss: it is an estimate itself."""


@dataclass(frozen=True, slots=True)
class ErrorDrift:
    """What the newest losses say: mean ``loss`` of ``value`` since ``since``, ``reference`` before.

    ``evidence`` is found to be a change from ``limit`` on, the number of blocks in which the budget
    allows one false finding. ``n`` rows have come since.
    """

    loss: str
    since: datetime
    value: float
    reference: float
    evidence: float
    limit: float
    n: int
    found: bool

    @property
    def words(self) -> str:
        """The finding for a reason; '' without one."""
        if not self.found:
            return ""
        return (f"error drift since {self.since:%Y-%m-%d}: {self.loss} {self.value:.4g} on "
                f"{self.n} rows, reference {self.reference:.4g}")


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Losses per block, oldest first: ``starts`` in seconds, rows and mean loss ``(b,)``; what a
    single loss scatters around its mean, as a variance."""

    starts: Floats
    rows: Floats
    losses: Floats
    variance: float

    @property
    def mean(self) -> float:
        return float(self.rows @ self.losses / self.rows.sum())


def block_of(model: Model) -> timedelta:
    """The length of a block."""
    return max(model.calendar.pane, timedelta(days=1))


def stream(outcomes: Outcomes, model: Model, *, until: datetime | None = None) -> Stream | None:
    """The losses of the metric that decides, in whole blocks that end by ``until``: whether an
    answer is wrong, its absolute error, or its square. None where there are fewer than 30 rows."""
    length = int(block_of(model).total_seconds())
    place = {name: index for index, name in enumerate(SUMS)}
    found: dict[int, list[float]] = {}
    for block, values in outcomes.sums.items():
        row = found.setdefault(block // length, [0.0, 0.0])
        row[0] += values[0]
        row[1] += values[place["absolute" if model.metric in ABSOLUTE else "squared"]]
    if model.task != "regression":
        for row in found.values():
            row[1] = 0.0
        for (block, guess, label, _), count in outcomes.cells.items():
            if guess != label:
                found.setdefault(block // length, [0.0, 0.0])[1] += count
    last = np.inf if until is None else (until - EPOCH).total_seconds()
    kept = sorted(block for block, row in found.items()
                  if row[0] > 0.5 and (block + 1) * length <= last)
    rows = np.array([found[block][0] for block in kept])
    if rows.sum() < FEWEST_ROWS:
        return None
    sums = np.array([found[block][1] for block in kept])
    mean = float(sums.sum() / rows.sum())
    squares = sum(values[place["squared"]] for values in outcomes.sums.values())
    whole = sum(values[0] for values in outcomes.sums.values())
    variance = squares / whole - mean**2 if model.metric in ABSOLUTE else 2 * mean**2
    if model.task != "regression":
        variance = mean * (1 - mean)
    return Stream(np.array(kept, dtype=np.float64) * length, rows, sums / rows,
                  max(variance, 1e-12))


def changed(reference: Outcomes, newest: Outcomes, model: Model, *, until: datetime,
            share: float) -> ErrorDrift | None:
    """Whether losses became larger than in the reference, from what is known by ``until``.

    ``share`` of the alarm budget bounds false findings. None where the reference holds fewer than
    ``FEWEST_BLOCKS`` blocks, or either side too few rows.
    """
    before, now = stream(reference, model), stream(newest, model, until=until)
    if before is None or now is None or len(before.rows) < FEWEST_BLOCKS:
        return None
    scatter, memory = _scatter(before, model)
    typical = scatter + before.variance / before.rows
    mean = before.mean
    error = float(np.sqrt(memory * (before.rows**2 @ typical))) / float(before.rows.sum())
    sure = mean + DOUBT * error
    inflated = memory * (1 + scatter * now.rows / before.variance)
    budget = model.policy.alarm_budget
    limit = budget.per / block_of(model) / (budget.alarms * share)
    ratios = np.array([_ratios(now, sure, size * _least(mean, model), inflated=inflated,
                               model=model, variance=before.variance) for size in SIZES])
    evidence = float(np.mean([_summed(ratio) for ratio in ratios]))
    tails = ratios[:, ::-1].cumsum(axis=1)[:, ::-1]
    first = int(np.unravel_index(np.argmax(tails), tails.shape)[1])
    rows = now.rows[first:]
    return ErrorDrift(_name(model), EPOCH + timedelta(seconds=float(now.starts[first])),
                      _told(float(rows @ now.losses[first:] / rows.sum())), _told(mean),
                      _told(evidence), _told(limit), round(float(rows.sum())), evidence >= limit)


def _told(value: float) -> float:
    return float(f"{value:.6g}")


def _summed(ratios: Floats) -> float:
    """The Shiryaev-Roberts statistic after the last block."""
    total = 0.0
    for ratio in ratios:
        total = (1 + total) * float(np.exp(min(ratio, 30.0)))
        total = min(total, 1e12)
    return total


def _ratios(now: Stream, mean: float, change: float, *, inflated: Floats, model: Model,
            variance: float) -> Floats:
    """Log-likelihood ratios of each block, of losses larger by ``change`` against none; as much
    smaller as blocks scatter more than independent rows do (quasi-likelihood)."""
    if model.task == "regression":
        return change * (now.losses - mean - change / 2) * now.rows / (variance * inflated)
    usual, worse = min(mean, 0.98), min(mean + change, 0.99)
    wrong = now.losses * now.rows
    return np.asarray((special.xlogy(wrong, worse / usual)
                       + special.xlogy(now.rows - wrong, (1 - worse) / (1 - usual))) / inflated)


def _scatter(before: Stream, model: Model) -> tuple[float, float]:
    """Variance between blocks beyond that of rows, and how much longer memory makes it count.

    Reference blocks may be longer than those that are looked at (a baseline keeps few cells):
    shorter ones scatter as much more. The variance is taken at its upper 75 % limit.
    """
    length = block_of(model).total_seconds()
    gap = before.losses - before.mean
    count = gap.size
    unsure = (count - 1) / float(2 * special.gammaincinv((count - 1) / 2, 0.25))
    beyond = float(np.mean(gap**2) * unsure - np.mean(before.variance / before.rows))
    longer = max(float(np.median(np.diff(before.starts))) / length, 1.0)
    own = float(np.sqrt((gap**2).sum()))
    memory = float(standard_error(gap)) / (own * np.sqrt((count - 1) / count)) if own else 1.0
    return max(beyond, 0.0) * longer, max(memory, 1.0) ** 2


def _least(mean: float, model: Model) -> float:
    """What counts as too bad, in units of the loss."""
    drop = model.policy.performance.drop
    if model.task != "regression":
        return drop
    return drop * mean if model.metric in ABSOLUTE else ((1 + drop) ** 2 - 1) * mean


def _name(model: Model) -> str:
    if model.task != "regression":
        return "error rate"
    return "absolute error" if model.metric in ABSOLUTE else "squared error"
