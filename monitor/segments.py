"""Segments: what each declared group looked like in the reference, so that it is held against
itself and not against all rows.

A group's drift is its PSI under a null of its own: a gamma around the mean that multinomial
counts would give, stretched by how much more the group's reference windows scattered. Formulas
and limits are in ``docs/statistics.md``.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy import special

from monitor.bins import Bins, Role
from monitor.config import Model
from monitor.drift import MEASURES, DriftResult
from monitor.outcomes import Outcomes, coarsened, unscored
from monitor.profile import Counts, Profile
from monitor.ruler import ruler

STATISTIC: Literal["psi"] = "psi"
"""The statistic that groups are judged on."""
FEWEST_WINDOWS = 5
"""Reference windows with enough rows below which a group's scatter is unknown."""
FOLDS = 5
"""Stretches of the reference; a window is measured against those that it does not lie in."""
MOST_CELLS = 1_000
"""Joint cells of reference outcomes that are kept per group."""
NAMED = 20
"""Groups without a reference that are named at most."""


@dataclass(frozen=True, slots=True)
class Scatter:
    """How a column of one group varies from window to window.

    ``mean`` is the windows' PSI over what independent rows would give (at least 1), ``shape``
    that of the gamma around it, ``rows`` those of a typical window.
    """

    mean: float
    shape: float
    rows: float

    def threshold(self, n: float, reference: float, degrees: int, *, level: float,
                  effect: float) -> float:
        """What PSI stays below at ``n`` rows with chance 1 - ``level``, the effect on top.

        Scatter that does not come from the number of rows does not vanish with it: the excess
        over 1 grows with n as that of a Dirichlet-multinomial does.
        """
        excess = 1 + (self.mean - 1) * n / self.rows
        mean = degrees * (excess / n + self.mean / reference)
        tail = float(special.gammainccinv(self.shape, level)) / self.shape
        return max(mean * tail, mean + effect)


@dataclass(frozen=True, slots=True)
class Own:
    """One group's reference: its rows, how they scatter per column, and its labelled rows."""

    profile: Profile
    scatter: dict[str, Scatter]
    performance: Outcomes

    def to_dict(self) -> dict[str, Any]:
        return {"profile": _text(self.profile.pack()),
                "scatter": {key: [item.mean, item.shape, item.rows]
                            for key, item in self.scatter.items()},
                "performance": _text(self.performance.pack())}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Own:
        return cls(Profile.unpack(base64.b64decode(row["profile"])),
                   {key: Scatter(*values) for key, values in row["scatter"].items()},
                   Outcomes.unpack(base64.b64decode(row["performance"])))


@dataclass(frozen=True, slots=True)
class Segments:
    """The references of declared groups by ``column=value``.

    ``small`` are groups with too few reference rows, with their number; ``more`` counts those
    that may not be named or are beyond the cap.
    """

    held: dict[str, Own] = field(default_factory=dict)
    small: dict[str, int] = field(default_factory=dict)
    more: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values; ``from_dict`` reads them back unchanged."""
        return {"held": {name: own.to_dict() for name, own in self.held.items()},
                "small": self.small, "more": self.more}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Segments:
        return cls({name: Own.from_dict(own) for name, own in row.get("held", {}).items()},
                   dict(row.get("small", {})), row.get("more", 0))

    def drift(self, segment: str, profile: Profile, bins: Bins, *, roles: Collection[Role],
              model: Model) -> Iterator[DriftResult]:
        """PSI of every column of these roles but the group's own, against the group itself."""
        own = self.held.get(segment)
        if own is None:
            return
        column = segment.partition("=")[0]
        chance = level(model, len(self.held) * len(bins.features))
        effect = model.policy.minimum_effect.get(STATISTIC, 0.0)
        for key, part in bins.slices.items():
            if bins.by_key[key].role not in roles or key == column:
                continue
            rule = ruler(own.profile.counts[part], bins.by_key[key])
            sample = rule.sample(profile.counts[part])
            n, degrees = int(sample.rows[0]), int(np.count_nonzero(rule.groups)) - 1
            if not n or not rule.rows[0]:
                continue
            value = float(MEASURES[STATISTIC](rule, sample)[0])
            highest = None
            if key in own.scatter and degrees > 0 and n >= model.policy.segments.min_rows:
                highest = own.scatter[key].threshold(n, float(rule.rows[0]), degrees, level=chance,
                                                     effect=effect)
            yield DriftResult(key, segment, STATISTIC, value, highest, 0.0, n,
                              highest is not None and value > highest)


