"""Faults: broken data told apart from drifted data, from counts alone.

A fault blocks training on the window; a warning informs. Messages carry counts, shares and
column names, never a value of a row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from scipy import special

from monitor.bins import Bins, CategoryBins, FeatureBins, Role, key_of
from monitor.profile import Profile

Counts = npt.NDArray[np.int64]

JUMP = 0.05
"""Smallest rise of a share of nulls, unseen or out-of-range values that is spoken of, and the
share of broken values (or the rise of duplicates) from which on the window is faulty."""
TRACE = 0.01
"""Smallest rise of the share of duplicates or of future event times that is spoken of."""
NEARLY_ALL = 0.9
"""Share of unseen values that is no new category but another column."""
FAR = 6.0
"""Robust standard deviations of log volume beyond which a window is unusually large or small."""

INPUTS: tuple[Role, ...] = ("feature", "prediction", "score")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a window: ``column`` is '' where it is the whole window."""

    check: str
    column: str
    severity: Literal["fault", "warning"]
    message: str
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Norms:
    """What is normal, learned from the reference's windows.

    ``volume`` is the (lowest, median, highest) number of rows that is not remarked on; ``rates``
    hold, per key and kind (null, unseen, outside), the highest normal share on ``grid`` rows.
    """

    grid: tuple[float, ...]
    volume: tuple[float, float, float]
    duplicates: float
    future: float
    rates: Mapping[str, Mapping[str, tuple[float, ...]]]

    def limit(self, key: str, kind: str, n: float) -> float:
        """The highest normal share at ``n`` rows; 1 where none was learned."""
        learned = self.rates.get(key, {}).get(kind)
        return 1.0 if learned is None else float(np.interp(n, self.grid, learned))

    def to_dict(self) -> dict[str, Any]:
        return {"grid": list(self.grid), "volume": list(self.volume),
                "duplicates": self.duplicates, "future": self.future,
                "rates": {key: {kind: list(limits) for kind, limits in kinds.items()}
                          for key, kinds in self.rates.items()}}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Norms:
        low, median, high = row["volume"]
        return cls(tuple(row["grid"]), (low, median, high), row["duplicates"], row["future"],
                   {key: {kind: tuple(limits) for kind, limits in kinds.items()}
                    for key, kinds in row["rates"].items()})


class Expected(Protocol):
    """What faults are found against; a baseline is one."""

    @property
    def bins(self) -> Bins: ...
    @property
    def reference(self) -> Profile: ...
    @property
    def norms(self) -> Norms: ...


def learn(bins: Bins, windows: Sequence[Profile], *, grid: Sequence[float],
          level: float) -> Norms:
    """What is normal in the reference's windows, at ``level`` false findings per window."""
    held = [window for window in windows if window.n > 0]
    rows = np.array([window.n for window in held], dtype=np.float64)
    rates: dict[str, dict[str, tuple[float, ...]]] = {}
    for key, part in bins.slices.items():
        feature = bins.by_key[key]
        for kind in _kinds(feature):
            hits = [_hits(kind, feature, window.counts[part]) for window in held]
            hit = np.array([pair[0] for pair in hits], dtype=np.float64)
            of = np.array([pair[1] for pair in hits], dtype=np.float64)
            rates.setdefault(key, {})[kind] = _limits(hit, of, grid, level)
    return Norms(tuple(grid), _volume(rows),
                 max((window.duplicates / window.n for window in held), default=0.0),
                 max((window.future / window.n for window in held), default=0.0), rates)


def _kinds(feature: FeatureBins) -> tuple[str, ...]:
    if isinstance(feature, CategoryBins):
        return ("null",) if feature.rest else ("null", "unseen")
    return ("null", "outside")


def _hits(kind: str, feature: FeatureBins, counts: Counts) -> tuple[int, int]:
    """How many rows of how many are null, unseen or out of range."""
    if kind == "null":
        return int(counts[0]), int(counts.sum())
    if isinstance(feature, CategoryBins):
        return int(counts[2]), int(counts[2:].sum())
    first = feature.first - 1
    return int(counts[first] + counts[feature.above]), int(counts[first:].sum())


def _limits(hit: npt.NDArray[np.float64], of: npt.NDArray[np.float64], grid: Sequence[float],
            level: float) -> tuple[float, ...]:
    """Shares that a beta-binomial of the windows' own over-dispersion exceeds at ``level``.

    Gamma quantile by moments, and one row on top because counts are whole.
    """
    share = (hit.sum() + 0.5) / (of.sum() + 1)
    noise = share * (1 - share)
    ratio = ((hit - of * share) ** 2).sum() / max((of * noise).sum(), 1e-12)
    typical = (of**2).sum() / max(of.sum(), 1.0)
    dispersion = float(np.clip((ratio - 1) / max(typical - 1, 1.0), 0.0, 0.9))
    rows = np.asarray(grid, dtype=np.float64)
    variance = noise * ((1 + (rows - 1) * dispersion) / rows + 1 / (of.sum() + 1))
    shape = share**2 / variance
    high = special.gammainccinv(shape, level) * variance / share + 1 / rows
    return tuple(float(f"{value:.4g}") for value in np.minimum(high, 1.0))


