"""The gate: may the candidate become a challenger, and in which compressed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from retrain.evaluate import Scores


@dataclass(frozen=True, slots=True)
class GateResult:
    """Whether the candidate passed, why in words with numbers, and one row per comparison."""

    passed: bool
    reason: str
    table: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """The compressed point taken, and why in words."""

    scores: Scores
    reason: str


def gate(candidate: Scores, champion: Scores | None, predecessors: Sequence[Scores], *,
         metric: str, budget: float) -> GateResult:
    """Passed if the candidate is no worse than the champion (beyond the budget) nor than any
    earlier promoted version, all on the newest holdout."""
    raise NotImplementedError


def choose(points: Sequence[Scores], *, reference: Scores, metric: str, budget: float) -> Choice:
    """The cheapest point whose loss against the reference stays within the budget."""
    raise NotImplementedError
