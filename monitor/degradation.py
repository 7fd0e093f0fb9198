"""Degradation: whether a metric is worse than its reference, by enough and beyond doubt."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

from monitor.performance import HIGHER_IS_BETTER, RELATIVE, Performance


@dataclass(frozen=True, slots=True)
class Change:
    """By how much a metric is ``worse``, in its units; ``least`` counts, ``doubt`` is chance's.

    The doubt is None where there is no interval to tell it from chance.
    """

    worse: float
    least: float
    doubt: float | None

    @property
    def drops(self) -> float:
        """The change in drops that count; 0 where nothing is worse."""
        return max(self.worse, 0.0) / self.least if self.least else 0.0

    @property
    def extent(self) -> float:
        """The change over what it must exceed: degraded from 1 on; 0 where chance is unknown."""
        return 0.0 if self.doubt is None else max(self.worse, 0.0) / max(self.least, self.doubt)


def change(current: Performance, reference: Performance, *, metric: str,
           drop: float) -> Change | None:
    """How much worse ``current`` is than ``reference``; None where either has no value.

    ``drop`` is in the metric's units, for mae, rmse and mape a share of the reference value. The
    doubt: the two intervals' half-widths towards each other, added as squares.
    """
    if current.value is None or reference.value is None:
        return None
    worse = _loss(current.value, metric) - _loss(reference.value, metric)
    least = _least(reference.value, metric, drop)
    if current.low is None or current.high is None:
        return Change(worse, least, None)
    up = metric in HIGHER_IS_BETTER
    toward = current.high - current.value if up else current.value - current.low
    doubt = 0.0
    if reference.low is not None and reference.high is not None:
        doubt = (reference.value - reference.low) if up else (reference.high - reference.value)
    return Change(worse, least, hypot(toward, doubt))


def degraded(current: Performance, reference: Performance, *, metric: str,
             drop: float) -> tuple[bool, str]:
    """Whether ``current`` is worse than ``reference`` by ``drop`` and beyond doubt; and words."""
    found = change(current, reference, metric=metric, drop=drop)
    if found is None:
        missing = current.reason if current.value is None else reference.reason
        return False, f"{metric} cannot be compared: {missing}"
    words = (f"{metric} {current.value:.4g} on {current.n} rows"
             + (f" of {current.span}" if current.span else "")
             + f", reference {reference.value:.4g}: ")
    if found.worse < found.least:
        return False, words + f"not worse by {found.least:.3g}"
    if found.doubt is None:
        return False, words + "worse, and there is no interval to tell it from chance"
    if found.worse <= found.doubt:
        return False, words + f"worse by {found.worse:.3g}, within the doubt of {found.doubt:.3g}"
    return True, words + (f"worse by {found.worse:.3g} (at least {found.least:.3g} counts, "
                          f"the doubt is {found.doubt:.3g})")


def allowed(reference: float, *, metric: str, drop: float) -> float:
    """The value from which on the metric is worse than ``reference`` by what counts."""
    least = _least(reference, metric, drop)
    return reference - least if metric in HIGHER_IS_BETTER else reference + least


def _least(reference: float, metric: str, drop: float) -> float:
    return drop * abs(reference) if metric in RELATIVE else drop


def _loss(value: float, metric: str) -> float:
    """The value turned so that more is worse; a bias is bad in both directions."""
    if metric == "bias":
        return abs(value)
    return -value if metric in HIGHER_IS_BETTER else value