def _volume(rows: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    if rows.size == 0:
        return 0.0, 0.0, float(2**53)
    logs = np.log(rows)
    middle = float(np.median(logs))
    spread = max(1.4826 * float(np.median(np.abs(logs - middle))), np.log(1.2) / 2)
    low = min(middle - FAR * spread, float(logs.min()) - 0.5)
    high = max(middle + FAR * spread, float(logs.max()) + 0.5)
    return tuple(float(f"{np.exp(value):.6g}") for value in (low, middle, high))  # type: ignore[return-value]


def find(profile: Profile, baseline: Expected, *, broken: Sequence[tuple[str, str]] = (),
         roles: Collection[Role] = INPUTS) -> list[Fault]:
    """What is wrong with the window, faults first.

    ``broken`` are (column, message) pairs of missing, renamed or retyped columns, as the source
    tells them; ``roles`` says which columns are looked at (labels may be late, never by default).
    """
    found = [Fault("schema", column, "fault", message) for column, message in broken]
    if profile.n <= 0:
        typical = baseline.norms.volume[1]
        found.append(Fault("empty", "", "fault", "the window holds no rows; reference windows "
                           f"hold {typical:.0f}", 0.0, None))
        return found
    found += _window(profile, baseline.norms)
    lost = {column for column, _ in broken}
    for key, part in baseline.bins.slices.items():
        feature = baseline.bins.by_key[key]
        if feature.role in roles and feature.name not in lost:
            found += _column(feature, profile.counts[part], baseline.reference.counts[part],
                             baseline.norms)
    return sorted(found, key=lambda item: item.severity)


def _window(profile: Profile, norms: Norms) -> Iterator[Fault]:
    low, typical, high = norms.volume
    if not low <= profile.n <= high:
        yield Fault("volume", "", "warning", f"{profile.n} rows, reference windows hold "
                    f"{typical:.0f} ({low:.0f} to {high:.0f} is unremarkable)",
                    float(profile.n), low if profile.n < low else high)
    for check, count, before, words in (
            ("duplicates", profile.duplicates, norms.duplicates, "repeat an id"),
            ("future", profile.future, norms.future, "carry an event time after their arrival")):
        share = count / profile.n
        if share > before + TRACE:
            serious = share > before + JUMP
            yield Fault(check, "", "fault" if serious else "warning",
                        f"{count} of {profile.n} rows {words} ({share:.1%}, in the reference at "
                        f"most {before:.1%} of a window)", share, before + TRACE)


def _column(feature: FeatureBins, counts: Counts, reference: Counts,
            norms: Norms) -> Iterator[Fault]:
    rows = int(counts.sum())
    if rows == 0:
        return
    if counts[0] == rows:
        yield Fault("all_null", feature.name, "fault",
                    f"{feature.name}: all {rows} rows are null", 1.0,
                    norms.limit(key_of(feature), "null", rows))
        return
    yield from _cells(feature, counts, reference)
    if not isinstance(feature, CategoryBins) and feature.cells == 0:
        moved = int(counts[feature.first - 1] + counts[feature.above])
        if moved:
            yield Fault("constant", feature.name, "warning", f"{feature.name}: one value in the "
                        f"reference, {moved} of {rows} rows hold another", moved / rows, 0.0)
    for kind in _kinds(feature):
        if kind == "outside" and not isinstance(feature, CategoryBins) and feature.cells == 0:
            continue
        yield from _rate(kind, feature, counts, reference, norms)


def _cells(feature: FeatureBins, counts: Counts, reference: Counts) -> Iterator[Fault]:
    """Values that are no values: NaN, infinity, and what does not convert."""
    rows = int(counts.sum())
    category = isinstance(feature, CategoryBins)
    checks = ([(1, "type", "do not convert to a category")] if category else
              [(1, "nan", "are NaN"), (2, "infinite", "are infinite"),
               (3, "type", "do not convert to a " + ("number" if feature.kind == "numeric"
                                                     else "time"))])
    for cell, check, words in checks:
        count, before = int(counts[cell]), int(reference[cell]) / max(int(reference.sum()), 1)
        share = count / rows
        if count and (before == 0 or share > before + JUMP):
            yield Fault(check, feature.name, "fault" if share > before + JUMP else "warning",
                        f"{feature.name}: {count} of {rows} rows {words} ({share:.1%}, in the "
                        f"reference {before:.1%})", share, before)


_WORDS = {"null": ("null_rate", "are null"), "unseen": ("unseen", "hold a category that the "
          "reference does not name"), "outside": ("range", "lie outside the reference's range")}


def _rate(kind: str, feature: FeatureBins, counts: Counts, reference: Counts,
          norms: Norms) -> Iterator[Fault]:
    count, rows = _hits(kind, feature, counts)
    before, held = _hits(kind, feature, reference)
    if rows == 0:
        return
    share, normal = count / rows, before / max(held, 1)
    limit = max(norms.limit(key_of(feature), kind, rows), normal + JUMP)
    if share <= limit:
        return
    check, words = _WORDS[kind]
    serious = kind == "null" or (kind == "unseen" and share >= NEARLY_ALL > normal)
    yield Fault(check, feature.name, "fault" if serious else "warning",
                f"{feature.name}: {count} of {rows} rows {words} ({share:.1%}, in the reference "
                f"{normal:.1%}, at most {limit:.1%} is expected)", share, limit)
