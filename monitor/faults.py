"""Faults: broken data told apart from drifted data, from counts alone.

A fault blocks training on the window; a warning informs; what a person acknowledged counts no more.
Messages carry counts, shares and column names, never a value of a row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from monitor.bins import Bins, CategoryBins, FeatureBins, Role, key_of
from monitor.config import Expect
from monitor.expectations import breaches
from monitor.norms import Norms, hits_of, kinds, values_of
from monitor.profile import Profile
from monitor.suspects import suspects

Counts = npt.NDArray[np.int64]

JUMP = 0.05
"""Smallest rise of a share of nulls, unseen or out-of-range values that is spoken of, and the
share of broken values (or the rise of duplicates) from which on the window is faulty."""
TRACE = 0.01
"""Smallest rise of the share of duplicates or of future event times that is spoken of."""
VANISHED = 0.01
"""Share of the usual rows under which nearly all are missing, where no reference window held under
ten times as few."""
NEARLY_ALL = 0.9
"""Share of unseen values that is no new category but another column."""
INPUTS: tuple[Role, ...] = ("feature", "prediction", "score")
UNTOLD = Expect()
"""What is declared of most columns: nothing."""
Severity = Literal["fault", "warning", "acknowledged"]
SEVERITIES: tuple[Severity, ...] = ("fault", "warning", "acknowledged")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a window: ``column`` is '' where it is the whole window."""

    check: str
    column: str
    severity: Severity
    message: str
    value: float | None = None
    limit: float | None = None


class Expected(Protocol):
    """What faults are found against; a baseline is one."""

    @property
    def bins(self) -> Bins: ...
    @property
    def reference(self) -> Profile: ...
    @property
    def norms(self) -> Norms: ...


def find(profile: Profile, baseline: Expected, *, broken: Sequence[tuple[str, str]] = (),
         roles: Collection[Role] = INPUTS, expect: Mapping[str, Expect] | None = None
         ) -> list[Fault]:
    """What is wrong with the window, faults first.

    ``broken`` are (column, message) pairs of missing, renamed or retyped columns, as the source
    tells them; ``roles`` says which columns are looked at (labels may be late, never by default);
    ``expect`` holds what was declared of inputs and answers, whatever their role.
    """
    found = [Fault("schema", column, "fault", message) for column, message in broken]
    if profile.n <= 0:
        typical = baseline.norms.volume[1]
        found.append(Fault("empty", "", "fault", "the window holds no rows; reference windows "
                           f"hold {typical:.0f}", 0.0, None))
        return found
    found += _window(profile, baseline.norms)
    lost, declared = {column for column, _ in broken}, expect or {}
    doubtful = set(suspects(profile.counts, baseline.reference.counts, baseline.bins, rise=JUMP))
    for key, part in baseline.bins.slices.items():
        feature = baseline.bins.by_key[key]
        if feature.name in lost or feature.role not in {*roles, *_answers(feature, declared)}:
            continue
        told = declared.get(feature.name, UNTOLD)
        breached = [] if told is UNTOLD else breaches(feature, profile.counts[part], told)
        found += [Fault(item.check, feature.name, "fault", item.message, item.value, item.limit)
                  for item in breached]
        if feature.role in roles and key in doubtful:
            found += _column(feature, profile.counts[part], baseline, told)
    return list(ordered(found))


def ordered(found: Iterable[Fault]) -> tuple[Fault, ...]:
    """Faults first, then warnings; otherwise as they come."""
    return tuple(sorted(found, key=lambda item: SEVERITIES.index(item.severity)))


def _answers(feature: FeatureBins, declared: Mapping[str, Expect]) -> tuple[Role, ...]:
    """The role of an answer of which something is declared."""
    return (feature.role,) if feature.role != "label" and feature.name in declared else ()


def _window(profile: Profile, norms: Norms) -> Iterator[Fault]:
    low, typical, high = norms.volume
    if not low <= profile.n <= high:
        gone = profile.n < VANISHED * typical and low > 10 * VANISHED * typical
        yield Fault("volume", "", "fault" if gone else "warning",
                    f"{profile.n} rows, reference windows hold {typical:.0f} ({low:.0f} to "
                    f"{high:.0f} is unremarkable)",
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


def _column(feature: FeatureBins, counts: Counts, baseline: Expected, told: Expect
            ) -> Iterator[Fault]:
    """What the reference says is wrong; what was declared takes its place."""
    rows, norms = int(counts.sum()), baseline.norms
    reference = baseline.reference.counts[baseline.bins.slices[key_of(feature)]]
    if rows == 0:
        return
    if counts[0] == rows and told.nulls != 1:
        yield Fault("all_null", feature.name, "fault",
                    f"{feature.name}: all {rows} rows are null", 1.0,
                    norms.limit(key_of(feature), "null", rows))
        return
    yield from _cells(feature, counts, reference)
    if told.constant is None:
        yield from _constancy(feature, counts, reference, norms)
    for kind in kinds(feature):
        constant = not isinstance(feature, CategoryBins) and feature.cells == 0
        if (kind == "outside" and constant) or (kind == "null" and told.nulls is not None) or (
                kind == "unseen" and told.values is not None):
            continue
        yield from _rate(kind, feature, counts, reference, norms)


def _constancy(feature: FeatureBins, counts: Counts, reference: Counts, norms: Norms
               ) -> Iterator[Fault]:
    """A constant that moves, and a column that stands still as it never did."""
    cells = values_of(feature, counts)
    held = int(cells.sum())
    if not isinstance(feature, CategoryBins) and feature.cells == 0:
        moved = int(cells[:2].sum())
        if moved:
            yield Fault("constant", feature.name, "warning", f"{feature.name}: one value in the "
                        f"reference, {moved} of {held} rows hold another", moved / held, 0.0)
        return
    before = values_of(feature, reference)
    if not held or cells.max() < held or held <= norms.stuck.get(key_of(feature), 0) or (
            held < norms.volume[1] / 2) or not before.any():
        return
    if (before.max() / before.sum()) ** held < norms.level:
        yield Fault("constant", feature.name, "warning", f"{feature.name}: all {held} rows hold "
                    "(nearly) one value, as no reference window did", 1.0, None)


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
    count, rows = hits_of(kind, feature, counts)
    before, held = hits_of(kind, feature, reference)
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
