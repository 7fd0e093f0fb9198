"""Fold: stored counts -> verdicts, checkpoint by checkpoint, into the model's state.

A checkpoint speaks about the window that closes at it, about earlier windows whose
rows changed, and about windows whose labels became mature or changed since. All of
it follows from the stored counts, never from when the tick happens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from monitor import decide, journal
from monitor.acknowledgement import (
    Acknowledgement,
    Spoken,
    about,
    gathering,
    in_force,
    renewal,
    touched,
)
from monitor.acknowledgement import news as said_news
from monitor.baseline import Baseline
from monitor.config import Model
from monitor.errors import ConflictError
from monitor.faults import find
from monitor.forecast import Proof, refute
from monitor.freshness import freshness
from monitor.groups import GroupGap, tell
from monitor.judge import INPUTS, Evidence, Verdict, judge
from monitor.ledger import Ledger
from monitor.outcomes import Outcomes, total
from monitor.performance import Performance
from monitor.profile import Profile
from monitor.reference import FIRST_WINDOWS
from monitor.refutation import Check
from monitor.scales import Asked, Scales
from monitor.source import Source
from monitor.state import NOTHING
from monitor.store import Store
from monitor.traces import span as traced
from monitor.window import EPOCH, Window, format_duration, isoformat

SEASON = timedelta(days=7)
"""Least event time that performance is pooled over."""
POOL = timedelta(days=28)
"""Most event time that performance is pooled over."""

News = Literal["inputs", "labels"]
BOTH: tuple[News, ...] = ("inputs", "labels")
Revisions = dict[tuple[str, str, datetime], int]
Told = tuple[tuple[GroupGap, ...], dict[str, tuple[Performance, ...]]]
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Epoch:
    """The stretch of checkpoints ``(after, until]`` in which one version was the champion."""

    version: str
    key: str
    baseline: Baseline
    after: datetime
    until: datetime | None

    def covers(self, checkpoint: datetime) -> bool:
        return self.after < checkpoint and (self.until is None or checkpoint <= self.until)

    def logged(self, model: Model) -> str:
        """How the counts name the version: a log without versions holds the champion's rows."""
        return self.version if model.log.model_version else ""


@dataclass(frozen=True, slots=True)
class Due:
    """A window that a checkpoint has something new to say about."""

    window: Window
    epoch: Epoch
    news: tuple[News, ...]


def epochs_of(model: Model, store: Store) -> list[Epoch]:
    """Every champion's stretch of checkpoints, oldest first, each with its baseline."""
    adoptions = store.adoptions(model.name)
    ends: list[datetime | None] = [adoption.at for adoption in adoptions[1:]]
    epochs = []
    for adoption, end in zip(adoptions, [*ends, None], strict=False):
        stored = adoption.version and store.baseline(model.name, adoption.version, adoption.key)
        if adoption.version and stored:
            baseline = Baseline.from_json(stored[1])
            epochs.append(Epoch(adoption.version, adoption.key, baseline, adoption.at, end))
    return epochs


def judging(epochs: Sequence[Epoch], model: Model, checkpoint: datetime) -> list[Epoch]:
    """The epochs of which something is judged at a checkpoint or later."""
    return [epoch for epoch in epochs
            if epoch.until is None or epoch.until + model.calendar.horizon >= checkpoint]


def oldest(live: Sequence[Epoch], model: Model, closing: Window) -> datetime:
    """The first pane that is looked at again once ``closing`` is the window that closes."""
    reach = max([POOL, *(epoch.baseline.reach for epoch in live)])
    return model.calendar.pane_of(closing.start - model.calendar.horizon - reach)


def fold(checkpoints: Sequence[datetime], epochs: Sequence[Epoch], model: Model, source: Source,
         store: Store) -> None:
    """Judge and fold what fell due at each checkpoint; one transaction per checkpoint."""
    calendar = model.calendar
    first, last = calendar.closing(checkpoints[0]), calendar.closing(checkpoints[-1])
    live = judging(epochs, model, checkpoints[0])
    span = Window(oldest(live, model, first), last.end)
    bench = Bench(model, store, {
        epoch.key: Ledger(calendar, epoch.baseline.bins,
                          store.packed(model.name, epoch.key, span, until=checkpoints[-1]))
        for epoch in live}, epochs[0].baseline, source, store.acknowledgements(model.name))
    recent = Window(first.start, last.end)
    broken = {epoch.key: source.schema_faults(epoch.baseline.bins, recent) for epoch in live}
    revisions: Revisions = store.revisions(model.name, span)
    with traced("judge", model=model.name, checkpoints=len(checkpoints)):
        _judge(checkpoints, live, bench, broken=broken, revisions=revisions)


