"""Scales: units of measure that changed. Counts raise the suspicion, the source confirms it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.baseline import Baseline
from monitor.bins import NumericBins
from monitor.faults import Fault
from monitor.ledger import Ledger
from monitor.profile import Counts, Profile
from monitor.source import Source
from monitor.units import Suspect, abrupt, suspects, unit_fault
from monitor.window import Window

Asked = dict[tuple[str, Window, bytes], tuple[Fault, ...]]
"""What was found already, by baseline, window and its counts: labels revise a window often."""
BACK = timedelta(days=28)
"""How far back the last window of the usual kind is looked for."""
MOST = 20
"""Columns of a window that the source is asked about."""


@dataclass(frozen=True, slots=True)
class Scales:
    """What units are judged by: the log, its counts under one baseline, and that baseline.

    ``asked`` remembers what was found, for revisions that bring labels only.
    """

    source: Source
    ledger: Ledger
    baseline: Baseline
    asked: Asked

    def faults(self, window: Window, at: datetime, *, inputs: Profile, lost: Collection[str] = ()
               ) -> tuple[Fault, ...]:
        """Columns of the window that came in another unit, as known at ``at``."""
        place = self.baseline.key, window, inputs.counts.tobytes()
        if place not in self.asked:
            self.asked[place] = self._found(window, at, inputs, lost)
        return self.asked[place]

    def _found(self, window: Window, at: datetime, inputs: Profile, lost: Collection[str]
               ) -> tuple[Fault, ...]:
        asked = [item for item in suspects(inputs, self.baseline)
                 if item.key not in lost]
        candidates = {}
        for item in asked[:MOST]:
            usual, between = self._before(item, window, at)
            feature, counts = self._part(item, inputs)
            if item.partial or abrupt(feature, counts, between):
                candidates[item] = usual
        if not candidates:
            return ()
        told = self.source.quantiles(list(candidates), window, known_by=at)
        found: dict[str, Fault] = {}
        for item, bases in candidates.items():
            n, quantiles = told.get(item, (0, ()))
            feature, _ = self._part(item, inputs)
            fault = unit_fault(item, feature, quantiles, n, bases=bases) if quantiles else None
            if fault is not None:
                found.setdefault(item.key, fault)
        return tuple(found.values())

    def _part(self, item: Suspect, profile: Profile) -> tuple[NumericBins, Counts]:
        bins = self.baseline.bins
        feature = bins.by_key[item.key]
        assert isinstance(feature, NumericBins)
        return feature, profile.counts[bins.slices[item.key]]

    def _before(self, item: Suspect, window: Window, at: datetime
                ) -> tuple[list[Counts], list[Counts]]:
        """The reference and the newest earlier window without suspicion; those in between."""
        bases, between = [self._part(item, self.baseline.reference)[1]], list[Counts]()
        start = window.start - window.length
        while start >= window.start - BACK - window.length:
            profile = self.ledger.inputs(Window(start, start + window.length), at)
            counts = self._part(item, profile)[1]
            if profile.n:
                if not any(one.partial == item.partial for one in suspects(
                        profile, self.baseline, only=item.key)):
                    return [*bases, counts], between
                between.append(counts)
            start -= window.length
        return bases, between
