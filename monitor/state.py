"""State: what is believed of a model, and what a step of the fold asks for. Plain values alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Phase = Literal[
    "unknown",
    "stable",
    "suspect",
    "faulty",
    "retraining",
    "awaiting_promotion",
    "probation",
    "rolled_back",
]
Action = Literal[
    "none",
    "alarm",
    "clear",
    "hold",
    "retrain",
    "promote",
    "compare",
    "acquit",
    "roll_back",
    "announce",
]

IN_FLIGHT = frozenset({"retraining", "awaiting_promotion", "probation"})
"""Phases in which something is under way already."""


@dataclass(frozen=True, slots=True)
class ModelState:
    """What is believed of one model; every change of it is a row."""

    phase: Phase = "unknown"
    since: datetime | None = None
    cooldown_until: datetime | None = None
    inputs: Literal["unknown", "stable", "drifted", "faulty"] = "unknown"
    quality: Literal["unknown", "stable", "degraded"] = "unknown"
    episode: str | None = None
    calm: int = 0
    peak: float | None = None
    """The largest severity of the newest episode's drift ..."""
    peak_at: datetime | None = None
    """... the start of the window that it was seen in ..."""
    peak_of: str | None = None
    """... and the episode's name."""
    champion: str | None = None
    predecessor: str | None = None
    adopted_at: datetime | None = None
    request: str | None = None
    challenger: str | None = None
    comparisons: int = 0
    """Comparisons with the predecessor since the adoption."""
    compared: str = ""
    """What the last of them said, in words."""
    rolled_back: tuple[str, ...] = ()
    """Versions that were rolled back once; promoted again by a person, they stay ..."""
    rolled_back_at: datetime | None = None
    """... and when the last of them was."""
    retrained: bool = False
    """Whether the champion is another one than the lineage's first."""
    blend: bool = False
    """Whether it is several models that answer together."""
    looked_at: datetime | None = None
    """When a retrain of it last ended without a challenger."""
    kept: bool = False
    """Whether holdfast undoes this promotion no more: it did so once, or a person insists."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, why in words, and the numbers behind it."""

    action: Action
    reason: str
    evidence: dict[str, Any] = field(default_factory=dict)


NOTHING = Decision("none", "nothing to do")
