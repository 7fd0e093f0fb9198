"""Movement: which columns moved, apart by kind, and which of them matter to the version."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from monitor.drift import Comparison, DriftResult
from monitor.importance import Importances
from monitor.window import format_duration

NAMED = 3
"""Columns of one kind that a reason names at most; all of them are in the verdict."""
EASED = 0.8
"""Part of its threshold under which a column counts as calm again, where some are left out."""
KINDS = {"prediction": "answers", "score": "answers", "label": "labels"}
"""What columns that are no inputs are called."""


def weighed(found: Comparison, importance: Importances | None, minimum: float) -> Comparison:
    """The comparison with the importance of its features, on what is tested of them.

    A feature of less than ``minimum`` never drifted, and counts neither for the severity nor
    against calm.
    """
    if importance is None:
        return found
    shares = importance.shares
    results = tuple(replace(item, importance=shares[item.feature])
                    if item.threshold is not None and item.feature in shares else item
                    for item in found.results)
    if not minimum:
        return replace(found, results=results)
    results = tuple(replace(item, drifted=False) if _minor(item, minimum) else item
                    for item in results)
    beyond = [item.value / max(item.threshold, 1e-12) for item in results
              if item.threshold is not None and not _minor(item, minimum)]
    return Comparison(results, max(beyond, default=None), found.calm or all(
        value <= EASED for value in beyond))


def _minor(item: DriftResult, minimum: float) -> bool:
    return item.importance is not None and item.importance < minimum


def kind_of(key: str) -> str:
    """``inputs``, ``answers`` or ``labels``."""
    role, colon, _ = key.partition(":")
    return KINDS.get(role, "inputs") if colon else "inputs"


def rank(item: DriftResult) -> float:
    """How far beyond its threshold, times what the feature is worth where that is known."""
    beyond = item.value / max(item.threshold or 0, 1e-12)
    return beyond if item.importance is None else beyond * item.importance


def words(results: Iterable[DriftResult], length: timedelta,
          importance: Importances | None = None) -> str:
    """What moved, inputs first, then answers and labels; '' where nothing did.

    ``length`` is that of a window.
    """
    kinds: dict[str, list[DriftResult]] = {}
    for item in results:
        if item.drifted:
            kinds.setdefault(kind_of(item.feature), []).append(item)
    about = " about" if importance is not None and importance.kind == "surrogate" else ""
    told = []
    for kind, before in (("inputs", "moved"), ("answers", "answers moved"),
                         ("labels", "labels moved")):
        moved = sorted(kinds.get(kind, []), key=lambda item: -rank(item))
        if moved:
            more = f" and {len(moved) - NAMED} more" if moved[NAMED:] else ""
            named = ", ".join(_named(item, about, length) for item in moved[:NAMED])
            told.append(f"{before}: {named}{more}")
    return "; ".join(told)


def _named(item: DriftResult, about: str, length: timedelta) -> str:
    matters = "" if item.importance is None else (
        f", matters:{about} {round(100 * item.importance)} %")
    over = f" over {format_duration(item.windows * length)}" if item.windows > 1 else ""
    name = item.feature.partition(":")[2] if kind_of(item.feature) != "inputs" else item.feature
    return (f"{name} ({item.statistic} {item.value:.3g}, threshold {item.threshold:.3g}{over}"
            f"{matters})")
