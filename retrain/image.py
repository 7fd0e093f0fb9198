"""The torch trainer of images: one binary column into a convolutional network.

``training.settings``: ``shape`` [height, width, channels] of raw pixels (default: square; encoded
images say their own), ``kernels`` counts per convolution (default: ``widths`` W gives W/4, W/2, W),
``hidden`` width of the layer before the head (default: W). Other columns are left unread.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from retrain.contract import features_of
from retrain.finetune import Network, target, untrained
from retrain.neural import Neural, checked, common, ended, halves, nearest
from retrain.pixels import Pixels
from retrain.spec import ImageSpec
from retrain.trainer import Options, Split

SETTINGS = {"shape": list, "kernels": list, "hidden": int}

MOST_KERNELS, KERNELS, WIDTHS = 4, (4, 8, 16, 32), (16, 32, 64, 128)
"""Convolutions that an Optuna trial may stack, kernels of the first, and units before the head."""


class Image(Neural):
    """Networks over images; see ``retrain.trainer.Trainer`` for what each method promises."""

    steps = 40
    head_epochs = 5
    decay = 0.7

    def beginners(self, data: Split, options: Options) -> list[Network]:
        settings = checked(options.settings, SETTINGS)
        encoder = Pixels.fit(data.train, features_of(data.train), settings.get("shape"))
        [pixels] = encoder.transform(data.train.head(2000))
        spec = ImageSpec(options.task, height=encoder.height, width=encoder.width,
                         channels=encoder.channels, dropout=options.dropout,
                         mean=float(np.mean(pixels)), deviation=float(np.std(pixels)) or 1.0,
                         **target(data.train, options))
        return [untrained(replace(spec, kernels=_kernels(width, settings),
                                  hidden=settings.get("hidden", width)), encoder, options)
                for width in (options.widths if "kernels" not in settings else (64,))]

    def capped(self, options: Options, fitted: Network, start: Network | None = None) -> Options:
        return replace(ended(options, fitted), settings={
            **options.settings, "kernels": list(fitted.spec.kernels), "hidden": fitted.spec.hidden})

    def varied(self, trial: Any, options: Options) -> Options:
        first = trial.suggest_categorical("kernels", KERNELS)
        depth = trial.suggest_int("depth", 1, MOST_KERNELS)
        kernels = [first * 2 ** min(place, 2) for place in range(depth)]
        hidden = trial.suggest_categorical("hidden", WIDTHS)
        return replace(common(trial, options), settings={
            **options.settings, "kernels": kernels, "hidden": hidden})

    def shapes(self, options: Options) -> list[dict[str, Any]]:
        return [{"kernels": nearest(width / 4, KERNELS), "depth": 3,
                 "hidden": nearest(width, WIDTHS)} for width in halves(options)]


def _kernels(width: int, settings: dict[str, Any]) -> tuple[int, ...]:
    given: list[int] = settings.get("kernels", [max(1, width // 4), max(1, width // 2), width])
    return tuple(given)
