"""Recall: where a season comes back, an earlier version may be the best one again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retrain.contract import Contract
from retrain.evaluate import Scores, compare
from retrain.gate import allowed
from retrain.rivals import Rival


@dataclass(frozen=True, slots=True)
class Again:
    """The earlier version that is proposed in place of a candidate, and why in words."""

    rival: Rival
    reason: str


def best_again(champion: Rival | None, predecessors: Sequence[Rival],
               scores: Mapping[str, Scores], *, metric: str, gain: float) -> Again | None:
    """The earlier version that beats the champion by at least ``gain`` and everyone else.

    ``scores`` are those of the newest holdout, by name. None where no version does.
    """
    if champion is None or champion.name not in scores:
        return None
    serving = scores[champion.name]
    differences = {item.name: compare(scores[item.name], serving, metric)
                   for item in predecessors if item.runnable and item.name in scores}
    if not differences:
        return None
    best = min(predecessors, key=lambda item: differences[item.name].difference
               if item.name in differences else float("inf"))
    found = differences[best.name]
    if found.difference > -allowed(serving, metric, gain):
        return None
    return Again(best, f"{best.name[0].upper()}{best.name[1:]} is the best again: on the newest "
                       f"{found.n} holdout rows its {metric} is {-found.difference:.3f} better "
                       f"than that of {champion.name}, the champion (gain with 95% confidence "
                       f"between {-found.high:+.3f} and {-found.low:+.3f}).")


def same_contract(one: Contract | None, other: Contract) -> bool:
    """Whether both take the same columns and types, and answer alike."""
    return one is not None and (dict(one.inputs), dict(one.outputs), set(map(str, one.classes))) \
        == (dict(other.inputs), dict(other.outputs), set(map(str, other.classes)))
