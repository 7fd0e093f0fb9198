"""Work: what every step of a job works with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from monitor.config import Config, Model
from monitor.registry import Registry
from monitor.request import Request
from retrain.record import Record
from retrain.steps import Steps


@dataclass(frozen=True, slots=True)
class Work:
    """What every step of a job works with; ``folder`` holds checkpoints and artifacts."""

    request: Request
    model: Model
    config: Config
    registry: Registry
    record: Record
    folder: Path
    steps: Steps
