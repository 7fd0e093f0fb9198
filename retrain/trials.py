"""Trials: the study of a search, whose trials survive a kill and are told to Optuna one by one.

Optuna's tree-structured Parzen estimator proposes (Ozaki et al. 2020 for several objectives); the
first trials are those that the trainer names. A trial is first fitted to the newest third of the
rows, and ends there when it does clearly worse on them than the default does. The study lies in the
work folder, so that a killed search goes on.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from monitor.errors import HoldfastError
from retrain.evaluate import latency, session
from retrain.front import Tried
from retrain.quest import Quest, Spending
from retrain.trainer import Fitted, Options, Split

BEGINNING = 1 / 3
"""Share of the training rows, the newest, that a trial is fitted to first."""

HOPELESS = 1.15
"""A trial ends after that when its loss is this many times the default's on the same rows."""

DEFAULT, BEGUN = "default", "beginning"
"""Names of the defaults that teach: of all training rows, and of that share of them."""

MEASURED_ROWS, SECONDS, SURELY = 256, 0.06, 0.3
"""Validation rows that latency is measured on, and CPU seconds of each measurement: while trials
are proposed by it, and once there is one to be chosen."""

BROKEN = (HoldfastError, MemoryError, RuntimeError, ValueError)
"""What ends one trial and not the search: options that cannot be, or that take more memory than
there is, a GPU's (a ``RuntimeError`` of torch) too."""

PLACE = "place"
"""Attribute of a trial: how many that count came before it, whatever kills there were. Folders go
by Optuna's own number: a worker that outlived a kill may still write to its one."""


def tried(quest: Quest, spending: Spending, artifact: Path, *, loss: float,
          said: Callable[[str], None]) -> tuple[Tried, tuple[Tried, ...]]:
    """The default, of this artifact and loss, and the trials, until the budget is spent."""
    start = str(artifact), _beginning_loss(quest)
    forget_unfinished(study_of(quest))
    helpers = _helpers(quest, spending, start)
    _work(quest, spending, start, said=said)
    for process in helpers:
        process.join()
    seconds = latency({"default": session(artifact)}, _rows(quest), batches=(1,), seconds=SURELY)
    default = Tried(-1, "default", {}, loss, seconds["default"][1], artifact.stat().st_size)
    told = [_told(item, default) for item in study_of(quest).get_trials(deepcopy=False)
            if item.state.is_finished() and _counts(item)]
    return default, tuple(_measured(quest, item, default, artifact) for item in told)


def options_of(quest: Quest, params: Mapping[str, Any]) -> Options:
    """The options that these parameters of a trial stand for."""
    import optuna

    with _quiet():
        return quest.trainer.varied(optuna.trial.FixedTrial(dict(params)), quest.options)


def _beginning_loss(quest: Quest) -> float:
    """The default's loss where it is fitted to the newest rows alone."""
    return quest.defaults(_beginning(quest.data), BEGUN)[0].loss


def _beginning(data: Split) -> Split:
    rows = data.train.tail(max(1, int(len(data.train) * BEGINNING))).reset_index(drop=True)
    return Split(rows, data.validation, data.holdout)


def study_of(quest: Quest) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    optuna.logging.disable_default_handler()  # its lines are the process's to format
    optuna.logging.enable_propagation()
    with _quiet():
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{quest.folder / 'study.db'}", engine_kwargs={"connect_args": {
                "timeout": 60}})
        return optuna.create_study(study_name="search", storage=storage, load_if_exists=True,
                                   directions=["minimize"] * 3)


