"""Search: hyperparameters and architecture by one study over quality, latency and size.

Optuna's tree-structured Parzen estimator proposes (Ozaki et al. 2020 for several objectives). A
trial is first fitted to the newest third of the rows, and ends there when it does clearly worse on
them than the default does. What is chosen on validation has to be no worse than the default on
earlier stretches too, each time fitted to the rows before: of many trials one always suits one
stretch. The study lies in the work folder, so that a killed search goes on.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import statistics
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from monitor.errors import HoldfastError
from monitor.performance import RELATIVE
from retrain.checkpoints import Checkpoints
from retrain.contract import Contract
from retrain.evaluate import Paired, Scores, answer, compare, latency, score, session
from retrain.front import Tried, cheaper, front, picture
from retrain.record import Record
from retrain.trainer import Fitted, Options, Split, Trainer

BEGINNING = 1 / 3
"""Share of the training rows, the newest, that a trial is fitted to first."""

HOPELESS = 1.15
"""A trial ends after that when its loss is this many times the default's on the same rows."""

MEASURED_ROWS, SECONDS = 256, 0.06
"""Validation rows that latency is measured on, and CPU seconds of each measurement."""

TOLERANCE = 0.005
"""How much worse than the default the upper end of a choice's interval may be, in the metric (for
mae, rmse and mape: as a share)."""

BETTER = 20.0
"""What a hundredth of quality is worth: as much as being smaller or faster by a fifth."""

FINALISTS = 5
"""Trials that are fitted to earlier rows too, until one has proved itself there."""

FOLDS = ((0.4, 0.6), (0.6, 0.8), (0.8, 1.0))
"""Shares of the training rows: fitted up to the first, judged on what follows up to the second."""

PLACE = "place"
"""Attribute of a trial: how many that count came before it, whatever kills there were. Folders go
by Optuna's own number: a worker that outlived a kill may still write to its one."""

LEVEL = 0.5
"""Level of that interval: of many trials the best looks better than it is."""


