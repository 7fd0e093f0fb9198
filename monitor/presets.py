"""Presets: the default drift rules of other tools, by name, on the same counts.

For people who compare, or who must keep a rule that they have. They look at single windows and
know neither a budget nor the number of rows; formulas are those of ``monitor.drift``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from monitor.bins import CategoryBins, FeatureBins
from monitor.drift import MEASURES, Comparison, DriftResult
from monitor.ruler import Ruler

Thresholds = Literal["calibrated", "evidently", "nannyml"]

SMALL = 1000
"""Reference rows up to which Evidently tests by p-value."""
FEW_VALUES = 5
"""Distinct values up to which Evidently takes a number for a category."""
P_VALUE, DISTANCE = 0.05, 0.1
"""Evidently's limits of p-values and of distances."""
MOST = 0.5
"""Share of columns that must drift for Evidently's data set drift."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One column's statistic and limit; ``critical`` is a p-value's quantile to be scaled by rows
    (KS) or as it is (chi-squared), None where ``limit`` is a plain threshold."""

    statistic: str
    limit: float
    critical: bool = False

    def threshold(self, n: float, reference: float) -> float:
        if not self.critical or self.statistic != "ks":
            return self.limit
        return self.limit * float(np.sqrt((n + reference) / max(n * reference, 1.0)))


@dataclass(frozen=True, slots=True)
class Preset:
    """A tool's rules per column, and the share of columns that makes a window drifted."""

    name: str
    rules: Mapping[str, Rule]
    rows: Mapping[str, float]
    share: float

    def told(self, results: Sequence[DriftResult]) -> Comparison:
        """The results under these rules: columns drift only where the window does."""
        judged, ratios = [], []
        for item in results:
            rule = self.rules.get(item.feature)
            if rule is None or rule.statistic != item.statistic:
                judged.append(item)
                continue
            limit = rule.threshold(item.n, self.rows[item.feature])
            ratios.append(item.value / max(limit, 1e-12))
            judged.append(replace(item, threshold=limit, drifted=item.value >= limit))
        found = [item for item in judged if item.drifted]
        drifted = bool(found) and len(found) >= self.share * max(len(ratios), 1)
        if not drifted:
            judged = [replace(item, drifted=False) for item in judged]
        ranked = sorted(ratios, reverse=True)
        needed = max(int(np.ceil(self.share * len(ranked))), 1)
        return Comparison(tuple(judged), ranked[needed - 1] if ranked else None, not drifted)

    def to_dict(self) -> dict[str, object]:
        return {"name": self.name, "share": self.share, "rows": dict(self.rows),
                "rules": {key: [rule.statistic, rule.limit, rule.critical]
                          for key, rule in self.rules.items()}}

    @classmethod
    def from_dict(cls, row: Mapping[str, object]) -> Preset:
        rules, rows = row["rules"], row["rows"]
        assert isinstance(rules, dict)
        assert isinstance(rows, dict)
        return cls(str(row["name"]), {key: Rule(*rule) for key, rule in rules.items()}, dict(rows),
                   float(str(row["share"])))


def evidently(rules: Mapping[str, Ruler]) -> Preset:
    """Evidently 0.7: KS or chi-squared at 5 % up to 1,000 reference rows, above Wasserstein over
    the standard deviation or Jensen-Shannon (nats) at 0.1; drift when half of the columns do."""
    return Preset("evidently", {key: _evidently(rule) for key, rule in rules.items()},
                  {key: float(rule.rows[0]) for key, rule in rules.items()}, MOST)


def _evidently(rule: Ruler) -> Rule:
    feature = rule.plan.features[0]
    few = _few_values(feature, rule)
    if rule.rows[0] <= SMALL:
        if few:
            kept = int(np.count_nonzero(~rule.rare & (rule.groups > 0)))
            return Rule("chi2", float(special.chdtri(max(kept - 1, 1), P_VALUE)), True)
        return Rule("ks", float(special.kolmogi(P_VALUE)), True)
    if few:
        return Rule("js", DISTANCE / float(np.sqrt(np.log(2))))
    return Rule("wasserstein", DISTANCE)


def _few_values(feature: FeatureBins, rule: Ruler) -> bool:
    if isinstance(feature, CategoryBins):
        return True
    held = rule.cells > 0
    return not bool((held & rule.plan.spans).sum() > FEW_VALUES) and held.sum() <= FEW_VALUES


def nannyml(rules: Mapping[str, Ruler], windows: Mapping[str, npt.NDArray[np.int64]]) -> Preset:
    """NannyML 0.13: Jensen-Shannon above mean + 3 sd of the reference's own chunks; any column."""
    found = {}
    for key, rule in rules.items():
        values = MEASURES["js"](rule, rule.sample(windows[key]))[:, 0]
        values = values[np.isfinite(values)]
        if values.size:
            found[key] = Rule("js", float(values.mean() + 3 * values.std()))
    return Preset("nannyml", found, {key: float(rules[key].rows[0]) for key in found}, 0.0)
