"""The torch trainer of tables: numbers and category embeddings into a multilayer perceptron."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from retrain.checkpoints import Checkpoints
from retrain.contract import Contract
from retrain.export import to_onnx
from retrain.finetune import Network, train
from retrain.network import load, save
from retrain.prune import prune, recover
from retrain.quantize import quantize
from retrain.trainer import Options, Split


class Tabular:
    """Networks over tables; see ``retrain.trainer.Trainer`` for what each method promises."""

    file: ClassVar[str] = "weights.safetensors"

    def fresh(self, data: Split, options: Options, *, checkpoints: Checkpoints | None = None
              ) -> Network:
        return train(data, options, checkpoints=checkpoints)

    def tuned(self, start: Network, data: Split, options: Options, *, name: str = "tune",
              checkpoints: Checkpoints | None = None) -> Network:
        return train(data, options, start=start, name=name, checkpoints=checkpoints)

    def pruned(self, fitted: Network, share: float, data: Split, *, options: Options,
               checkpoints: Checkpoints | None = None) -> Network:
        return recover(prune(fitted, share), fitted, data, options=options,
                       checkpoints=checkpoints)

    def capped(self, options: Options, fitted: Network, start: Network | None = None) -> Options:
        rounds = max(1, fitted.best_epoch)
        return replace(options, epochs=rounds, patience=rounds, widths=(fitted.spec.width,))

    def export(self, fitted: Network, contract: Contract, path: Path) -> Path:
        return to_onnx(fitted, contract, path)

    def quantized(self, source: Path, target: Path, *, calibration: pd.DataFrame) -> Path:
        return quantize(source, target, calibration=calibration)

    def save(self, fitted: Network, path: Path) -> Path:
        return save(path, fitted.module, spec=fitted.spec, encoder=fitted.encoder)

    def load(self, path: Path) -> Network:
        return Network(*load(path))

    def varied(self, trial: Any, options: Options) -> Options:
        width = trial.suggest_categorical("width", [8, 16, 32, 64, 128, 256])
        return replace(
            options, widths=(width,), depth=trial.suggest_int("depth", 1, 4),
            dropout=trial.suggest_float("dropout", 0.0, 0.4),
            rate=trial.suggest_float("rate", 3e-4, 1e-2, log=True),
            weight_decay=trial.suggest_float("weight_decay", 1e-4, 1e-1, log=True),
            batch=trial.suggest_categorical("batch", [128, 256, 512]))