def _judge(checkpoints: Sequence[datetime], live: Sequence[Epoch], bench: Bench, *,
           broken: dict[str, list[tuple[Window, str, str]]], revisions: Revisions) -> None:
    for checkpoint in checkpoints:
        verdicts = [verdict for item in bench.due(checkpoint, live) for verdict in bench.verdicts(
            item, checkpoint, broken[item.epoch.key], revisions)]
        advance(checkpoint, verdicts, bench.model, bench.store)


def advance(checkpoint: datetime, verdicts: Sequence[Verdict], model: Model, store: Store) -> None:
    """Fold one checkpoint's verdicts into the state, in one conditional transaction."""
    recorded = store.recorded(model.name)
    if recorded.folded_to is not None and recorded.folded_to >= checkpoint:
        raise ConflictError(f"{model.name}: another writer folded {isoformat(checkpoint)} already")
    state, lines = recorded.state, []
    for verdict in verdicts:
        decision = NOTHING
        if verdict.version == state.champion:
            state, decision = decide.step(state, verdict, model)
        lines.append((verdict, state.phase, state.episode, decision))
    store.advance(model.name, recorded.number, state, folded_to=checkpoint, verdicts=lines,
                  at=checkpoint, cause="verdicts")
    journal.folded(lines, recorded.state)