def forget_unfinished(study: Any) -> None:
    """Trials that a kill left open are closed; new ones take their place and seed."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)


def _helpers(quest: Quest, spending: Spending, start: tuple[str, float]) -> list[Any]:
    """The other worker processes, at work; they end when this process does."""
    context = multiprocessing.get_context("spawn")
    made = [context.Process(target=_work, args=(quest, spending, start),
                            kwargs={"parent": os.getpid()}, daemon=True)
            for _ in range(spending.workers - 1)]
    for process in made:
        process.start()
    return made


def _work(quest: Quest, spending: Spending, start: tuple[str, float], *,
          parent: int | None = None, said: Callable[[str], None] | None = None) -> None:
    """Trials, one after the other, until the budget is spent or the parent is gone."""
    study = study_of(quest)
    while parent is None or os.getppid() == parent:
        trials = study.get_trials(deepcopy=False)
        counted = [item for item in trials if _counts(item)]
        took = sum((item.datetime_complete - item.datetime_start).total_seconds()
                   for item in counted if item.datetime_complete and item.datetime_start)
        if len(counted) >= spending.trials or took > spending.minutes * 60 * spending.workers:
            return
        with _quiet():
            _one(quest, study, start, said=said)


def _counts(trial: Any) -> bool:
    """Whether a trial is one of those that were asked for: all but those that a kill ended."""
    return trial.state.name != "FAIL" or "problem" in trial.user_attrs


def _one(quest: Quest, study: Any, start: tuple[str, float], *,
         said: Callable[[str], None] | None) -> None:
    """One trial from the proposal to its result."""
    import optuna

    trial = study.ask()
    place = sum(_counts(item) for item in study.get_trials(deepcopy=False)[:trial.number])
    study.sampler = _sampler(quest, place)
    trial.set_user_attr(PLACE, place)
    try:
        reason = _fit(quest, trial, start)
    except BROKEN as error:
        known = isinstance(error, HoldfastError)
        trial.set_user_attr("problem", str(error) if known else f"{type(error).__name__}: {error}")
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return
    if isinstance(reason, str):
        trial.set_user_attr("reason", reason)
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(trial, reason)
    if said is not None and place % 10 == 9:
        said(f"{place + 1} trials")


def _sampler(quest: Quest, place: int) -> Any:
    """What proposes the trial at this place: its own seed, so that a kill changes nothing."""
    import optuna

    sampler = optuna.samplers.TPESampler(seed=quest.options.seed * 10_007 + place)
    first = _firsts(quest)
    if place >= len(first):
        return sampler
    return optuna.samplers.PartialFixedSampler(dict(first[place]), sampler)


def _firsts(quest: Quest) -> Sequence[Mapping[str, Any]]:
    """What the trainer wants tried first; one of somebody's own need not say."""
    named = getattr(quest.trainer, "firsts", None)
    return named(quest.options) if named is not None else ()


def _fit(quest: Quest, trial: Any, start: tuple[str, float]) -> tuple[float, ...] | str:
    """Loss, latency in units of the default's, and size; or why the trial ended early."""
    options = quest.trainer.varied(trial, quest.options)
    place = quest.folder / f"trial-{trial.number}"
    first = quest.fitted(_beginning(quest.data), options, teachers=BEGUN,
                         folder=place / "beginning")
    if not first.loss <= HOPELESS * start[1]:  # as of one that is no number
        return f"loss {first.loss:.4f} on a third of the rows, the default's is {start[1]:.4f}"
    fitted = whole(quest, options, place)
    if not math.isfinite(fitted.loss):  # Optuna would take the trial for one that a kill ended
        return f"loss {fitted.loss} on all rows"
    place.mkdir(parents=True, exist_ok=True)
    artifact = quest.trainer.export(fitted, quest.contract, place / "model.onnx")
    size = artifact.stat().st_size
    batches = tuple(sorted({1, *quest.max_latency}))
    taken = latency({"default": session(Path(start[0])), "it": session(artifact)}, _rows(quest),
                    batches=batches, seconds=SECONDS)
    trial.set_constraint("size", float(size - quest.max_size) if quest.max_size else 0.0)
    for batch, most in quest.max_latency.items():
        trial.set_constraint(f"latency-{batch}", taken["it"][batch] * 1000 - most)
    trial.set_user_attr("fits", (quest.max_size is None or size <= quest.max_size) and all(
        taken["it"][batch] * 1000 <= most for batch, most in quest.max_latency.items()))
    trial.set_user_attr("size", size)
    return fitted.loss, taken["it"][1] / taken["default"][1], float(size)


def whole(quest: Quest, options: Options, place: Path) -> Fitted:
    """The model of a trial in this folder, on all training rows; a second time from its
    checkpoints."""
    return quest.fitted(quest.data, options, teachers=DEFAULT, folder=place / "whole")


def _rows(quest: Quest) -> Any:
    return quest.data.validation.tail(MEASURED_ROWS)


def _measured(quest: Quest, item: Tried, default: Tried, artifact: Path) -> Tried:
    """The trial with its latency measured once more, beside the default's and for longer: by a
    hundredth of it trials are taken and left."""
    if item.latency is None or default.latency is None:
        return item
    taken = latency({"default": session(artifact),
                     "it": session(quest.folder / item.folder / "model.onnx")}, _rows(quest),
                    batches=(1,), seconds=SURELY)
    return replace(item, latency=default.latency * taken["it"][1] / taken["default"][1])


def _told(trial: Any, default: Tried) -> Tried:
    values = trial.values if trial.state.name == "COMPLETE" else None
    attributes = trial.user_attrs
    number = int(attributes.get(PLACE, trial.number))
    reason = str(attributes.get("reason") or attributes.get("problem") or "")
    if values is None:
        return Tried(number, trial.state.name.lower(), trial.params, reason=reason)
    assert default.latency is not None
    return Tried(number, "complete", trial.params, values[0], values[1] * default.latency,
                 int(values[2]), bool(attributes.get("fits", True)),
                 folder=f"trial-{trial.number}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna warns of what is experimental in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
