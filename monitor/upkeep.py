"""Upkeep: what the store no longer needs in full is merged, thinned or dropped, model by model.

When that may be follows from what the fold looks at again, never from the setting alone. All of it
is done in pieces of a fraction of a second, and picked up where it was left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from monitor.clearance import Spared, Tended
from monitor.config import Config, Model, Retention
from monitor.errors import ConflictError, HoldfastError
from monitor.fold import Epoch, epochs_of, judging, oldest
from monitor.merging import DAY, Kept, day_of, emptied, merged
from monitor.secrets import redact
from monitor.store import Store
from monitor.window import Window, parse_time

log = structlog.get_logger()

ROWS = 400
"""Rows that change in one transaction, more or less."""

Go = Callable[[], bool]


def always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Limits:
    """Up to when what is old may change; None: not at all."""

    merge: datetime | None
    empty: datetime | None
    thin: datetime | None
    drop: datetime | None


def due(config: Config, store: Store, now: datetime) -> list[Model]:
    """Models whose old rows were not seen to for ``retention.every``."""
    done, every = store.tended(), config.retention.every
    return [model for model in config.models
            if model.name not in done or done[model.name].at + every <= now]


def upkeep(models: Iterable[Model], config: Config, store: Store, now: datetime, *,
           go: Go = always) -> dict[str, Tended]:
    """See to these models while ``go`` says so; one's trouble is not another's."""
    found: dict[str, Tended] = {}
    for model in models:
        if not go():
            return found
        try:
            told = tend(model, config.retention, store, now, go=go)
        except ConflictError as error:
            log.info("conflict", model=model.name, reason=str(error))
            continue
        except Exception as error:  # law 4
            _failed(model, store, now, error)
            continue
        found[model.name] = told
    while go() and store.shorten():
        pass
    return found


def _failed(model: Model, store: Store, now: datetime, error: Exception) -> None:
    """Say why a model's old rows stay as they are, and keep it where the store can."""
    known = isinstance(error, HoldfastError)
    reason = redact(str(error) if known else f"{type(error).__name__}: {error}")
    log.error("upkeep failed", model=model.name, reason=reason)
    with suppress(HoldfastError):  # another one leads now, or the store is away
        store.not_tended(model.name, now, reason)


def by_hand(models: Sequence[Model], config: Config, store: Store, now: datetime, *,
            compact: bool) -> list[dict[str, Any]]:
    """See to these models at once, and tell what was done: a line each, and one of the store."""
    before = store.size()
    found = upkeep(models, config, store, now)
    lines: list[dict[str, Any]] = []
    failing = store.failing()
    for model in models:
        done, why = found.get(model.name), failing.get(model.name)
        words = f"not done: {why.reason if why else 'the log says why'}" if done is None else (
            f"{done.merged} rows of counts merged, {done.thinned} verdicts thinned, "
            f"{done.dropped} dropped")
        lines.append({"model": model.name, "fine": done is not None,
                      "words": f"{model.name}: {words}"})
    if compact:
        store.compact()
    while store.shorten(0.0):
        pass
    after = store.size()
    hint = "" if store.shortens() else (
        "; an older holdfast made the file, which does not shrink before --compact")
    return [*lines, {"store": after, "before": before, "fine": True,
                     "words": f"the store takes {after / 1e6:,.1f} MB, it took "
                              f"{before / 1e6:,.1f} MB before{hint}"}]


def tend(model: Model, rule: Retention, store: Store, now: datetime, *, go: Go = always) -> Tended:
    """Merge the model's old counts, thin and drop its old verdicts; how many rows that were."""
    epochs, folded_to = epochs_of(model, store), store.recorded(model.name).folded_to
    done = Tended(now)
    if epochs and folded_to is not None:
        limits = limits_of(model, rule, epochs, folded_to=folded_to, now=now)
        spared = spared_of(model.name, store)
        done = Tended(now, _counts(model, store, limits, epochs, go),
                      _thin(model.name, store, limits.thin, spared, go),
                      _drop(model.name, store, limits.drop, spared, go))
    if go():  # else it is due again at once
        store.tend(model.name, done)
    if done.merged or done.thinned or done.dropped:
        log.info("upkeep", model=model.name, merged=done.merged, thinned=done.thinned,
                 dropped=done.dropped)
    return done


