"""Refutation: an estimate against the labels that came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from monitor.performance import Performance


@dataclass(frozen=True, slots=True)
class Check:
    """Whether the estimate of rows whose labels came held: ``low`` to ``high`` was expected.

    ``unknown`` while there are too few of them; ``reason`` says so, or what came out, in words.
    """

    state: Literal["unknown", "valid", "invalid"]
    metric: str
    realized: float | None
    low: float | None
    high: float | None
    n: int
    reason: str
    span: str = ""


def held(expected: Performance, realized: Performance) -> Check:
    """The realized metric against the interval that was estimated for it."""
    if realized.value is None or expected.low is None or expected.high is None:
        why = expected.reason if expected.reason.endswith("is not estimated") else realized.reason
        return Check("unknown", realized.metric, realized.value, None, None, realized.n,
                     why or expected.reason)
    fine = expected.low <= realized.value <= expected.high
    words = (f"{realized.metric} of {realized.n} labelled rows is {realized.value:.4g}, "
             f"{expected.low:.4g} to {expected.high:.4g} was estimated")
    if not fine:
        words += ("; the labels no longer follow the answers as they did (concept drift), so "
                  "estimates do not hold")
    return Check("valid" if fine else "invalid", realized.metric, realized.value, expected.low,
                 expected.high, realized.n, words)


def unestimated(metric: str, n: int, reason: str) -> Performance:
    """An estimate that cannot be made, and why."""
    return Performance(metric, None, None, None, n, estimated=True, reason=reason)
