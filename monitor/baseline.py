"""Baseline: cells, reference counts and calibrated thresholds of one model version."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
from scipy import special

from monitor.bins import Bins, CategoryBins, Role
from monitor.calibration import History, Limit, between, limit, row_grid
from monitor.config import Model
from monitor.drift import MEASURES, DriftResult, Ruler, error_bound, null_rate, ruler, unseen_rate
from monitor.norms import Norms, fault_level, learn
from monitor.outcomes import Outcomes, coarsened
from monitor.profile import Profile
from monitor.segments import Segments
from monitor.window import Window, format_duration, isoformat, parse_time

REPORTED = ("psi", "js", "ks", "wasserstein", "chi2")
"""Measures that every verdict carries (KS and Wasserstein for numbers)."""
FEWEST_ROWS = 2
"""Windows with fewer values than this are measured, not tested."""


@dataclass(frozen=True)
class Baseline:
    """What a version's windows are held against; JSON in, JSON out, unchanged.

    ``limits`` hold the null of every tested statistic per key on ``grid`` rows; ``norms`` what
    faults are found against; ``performance`` the version's reference outcomes; ``promise`` what
    ``holdfast baseline`` prints; ``segments`` the references of declared groups.
    """

    version: str
    key: str
    bins: Bins
    reference: Profile
    set_aside: dict[str, str]
    grid: tuple[float, ...]
    limits: dict[str, dict[str, Limit]]
    norms: Norms
    performance: Outcomes
    promise: dict[str, Any]
    window: Window | None
    segments: Segments = field(default_factory=Segments)

    @property
    def window_end(self) -> datetime | None:
        """Where the reference period ends."""
        return None if self.window is None else self.window.end

    @property
    def interval_level(self) -> float:
        """The level of performance intervals at which degradation keeps its half of the budget."""
        return float(self.promise["interval_level"])

    @cached_property
    def rulers(self) -> dict[str, Ruler]:
        """Every key's reference, laid out for measuring."""
        return {key: ruler(self.reference.counts[part], self.bins.by_key[key])
                for key, part in self.bins.slices.items()}

    @property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """First cell (in the order of values) of each group that PSI and its like are taken on."""
        return {key: tuple(int(start) for start in rule.starts)
                for key, rule in self.rulers.items()}

    def threshold(self, key: str, statistic: str, n: float) -> float:
        """What the statistic stays below at ``n`` rows with a value while nothing changes.

        Infinite where the statistic is not tested.
        """
        table = self.limits.get(key, {}).get(statistic)
        return float("inf") if table is None else table.threshold(self.grid, n)

    def compare(self, profile: Profile, *, segment: str = "",
                roles: Collection[Role] = ("feature", "prediction", "score", "label"),
                ) -> tuple[DriftResult, ...]:
        """Every statistic of every column of these roles that holds values in the window."""
        return tuple(result for key, part in self.bins.slices.items()
                     if self.bins.by_key[key].role in roles
                     for result in self._column(key, profile.counts[part], segment))

    def _column(self, key: str, counts: Any, segment: str) -> Iterator[DriftResult]:
        feature, rule = self.bins.by_key[key], self.rulers[key]
        reference = self.reference.counts[self.bins.slices[key]]
        rows = int(counts.sum())
        if rows and reference.any():
            yield DriftResult(key, segment, "null_rate", null_rate(reference, counts, feature),
                              None, 0.0, rows)
        sample = rule.sample(counts)
        n = int(sample.rows[0])
        if not n or not rule.rows:
            return
        category = isinstance(feature, CategoryBins)
        if category:
            yield DriftResult(key, segment, "unseen_rate",
                              unseen_rate(reference, counts, feature), None, 0.0, n)
        tested = self.limits.get(key, {})
        for name in dict.fromkeys([*tested, *REPORTED]):
            if category and name in {"ks", "wasserstein"} and name not in tested:
                continue
            value, bound = float(MEASURES[name](rule, sample)), error_bound(name, rule, sample)
            if bound == float("inf"):
                continue
            highest = (self.threshold(key, name, n) if name in tested and n >= FEWEST_ROWS
                       else None)
            yield DriftResult(key, segment, name, value, highest, bound, n,
                              highest is not None and value > highest)

    def to_json(self) -> str:
        """The baseline as one JSON text without whitespace."""
        window = self.window and [isoformat(self.window.start), isoformat(self.window.end)]
        return json.dumps({
            "version": self.version, "key": self.key, "bins": self.bins.to_dict(),
            "reference": [*self.reference.tallies, *self.reference.counts.tolist()],
            "set_aside": self.set_aside, "grid": self.grid,
            "limits": {key: {name: table.to_dict() for name, table in tables.items()}
                       for key, tables in self.limits.items()},
            "norms": self.norms.to_dict(),
            "performance": base64.b64encode(self.performance.pack()).decode(),
            "promise": self.promise, "window": window, "segments": self.segments.to_dict(),
        }, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Baseline:
        """The baseline that ``to_json`` wrote."""
        row = json.loads(text)
        n, duplicates, future, *counts = row["reference"]
        window = row["window"] and Window(*(parse_time(edge) for edge in row["window"]))
        return cls(row["version"], row["key"], Bins.from_dict(row["bins"]),
                   Profile(n, np.array(counts, dtype=np.int64), duplicates, future),
                   row["set_aside"], tuple(row["grid"]),
                   {key: {name: Limit.from_dict(table) for name, table in tables.items()}
                    for key, tables in row["limits"].items()},
                   Norms.from_dict(row["norms"]),
                   Outcomes.unpack(base64.b64decode(row["performance"])), row["promise"], window,
                   Segments.from_dict(row.get("segments", {})))


def calibrate(version: str, bins: Bins, panes: Sequence[Profile], outcomes: Outcomes, *,
              model: Model, window: Window | None = None,
              set_aside: Mapping[str, str] | None = None, seed: int = 0) -> Baseline:
    """The baseline of a version from its reference windows (``panes``, oldest first).

    The alarm budget becomes a level per checkpoint, is shared among all columns and tested
    statistics (Šidák), and every threshold follows from it for any number of rows.
    """
    reference = sum(panes, Profile.empty(bins))
    grid = row_grid([pane.n for pane in panes])
    levels = _levels(model, len(bins.features))
    stack = (np.stack([pane.counts for pane in panes]) if panes
             else np.zeros((0, bins.size), dtype=np.int64))
    histories = {key: History(ruler(reference.counts[part], bins.by_key[key]), stack[:, part])
                 for key, part in bins.slices.items()}
    limits: dict[str, dict[str, Limit]] = {
        key: {name: limit(history, name, grid, level=levels["test"], seed=seed,
                          effect=model.policy.minimum_effect.get(name, 0.0))
              for name in model.policy.statistics}
        for key, history in histories.items() if history.rule.rows}
    norms = learn(bins, panes, grid=grid, level=fault_level(model, bins))
    promise = _promise(histories, limits, grid, model=model, levels=levels)
    digest = hashlib.sha256(json.dumps(bins.to_dict()).encode()).hexdigest()[:12]
    return Baseline(version, digest, bins, reference, dict(set_aside or {}), grid, limits, norms,
                    coarsened(outcomes), promise, window)


def _levels(model: Model, columns: int) -> dict[str, float]:
    """The chance of a false alarm: per checkpoint, of drift per checkpoint, and per test.

    A model with labels may alarm for drift and for degradation: half the budget is drift's.
    Degradation is judged on pools of at least a week, so its half is shared among days.
    """
    budget = model.policy.alarm_budget
    checkpoints = budget.per / model.calendar.pane
    level = min(budget.alarms / checkpoints, 0.5)
    drift = level / 2 if model.log.labelled else level
    tests = max(columns * len(model.policy.statistics), 1)
    days = budget.per / max(model.calendar.pane, timedelta(days=1))
    interval = 1 - min(budget.alarms / days, 0.05)
    return {"interval": interval, "checkpoint": level, "drift": drift, "tests": tests,
            "test": float(-np.expm1(np.log1p(-drift) / tests))}


def _promise(histories: Mapping[str, History], limits: Mapping[str, Mapping[str, Limit]],
             grid: Sequence[float], *, model: Model, levels: Mapping[str, float]
             ) -> dict[str, Any]:
    """What the thresholds promise, and what this reference cannot know; plain values."""
    length = model.calendar.length
    count = max((len(history.windows) for history in histories.values()), default=0)
    rows = {key: float(np.median(history.rows)) for key, history in histories.items() if count}
    alarms = _own_alarms(histories, limits, grid)
    periods = count * length / model.policy.alarm_budget.per
    span = count * length
    return {
        "alarm_budget": f"{model.policy.alarm_budget.alarms:g} per "
                        f"{format_duration(model.policy.alarm_budget.per)}",
        "level_per_window": _round(levels["drift"]),
        "level_per_test": _round(levels["test"]),
        "tests": levels["tests"],
        "interval_level": levels["interval"],
        "reference_windows": count,
        "reference_alarms": alarms,
        "alarms_per_budget_period": [_round(value / periods) for value in _poisson(alarms)]
        if periods else None,
        "smallest_budget_without_tail": f"1 per {format_duration(span)}" if count else None,
        "parametric_tail": bool(levels["test"] * count < 1),
        "typical_rows": _round(float(np.median(list(rows.values())))) if rows else 0,
        "detectable_shift": {key: {name: _round(_detectable(table, grid, rows[key]))
                                   for name, table in limits[key].items()}
                             for key in rows if key in limits},
        "dispersion": {key: {name: table.dispersion for name, table in tables.items()}
                       for key, tables in limits.items()},
        "unknown_cycles": _cycles(span),
    }


def _own_alarms(histories: Mapping[str, History], limits: Mapping[str, Mapping[str, Limit]],
                grid: Sequence[float]) -> int:
    """Alarms that the reference's own windows would have raised; neighbours count once."""
    over: Any = False
    for key, tables in limits.items():
        rows = histories[key].rows
        for name, table in tables.items():
            highest = np.array([table.threshold(grid, max(int(n), 1)) for n in rows])
            over = over | (histories[key].observed(name) > highest)
    if np.ndim(over) == 0 or not np.size(over):
        return 0
    return int((over & ~np.concatenate([[False], over[:-1]])).sum())


def _poisson(count: int) -> tuple[float, float, float]:
    """The count and its exact 95 % interval (Garwood 1936)."""
    low = float(special.gammaincinv(count, 0.025)) if count else 0.0
    return float(count), low, float(special.gammainccinv(count + 1, 0.025))


def _detectable(table: Limit, grid: Sequence[float], rows: float) -> float:
    """The shift, over the null's mean, that is found in four of five windows of typical size."""
    mean, spread = between(grid, table.mean, rows), between(grid, table.spread, rows)
    return table.threshold(grid, rows) - mean + 0.84 * spread


def _cycles(span: timedelta) -> list[str]:
    unknown = []
    if span < timedelta(days=14):
        unknown.append("week: the reference is shorter than two weeks")
    if span < timedelta(days=730):
        unknown.append("year: the reference is shorter than two years")
    return unknown


def _round(value: float) -> float:
    return float(f"{value:.4g}")
