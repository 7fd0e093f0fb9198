"""Checks: what the gate asks of a candidate beside its gain, one row of the verdict each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitor.conditions import Benchmark, Fairness, Gate
from monitor.config import Model
from monitor.groups import GroupGap, Groups, compare, lay_out
from monitor.performance import FEWEST_ROWS, RELATIVE
from retrain.blocks import DAY, WEEK, Blocks, Paired, estimate, of_rows, of_time
from retrain.contract import class_text
from retrain.evaluate import Scores, difference
from retrain.metrics import LOWER_IS_BETTER, METRICS, NEEDS_SHARES, Judged
from retrain.tally import outcomes_of

HARM = 0.05
"""The chance that any slice is called worse than allowed while none is."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is asked of a candidate, and the group of each holdout row by declared column.

    ``borne`` is a loss that is borne in place of the ``gain``: only evidence of a larger one
    refuses. ``least`` is how few rows may be spoken of at all.
    """

    metric: str
    gain: float = 0.0
    borne: float | None = field(default=None, kw_only=True)
    asked: Gate = field(default_factory=Gate)
    groups: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    benchmarks: tuple[Benchmark, ...] = ()
    positive: str | None = None
    least: int = 1

    @classmethod
    def of(cls, model: Model, rows: pd.DataFrame) -> Rules:
        """The rules of a model for holdout rows as ``Source.sample`` gives them."""
        groups = {}
        for column in model.log.segments:
            name = f"_segment_{column}" if f"_segment_{column}" in rows else column
            if name in rows:
                groups[column] = rows[name].map(class_text, na_action="ignore").to_numpy(object)
        return cls(model.metric, model.training.minimum_gain, model.training.gate, groups,
                   tuple(model.benchmarks), model.log.positive_label, model.privacy.min_count)


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the verdict: what was compared, what is allowed, and whether it passed.

    ``difference`` is positive where the candidate is worse. Unknown numbers are None; ``judged``
    is False where the rows could not tell, and ``note`` says why.
    """

    role: str
    candidate: str
    against: str
    metric: str
    value: float | None = None
    other: float | None = None
    allowed: float | None = None
    passed: bool = True
    where: str = ""
    asked: str = ""
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    level: float | None = None
    sure: float | None = None
    blocks: int | None = None
    block: str = ""
    n: int | None = None
    judged: bool = True
    note: str = ""

    def measured(self, found: Paired) -> Check:
        """The same row with a paired difference; what is not a number is None."""
        return replace(self, difference=known(found.difference), low=known(found.low),
                       high=known(found.high), level=found.level, sure=found.sure,
                       blocks=found.blocks, block=found.block, n=found.n)


def known(value: float | None) -> float | None:
    """The number; None where it is none."""
    return None if value is None or not np.isfinite(value) else float(value)


def allowed(reference: float | None, metric: str, budget: float) -> float:
    """How much worse than the reference value is borne, in the metric's units."""
    return budget * reference if metric in RELATIVE and reference is not None else budget


def usable(candidate: Scores, champion: Scores, metric: str) -> str:
    """The metric, or accuracy where a side has no scores that it needs."""
    absent = candidate.judged.share is None or champion.judged.share is None
    return "accuracy" if metric in NEEDS_SHARES and absent else metric


def slices(candidate: Scores, champion: Scores, rules: Rules) -> Iterator[Check]:
    """Every large enough group of a declared column: worse than the budget, with evidence, fails.

    Evidence: the one-sided interval of the paired difference lies above the budget. The chances of
    all slices sum to at most ``HARM``: the first declared column has half of it, every further one
    half of what is left, its groups share it. So a column declared later never makes others pass.
    """
    metric = usable(candidate, champion, rules.metric)
    blocks = of_time(candidate.timestamps, rules.asked.season)
    least = max(rules.asked.slice_rows, rules.least)
    for place, (column, values) in enumerate(rules.groups.items()):
        held = pd.Series(values).value_counts()
        judged = sorted(str(name) for name, n in held.items() if n >= least)
        chance = HARM / 2 ** (place + 1) / max(len(judged), 1)
        for name in judged:
            mask = np.asarray(values == name, dtype=bool)
            yield _slice(f"{column}={name}", mask, (candidate, champion), (metric, chance, blocks),
                         rules.asked.slice_budget)
        if small := len(held) - len(judged):
            yield Check("slice", candidate.name, champion.name, metric, where=column, judged=False,
                        note=f"{small} groups hold fewer than {least} rows")


def _slice(where: str, mask: NDArray[np.bool_], pair: tuple[Scores, Scores],
           how: tuple[str, float, Blocks], budget: float) -> Check:
    (candidate, champion), (metric, chance, blocks) = pair, how
    ours, theirs = (only(item.judged, mask) for item in pair)
    found = estimate(difference(ours, theirs, metric), blocks.of(mask), level=1 - 2 * chance)
    value, other = (METRICS[metric](item)(np.ones(found.n)) for item in (ours, theirs))
    limit = allowed(known(other), metric, budget)
    judged = found.block == blocks.length and bool(np.isfinite([found.error, value, other]).all())
    row = Check("slice", candidate.name, champion.name, metric, known(value), known(other), limit,
                where=where, judged=judged, note="" if judged else "too few blocks of time")
    return replace(row.measured(found), passed=not judged or found.low <= limit)


def only(judged: Judged, mask: NDArray[np.bool_]) -> Judged:
    """Some of the rows."""
    return replace(judged, label=judged.label[mask], answer=judged.answer[mask],
                   share=None if judged.share is None else judged.share[mask])


