"""The torch trainer of tables: numbers and category embeddings into a multilayer perceptron."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from retrain.finetune import Network, beginners
from retrain.neural import Neural, common, ended, halves, nearest
from retrain.trainer import Options, Split

WIDTHS, MOST_LAYERS = (8, 16, 32, 64, 128, 256), 4
"""Units of a layer, and most layers, that a search chooses among."""


class Tabular(Neural):
    """Networks over tables; see ``retrain.trainer.Trainer`` for what each method promises."""

    def beginners(self, data: Split, options: Options) -> list[Network]:
        return beginners(data, options)

    def capped(self, options: Options, fitted: Network, start: Network | None = None) -> Options:
        return replace(ended(options, fitted), widths=(fitted.spec.width,))

    def varied(self, trial: Any, options: Options) -> Options:
        width = trial.suggest_categorical("width", WIDTHS)
        return replace(common(trial, options), widths=(width,),
                       depth=trial.suggest_int("depth", 1, MOST_LAYERS))

    def shapes(self, options: Options) -> list[dict[str, Any]]:
        return [{"width": nearest(width, WIDTHS), "depth": min(options.depth, MOST_LAYERS)}
                for width in halves(options)]
