"""Estimate: performance without labels, from counts of what a version answered.

Confidence-based estimation (CBPE, as NannyML defines it) for classes: chances of each label give
an expected confusion matrix, and that gives the metric. The interval is where the metric of the
labels is expected to come out: it holds the chance of the labels, the doubt about the
calibration, and the error beyond both that the reference itself showed. What no count of answers
can tell, that the labels came to depend on something else, ``check`` tells once labels are there.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import special

from monitor.bins import OTHER, SCORE_CELLS, AnswerBins
from monitor.chances import (
    MIDDLES,
    STRETCHES,
    Chances,
    Tally,
    beyond,
    choose,
    fit,
    left_out,
    merged,
    resampled,
    tally,
)
from monitor.outcomes import SUMS, Outcomes
from monitor.performance import FEWEST_ROWS, METRICS, Performance, Table
from monitor.refutation import Check, held, unestimated

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

DRAWS = 400
"""Windows of labels that are drawn for one interval."""
LENGTHS = (STRETCHES, STRETCHES // 3)
"""Numbers of stretches that the reference is cut into to learn how far estimates go wrong."""
MISSING = 0.05
"""Share of draws without the metric from which on it is not estimated."""
ESTIMATED: dict[bool, tuple[str, ...]] = {
    False: ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc",
            "average_precision", "log_loss", "brier"),
    True: ("accuracy", "balanced_accuracy", "precision", "recall", "f1"),
}
"""What is estimated: of one score, and where each class has its own."""
_UNBOUNDED = {"log_loss"}
KEPT = 4096
"""Baselines whose errors beyond chance are kept, some hundred bytes each."""
_EXCESS: dict[bytes, tuple[float, ...]] = {}
_MEANS = {"accuracy", "log_loss", "brier"}


@dataclass(frozen=True, eq=False)
class Estimator:
    """Estimates of a version's performance, learned from the labelled rows of its reference."""

    answers: AnswerBins
    found: Tally
    performance: Outcomes
    memory: dict[int, tuple[Floats, Floats]] = field(default_factory=dict)
    """What was drawn for the last few counts."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """What can be estimated."""
        return ESTIMATED[self.answers.own]

    @cached_property
    def curve(self) -> str:
        """The name of the calibration."""
        return choose(self.found)

    @cached_property
    def chances(self) -> Chances:
        return fit(self.found, self.found.rows.sum(axis=0), self.curve)

    @cached_property
    def doubted(self) -> Chances:
        """The chances of resampled references, stacked."""
        return resampled(self.found, self.curve)

    @cached_property
    def shift(self) -> dict[str, float]:
        """What a loss of rows lies above that of the middles of their score cells, per row."""
        sums = np.array([[0.0] * len(SUMS), *self.performance.sums.values()]).sum(axis=0)
        scored = float(sums[SUMS.index("scored")])
        hits = self.found.hits(self.found.rows.sum(axis=0))
        table = self._table(self.found.rows.sum(axis=(0, 2)), hits[None], {})
        return {name: float(sums[SUMS.index(name)] - table.sum(name)[0]) / max(scored, 1.0)
                for name in ("log_loss", "brier")}

    @cached_property
    def excess(self) -> dict[str, float]:
        """Standard deviation of the error beyond chance, on stretches of the reference left out.

        The smaller one of what short and what long stretches show: what lasts shows in both. Kept
        by what was learned from, as every tick reads its baseline anew.
        """
        place = self._learned
        known = _EXCESS.get(place)
        if known is None:
            shown = [self._excess(merged(self.found, count)) for count in LENGTHS]
            known = tuple(min(errors) for errors in zip(*shown, strict=True))
            if len(_EXCESS) >= KEPT:
                _EXCESS.clear()
            _EXCESS[place] = known
        return dict(zip(self.metrics, known, strict=True))

    @property
    def _learned(self) -> bytes:
        """What the answers, the stretches and the losses that this learned from come down to."""
        told = hashlib.blake2b(repr((self.answers, self.found.rows.shape, sorted(
            self.shift.items()))).encode(), digest_size=16)
        told.update(self.found.rows.tobytes())
        return told.digest()

    def _excess(self, found: Tally) -> list[float]:
        errors = []
        for part, chances in left_out(found, self.curve):
            for place in part:
                rows = found.rows[place]
                counts = rows.sum(axis=1)
                drawn = self._values(self._drawn(counts, chances, 100, seed=int(place)))
                real = self._values(self._table(counts, found.hits(rows)[None], self.shift,
                                                rows.sum(axis=2)[None]))
                errors.append((real[:, 0] - drawn.mean(axis=1), drawn.var(axis=1)))
        pairs = np.array(errors).reshape(-1, 2, len(self.metrics))
        return [beyond(pairs[:, :, index]) for index in range(len(self.metrics))]

    def estimate(self, counts: Counts, metrics: Sequence[str], *, level: float = 0.95,
                 span: str = "") -> tuple[Performance, ...]:
        """The metrics that the labels of these rows are expected to have, with their intervals.

        ``counts`` are those of a profile.
        """
        cells = counts[-self.answers.size:].reshape(len(self.answers.names), SCORE_CELLS + 1)
        n = int(cells.sum())
        known = [name for name in metrics if name in self.metrics]
        found: dict[str, Performance] = {}
        if n >= FEWEST_ROWS and known:
            drawn, means = self._remembered(cells)
            found = {name: self._estimated(name, drawn[place], means[:, place], n, level)
                     for place, name in enumerate(self.metrics) if name in known}
        few = f"{n} rows, at least {FEWEST_ROWS} are asked for"
        return tuple(replace(found.get(name) or unestimated(
            name, n, few if name in known else f"{name} is not estimated"), span=span)
            for name in metrics)

    def check(self, outcomes: Outcomes, _counts: Counts, realized: Performance, *, level: float
              ) -> Check:
        """Whether the realized metric of labelled rows lies where it was expected of them."""
        rows = tally(outcomes, self.answers).rows.sum(axis=(0, 2)).astype(np.int64)
        return held(self.estimate(rows.ravel(), (realized.metric,), level=level)[0], realized)

    def _remembered(self, cells: Counts) -> tuple[Floats, Floats]:
        """The metrics of drawn labels and those expected; the same counts give the same ones."""
        seed = zlib.crc32(cells.astype("<i8").tobytes())
        if seed not in self.memory:
            if len(self.memory) > 3:
                self.memory.pop(next(iter(self.memory)))
            self.memory[seed] = (self._values(self._drawn(cells, self.doubted, DRAWS, seed)),
                                 self._expected(cells))
        return self.memory[seed]

    def _estimated(self, name: str, drawn: Floats, means: Floats, n: int, level: float
                   ) -> Performance:
        """The metric from its draws.

        Calibrations are off from the truth as resampled ones are off from them (Efron 1979). What
        few rows do to a metric that is no mean of rows shows in the draws.
        """
        fine = drawn[np.isfinite(drawn)]
        if len(fine) < (1 - MISSING) * len(drawn) or not np.isfinite(means).all():
            return unestimated(name, n, "too few rows of one class are expected")
        middle = float(fine.mean())
        few = 0.0 if name in _MEANS else middle - means[1]
        usual = special.ndtri(0.975)
        wider = max(1.0, float(special.ndtri((1 + level) / 2) / usual))
        beyond = self.excess[name] * usual
        ends = [wider * float(np.hypot(end - middle, beyond))
                for end in np.quantile(fine, [0.025, 0.975])]
        low, high = max(middle - ends[0], 0.0), middle + ends[1]
        high = high if name in _UNBOUNDED else min(high, 1.0)
        value = float(min(max(2 * means[0] - means[1] + few, low), high))
        return Performance(name, value, low, high, n, estimated=True)

    def _expected(self, cells: Counts) -> Floats:
        """The metrics of expected counts: by the calibration, and by resampled ones on average."""
        both = Chances(np.concatenate([self.chances.hit[None], self.doubted.hit]),
                       np.concatenate([self.chances.rest[None], self.doubted.rest]))
        hits = cells * both.hit
        pairs = (cells.sum(axis=1) - hits.sum(axis=2))[..., None] * both.rest
        pairs[:, np.arange(len(cells)), self.found.target] += hits.sum(axis=2)
        values = self._values(self._table(cells, hits, self.shift, pairs))
        return np.stack([values[:, 0], values[:, 1:].mean(axis=1)])

    def _drawn(self, cells: Floats | Counts, chances: Chances, draws: int, seed: int = 0) -> Table:
        """Tables of labels drawn for these rows, one after the other through stacked chances."""
        draw = np.random.default_rng(seed)
        hit, rest = chances.hit, chances.rest
        if hit.ndim == 2:
            hit, rest = hit[None], rest[None]
        which = np.arange(draws) % len(hit)
        held = np.nonzero(cells)
        hits = np.zeros((draws, *cells.shape))
        hits[:, held[0], held[1]] = draw.binomial(
            cells[held].astype(np.int64), np.clip(hit[:, held[0], held[1]][which], 0, 1))
        pairs = self._pairs(cells, hits, draw, rest[which])
        return self._table(cells, hits, self.shift, pairs)

    def _pairs(self, cells: Floats | Counts, hits: Floats, draw: np.random.Generator,
               rest: Floats) -> Floats:
        """Answers by labels: the hits where they belong, the others as chance shares them."""
        missed = np.rint(cells.sum(axis=1) - hits.sum(axis=2)).astype(np.int64)
        sums = rest.sum(axis=2)
        fine = np.where(sums[..., None] > 0, rest, 1.0 / rest.shape[2])
        pairs = draw.multinomial(missed, fine / fine.sum(axis=2, keepdims=True)).astype(np.float64)
        places = np.arange(len(cells))
        pairs[:, places, self.found.target] += hits.sum(axis=2)
        return pairs

    def _table(self, cells: Floats | Counts, hits: Floats, shift: dict[str, float],
               pairs: Floats | None = None) -> Table:
        """What metrics are taken of; ``hits`` lead with the draws."""
        scores = np.zeros((len(hits), 2, SCORE_CELLS))
        sums = np.zeros((len(hits), len(SUMS)))
        sums[:, 0] = cells.sum()
        if not self.answers.own:
            scores[:, 1] = hits[:, :, :-1].sum(axis=1)
            scores[:, 0] = cells[:, :-1].sum(axis=0) - scores[:, 1]
            scored = scores.sum(axis=(1, 2))
            for name, hit, miss in (("log_loss", -np.log(MIDDLES), -np.log1p(-MIDDLES)),
                                    ("brier", (1 - MIDDLES) ** 2, MIDDLES**2)):
                sums[:, SUMS.index(name)] = (scores[:, 1] @ hit + scores[:, 0] @ miss
                                             + shift.get(name, 0.0) * scored)
            sums[:, SUMS.index("scored")] = scored
        if pairs is None:
            pairs = np.zeros((len(hits), len(cells), len(cells)))
        return self._named(sums, pairs, scores)

    def _named(self, sums: Floats, pairs: Floats, scores: Floats) -> Table:
        """The table without the class that stands for others where nothing fell in it."""
        names = self.answers.names
        kept = [place for place, name in enumerate(names)
                if name != OTHER or pairs[:, place].any() or pairs[:, :, place].any()]
        classes = tuple(names[place] for place in kept)
        positive = self.answers.positive
        return Table(sums, pairs[:, kept][:, :, kept], scores, classes,
                     classes.index(positive) if positive in classes else -1)

    def _values(self, table: Table) -> Floats:
        """Every estimated metric of every draw, ``(metrics, draws)``."""
        return np.stack([METRICS[name](table) for name in self.metrics])


def estimator(answers: AnswerBins | None, performance: Outcomes) -> Estimator | None:
    """What the reference teaches; None where it holds no labelled answers, or too few."""
    if answers is None or performance.n < FEWEST_ROWS:
        return None
    found = tally(performance, answers)
    return Estimator(answers, found, performance) if len(found) else None