def limits_of(model: Model, rule: Retention, epochs: Sequence[Epoch], *, folded_to: datetime,
              now: datetime) -> Limits:
    """What is older than the settings say, and is not looked at again."""
    calendar, training = model.calendar, model.training
    closing = calendar.closing(folded_to)
    needed = oldest(judging(epochs, model, folded_to), model, closing) - DAY
    learned = min(needed, closing.start - training.window - training.holdout
                  - model.maturity.delay - calendar.horizon)

    def until(keep: timedelta | None, least: datetime) -> datetime | None:
        return None if keep is None else min(now - keep, least)

    merge, empty = until(rule.merge_after, needed), until(rule.keep_counts, needed)
    return Limits(merge and day_of(merge, calendar), empty and day_of(empty, calendar),
                  until(rule.keep_statistics, folded_to), until(rule.keep_verdicts, learned))


def spared_of(model: str, store: Store) -> Spared:
    """The verdicts that pages and metrics tell of now: the newest, the last that was measured, and
    what opened an episode that lasts, with its peak."""
    champion = store.recorded(model).state.champion
    rows = [*store.verdicts(model, segment="", newest=1)]
    measured = store.measured(model, champion) if champion else None
    starts = {parse_time(row.line["start"]) for row in [*rows, *([measured] if measured else [])]}
    lasting = [item for item in store.episodes(model, 1) if item.closed is None]
    starts |= {item.peak_at for item in lasting if item.peak_at is not None}
    return Spared(frozenset(starts), frozenset(item.opened for item in lasting))


def _counts(model: Model, store: Store, limits: Limits, epochs: Sequence[Epoch], go: Go) -> int:
    """How many rows of counts were merged or emptied."""
    calendar, rows = model.calendar, 0
    cuts = sorted({calendar.pane_of(epoch.after) for epoch in epochs}
                  | {epoch.baseline.window_end for epoch in epochs
                     if epoch.baseline.window_end is not None})
    for key, to, bare in store.keys(model.name):
        work = _Work(model, store, key, go)
        rows += work.through("merged", to, limits.merge, lambda held: list(
            merged(held, calendar, cuts)))
        rows += work.through("emptied", bare, limits.empty, lambda held: list(emptied(held)))
    return rows


@dataclass(frozen=True, slots=True)
class _Work:
    """Counts of one baseline, a day after the other."""

    model: Model
    store: Store
    key: str
    go: Go

    def through(self, mark: str, since: datetime | None, until: datetime | None,
                change: Callable[[list[Kept]], Sequence[tuple[list[Kept], Kept | None]]]) -> int:
        """Change the days from ``since`` to ``until``; how many rows were replaced."""
        if until is None:
            return 0
        name, calendar, changed = self.model.name, self.model.calendar, 0
        step = max(DAY, calendar.pane)
        old: list[Kept] = []
        new: list[Kept] = []
        end = None
        first = self.store.oldest_pane(name, self.key, since)
        while first is not None and (day := day_of(first, calendar)) < until and self.go():
            end = day + step
            for gone, sum_ in change(self.store.held(name, self.key, Window(day, end))):
                old += gone
                new += [sum_] if sum_ is not None else []
            if len(old) >= ROWS:
                changed += self._exchange(old, new, (mark, end))
                old, new, end = [], [], None
            first = self.store.oldest_pane(name, self.key, day + step)
        return changed + (self._exchange(old, new, (mark, end)) if end is not None else 0)

    def _exchange(self, old: list[Kept], new: list[Kept], mark: tuple[str, datetime]) -> int:
        self.store.exchange(self.model.name, self.key, old, new, mark=mark)
        return len(old)


def _thin(model: str, store: Store, until: datetime | None, spared: Spared, go: Go) -> int:
    thinned = 0
    for ids in _batches(store.bulky(model, until, spared), ROWS // 2):
        if go():
            thinned += store.thin(model, ids, until, spared)
    return thinned


def _drop(model: str, store: Store, until: datetime | None, spared: Spared, go: Go) -> int:
    if until is None:
        return 0
    return sum(store.drop(model, ids) for ids in _batches(
        store.outlived(model, until, spared), ROWS) if go())


def _batches(ids: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