def fairness(candidate: Scores, champion: Scores | None, rules: Rules) -> Iterator[Check]:
    """Gaps between the groups of declared columns against their ceiling and their growth.

    The gap on the holdout decides. Where it cannot be measured, what was declared is not kept.
    """
    for rule in rules.asked.fairness:
        ours = _gap(candidate, rule, rules)
        theirs = None if champion is None else _gap(champion, rule, rules)
        measure = ours.measure
        row = Check("fairness", candidate.name, "" if champion is None else champion.name, measure,
                    ours.value, None if theirs is None else theirs.value, where=rule.column,
                    low=ours.low, high=ours.high, level=ours.level, n=sum(ours.n_by_group.values()),
                    note=ours.reason)
        if ours.value is None:
            yield replace(row, passed=False, judged=False)
            continue
        if rule.ceiling is not None:
            yield replace(row, against="the declared ceiling", other=None, allowed=rule.ceiling,
                          passed=ours.value <= rule.ceiling)
        if rule.growth is not None and theirs is not None:
            grown = None if theirs.value is None else ours.value - theirs.value
            yield replace(row, allowed=rule.growth, difference=grown, judged=grown is not None,
                          passed=grown is None or grown <= rule.growth + 1e-12)


def _gap(scores: Scores, rule: Fairness, rules: Rules) -> GroupGap:
    """The widest gap of a version's answers, by the counts that the monitor compares groups by."""
    measure = rule.measure
    if measure == "performance_difference":
        measure = f"{rules.metric}_difference"  # type: ignore[assignment]
    values = rules.groups.get(rule.column)
    if values is None:
        nothing = Groups(rule.column, (), ())
        return GroupGap(nothing.column, measure, None, None, None, 0.95, None, "", "", {},
                        f"the holdout holds no column {rule.column!r}")
    parts = {str(name): outcomes_of(only(scores.judged, np.asarray(values == name, dtype=bool)),
                                    scores.timestamps[np.asarray(values == name, dtype=bool)],
                                    scores.answers.classes)
             for name in sorted(set(values[~pd.isna(values)]))}
    span = scores.timestamps.max() - scores.timestamps.min()
    groups = lay_out(rule.column, parts, positive=rules.positive,
                     block=rules.asked.season or (WEEK if span >= 4 * WEEK else DAY))
    return compare(groups, measure, least=max(FEWEST_ROWS, rules.least))


def calibration(candidate: Scores, champion: Scores | None, rules: Rules) -> Iterator[Check]:
    """Calibration error and log loss against the champion's; the holdout's difference decides.

    A calibration error that grew too much is borne where the Brier score fell: it is that error and
    what the answers fail to tell apart, so that the probabilities are worth more all the same.
    """
    if champion is None or candidate.judged.share is None or champion.judged.share is None:
        return
    blocks = of_time(candidate.timestamps, rules.asked.season)
    for metric, budget in (("ece", rules.asked.ece_budget),
                           ("log_loss", rules.asked.log_loss_budget)):
        if budget is not None:
            row = _kept("calibration", (candidate, champion), metric, budget=budget, blocks=blocks)
            worth = difference(candidate.judged, champion.judged, "brier")(np.ones(len(candidate)))
            yield replace(row, passed=row.passed or (metric == "ece" and worth < 0))


def golden(candidate: Scores, champion: Scores | None, rules: Rules) -> Iterator[Check]:
    """The golden benchmark sets: the floor, and the champion's result less a budget."""
    for rule in rules.benchmarks:
        ours = candidate.golden.get(rule.name)
        if ours is None:
            yield Check("benchmark", candidate.name, "", rules.metric, passed=False, judged=False,
                        where=rule.name, note="it was not measured on it")
            continue
        value = known(METRICS[rules.metric](ours.judged)(np.ones(len(ours)))) \
            if rules.metric not in NEEDS_SHARES or ours.judged.share is not None else None
        if rule.floor is not None:
            under = value is None or (value > rule.floor if rules.metric in LOWER_IS_BETTER
                                      else value < rule.floor)
            yield Check("benchmark", candidate.name, "the declared floor", rules.metric, value,
                        allowed=rule.floor, passed=not under, where=rule.name, n=len(ours))
        theirs = None if champion is None else champion.golden.get(rule.name)
        if theirs is not None:
            yield replace(_kept("benchmark", (ours, theirs), usable(ours, theirs, rules.metric),
                                budget=rule.budget, blocks=golden_blocks(ours)), where=rule.name)


def golden_blocks(scores: Scores) -> Blocks:
    """Blocks of a benchmark: of time where its rows carry one."""
    times = scores.timestamps
    return of_rows(len(times)) if times.nunique() < len(times) ** 0.5 else of_time(times)


def _kept(role: str, pair: tuple[Scores, Scores], metric: str, *, budget: float, blocks: Blocks
          ) -> Check:
    candidate, champion = pair
    found = estimate(difference(candidate.judged, champion.judged, metric), blocks)
    value, other = (known(METRICS[metric](item.judged)(np.ones(found.n))) for item in pair)
    limit = allowed(other, metric, budget)
    row = Check(role, candidate.name, champion.name, metric, value, other, limit)
    return replace(row.measured(found), passed=bool(found.difference <= limit + 1e-12))


def costs(candidate: Scores, rules: Rules) -> Iterator[Check]:
    """Size and latency against what is allowed at most; what was not measured is not kept."""
    most = rules.asked.max_size
    if most is not None:
        size = candidate.size_bytes
        yield Check("size", candidate.name, "", "bytes", size, allowed=float(most),
                    passed=size is not None and size <= most)
    for batch, longest in rules.asked.max_latency.items():
        took = candidate.latency.get(batch)
        took = None if took is None else 1000 * took
        yield Check("latency", candidate.name, "", f"ms of CPU at batch {batch}", took,
                    allowed=longest, passed=took is not None and took <= longest)
