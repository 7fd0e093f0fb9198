"""Quest: what is searched, and what it may cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from retrain.contract import Contract
from retrain.trainer import Options, Split, Trainer


@dataclass(frozen=True, slots=True)
class Quest:
    """What is searched: a trainer's options on these rows, for this contract and metric.

    ``max_latency`` is {rows per call: milliseconds}, ``max_size`` bytes.
    """

    trainer: Trainer
    options: Options
    contract: Contract
    data: Split
    metric: str
    folder: Path
    max_size: int | None = None
    max_latency: Mapping[Literal[1, 256], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spending:
    """How much may be searched: finished trials, minutes of searching, processes at a time."""

    trials: int = 40
    minutes: float = 20.0
    workers: int = 1
