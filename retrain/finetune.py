"""Champion to candidate: fine-tune the champion's weights, or train from scratch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from retrain.checkpoints import Checkpoints
from retrain.contract import Task
from retrain.network import Spec
from retrain.preprocess import Encoder

if TYPE_CHECKING:
    from torch import nn

Progress = Callable[[int, int, dict[str, float]], None]
"""Called after each epoch with (step, total, metrics)."""


@dataclass(frozen=True, slots=True)
class Split:
    """Labelled rows by time, oldest first; columns as ``Source.sample`` gives them.

    Features under their names, ``_label``, ``_timestamp`` and, where logged, ``_prediction``,
    ``_score`` and ``_version``. Choices are made on ``validation``; only the gate sees ``holdout``.
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    holdout: pd.DataFrame


@dataclass(frozen=True, slots=True)
class Options:
    """How to train; ``categorical`` names columns of numbers that are names, not amounts."""

    task: Task
    categorical: tuple[str, ...] = ()
    seed: int = 0
    epochs: int = 30
    patience: int = 5
    batch: int = 256
    widths: tuple[int, ...] = (64, 128)
    depth: int = 2
    dropout: float = 0.1
    rate: float = 2e-3
    tuning_rate: float = 5e-4
    weight_decay: float = 1e-2


@dataclass(slots=True)
class Fitted:
    """A trained network (in evaluation mode) and how it came about."""

    module: nn.Module
    spec: Spec
    encoder: Encoder
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    validation: dict[str, float] = field(default_factory=dict)


def train(data: Split, options: Options, *, start: Fitted | None = None,
          checkpoints: Checkpoints | None = None, progress: Progress | None = None) -> Fitted:
    """The fitted network: ``start`` fine-tuned, or the best of the widths from scratch.

    Runs on one thread and repeats bit for bit; killed and called again with the same checkpoints it
    goes on after the last finished epoch and ends the same.
    """
    raise NotImplementedError


def probabilities(fitted: Fitted, frame: pd.DataFrame) -> Any:
    """Class probabilities ``[n, classes]`` or values ``[n]`` of the torch module."""
    raise NotImplementedError
