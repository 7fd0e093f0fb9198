"""Quest: what is searched, and what it may cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from retrain.checkpoints import Checkpoints
from retrain.contract import Contract
from retrain.trainer import Fitted, Options, Split, Trainer, taught, teaches

SEEDS = 3
"""Fits of the default to the same rows: what is tried learns from the mean of their answers and is
held against each of them, since the seed alone moves a fit by more than trials differ."""


@dataclass(frozen=True, slots=True)
class Quest:
    """What is searched: a trainer's options on these rows, for this contract and metric.

    ``max_latency`` is {rows per call: milliseconds}, ``max_size`` bytes. What is tried on some rows
    learns from the answers of defaults that were fitted to the same rows, where the trainer
    teaches: these are kept under a name and a seed.
    """

    trainer: Trainer
    options: Options
    contract: Contract
    data: Split
    metric: str
    folder: Path
    max_size: int | None = None
    max_latency: Mapping[Literal[1, 256], float] = field(default_factory=dict)

    def seeded(self, seed: int) -> Options:
        """The default options with this seed more."""
        return replace(self.options, seed=self.options.seed + seed)

    def default(self, data: Split, name: str, seed: int, *, fitted: Fitted | None = None
                ) -> Fitted:
        """The default of these rows and this seed more, kept under the name; ``fitted`` is it
        where it is there already."""
        place = self.place(name, seed)
        made = fitted or self.trainer.fresh(data, self.seeded(seed),
                                            checkpoints=Checkpoints(place))
        if teaches(self.trainer):
            place.mkdir(parents=True, exist_ok=True)
            self.trainer.save(made, place / self.trainer.file)
        return made

    def defaults(self, data: Split, name: str, *, first: Fitted | None = None
                 ) -> tuple[Fitted, ...]:
        """As many as teach, kept under the name; of a trainer that does not teach the first one
        alone."""
        return tuple(self.default(data, name, seed, fitted=None if seed else first)
                     for seed in range(SEEDS if teaches(self.trainer) else 1))

    def place(self, name: str, seed: int) -> Path:
        """The folder of a default."""
        return self.folder / f"{name}-{seed}"

    def fitted(self, data: Split, options: Options, *, teachers: str, folder: Path) -> Fitted:
        """A model of other options, taught by the defaults that were kept under this name."""
        known = [self.trainer.load(self.place(teachers, seed) / self.trainer.file)
                 for seed in range(SEEDS)] if teaches(self.trainer) else []
        return taught(self.trainer, known, data, options, checkpoints=Checkpoints(folder))


@dataclass(frozen=True, slots=True)
class Spending:
    """How much may be searched: finished trials, minutes of searching, processes at a time."""

    trials: int = 40
    minutes: float = 20.0
    workers: int = 1