def level(model: Model, tests: int) -> float:
    """The chance of a false finding per test: as many findings as the budget allows drift alarms,
    shared among all groups and columns (Šidák)."""
    budget = model.policy.alarm_budget
    share = min(budget.alarms / (budget.per / model.calendar.pane), 0.5)
    if model.log.labelled:
        share /= 2
    return float(-np.expm1(np.log1p(-share) / max(tests, 1)))


def chosen(rows: Mapping[str, int], model: Model) -> list[str]:
    """The groups that get a reference of their own: those with the most rows, by name."""
    rule = model.policy.segments
    least = max(rule.min_rows, model.privacy.min_count)
    ranked = sorted(rows, key=lambda name: (-rows[name], name))
    return sorted([name for name in ranked if rows[name] >= least][:rule.most])


def learn(windows: Mapping[str, Sequence[Profile]], outcomes: Mapping[str, Outcomes],
          rows: Mapping[str, int], *, bins: Bins, model: Model) -> Segments:
    """The references of the chosen groups from their tumbling windows and labelled rows.

    ``rows`` counts those of every group, chosen or not.
    """
    rule = model.policy.segments
    least = max(rule.min_rows, model.privacy.min_count)
    held = {name: Own(sum(parts, Profile.empty(bins)), _scatters(parts, bins, rule.min_rows),
                      _kept(outcomes.get(name, Outcomes()), model))
            for name, parts in windows.items()}
    small = {name: n for name, n in rows.items() if model.privacy.min_count <= n < least}
    named = sorted(sorted(small, key=lambda name: (-small[name], name))[:NAMED])
    return Segments(held, {name: small[name] for name in named},
                    len(rows) - len(held) - len(named))


def _kept(outcomes: Outcomes, model: Model) -> Outcomes:
    scored = model.metric in {"roc_auc", "average_precision"}
    return coarsened(outcomes if scored else unscored(outcomes), MOST_CELLS)


def _scatters(windows: Sequence[Profile], bins: Bins, least: int) -> dict[str, Scatter]:
    stack = np.stack([item.counts for item in windows])
    found = {}
    for key, part in bins.slices.items():
        scatter = _scatter(stack[:, part], bins, key, least)
        if scatter is not None:
            found[key] = scatter
    return found


def _scatter(counts: Counts, bins: Bins, key: str, least: int) -> Scatter | None:
    """Of each window's PSI against the reference without the fifth that surrounds it, over what
    independent rows would give on average: ``(groups - 1) (1 / n + 1 / N)``."""
    whole = ruler(counts.sum(axis=0), bins.by_key[key])
    rows, degrees = whole.sample(counts).rows[:, 0], int(np.count_nonzero(whole.groups)) - 1
    if not whole.rows[0] or degrees < 1:
        return None
    ratios = []
    for fold in np.array_split(np.arange(len(counts)), FOLDS):
        rest = whole.against(counts.sum(axis=0) - counts[fold].sum(axis=0))
        held = fold[rows[fold] >= least]
        if rest.rows[0] and held.size:
            expected = degrees * (1 / rows[held] + 1 / rest.rows[0])
            ratios.append(MEASURES[STATISTIC](rest, rest.sample(counts[held]))[:, 0] / expected)
    ratio = np.concatenate([[], *ratios])
    if ratio.size < FEWEST_WINDOWS:
        return None
    ratio = np.minimum(ratio, np.quantile(ratio, 0.98))
    mean = max(float(ratio.mean() + ratio.std(ddof=1) / np.sqrt(ratio.size)), 1.0)
    excess = mean - 1  # which is that of a single direction: chi-squared with one degree
    shape = min(mean**2 / (2 * (1 + 2 * excess) / degrees + 2 * excess**2),
                float(ratio.mean() ** 2 / max(ratio.var(ddof=1), 1e-12)))
    return Scatter(*(float(f"{value:.5g}") for value in
                     (mean, max(shape, 0.4), float(np.median(rows[rows >= least])))))


def _text(packed: bytes) -> str:
    return base64.b64encode(packed).decode()
