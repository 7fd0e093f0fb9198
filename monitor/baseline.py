"""Baseline: cells, reference counts and calibrated thresholds of one model version."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np

from monitor.bins import Bins, Role
from monitor.calibration import History, calibrated, grid_of
from monitor.config import Model
from monitor.contrast import Earlier, Part, Past, compare
from monitor.drift import Comparison, DriftResult
from monitor.effects import Losses, LossEstimator
from monitor.estimate import Estimator, estimator
from monitor.importance import Importances
from monitor.limits import Limits
from monitor.modes import SEASON, TRAILING, WEEK, YEAR, Mode, members, seconds, spans_of
from monitor.norms import Norms, fault_level, learn
from monitor.outcomes import Outcomes, coarsened
from monitor.power import levels, promise
from monitor.presets import Preset, evidently, nannyml
from monitor.profile import Profile
from monitor.ruler import ruler, rulers
from monitor.segments import Segments
from monitor.window import EPOCH, Window, isoformat, parse_time

ALL: tuple[Role, ...] = ("feature", "prediction", "score", "label")


@dataclass(frozen=True)
class Baseline:
    """What a version's windows are held against; JSON in, JSON out, unchanged.

    ``limits`` hold the nulls of every test and the limit of the whole model, None where the
    reference holds no window; ``norms`` what faults are found against; ``performance`` the
    version's reference outcomes; ``promise`` what ``holdfast baseline`` prints. ``mode`` says
    which windows of ``length`` seconds are the reference of a window, ``past`` holds those of
    the reference where it chooses; ``preset`` are another tool's rules in place of the limits;
    ``segments`` the references of declared groups, ``importance`` what each
    feature is worth to the version; ``losses`` what a regression's errors are estimated
    by.
    """

    version: str
    key: str
    bins: Bins
    reference: Profile
    set_aside: dict[str, str]
    limits: Limits | None
    norms: Norms
    performance: Outcomes
    promise: dict[str, Any]
    window: Window | None
    segments: Segments = field(default_factory=Segments)
    mode: Mode = "fixed"
    length: float = 86_400.0
    control: str = "joint"
    past: Past | None = None
    preset: Preset | None = None
    importance: Importances | None = None
    losses: Losses | None = None

    @property
    def window_end(self) -> datetime | None:
        """Where the reference period ends."""
        return None if self.window is None else self.window.end

    @property
    def interval_level(self) -> float:
        """The level of performance intervals at which degradation keeps its half of the budget."""
        return float(self.promise["interval_level"])

    @cached_property
    def estimator(self) -> Estimator | LossEstimator | None:
        """What estimates performance without labels; None where the reference teaches none."""
        if self.losses is not None:
            return LossEstimator(self.bins, self.losses)
        return estimator(self.bins.answers, self.performance)

    @property
    def spans(self) -> tuple[int, ...]:
        """Numbers of newest windows that are judged together."""
        return (1,) if self.limits is None else self.limits.spans

    @property
    def reach(self) -> timedelta:
        """How far back before a window those lie that it is judged with."""
        spans = max(self.spans)
        windows = spans + (TRAILING + 1 if self.mode == "trailing" else 0)
        if self.mode == "same_season_last_year":
            return timedelta(seconds=YEAR + 2 * SEASON + windows * self.length)
        return timedelta(seconds=windows * self.length)

    def wanted(self, at: datetime, start: datetime) -> bool:
        """Whether the window at ``start`` is needed to judge the one at ``at``."""
        ages = seconds([at])[0], seconds([start])
        near = (at - start).total_seconds() < max(self.spans) * self.length
        return near or (self.mode != "fixed" and bool(members(
            self.mode, ages[1], ages[0], length=self.length, gap=max(self.spans))[0]))

    @cached_property
    def _parts(self) -> dict[tuple[Role, ...], Part | None]:
        return {}

    def part(self, roles: Collection[Role]) -> Part | None:
        """The columns of these roles, laid out for measuring; None where there are none."""
        chosen = tuple(role for role in ALL if role in roles)
        if chosen not in self._parts:
            self._parts[chosen] = self._part(chosen)
        return self._parts[chosen]

    def _part(self, roles: Collection[Role]) -> Part | None:
        keys = [key for key, feature in self.bins.by_key.items() if feature.role in roles]
        if not keys:
            return None
        features = tuple(self.bins.by_key[key] for key in keys)
        slices = tuple(self.bins.slices[key] for key in keys)
        reference = tuple(self.reference.counts[part] for part in slices)
        limits = None if self.limits is None else self.limits.columns(keys)
        return Part(tuple(keys), features, slices,
                    np.concatenate([np.arange(part.start, part.stop) for part in slices]),
                    reference, rulers(reference, features), limits)

    def threshold(self, key: str, statistic: str, n: float) -> float:
        """What the statistic of one window stays below at ``n`` rows while nothing changes.

        Infinite where the statistic is not tested.
        """
        limits = self.limits
        if limits is None or key not in limits.keys or statistic not in limits.statistics:
            return float("inf")
        place, column = limits.statistics.index(statistic), limits.keys.index(key)
        rows = np.full(len(limits.keys), float(n))
        return float(limits.thresholds(place, 0, rows, limits.rows)[column])

    def compared(self, profile: Profile, *, segment: str = "", roles: Collection[Role] = ALL,
                 window: tuple[datetime, Earlier] | None = None) -> Comparison:
        """The window's columns of these roles against the reference.

        ``window`` tells when it starts and which windows came before it: without it, it is
        judged by itself.
        """
        part = self.part(roles)
        if part is None:
            return Comparison((), None, True)
        return compare(part, self, profile, segment=segment, window=window)

    def compare(self, profile: Profile, *, segment: str = "", roles: Collection[Role] = ALL,
                window: tuple[datetime, Earlier] | None = None) -> tuple[DriftResult, ...]:
        """Every statistic of every column of these roles that holds values in the window."""
        return self.compared(profile, segment=segment, roles=roles, window=window).results

    def to_json(self) -> str:
        """The baseline as one JSON text without whitespace."""
        window = self.window and [isoformat(self.window.start), isoformat(self.window.end)]
        return json.dumps({
            "version": self.version, "key": self.key, "bins": self.bins.to_dict(),
            "reference": [*self.reference.tallies, *self.reference.counts.tolist()],
            "set_aside": self.set_aside,
            "limits": None if self.limits is None else self.limits.to_dict(),
            "norms": self.norms.to_dict(),
            "performance": base64.b64encode(self.performance.pack()).decode(),
            "promise": self.promise, "window": window, "segments": self.segments.to_dict(),
            "mode": self.mode, "length": self.length,
            "control": self.control, "past": None if self.past is None else _packed(self.past),
            "preset": None if self.preset is None else self.preset.to_dict(),
            "importance": self.importance and self.importance.to_dict(),
            "losses": None if self.losses is None else self.losses.to_dict(),
        }, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Baseline:
        """The baseline that ``to_json`` wrote."""
        row = json.loads(text)
        n, duplicates, future, *counts = row["reference"]
        window = row["window"] and Window(*(parse_time(edge) for edge in row["window"]))
        bins = Bins.from_dict(row["bins"])
        return cls(row["version"], row["key"], bins,
                   Profile(n, np.array(counts, dtype=np.int64), duplicates, future),
                   row["set_aside"], row["limits"] and Limits.from_dict(row["limits"]),
                   Norms.from_dict(row["norms"]),
                   Outcomes.unpack(base64.b64decode(row["performance"])), row["promise"], window,
                   Segments.from_dict(row.get("segments", {})),
                   row["mode"], row["length"], row["control"],
                   row["past"] and _unpacked(row["past"], bins.size),
                   row["preset"] and Preset.from_dict(row["preset"]),
                   Importances.from_dict(row["importance"]) if row.get("importance") else None,
                   Losses.from_dict(row["losses"]) if row.get("losses") else None)


def _packed(past: Past) -> list[Any]:
    return [past.starts.tolist(),
            base64.b64encode(zlib.compress(past.counts.astype("<i8").tobytes(), 6)).decode()]


def _unpacked(row: list[Any], size: int) -> Past:
    counts = np.frombuffer(zlib.decompress(base64.b64decode(row[1])), dtype="<i8")
    return Past(np.array(row[0], dtype=np.float64),
                counts.reshape(-1, size).astype(np.int64))


def calibrate(version: str, bins: Bins, panes: Sequence[Profile], outcomes: Outcomes, *,
              model: Model, window: Window | None = None,
              set_aside: Mapping[str, str] | None = None, varied: Sequence[Profile] = ()
              ) -> Baseline:
    """The baseline of a version from its reference windows, oldest first without a gap.

    ``panes`` are their profiles (empty ones where no row fell), the last one ends where
    ``window`` does. ``varied`` are the same windows with all that tells by how much they vary.
    """
    reference = sum(panes, Profile.empty(bins))
    history = _history(bins, panes, model, window)
    if varied:
        history = replace(history, varied=np.stack([pane.counts for pane in varied]))
    level = levels(model)["drift"]
    limits, largest = None, np.zeros(0)
    if history.held():
        spans = spans_of(model.calendar.length, len(panes)) if model.policy.slow_drift else (1,)
        limits, largest = calibrated(
            history, model.policy.statistics, spans, level=level, seed=0,
            effects=[model.policy.minimum_effect.get(name, 0.0)
                     for name in model.policy.statistics])
    norms = learn(bins, panes, grid=grid_of(history, 1).tolist(),
                  level=fault_level(model, bins))
    told = promise(history, limits, largest, model=model)
    digest = hashlib.sha256(json.dumps(bins.to_dict()).encode()).hexdigest()[:12]
    return Baseline(version, digest, bins, reference, dict(set_aside or {}), limits, norms,
                    coarsened(outcomes), told, window, mode=history.mode, length=history.length,
                    control=model.policy.control, past=_past(history),
                    preset=_preset(history, model))


def _history(bins: Bins, panes: Sequence[Profile], model: Model, window: Window | None
             ) -> History:
    length = model.calendar.length
    start = EPOCH if window is None else window.end - len(panes) * length
    counts = (np.stack([pane.counts for pane in panes]) if panes
              else np.zeros((0, bins.size), dtype=np.int64))
    starts = seconds([start + place * length for place in range(len(panes))])
    return History(bins, counts, starts, length.total_seconds(), model.reference.mode)


def _past(history: History) -> Past | None:
    """The reference's windows where the mode chooses among them: one per hour of the week, day
    or window, so that a baseline stays small."""
    if history.mode == "fixed" or not history.windows:
        return None
    starts = history.starts
    if history.mode == "same_hour_of_week":
        starts = starts[-1] + (starts - starts[-1]) % WEEK - WEEK
    elif history.mode == "same_season_last_year":
        starts = starts - starts % max(86_400.0, history.length)
    kept, place = np.unique(starts, return_inverse=True)
    counts = np.zeros((kept.size, history.counts.shape[1]), dtype=np.int64)
    np.add.at(counts, place, history.counts)
    return Past(kept, counts)


def _preset(history: History, model: Model) -> Preset | None:
    name = model.policy.thresholds
    if name == "calibrated" or not history.windows:
        return None
    total = history.counts.sum(axis=0)
    parts = {key: history.bins.slices[key] for key in history.held()}
    rules = {key: ruler(total[part], history.bins.by_key[key]) for key, part in parts.items()}
    if name == "evidently":
        return evidently(rules)
    return nannyml(rules, {key: history.counts[:, part] for key, part in parts.items()})
