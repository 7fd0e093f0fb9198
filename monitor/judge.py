"""Judge: one window's counts against the champion's baseline, as a verdict in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from monitor.drift import DriftResult
from monitor.faults import Fault
from monitor.performance import Performance
from monitor.window import Window

Kind = Literal["stable", "drifted", "degraded", "faulty", "unknown"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of one window, version and segment at one checkpoint.

    ``inputs`` and ``quality`` are the two halves of ``kind``: what the values of the
    window say, and what its matured labels say. ``news`` names the halves that this
    revision newly speaks about. ``labelled`` counts matured labelled rows since the
    end of the reference.
    """

    model: str
    version: str
    segment: str
    window: Window
    revision: int
    known_at: datetime
    watermark: datetime
    arrival: Literal["logged", "assumed"]
    n: int
    label_maturity: float | None
    kind: Kind
    inputs: Literal["unknown", "stable", "drifted", "faulty"]
    quality: Literal["unknown", "stable", "degraded"]
    reason: str
    features: tuple[DriftResult, ...] = ()
    performance: tuple[Performance, ...] = ()
    faults: tuple[Fault, ...] = ()
    news: tuple[Literal["inputs", "labels"], ...] = ()
    labelled: int = 0
