"""Null: windows without drift, simulated from the reference's counts alone.

A window's shares are a Dirichlet draw around the reference's (which is itself a sample, and so a
Dirichlet draw), its counts multinomial. No rows are needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from monitor.drift import COARSE, MEASURES
from monitor.ruler import Ruler, Sample

Floats = npt.NDArray[np.float64]

DRAWS = {True: 1000, False: 300}
"""Simulated windows per number of rows, for statistics of groups (True) and of cells."""
POWER = {"psi": 1, "chi2": 1, "js": 2, "hellinger": 2, "tv": 2, "ks": 2, "wasserstein": 2}
"""The power of a statistic that is near a scaled chi-squared, and so near a gamma variable."""
PRIOR = 1.0
"""Row spread over all cells before the reference is seen (a Perks prior)."""
DEEP = 600.0
"""Surprise from which on the gamma tail is taken from its expansion: e^-700 is no double."""


@dataclass(frozen=True, slots=True, eq=False)
class Null:
    """A source of windows without drift, for one feature's ruler and one over-dispersion.

    ``typical`` is the number of rows of a reference window: with over-dispersion the reference
    tells as much as so many fewer independent rows.
    """

    rule: Ruler
    dispersion: float
    typical: float

    def sample(self, rows: npt.NDArray[np.int64], rng: np.random.Generator, *, coarse: bool,
               shares: Floats | None = None) -> Sample:
        """One simulated window per entry of ``rows``, around the reference or other ``shares``."""
        known = self.rule.groups if coarse else self.rule.cells
        inflation = 1 + max(self.typical - 1, 0.0) * self.dispersion
        if shares is not None:
            known = shares * known.sum()
        prior = known / inflation + PRIOR / known.size
        share = _dirichlet(np.broadcast_to(prior, (rows.size, known.size)), rng)
        if self.dispersion > 0:
            share = _dirichlet(share * (1 - self.dispersion) / self.dispersion, rng)
        counts = rng.multinomial(rows, share).astype(np.float64)
        return self.rule.grouped(counts) if coarse else self.rule.arranged(counts)

    def draw(self, statistic: str, rows: npt.NDArray[np.int64], rng: np.random.Generator
             ) -> Floats:
        """The statistic of one simulated window per entry of ``rows``."""
        sample = self.sample(rows, rng, coarse=statistic in COARSE)
        return MEASURES[statistic](self.rule, sample)[:, 0]

    def moments(self, statistic: str, rows: float, seed: int) -> tuple[float, float]:
        """Mean and standard deviation of the statistic's power at this number of rows."""
        many = np.full(DRAWS[statistic in COARSE], max(round(rows), 1))
        values = self.draw(statistic, many, np.random.default_rng(seed)) ** POWER[statistic]
        return float(values.mean()), float(values.std())


def _dirichlet(shape: Floats, rng: np.random.Generator) -> Floats:
    """One Dirichlet draw per row of ``shape``; a row that underflows falls on one cell."""
    drawn = rng.standard_gamma(shape)
    total = drawn.sum(axis=1, keepdims=True)
    lost = total[:, 0] <= 0
    if lost.any():
        drawn[lost, np.argmax(shape[lost], axis=1)] = 1.0
        total = drawn.sum(axis=1, keepdims=True)
    share = drawn / total
    # multinomial refuses probabilities whose sum exceeds 1 by rounding
    return np.asarray(share / np.maximum(share.sum(axis=1, keepdims=True), 1.0) * (1 - 1e-12))


def surprise(value: Floats, mean: Floats, spread: Floats, known: Floats) -> Floats:
    """-ln of the chance that the null exceeds ``value``, not negative.

    The null is a gamma variable of these moments. Where its mean was itself estimated, from so
    many ``known`` independent windows, their ratio is F-distributed with 2 a and 2 a known degrees
    of freedom, a being the gamma's shape. Where the null does not vary, anything above its mean
    is beyond surprise.
    """
    flat = spread <= 1e-9 * np.maximum(mean, 1e-12)
    mean, spread = np.where(flat, 1.0, mean), np.where(flat, 1.0, spread)
    shape, ratio = (mean / spread) ** 2, np.maximum(value, 0.0) / mean
    left = known / (known + ratio)
    near = -np.log(np.maximum(special.betainc(shape * known, shape, left), 1e-300))
    far = (-shape * known * np.log(left) - shape * np.log(np.maximum(1 - left, 1e-300))
           + special.betaln(shape * known, shape) + np.log(shape * known))
    found = np.where(near < DEEP, near, far)
    return np.where(flat, np.where(value > 1e-9, 1e6, 0.0), np.maximum(found, 0.0))


def unsurprising(level: Floats, mean: Floats, spread: Floats, known: Floats) -> Floats:
    """The value whose ``surprise`` is ``level``."""
    mean = np.maximum(mean, 1e-12)
    spread = np.maximum(spread, 1e-9 * mean)
    shape = (mean / spread) ** 2
    left = special.betaincinv(shape * known, shape, np.exp(-np.minimum(level, DEEP)))
    start = (special.betaln(shape * known, shape) + np.log(shape * known) - level) / (shape * known)
    deep = np.exp(np.minimum(start, -1e-12))
    left = np.maximum(np.where(level < DEEP, left, deep), 1e-300)
    return np.asarray(known * (1 - left) / left * mean)
