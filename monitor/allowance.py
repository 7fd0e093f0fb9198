"""Allowance: until when weights may not be fitted, by when they were."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from monitor.config import Model
from monitor.policy import Allowance
from monitor.window import isoformat


def withheld(fitted: Sequence[tuple[datetime, bool]], since: datetime, at: datetime, model: Model
             ) -> dict[str, str]:
    """Until when weights may not be fitted at ``at``, by what withholds it.

    ``fitted`` are the times that they were, and whether a version came of it; ``since`` is when the
    first champion was adopted. `rest` is ``retrain.rest`` after the last time, which a severe loss
    ends; `vain` is the same after a time that nothing came of, which nothing ends. `spent` is when
    the allowance is 1 again: it is 1 in the beginning and grows by ``retrain.trainings``.
    """
    rule, times = model.policy.retrain, sorted(fitted)
    found: dict[str, datetime] = {}
    if times:
        last, came = times[-1]
        found["rest" if came else "vain"] = last + rule.rest
    left = _left([moment for moment, _ in times], since, at, rule.trainings)
    if left < 1:
        found["spent"] = at + rule.trainings.per * (
            (1 - left) / rule.trainings.times if rule.trainings.times else 1.0)
    return {name: isoformat(until) for name, until in found.items() if until > at}


def overdue(fitted: Sequence[tuple[datetime, bool]], at: datetime, model: Model) -> bool:
    """Whether no weights were fitted for as long as until a follow-up."""
    rest = model.policy.retrain.follow_up
    return rest is not None and all(at - moment >= rest for moment, _ in fitted)


def _left(times: Sequence[datetime], since: datetime, at: datetime, rule: Allowance) -> float:
    """What is left of an allowance at ``at``: a bucket that fills with time up to what is saved."""
    left, last = min(1.0, float(rule.times)), since
    for moment in times:
        left = min(float(rule.saved), left + (moment - last) / rule.per * rule.times) - 1
        last = moment
    return min(float(rule.saved), left + (at - last) / rule.per * rule.times)
