"""Increments: the counts of what became known at each checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from monitor.bins import Bins, key_of
from monitor.counting import Count, Counting
from monitor.engine import Row
from monitor.labelled import Labelled
from monitor.outcomes import Outcomes
from monitor.profile import Profile
from monitor.relation import FAR, Need, from_micros, to_micros
from monitor.repeated import repeats
from monitor.rows import LABELS, Shape, filled, kept
from monitor.tables import Read, Tables
from monitor.window import EPOCH, Window

Key = tuple[int, int, str, str]
"""(pane, known at, version, segment), times in microseconds."""

PLANS = 512
"""Models whose SQL is kept: making it takes longer than asking it."""
_PLANS: dict[tuple[object, ...], tuple[Counting, Labelled]] = {}


@dataclass(frozen=True, slots=True)
class Increment:
    """What became known of a pane at one checkpoint, of one version and segment."""

    pane: datetime
    known_at: datetime
    version: str
    segment: str
    profile: Profile
    outcomes: Outcomes


class Known(Protocol):
    """An increment, whether its counts are at hand or still packed."""

    @property
    def pane(self) -> datetime: ...
    @property
    def known_at(self) -> datetime: ...
    @property
    def version(self) -> str: ...
    @property
    def segment(self) -> str: ...
    @property
    def profile(self) -> Profile: ...
    @property
    def outcomes(self) -> Outcomes: ...


def plans(shape: Shape, bins: Bins) -> tuple[Counting, Labelled]:
    """The compiled SQL for this shape and these bins; kept for the next call."""
    key = (shape.model.model_dump_json(), shape.roles, shape.dialect, shape.log, shape.labels,
           shape.features, shape.zone, bins)
    return kept(_PLANS, key, lambda: (Counting(shape, bins), Labelled(shape, bins)), most=PLANS)


class Increments:
    """One call of ``Source.count``."""

    def __init__(self, tables: Tables, bins: Bins, span: Window, *, since: datetime | None,
                 until: datetime) -> None:
        calendar = tables.model.calendar
        panes = Window(calendar.pane_of(span.start),
                       max(calendar.panes(span), default=calendar.pane_of(span.start))
                       + calendar.pane)
        self.tables, self.bins, self.span = tables, bins, panes
        self.lateness = to_micros(EPOCH + calendar.lateness)
        self.pane = to_micros(EPOCH + calendar.pane)
        self.origin = to_micros(calendar.origin)
        self.reach = to_micros(EPOCH + calendar.reach)
        self.delay = to_micros(EPOCH + tables.model.maturity.delay)
        self.until = to_micros(calendar.last_checkpoint(until))
        self.since = -FAR if since is None else to_micros(calendar.last_checkpoint(since))
        self.start, self.end = to_micros(panes.start), to_micros(panes.end)
        self.bounds = {"start": self.start, "end": self.end, "since": self.since,
                       "until": self.until}
        self.found: dict[Key, tuple[Profile, Outcomes]] = {}

    def all(self) -> list[Increment]:
        """The increments, oldest checkpoint first."""
        last = min(self.end, self.until - self.lateness)
        if last <= self.start or self.until <= self.since:
            return []
        fresh = self._rows(last)
        if self.tables.roles.label or self.tables.labels is not None:
            self._outcomes(last, fresh)
        answer = [Increment(from_micros(pane), from_micros(known), version, segment, *both)
                  for (pane, known, version, segment), both in self.found.items()
                  if both[0] or both[1]]
        return sorted(answer, key=lambda item: (item.known_at, item.pane, item.version,
                                                item.segment))

    def _rows(self, last: int) -> bool:
        """Count the rows that became known; whether there were any."""
        event = -FAR if self.since == -FAR else self.since - self.lateness
        need = Need(self.start, last, self.until, event, self.since)
        read = self.tables.read(need, self.span)
        if read is None:
            return False
        counting, _ = plans(read.shape, self.bins)
        tallies = Count(counting, self.tables.engine, read.relations, self.bounds,
                        read.rows, self._only_pane(read)).run()
        for group, tally in tallies.items():
            self._add(self._key(read.shape.keys, group),
                      Profile(tally.n, tally.counts, 0, tally.future), Outcomes())
        if tallies and read.shape.roles.id:
            self._repeats({key[0] for key in self.found})
        return bool(tallies)

    def _only_pane(self, read: Read) -> int | None:
        """The pane that holds every row that is read, all of them due; None if there is none."""
        if read.extent is None:
            return None
        first, last = (edge - (edge - self.origin) % self.pane for edge in read.extent)
        closes = first + self.pane + self.lateness
        return first if first == last and self.since < closes <= self.until else None

    def _repeats(self, panes: set[int]) -> None:
        """Tally the rows that repeat an id of their pane, whenever the first one was known."""
        need = Need(min(panes), max(panes) + self.pane, self.until)
        read = self.tables.read(need, self.span)
        if read is None:
            return
        bounds = {**self.bounds, "start": need.start, "end": need.end}
        for *group, n in repeats(self.tables.engine, read, bounds):
            zeros = np.zeros(self.bins.size, dtype=np.int64)
            self._add(self._key(read.shape.keys, group), Profile(0, zeros, int(n)), Outcomes())

    def _outcomes(self, last: int, fresh: bool) -> None:
        """Count the outcomes that became known."""
        read = self._labelled(last, fresh)
        if read is None:
            return
        _, labelled = plans(read.shape, self.bins)
        rows = self._fetch(read, labelled.sql("outcomes", labelled.outcomes))
        zeros = np.zeros(self.bins.size, dtype=np.int64)
        for known, outcomes in labelled.gather(rows).items():
            counts = zeros.copy()
            for name, cells in labelled.label_counts(outcomes).items():
                part = counts[self.bins.slices[name]]
                for cell, n in cells:
                    part[cell] += n
            self._add(self._key(labelled.keys, known), Profile(0, counts), outcomes)
        for item in labelled.label_numbers:
            start = self.bins.slices[key_of(item)].start
            for *group, cell, n in self._fetch(
                    read, labelled.sql("label_cells", labelled.label_cells)):
                counts = zeros.copy()
                counts[start + cell] = n
                self._add(self._key(labelled.keys, group), Profile(0, counts), Outcomes())

    def _labelled(self, last: int, fresh: bool) -> Read | None:
        """What to read for outcomes; None when no label can have become known."""
        if self.tables.labels is not None and self._timed():
            if not fresh and not self._new_labels():
                return None
            oldest = self.start if self.since == -FAR else max(self.start, self.since - self.reach)
            read = self.tables.read(Need(oldest, last, self.until), self.span,
                                    labels=Need(end=self.until))
            return read if read and LABELS in read.relations else None
        event = min(self.since - self.lateness, self.since - self.delay)
        need = Need(self.start, min(last, self.until - self.delay), self.until,
                    max(event, -FAR), self.since)
        if need.end <= need.start:
            return None
        labels = None if self.tables.labels is None else Need()
        read = self.tables.read(need, self.span, labels=labels)
        if read is None or (labels is not None and LABELS not in read.relations):
            return None
        return read

    def _timed(self) -> bool:
        labels = self.tables.model.log.labels
        return labels is not None and labels.timestamp is not None

    def _new_labels(self) -> bool:
        if self.since == -FAR:
            return True
        assert self.tables.labels is not None
        part = self.tables.labels.part(Need(start=self.since, end=self.until,
                                            near=(self.since - self.reach, self.until)))
        return part is not None and bool(self.tables.engine.fetch(
            f"SELECT 1 FROM {part.relation} AS fresh LIMIT 1"))  # noqa: S608

    def _fetch(self, read: Read, sql: str) -> list[Row]:
        return self.tables.engine.fetch(filled(sql, read.relations, self.bounds))

    def _key(self, names: tuple[str, ...], group: Iterable[object]) -> Key:
        told = dict(zip(names, group, strict=False))
        pane = int(str(told["pane"]))
        known = int(str(told.get("known", pane + self.pane + self.lateness)))
        version = str(told.get("version") or "")
        version = self.tables.model.log.version_map.get(version, version)
        return pane, known, version, str(told.get("segment") or "")

    def _add(self, key: Key, profile: Profile, outcomes: Outcomes) -> None:
        before = self.found.get(key)
        if before is not None:
            profile, outcomes = before[0] + profile, before[1] + outcomes
        self.found[key] = profile, outcomes


