"""What all torch trainers share: whatever a network reads, it is tuned, pruned, written alike."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from monitor.errors import HoldfastError
from retrain.checkpoints import Checkpoints
from retrain.contract import Contract
from retrain.distillation import taught
from retrain.export import to_onnx
from retrain.finetune import Network, best, tuned
from retrain.network import load, save
from retrain.prune import prune, recover
from retrain.quantize import quantize
from retrain.sensitivity import ratios
from retrain.trainer import Options, Split

BATCHES = (64, 128, 256, 512)
"""Rows of an update that a search chooses among."""

RATES, DECAYS, DROPOUTS = (3e-4, 1e-2), (1e-4, 1e-1), (0.0, 0.4)
"""Ends of the learning rates, weight decays and shares of dropout that it chooses between."""


class Neural(ABC):
    """A torch trainer without ``beginners`` and ``varied``; see ``retrain.trainer.Trainer``."""

    file: ClassVar[str] = "weights.safetensors"
    tunes_cheaply: ClassVar[bool] = True
    steps: ClassVar[int] = 0
    """Fewest updates in an epoch: with few rows batches get smaller, down to 32."""
    head_epochs: ClassVar[int] = 0
    decay: ClassVar[float] = 1.0
    """Those of ``Options`` where they are None. Tables and texts change at their input as soon as
    at their head: slower steps there cost up to .08 of accuracy on ``insects_gradual``."""

    def paced(self, data: Split, options: Options) -> Options:
        """The options with batches small enough for ``steps``."""
        if not self.steps:
            return options
        return replace(options, batch=min(options.batch, max(32, len(data.train) // self.steps)))

    @abstractmethod
    def beginners(self, data: Split, options: Options) -> list[Network]:
        """The untrained networks of which a training from scratch takes the best."""

    def fresh(self, data: Split, options: Options, *, checkpoints: Checkpoints | None = None
              ) -> Network:
        return best(self.beginners(data, options), data, self.paced(data, options),
                    checkpoints=checkpoints)

    def taught(self, teachers: Sequence[Network], data: Split, options: Options, *,
               checkpoints: Checkpoints | None = None) -> Network:
        return taught(self.beginners(data, options), teachers, data, self.paced(data, options),
                      checkpoints=checkpoints)

    def tuned(self, start: Network, data: Split, options: Options, *, name: str = "tune",
              checkpoints: Checkpoints | None = None) -> Network:
        staged = replace(
            options, decay=self.decay if options.decay is None else options.decay,
            head_epochs=self.head_epochs if options.head_epochs is None else options.head_epochs)
        return tuned(start, data, self.paced(data, staged), name=name, checkpoints=checkpoints)

    def pruned(self, fitted: Network, share: float, data: Split, *, options: Options,
               checkpoints: Checkpoints | None = None) -> Network:
        small = prune(fitted, share, ratios=ratios(fitted, share, data))
        return recover(small, fitted, data, options=self.paced(data, options),
                       checkpoints=checkpoints)

    def export(self, fitted: Network, contract: Contract, path: Path) -> Path:
        return to_onnx(fitted, contract, path)

    def quantized(self, source: Path, target: Path, *, calibration: pd.DataFrame) -> Path:
        return quantize(source, target, calibration=calibration)

    def save(self, fitted: Network, path: Path) -> Path:
        return save(path, fitted.module, spec=fitted.spec, encoder=fitted.encoder)

    def load(self, path: Path) -> Network:
        return Network(*load(path))

    def firsts(self, options: Options) -> list[dict[str, Any]]:
        """Each of ``shapes``, trained as it is and in smaller and longer steps."""
        return [{**shape, **pace} for pace in _paces(options) for shape in self.shapes(options)]

    def shapes(self, options: Options) -> list[dict[str, Any]]:
        """Smaller networks than the default one, as values of names in ``varied``."""
        return [{}]


def checked(settings: Mapping[str, Any], known: Mapping[str, type]) -> dict[str, Any]:
    """The trainer's own settings; ``HoldfastError`` for a key or a value that it does not know."""
    for name, value in settings.items():
        kind = known.get(name)
        if kind is None:
            raise HoldfastError(f"training.settings.{name}: not known to this trainer; right would "
                                f"be one of {', '.join(known)}")
        if not isinstance(value, kind) or isinstance(value, bool):
            raise HoldfastError(f"training.settings.{name}: {value!r}; right would be a "
                                f"{kind.__name__}")
    return dict(settings)


def common(trial: Any, options: Options) -> Options:
    """What an Optuna trial suggests for every network: how it is trained."""
    return replace(
        options, dropout=trial.suggest_float("dropout", *DROPOUTS),
        rate=trial.suggest_float("rate", *RATES, log=True),
        weight_decay=trial.suggest_float("weight_decay", *DECAYS, log=True),
        batch=trial.suggest_categorical("batch", BATCHES))


def _paces(options: Options) -> list[dict[str, Any]]:
    """Values of ``common`` to try first: training as it is, and in smaller and longer steps."""
    return [{"dropout": _within(options.dropout, *DROPOUTS),
             "weight_decay": _within(options.weight_decay, *DECAYS),
             "rate": _within(options.rate * longer, *RATES),
             "batch": nearest(options.batch // smaller, BATCHES)}
            for longer, smaller in ((1, 1), (2.5, 4))]


def nearest(value: float, choices: Sequence[int]) -> int:
    """The choice with the least ratio to the value."""
    return min(choices, key=lambda choice: abs(math.log(choice / max(1.0, value))))


def halves(options: Options) -> list[int]:
    """A half, a quarter and an eighth of the widest layers that training from scratch tries."""
    return [max(1, max(options.widths) // part) for part in (2, 4, 8)]


def _within(value: float, least: float, most: float) -> float:
    return min(max(value, least), most)


def ended(options: Options, fitted: Network) -> Options:
    """The options for as many epochs as the network's best took, whatever validation says."""
    rounds = max(1, fitted.best_epoch)
    return replace(options, epochs=rounds, patience=rounds, head_epochs=fitted.head_epoch)
