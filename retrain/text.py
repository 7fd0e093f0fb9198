"""The torch trainer of texts: columns of text into a small network, trained from scratch.

``training.settings``: ``columns`` that hold the text (default: every column of text that is not
named in ``log.features.categorical``), ``words`` known at most (default 8000), ``length`` in words
that is read at most (64), ``size`` of a word's embedding (default: ``widths``, which is the width
of the hidden layer too). Other columns are left unread.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from retrain.contract import column_type, features_of
from retrain.finetune import Network, target, untrained
from retrain.neural import Neural, checked, common, ended, halves, nearest
from retrain.quantize import embedded, quantize
from retrain.spec import TextSpec
from retrain.trainer import Options, Split
from retrain.vocabulary import Words

SETTINGS = {"columns": list, "words": int, "length": int, "size": int}

SIZES, WORDS = (8, 16, 32, 64, 128), (2000, 4000, 8000, 16_000)
"""Sizes of an embedding and of the vocabulary that a search chooses among."""

HIDDEN = 0.2
"""Share of the words that are left out of a text each time that it is trained on: so rare words
are not relied upon (on ``arxiv_physics_text`` half a point of accuracy)."""


class Text(Neural):
    """Networks over texts; see ``retrain.trainer.Trainer`` for what each method promises."""

    steps = 100

    def paced(self, data: Split, options: Options) -> Options:
        return replace(super().paced(data, options), unknown=max(HIDDEN, options.unknown))

    def beginners(self, data: Split, options: Options) -> list[Network]:
        settings, train = checked(options.settings, SETTINGS), data.train
        names = settings.get("columns") or [
            name for name in features_of(train)
            if name not in options.categorical and column_type(train[name]) == "string"]
        encoder = Words.fit(train, names, most=settings.get("words", 8000),
                            length=settings.get("length", 64))
        spec = TextSpec(options.task, words=encoder.rows, length=encoder.length,
                        dropout=options.dropout, **target(train, options))
        return [untrained(replace(spec, size=settings.get("size", width), layers=(width,)),
                          encoder, options) for width in options.widths]

    def capped(self, options: Options, fitted: Network, start: Network | None = None) -> Options:
        return replace(ended(options, fitted), widths=fitted.spec.layers[-1:],
                       settings={**options.settings, "size": fitted.spec.size})

    def quantized(self, source: Path, target: Path, *, calibration: pd.DataFrame) -> Path:
        return embedded(quantize(source, target, calibration=calibration))

    def varied(self, trial: Any, options: Options) -> Options:
        size = trial.suggest_categorical("size", SIZES)
        words = trial.suggest_categorical("words", WORDS)
        return replace(common(trial, options), widths=(size,),
                       settings={**options.settings, "words": words, "size": size})

    def shapes(self, options: Options) -> list[dict[str, Any]]:
        words = nearest(options.settings.get("words", 8000), WORDS)
        return [{"size": nearest(width, SIZES), "words": words} for width in halves(options)]
