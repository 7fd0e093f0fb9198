"""Need: whether a model needs a person, how soon and for what. Pure; in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from monitor.state import ModelState

Level = Literal["now", "soon", "busy", "none"]
LEVELS: dict[Level, str] = {
    "now": "Needs you now",
    "soon": "Look when you can",
    "busy": "holdfast is at it",
    "none": "Nothing to do",
}
"""How soon a person is needed -> what that is called, the most urgent first."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen of a model beside its state: its newest line, and what stands in the way."""

    line: dict[str, Any] | None = None
    trouble: bool = False
    late: bool = False
    """Whether it was not looked at when others were."""
    pending: bool = False


@dataclass(frozen=True, slots=True)
class Need:
    """What a person should do, and how soon; ``order`` sorts needs, the most urgent first."""

    level: Level
    words: str
    order: int


def need(state: ModelState, sight: Sight) -> Need:
    """The most urgent thing that the model needs."""
    for order, (holds, level, words) in enumerate(_rules(state, sight)):
        if holds:
            return Need(level, words, order)
    return Need("none", "nothing", 99)


def _rules(state: ModelState, sight: Sight) -> Iterator[tuple[bool, Level, str]]:
    """(whether it holds, how soon, for what), the most urgent first."""
    line = sight.line or {}
    busy = state.phase in {"retraining", "probation"}
    stale = bool((line.get("freshness") or {}).get("stale"))
    guessed = (line.get("estimated") or {}).get("quality") == "degraded"
    yield (state.phase == "awaiting_promotion", "now",
           f"decide on version {state.challenger}")
    yield sight.trouble, "now", "see its error"
    yield state.phase == "faulty", "now", "repair its log"
    yield state.quality == "degraded" and not busy, "now", "see why it answers worse"
    yield sight.late, "now", "see why nobody looks at it"
    yield stale, "now", "see why its log has stopped"
    yield state.phase == "rolled_back", "soon", "see why it was rolled back"
    yield state.phase == "suspect", "soon", "see what moved"
    yield state.champion is None, "soon", "name a champion"
    yield guessed and not busy, "soon", "see whether it will get worse"
    yield state.phase == "retraining", "busy", "wait for a candidate"
    yield state.phase == "probation", "busy", "wait for its probation to end"
    yield sight.pending, "busy", "wait for what is decided"
    yield state.phase == "unknown", "none", "wait until enough is known"