@dataclass(frozen=True, slots=True)
class Bench:
    """What one fold judges with: the model, its store, a ledger per baseline, the first one, and
    the log."""

    model: Model
    store: Store
    ledgers: dict[str, Ledger]
    first: Baseline
    source: Source
    said: list[Acknowledgement] = field(default_factory=list)
    asked: Asked = field(default_factory=dict)
    sound: dict[tuple[str, datetime, bytes], bool] = field(default_factory=dict)
    """Whether a window as counted is free of faults, by baseline, start and counts."""
    checks: dict[tuple[str, datetime], Check | None] = field(default_factory=dict)

    def due(self, checkpoint: datetime, epochs: Sequence[Epoch]) -> Iterator[Due]:
        """Windows with news at the checkpoint, in order of their end."""
        news: dict[Window, set[News]] = {}
        calendar = self.model.calendar
        closing = calendar.closing(checkpoint)
        for window, found in self._revised(checkpoint, epochs):
            if window.end < closing.end and checkpoint - window.end <= calendar.horizon:
                news.setdefault(window, set()).update(found)
        spoken = touched(said_news(self.said, checkpoint - calendar.pane, checkpoint), calendar,
                         Window(checkpoint - calendar.horizon, closing.end))
        for window in spoken:
            news.setdefault(window, set())
        news[closing] = {"inputs", "labels"}
        for window in sorted(news, key=lambda item: item.end):
            closed = window.end + calendar.lateness
            for epoch in epochs:
                if epoch.covers(closed):
                    kinds = tuple(kind for kind in BOTH if kind in news[window]
                                  and (kind == "inputs" or self.mature(window, epoch, checkpoint)))
                    if kinds or window in spoken:
                        yield Due(window, epoch, kinds)

    def _revised(self, checkpoint: datetime, epochs: Sequence[Epoch]
                 ) -> Iterator[tuple[Window, set[News]]]:
        calendar = self.model.calendar
        for key in {epoch.key for epoch in epochs}:
            ledger = self.ledgers[key]
            for pane in ledger.rows_changed(checkpoint):
                yield from ((window, set(BOTH)) for window in calendar.windows_of(pane))
            for pane in ledger.labels_changed(checkpoint):
                yield from ((window, set(BOTH[1:])) for window in calendar.windows_of(pane))
        if self.model.log.labelled:
            yield from self._overdue(checkpoint, epochs)

    def _overdue(self, checkpoint: datetime, epochs: Sequence[Epoch]
                 ) -> Iterator[tuple[Window, set[News]]]:
        """The window whose labels become mature at the checkpoint by waiting alone."""
        calendar, delay = self.model.calendar, self.model.maturity.delay
        end = calendar.pane_of(checkpoint - delay)
        window = Window(end - calendar.length, end)
        for epoch in epochs:
            if (epoch.covers(end + calendar.lateness) and end + delay > checkpoint - calendar.pane
                    and not self.mature(window, epoch, checkpoint - calendar.pane)):
                yield window, {"labels"}

    def mature(self, window: Window, epoch: Epoch, at: datetime) -> bool:
        """Whether the window's labels may be judged as known at ``at``."""
        if not self.model.log.labelled:
            return False
        if at >= window.end + self.model.maturity.delay:
            return True
        ratio = self.maturity(window, epoch, at, "")
        return ratio is not None and ratio >= self.model.maturity.ratio

    def maturity(self, window: Window, epoch: Epoch, at: datetime, segment: str) -> float | None:
        """Share of the version's rows that have a label; None without rows or labels."""
        ledger, logged = self.ledgers[epoch.key], epoch.logged(self.model)
        rows = ledger.outputs(window, at, logged, segment).n
        if not rows or not self.model.log.labelled:
            return None
        return ledger.outcomes(window, at, logged, segment).n / rows

    def pooled(self, window: Window, epoch: Epoch, at: datetime, segment: str
               ) -> tuple[Outcomes, timedelta]:
        """Outcomes of the newest matured panes up to the window's end, and how long they span.

        At least a season, and until ``performance.rows`` are held; at most ``POOL``. Nothing while
        the version has answered for less than a season: a few days say little about it.
        """
        rule = self.model.policy.performance
        ledger, logged = self.ledgers[epoch.key], epoch.logged(self.model)
        pooled: list[Outcomes] = []
        oldest, held, rows = window.end, timedelta(0), 0
        for pane in ledger.held(Window(window.end - POOL, window.end)):
            if rows >= rule.rows and held >= SEASON:
                break
            found = (ledger.outcomes(pane, at, logged, segment)
                     if self.mature(pane, epoch, at) else Outcomes())
            if found:
                pooled.append(found)
                oldest, held, rows = pane.start, held + pane.length, rows + found.n
        return (total(pooled) if held >= SEASON else Outcomes()), window.end - oldest

    def check(self, epoch: Epoch, at: datetime) -> Check | None:
        """Whether estimates hold by the newest labels that are mature at the checkpoint."""
        if epoch.baseline.estimator is None:
            return None
        if (epoch.key, at) not in self.checks:
            self.checks[epoch.key, at] = refute(self.proof(epoch, at), epoch.baseline, self.model)
        return self.checks[epoch.key, at]

    def proof(self, epoch: Epoch, at: datetime) -> Proof:
        """The newest mature panes at a checkpoint, wherever in the loaded past they lie.

        At least a season, and until ``performance.rows`` are held; at most ``POOL``.
        """
        calendar, ledger = self.model.calendar, self.ledgers[epoch.key]
        logged, missing = epoch.logged(self.model), self.model.policy.performance.rows
        end = calendar.closing(at).end
        oldest = end - calendar.horizon - POOL
        pooled: list[Window] = []
        found: list[Outcomes] = []
        for pane in ledger.held(Window(oldest, end)):
            if pane.end <= oldest or (missing <= 0 and len(pooled) * calendar.pane >= SEASON):
                break
            outcomes = ledger.outcomes(pane, at, logged)
            if outcomes and self.mature(pane, epoch, at):
                pooled.append(pane)
                found.append(outcomes)
                missing -= outcomes.n
                oldest = max(oldest, pooled[0].end - POOL)
        if len(pooled) * calendar.pane < SEASON:
            return Proof(Outcomes(), Profile.empty(epoch.baseline.bins), timedelta(0))
        answered = sum((ledger.outputs(pane, at, logged) for pane in pooled),
                       Profile.empty(epoch.baseline.bins))
        return Proof(total(found), answered, pooled[0].end - pooled[-1].start)

    def groups(self, due: Due, at: datetime) -> Told:
        """Gaps between the segments and each one's rates, over all matured panes of the pool."""
        epoch, window, pane = due.epoch, due.window, self.model.calendar.pane
        held = epoch.baseline.segments.held
        if "labels" not in due.news or not held or not self.mature(window, epoch, at):
            return (), {}
        ledger, logged = self.ledgers[epoch.key], epoch.logged(self.model)
        panes = self.matured(window, epoch, at)
        pooled = {segment: total(ledger.outcomes(item, at, logged, segment) for item in panes)
                  for segment in held}
        days = {block // DAY for part in pooled.values() for block in part.sums}
        if len(days) * DAY < SEASON.total_seconds():
            return (), {}
        return tell(pooled, self.model, block=max(pane, timedelta(days=1)),
                    span=format_duration(POOL))

    def matured(self, window: Window, epoch: Epoch, at: datetime) -> list[Window]:
        """Every matured pane with rows of the longest pool up to the window's end, newest first."""
        start = window.end - POOL
        return [pane for pane in self.ledgers[epoch.key].held(Window(start, window.end))
                if pane.start >= start and self.mature(pane, epoch, at)]

    def stream(self, due: Due, at: datetime) -> Outcomes:
        """All of the version's outcomes of the longest pool, for whoever looks for a change."""
        epoch, window = due.epoch, due.window
        if (self.model.policy.performance.error_drift == "off" or "labels" not in due.news
                or not self.mature(window, epoch, at)):
            return Outcomes()
        ledger, logged = self.ledgers[epoch.key], epoch.logged(self.model)
        return total(ledger.outcomes(item, at, logged)
                     for item in self.matured(window, epoch, at))

    def earlier(self, window: Window, epoch: Epoch, at: datetime, segment: str
                ) -> Iterator[tuple[datetime, Profile, Profile]]:
        """Windows before this one that its baseline asks for, without empty and faulty ones."""
        if segment:
            return
        ledger, length, baseline = self.ledgers[epoch.key], window.length, epoch.baseline
        first = baseline.window_end or EPOCH
        for steps in range(baseline.reach // length, 0, -1):
            start = window.start - steps * length
            if start < first or not baseline.wanted(window.start, start):
                continue
            before = Window(start, start + length)
            inputs = ledger.inputs(before, at)
            if inputs.n > 0 and self._sound(inputs, epoch, start):
                yield start, inputs, ledger.outputs(before, at, epoch.logged(self.model))

    def _sound(self, inputs: Profile, epoch: Epoch, start: datetime) -> bool:
        place = (epoch.key, start, inputs.counts.tobytes())
        if place not in self.sound:
            self.sound[place] = not any(fault.severity == "fault" for fault in find(
                inputs, epoch.baseline, roles=INPUTS))
        return self.sound[place]

    def verdicts(self, due: Due, checkpoint: datetime, broken: Sequence[tuple[Window, str, str]],
                 revisions: Revisions) -> Iterator[Verdict]:
        """The verdict on all rows of the window, then one per declared segment."""
        window, baseline = due.window, due.epoch.baseline
        known = {segment: self.evidence(due, checkpoint, segment, revisions)
                 for segment in ("", *self.segments(due, checkpoint))}
        gaps, rates = self.groups(due, checkpoint)
        parts = [judge(replace(item, rates=rates.get(segment, ())), baseline, self.model)
                 for segment, item in known.items() if segment]
        lost = tuple((column, message) for where, column, message in broken
                     if where.start < window.end and window.start < where.end)
        check = self.check(due.epoch, checkpoint)
        scales = Scales(self.source, self.ledgers[due.epoch.key], baseline, self.asked)
        units = scales.faults(window, checkpoint, inputs=known[""].inputs,
                              lost={column for column, _ in lost})
        yield judge(replace(known[""], groups=gaps, findings=tuple(parts), broken=lost,
                            units=units, check=check, stream=self.stream(due, checkpoint),
                            spoken=self.spoken(due, checkpoint), fresh=freshness(
                                self.model, baseline.norms, window,
                                self.ledgers[due.epoch.key].newest(checkpoint, window.end))),
                    baseline, self.model)
        yield from parts

    def spoken(self, due: Due, at: datetime) -> Spoken:
        """What people said of the window, of faults and of the reference, as known by then."""
        rows = in_force(self.said, at)
        anew = renewal(rows, due.epoch.baseline.window_end)
        return Spoken(about(due.window, rows),
                      tuple(row for row in rows if row.said == "expected"),
                      gathering(anew, due.window, self.model.calendar.length, FIRST_WINDOWS)
                      if anew is not None else "")

    def segments(self, due: Due, at: datetime) -> list[str]:
        """Segments that get a verdict: those with a reference, and new ones with enough rows."""
        rule, held = self.model.policy.segments, due.epoch.baseline.segments.held
        least = max(rule.min_rows, self.model.privacy.min_count)
        found = self.ledgers[due.epoch.key].segments(due.window, at)
        new = sorted((name for name, n in found.items() if name not in held and n >= least),
                     key=lambda name: (-found[name], name))
        return sorted([*(name for name in found if name in held), *new[:rule.most]])

    def evidence(self, due: Due, at: datetime, segment: str, revisions: Revisions) -> Evidence:
        """What is known of the window or of one segment of it."""
        ledger, epoch, window = self.ledgers[due.epoch.key], due.epoch, due.window
        place = (segment, epoch.version, window.start)
        revisions[place] = revisions.get(place, -1) + 1
        pooled, span = self.pooled(window, epoch, at, segment)
        return Evidence(
            window=window, segment=segment, revision=revisions[place], known_at=at, news=due.news,
            inputs=ledger.inputs(window, at, segment),
            outputs=ledger.outputs(window, at, epoch.logged(self.model), segment),
            outcomes=ledger.outcomes(window, at, epoch.logged(self.model), segment),
            mature=self.mature(window, epoch, at),
            maturity=self.maturity(window, epoch, at, segment),
            pooled=pooled, pooled_span=span, broken=(),
            labelled=self.store.labelled(self.model.name, epoch.key, until=at,
                                         since=epoch.baseline.window_end or EPOCH),
            first=self.first, earlier=tuple(self.earlier(window, epoch, at, segment)))