@dataclass(frozen=True, slots=True)
class Quest:
    """What is searched: a trainer's options on these rows, for this contract and metric.

    ``max_latency`` is {rows per call: milliseconds}, ``max_size`` bytes.
    """

    trainer: Trainer
    options: Options
    contract: Contract
    data: Split
    metric: str
    folder: Path
    max_size: int | None = None
    max_latency: Mapping[Literal[1, 256], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spending:
    """How much may be searched: finished trials, minutes of searching, processes at a time."""

    trials: int = 40
    minutes: float = 20.0
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Found:
    """What the search chose: the default again (``number`` None) or a trial, and why."""

    number: int | None
    fitted: Fitted
    options: Options
    artifact: Path
    scores: Scores
    default: Tried
    tried: tuple[Tried, ...]
    reason: str


def search(quest: Quest, spending: Spending, *, default: Fitted | None = None,
           said: Callable[[str], None] = lambda _: None) -> Found:
    """The best of the trials that is no worse than the default and cheaper, or better at no cost.

    ``default`` is the model of ``quest.options`` where it is fitted already. Trials that were
    finished before a kill count.
    """
    quest.folder.mkdir(parents=True, exist_ok=True)
    fitted = default or quest.trainer.fresh(quest.data, quest.options, checkpoints=Checkpoints(
        quest.folder / "default"))
    artifact = quest.trainer.export(fitted, quest.contract, quest.folder / "default.onnx")
    start = _start(quest, artifact)
    study = _study(quest)
    _forget_unfinished(study)
    helpers = _helpers(quest, spending, start)
    _work(quest, spending, start, said=said)
    for process in helpers:
        process.join()
    seconds = latency({"default": session(artifact)}, _rows(quest), batches=(1,), seconds=SECONDS)
    told = Tried(-1, "default", {}, fitted.loss, seconds["default"][1], artifact.stat().st_size)
    tried = tuple(_tried(item, told) for item in study.get_trials(deepcopy=False)
                  if item.state.is_finished() and _counts(item))
    return _chosen(quest, tried, told, fitted=fitted, artifact=artifact)


def recorded(record: Record, found: Found, folder: Path) -> None:
    """Each trial as a nested run, and the picture of the front as an artifact."""
    for item in found.tried:
        costs = {"loss": item.loss, "latency_batch_1_seconds": item.latency,
                 "size_bytes": item.size, "feasible": float(item.feasible)}
        record.trial(f"trial-{item.number}", dict(item.params) | {"state": item.state,
                                                            "reason": item.reason},
                     {key: float(value) for key, value in costs.items() if value is not None})
    record.file(picture(found.tried, found.default, found.number, folder / "front.png"),
                "search/front.png")
    record.json("search/trials.json", [asdict(item) for item in found.tried])


def _start(quest: Quest, artifact: Path) -> tuple[str, float]:
    """The default's artifact, and its loss where it is fitted to the newest rows alone."""
    small = quest.trainer.fresh(_beginning(quest.data), quest.options, checkpoints=Checkpoints(
        quest.folder / "default-beginning"))
    return str(artifact), small.loss


def _beginning(data: Split) -> Split:
    rows = data.train.tail(max(1, int(len(data.train) * BEGINNING))).reset_index(drop=True)
    return Split(rows, data.validation, data.holdout)


def _study(quest: Quest) -> Any:
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


def _forget_unfinished(study: Any) -> None:
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
    study = _study(quest)
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
    study.sampler = optuna.samplers.TPESampler(seed=quest.options.seed * 10_007 + place)
    trial.set_user_attr(PLACE, place)
    try:
        reason = _fit(quest, trial, start)
    except HoldfastError as error:
        trial.set_user_attr("problem", str(error))
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return
    if isinstance(reason, str):
        trial.set_user_attr("reason", reason)
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(trial, reason)
    if said is not None and place % 10 == 9:
        said(f"{place + 1} trials")


def _fit(quest: Quest, trial: Any, start: tuple[str, float]) -> tuple[float, ...] | str:
    """Loss, latency in units of the default's, and size; or why the trial ended early."""
    options = quest.trainer.varied(trial, quest.options)
    place = quest.folder / f"trial-{trial.number}"
    first = quest.trainer.fresh(_beginning(quest.data), options,
                                checkpoints=Checkpoints(place / "beginning"))
    if first.loss > HOPELESS * start[1]:
        return f"loss {first.loss:.4f} on a third of the rows, the default's is {start[1]:.4f}"
    fitted = quest.trainer.fresh(quest.data, options, checkpoints=Checkpoints(place / "whole"))
    place.mkdir(parents=True, exist_ok=True)
    artifact = quest.trainer.export(fitted, quest.contract, place / "model.onnx")
    quest.trainer.save(fitted, place / quest.trainer.file)
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


def _rows(quest: Quest) -> Any:
    return quest.data.validation.tail(MEASURED_ROWS)


def _tried(trial: Any, default: Tried) -> Tried:
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


def _chosen(quest: Quest, tried: tuple[Tried, ...], default: Tried, *, fitted: Fitted,
            artifact: Path) -> Found:
    """The default, or the trial of the front that is worth most and proves itself earlier too."""
    standing = _scored(quest, "default", artifact)
    unit = _unit(standing, quest.metric)
    promising: list[tuple[float, Tried, Scores, Paired]] = []
    for item in front(tried):
        scores = _scored(quest, f"trial {item.number}", _place(quest, item) / "model.onnx")
        against = compare(scores, standing, quest.metric, level=LEVEL)
        worth = _worth(item, default, against, unit)
        if worth > 0:
            promising.append((worth, item, scores, against))
    promising.sort(key=lambda entry: -entry[0])
    before = _earlier(quest, quest.options, "default") if promising else []
    for _, item, scores, against in promising[:FINALISTS]:
        later = _earlier(quest, options_of(quest, item), f"trial-{item.number}")
        gaps = [against.difference / unit, *(
            compare(one, other, quest.metric).difference / _unit(other, quest.metric)
            for one, other in zip(later, before, strict=True))]
        if proven(gaps):
            return _found(quest, item, tried, default, scores=scores, gaps=gaps)
    done = sum(item.state == "complete" for item in tried)
    return Found(None, fitted, quest.options, artifact, standing, default, tried,
                 f"none of {done} complete trials (of {len(tried)}) is better than the default in "
                 "every respect, now and earlier")


def _found(quest: Quest, item: Tried, tried: tuple[Tried, ...], default: Tried, *,
           scores: Scores, gaps: list[float]) -> Found:
    place = _place(quest, item)
    again = quest.trainer.load(place / quest.trainer.file)
    assert item.loss is not None
    again.loss = item.loss
    smaller, faster = cheaper(item, default)
    words = ", ".join(f"{gap:+.4f}" for gap in gaps)
    return Found(item.number, again, options_of(quest, item), place / "model.onnx", scores,
                 default, tried, f"trial {item.number} of {len(tried)}: worse than the default by "
                 f"{words} ({quest.metric} on validation and on {len(FOLDS)} earlier parts), "
                 f"{smaller:.2f} times smaller and {faster:.2f} times faster")


def proven(gaps: Sequence[float]) -> bool:
    """Whether it is no worse on average, nor by more than ``TOLERANCE`` with a standard error.

    No stretch counts for more than four times that, so that one where the default fails
    altogether does not decide.
    """
    most = 4 * TOLERANCE
    held = [max(-most, min(gap, most)) for gap in gaps]
    mean, spread = statistics.fmean(held), statistics.stdev(held) / math.sqrt(len(held))
    return mean <= 0 and mean + spread <= TOLERANCE


def _earlier(quest: Quest, options: Options, name: str) -> list[Scores]:
    """Models of these options fitted to the oldest rows, on the rows that followed those."""
    found, rows = [], quest.data.train
    for end, until in FOLDS:
        cut, last = int(len(rows) * end), int(len(rows) * until)
        part = Split(rows.iloc[:cut].reset_index(drop=True),
                     rows.iloc[cut:last].reset_index(drop=True), quest.data.holdout)
        place = quest.folder / "earlier" / f"{name}-{cut}"
        fitted = quest.trainer.fresh(part, options, checkpoints=Checkpoints(place))
        place.mkdir(parents=True, exist_ok=True)
        artifact = quest.trainer.export(fitted, quest.contract, place / "model.onnx")
        found.append(_scored(replace(quest, data=part), name, artifact))
    return found


def _unit(standing: Scores, metric: str) -> float:
    """What differences of the metric are told in: errors as a share of the default's."""
    value = standing.quality[metric].value
    return abs(value) if metric in RELATIVE and value else 1.0


def _worth(item: Tried, default: Tried, against: Paired, unit: float) -> float:
    """How much the trial is worth over the default, 0 where it is not.

    The logarithm of how much smaller and faster it is, and its gain in quality.
    """
    smaller, faster = cheaper(item, default)
    if min(smaller, faster) < 1 or max(smaller, faster) == 1:
        return 0.0
    if against.difference > 0 or against.high > TOLERANCE * unit:
        return 0.0
    return math.log(smaller * faster) - BETTER * against.difference / unit


def _place(quest: Quest, item: Tried) -> Path:
    return quest.folder / item.folder


def options_of(quest: Quest, item: Tried) -> Options:
    """The options that the trial was fitted with."""
    import optuna

    with _quiet():
        return quest.trainer.varied(optuna.trial.FixedTrial(dict(item.params)), quest.options)


def _scored(quest: Quest, name: str, artifact: Path) -> Scores:
    rows = quest.data.validation
    scores = score(name, answer(session(artifact), rows, quest.contract), rows,
                   contract=quest.contract, metrics=(quest.metric,))
    return replace(scores, size_bytes=artifact.stat().st_size)


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna warns of what is experimental in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
