"""What all torch trainers share: whatever a network reads, it is tuned, pruned, written alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from monitor.errors import HoldfastError
from retrain.checkpoints import Checkpoints
from retrain.contract import Contract
from retrain.export import to_onnx
from retrain.finetune import Network, tuned
from retrain.network import load, save
from retrain.prune import prune, recover
from retrain.quantize import quantize
from retrain.sensitivity import ratios
from retrain.trainer import Options, Split


class Neural:
    """A torch trainer without ``fresh`` and ``varied``; see ``retrain.trainer.Trainer``."""

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
        options, dropout=trial.suggest_float("dropout", 0.0, 0.4),
        rate=trial.suggest_float("rate", 3e-4, 1e-2, log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-4, 1e-1, log=True),
        batch=trial.suggest_categorical("batch", [128, 256, 512]))


def ended(options: Options, fitted: Network) -> Options:
    """The options for as many epochs as the network's best took, whatever validation says."""
    rounds = max(1, fitted.best_epoch)
    return replace(options, epochs=rounds, patience=rounds, head_epochs=fitted.head_epoch)
