"""Forecast: what a window's labels are expected to say, and whether such estimates hold at all.

Estimates stand beside what is realized and are never mixed with it. They are refuted by the newest
labels, over a pool of windows; while they are, the estimates of later windows are told but say
nothing. All of it follows from counts that were known at the checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from monitor.baseline import Baseline
from monitor.config import Model
from monitor.outcomes import Outcomes
from monitor.performance import HIGHER_IS_BETTER, METRICS_OF, RELATIVE, Performance, measure
from monitor.profile import Profile
from monitor.refutation import Check
from monitor.window import format_duration

Quality = Literal["unknown", "stable", "degraded", "invalid"]


@dataclass(frozen=True, slots=True)
class Forecast:
    """Estimated performance of one window; the first one is the metric that decides.

    ``quality`` is ``invalid`` while newer labels refute estimates, and ``degraded`` where the
    whole interval is worse than the reference by more than ``performance.drop``.
    """

    quality: Quality = "unknown"
    performance: tuple[Performance, ...] = ()
    check: Check | None = None
    reason: str = ""


NO_FORECAST = Forecast()


@dataclass(frozen=True, slots=True)
class Proof:
    """The newest rows whose labels are mature: what came out, of which answers."""

    outcomes: Outcomes
    answered: Profile
    span: timedelta


def refute(proof: Proof, baseline: Baseline, model: Model) -> Check | None:
    """Whether the labels of these rows are what was estimated of them; None without estimates."""
    if baseline.estimator is None:
        return None
    realized = measure(proof.outcomes, model.metric, positive=model.log.positive_label,
                       block=max(model.calendar.pane, timedelta(days=1)))
    if not proof.outcomes:
        realized = replace(realized, reason="no labels have matured yet")
    found = baseline.estimator.check(proof.outcomes, proof.answered.counts, realized,
                                     level=baseline.interval_level)
    return replace(found, span=format_duration(proof.span))


def forecast(answered: Profile, check: Check | None, baseline: Baseline, *, first: Baseline,
             model: Model) -> Forecast:
    """The estimates of the rows that a version answered in one window."""
    if baseline.estimator is None:
        return Forecast(reason=_why(baseline, model))
    span = format_duration(model.calendar.length)
    named = [model.metric, *(name for name in METRICS_OF[model.task]
                             if name in baseline.estimator.metrics and name != model.metric)]
    told = baseline.estimator.estimate(answered.counts, named, span=span)
    if told[0].value is None:
        return Forecast("unknown", told, check, told[0].reason)
    if check is not None and check.state == "invalid":
        return Forecast("invalid", told, check, f"estimates do not hold: {check.reason}")
    sure = baseline.estimator.estimate(answered.counts, [model.metric],
                                       level=baseline.interval_level)[0]
    words = ""
    for promised in {item.version: item for item in (baseline, first)}.values():
        worse, words = _worse(sure, promised, model)
        if worse:
            return Forecast("degraded", told, check, words)
    return Forecast("stable" if words else "unknown", told, check, words)


def _worse(sure: Performance, promised: Baseline, model: Model) -> tuple[bool, str]:
    """Whether the whole interval is worse than what was promised; words, '' where nothing was."""
    metric, drop = model.metric, model.policy.performance.drop
    reference = measure(promised.performance, metric, positive=model.log.positive_label,
                        block=max(model.calendar.pane, timedelta(days=1))).value
    if reference is None or sure.value is None or sure.low is None or sure.high is None:
        return False, ""
    least = drop * abs(reference) if metric in RELATIVE else drop
    best = reference - sure.high if metric in HIGHER_IS_BETTER else sure.low - reference
    words = (f"estimated without labels, {metric} is {sure.value:.4g} ({sure.low:.4g} to "
             f"{sure.high:.4g}), reference {reference:.4g}")
    if best <= least:
        return False, words
    return True, f"{words}: worse by {best:.3g} at least ({least:.3g} counts)"


def _why(baseline: Baseline, model: Model) -> str:
    """Why there are no estimates."""
    if model.log.prediction is None or not model.log.labelled:
        return "estimates need predictions and, for the reference, labels"
    if model.task != "regression" and not model.log.score:
        return "estimates need scores (log.score)"
    if not baseline.performance:
        return "the reference holds no labelled answers to learn from"
    return "this version's baseline teaches no estimates"
