"""Trainer: what the ladder asks of one kind of model, and nothing else.

A kind of model is one class with the methods of ``Trainer``; the ladder, the gate and the
registration know no more of it. ``docs/trainers.md`` shows how to bring one's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeGuard

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitor.errors import HoldfastError
from retrain.checkpoints import Checkpoints
from retrain.contract import Contract, Task

WEIGHT = "_weight"
"""Optional column of training rows: how much a row counts; absent, every row counts 1."""


class Unsupported(HoldfastError):
    """This kind of model has no such action; the ladder says so and goes on."""


@dataclass(frozen=True, slots=True)
class Split:
    """Labelled rows by time, oldest first; columns as ``Source.sample`` gives them.

    Features under their names, ``_label``, ``_timestamp`` and, where logged, ``_prediction``,
    ``_score`` and ``_version``. Choices are made on ``validation``; only the gate sees ``holdout``.
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    holdout: pd.DataFrame

    @property
    def weight(self) -> NDArray[np.float64]:
        """How much each training row counts, ``[n]``."""
        if WEIGHT in self.train:
            return self.train[WEIGHT].to_numpy(np.float64)
        return np.ones(len(self.train))

    @property
    def whole(self) -> Split:
        """A split whose training rows are all of its rows; newer ones count like its newest."""
        rows = pd.concat([self.train, self.validation, self.holdout], ignore_index=True)
        if WEIGHT in rows:
            rows[WEIGHT] = rows[WEIGHT].fillna(self.train[WEIGHT].max())
        return Split(rows, self.holdout, self.holdout)


@dataclass(frozen=True, slots=True)
class Options:
    """How to train; ``categorical`` names columns of numbers that are names, not amounts.

    ``classes`` are those that the contract knows, for training rows that do not hold them all.
    Fine-tuning a network trains the head alone for ``head_epochs`` first, then every part, at a
    rate that is multiplied by ``decay`` with each part towards the input (None: what the kind's
    trainer says, by docs/benchmarks.md); ``mixed`` computes products in bfloat16;
    ``unknown`` is the share of categories and words that are hidden from it while it trains.
    ``settings`` are the trainer's own; a key that it does not know is an error in words.
    """

    task: Task
    categorical: tuple[str, ...] = ()
    classes: tuple[Any, ...] = ()
    seed: int = 0
    epochs: int = 30
    patience: int = 5
    batch: int = 256
    widths: tuple[int, ...] = (64, 128)
    depth: int = 2
    dropout: float = 0.1
    rate: float = 2e-3
    tuning_rate: float = 5e-4
    head_epochs: int | None = None
    decay: float | None = None
    recovery_rate: float = 2e-3
    weight_decay: float = 1e-2
    mixed: bool = False
    unknown: float = 0.01
    settings: Mapping[str, Any] = field(default_factory=dict)


class Fitted(Protocol):
    """A trained model, as far as the ladder looks at it."""

    history: list[dict[str, float]]
    """One entry per epoch or stage, for the run's curves."""
    loss: float
    """Loss on the validation rows: comparable among models fitted to the same split."""

    @property
    def inputs(self) -> Mapping[str, str]:
        """Input column -> MLflow type, of those that it reads."""

    @property
    def classes(self) -> tuple[Any, ...]:
        """The classes in the order of its answers; empty for regression."""


class Trainer(Protocol):
    """Training, shrinking and writing down one kind of model.

    Every method is repeatable: the same rows and options give the same model. Those that the kind
    has no use for raise ``Unsupported`` with the reason.
    """

    file: ClassVar[str]
    """Name of the file that ``save`` writes; no pickle."""
    tunes_cheaply: ClassVar[bool]
    """Whether going on from a version's weights costs less than a model from scratch, so that the
    ladder tries it first; a class that does not say so is taken to."""

    def fresh(self, data: Split, options: Options, *, checkpoints: Checkpoints | None = None
              ) -> Fitted:
        """A model trained from scratch."""

    def tuned(self, start: Fitted, data: Split, options: Options, *, name: str = "tune",
              checkpoints: Checkpoints | None = None) -> Fitted:
        """The model ``start`` trained further; ``start`` itself stays as it is."""

    def pruned(self, fitted: Fitted, share: float, data: Split, *, options: Options,
               checkpoints: Checkpoints | None = None) -> Fitted:
        """A smaller copy without about this share of its inner units, recovered by training."""

    def capped(self, options: Options, fitted: Fitted, start: Fitted | None = None) -> Options:
        """Options that end a training after as many rounds as ``fitted`` took (from ``start``)."""

    def export(self, fitted: Fitted, contract: Contract, path: Path) -> Path:
        """The ONNX artifact from raw columns to the contract's answers."""

    def quantized(self, source: Path, target: Path, *, calibration: pd.DataFrame) -> Path:
        """The int8 form of an artifact; the calibration rows set its ranges."""

    def save(self, fitted: Fitted, path: Path) -> Path:
        """Write what ``load`` reads back, so that a later request can go on from it."""

    def load(self, path: Path) -> Fitted:
        """What ``save`` wrote."""

    def varied(self, trial: Any, options: Options) -> Options:
        """The options that an Optuna trial suggests: hyperparameters and architecture."""

    def firsts(self, options: Options) -> Sequence[Mapping[str, Any]]:
        """What a search tries first, as values of the names in ``varied`` (all or some of them);
        a class without it has nothing to name."""


class Teaching(Trainer, Protocol):
    """A trainer whose models can learn from others' answers; not every one can."""

    def taught(self, teachers: Sequence[Fitted], data: Split, options: Options, *,
               checkpoints: Checkpoints | None = None) -> Fitted:
        """A model trained from scratch on labels and on the mean of the teachers' answers, which
        are models of other options and the same rows; its ``loss`` is of labels alone."""


def teaches(trainer: Trainer) -> TypeGuard[Teaching]:
    """Whether the trainer is such a one."""
    return hasattr(trainer, "taught")


def taught(trainer: Trainer, teachers: Sequence[Fitted], data: Split, options: Options, *,
           checkpoints: Checkpoints | None = None) -> Fitted:
    """A model trained from scratch, by teachers where there are some."""
    if not teachers or not teaches(trainer):
        return trainer.fresh(data, options, checkpoints=checkpoints)
    return trainer.taught(teachers, data, options, checkpoints=checkpoints)
