"""Watching: one policy over the answers that were logged, without training anything.

Retrains that a policy asks for are written down and taken as refused, so that its cooldowns run.
What was counted for one policy is not counted again for the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from monitor import decide
from monitor.acknowledgement import Acknowledgement
from monitor.baseline import Baseline
from monitor.bins import Bins, ColumnSummary
from monitor.config import Limits, Loaded, Model
from monitor.course import course
from monitor.deps import Deps
from monitor.errors import HoldfastError
from monitor.fold import epochs_of
from monitor.follow import move
from monitor.policies import Variant
from monitor.reference import build, sealed
from monitor.registry import Registry
from monitor.replay import adoptions_of
from monitor.source import Increment, Source
from monitor.store import Adoption, Store
from monitor.trial import Progress, Trial, outcomes_of
from monitor.watch import count, watch
from monitor.window import Window

Answer = TypeVar("Answer")


class Remembering(Source):
    """A log that is asked everything once: what one policy counted, another need not."""

    def __init__(self, model: Model, limits: Limits, memory: dict[Any, Any], *,
                 reference: bool = False) -> None:
        super().__init__(model, limits, reference=reference)
        self._memory = memory
        self._key = (model.log.model_dump_json(), model.privacy.model_dump_json(),
                     model.maturity.model_dump_json(), model.calendar, reference)

    def _once(self, key: tuple[Any, ...], ask: Callable[[], Answer]) -> Answer:
        place = (self._key, *key)
        if place not in self._memory:
            self._memory[place] = ask()
        return cast(Answer, self._memory[place])

    def describe(self, span: Window | None, exclude: Sequence[Window] = (),
                 known_by: datetime | None = None) -> dict[str, ColumnSummary]:
        ask = partial(super().describe, span, exclude, known_by)
        return self._once(("describe", span, tuple(exclude), known_by), ask)

    def count(self, bins: Bins, span: Window, *, since: datetime | None, until: datetime
              ) -> list[Increment]:
        ask = partial(super().count, bins, span, since=since, until=until)
        return self._once(("count", bins.features, span, since, until), ask)

    def schema_faults(self, bins: Bins, span: Window) -> list[tuple[Window, str, str]]:
        ask = partial(super().schema_faults, bins, span)
        return self._once(("faults", bins.features, span), ask)


@dataclass(frozen=True, slots=True)
class Past:
    """Who was champion from when, each with its baseline; and the parts to watch with."""

    loaded: Loaded
    registry: Registry
    adoptions: tuple[Adoption, ...]
    baselines: Mapping[str, Baseline]
    memory: dict[Any, Any]
    span: Window
    said: tuple[Acknowledgement, ...]

    @property
    def first(self) -> Baseline:
        """What was promised in the beginning."""
        return next(iter(self.baselines.values()))


def past(model: Model, loaded: Loaded, folder: Path, span: Window) -> Past:
    """What all policies have in common; ``HoldfastError`` where nothing judges the span."""
    registry, memory = Registry(loaded.config.mlflow), dict[Any, Any]()
    if registry.champion(model.registered) is None and model.training.kind != "none":
        raise HoldfastError(f"{model.name}: {model.registered!r} has no alias `champion`, so there "
                            "is nothing to judge against; --act would train a first one")
    with Store.open(f"sqlite:///{folder}/past.db") as scratch, \
            Remembering(model, loaded.config.limits, memory) as source:
        deps = Deps(loaded.config, str(loaded.path), scratch, registry, None, None)
        found = adoptions_of(model, source, deps, span.start)
        stored = {item.key: scratch.baseline(model.name, item.version, item.key)
                  for item in found if item.version}
        said = tuple(scratch.acknowledgements(model.name))
    baselines = {key: Baseline.from_json(pair[1]) for key, pair in stored.items() if pair}
    if not baselines:
        raise HoldfastError(f"{model.name}: there was no champion in {span}")
    return Past(loaded, registry, tuple(found), baselines, memory, span, said)


def watched(variant: Variant, held: Past, folder: Path, progress: Progress) -> Trial:
    """Live through the span under one policy, on the logged answers."""
    model = variant.model.model_copy(update={  # decides as one that could train
        "training": variant.model.training.model_copy(update={"kind": "torch"})})
    span = held.span
    folder.mkdir()
    with Store.open(f"sqlite:///{folder}/watched.db") as store, \
            Remembering(model, held.loaded.config.limits, held.memory) as source:
        deps = Deps(held.loaded.config, str(held.loaded.path), store, held.registry, None, None)
        keys = {key: _kept(variant, model, baseline, source, deps, held.memory)
                for key, baseline in held.baselines.items()}
        for word in held.said:
            store.acknowledge(model.name, word)
        for item in held.adoptions:
            at = max(item.at, span.start)
            if at > span.end:
                break
            _on(model, source, store, at, progress=progress)
            store.adopt(model.name, item.version, at, key=keys.get(item.key, ""))
            move(model, store, at, f"adopted version {item.version}",
                 partial(decide.adopted, version=item.version, at=at, model=model))
        _on(model, source, store, span.end, progress=progress)
        told = course(store, model.name, model.metric)
        if variant.every:
            told = replace(told, asked=tuple((at, variant.words) for at in _times(variant, span)))
        days = outcomes_of(source, span)
        return Trial(told, days, {alarm.version: days for alarm in told.alarms})


def _kept(variant: Variant, model: Model, baseline: Baseline, source: Source, deps: Deps,
          memory: dict[Any, Any]) -> str:
    """The key of the baseline as this policy calibrates it, saved in its store."""
    if not variant.same:
        if model.reference.source is not None:
            with Remembering(model, deps.config.limits, memory, reference=True) as reference:
                made = build(model, reference, baseline.version, outcomes=baseline.performance)
        else:
            made = build(model, source, baseline.version, span=baseline.window,
                         outcomes=baseline.performance)
        if made is None:
            raise HoldfastError(f"{model.name}: the log does not hold a whole reference yet")
        baseline = replace(made, importance=baseline.importance)
    key = sealed(model, baseline)
    deps.store.save_baseline(model.name, baseline.version, key, baseline.to_json())
    return key


def _on(model: Model, source: Source, store: Store, until: datetime, *, progress: Progress
        ) -> None:
    """Watch checkpoint by checkpoint; a retrain that is asked for is taken as refused.

    A policy that asks for none watches all of them at once.
    """
    epochs = epochs_of(model, store)
    if not epochs:
        return
    last = model.calendar.last_checkpoint(until)
    for key in {epoch.key: None for epoch in epochs}:  # all at once, not day by day
        count([epoch for epoch in epochs if epoch.key == key], model, source, store, until=last)
    since = store.recorded(model.name).folded_to or epochs[0].after
    steps = model.calendar.checkpoints(since, last) if model.policy.retrain.on else [last]
    for checkpoint in steps:
        watch(model, source, store, checkpoint)
        pending = store.pending(model.name)
        progress(f"{checkpoint:%Y-%m-%d} {store.recorded(model.name).state.phase}")
        if pending is not None:
            store.settle(pending.id, "asked", "nothing is trained here")
            move(model, store, checkpoint, "nothing is trained here",
                 partial(decide.concluded, challenger=None, at=checkpoint, model=model))


def _times(variant: Variant, span: Window) -> list[datetime]:
    assert variant.every is not None
    found, at = [], span.start + variant.every
    while at < span.end:
        found.append(at)
        at += variant.every
    return found
