"""Quest: what is searched, and what it may cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from retrain.checkpoints import Checkpoints
from retrain.contract import Contract
from retrain.trainer import Fitted, Options, Split, Trainer, taught, teaches


@dataclass(frozen=True, slots=True)
class Quest:
    """What is searched: a trainer's options on these rows, for this contract and metric.

    ``max_latency`` is {rows per call: milliseconds}, ``max_size`` bytes. What is tried on some rows
    learns from the answers of the default that was fitted to the same rows, where the trainer
    teaches: such a default is kept under a name.
    """

    trainer: Trainer
    options: Options
    contract: Contract
    data: Split
    metric: str
    folder: Path
    max_size: int | None = None
    max_latency: Mapping[Literal[1, 256], float] = field(default_factory=dict)

    def default(self, data: Split, name: str, *, seed: int = 0,
                fitted: Fitted | None = None) -> Fitted:
        """The default of these rows and this seed more, kept under the name; ``fitted`` is it
        where it is there already."""
        place = self.folder / name
        made = fitted or self.trainer.fresh(
            data, replace(self.options, seed=self.options.seed + seed),
            checkpoints=Checkpoints(place))
        if teaches(self.trainer):
            place.mkdir(parents=True, exist_ok=True)
            self.trainer.save(made, place / self.trainer.file)
        return made

    def fitted(self, data: Split, options: Options, *, teacher: str, folder: Path) -> Fitted:
        """A model of other options, taught by the default that was kept under this name."""
        known = (self.trainer.load(self.folder / teacher / self.trainer.file)
                 if teaches(self.trainer) else None)
        return taught(self.trainer, known, data, options, checkpoints=Checkpoints(folder))


@dataclass(frozen=True, slots=True)
class Spending:
    """How much may be searched: finished trials, minutes of searching, processes at a time."""

    trials: int = 40
    minutes: float = 20.0
    workers: int = 1
