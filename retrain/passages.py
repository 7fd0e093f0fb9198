"""The trainer of transformers: columns of text into a pretrained encoder, fine-tuned by LoRA.

``training.settings``: ``folder`` with the model (see ``retrain.pretrained``; needed to train from
scratch), ``columns`` that hold the text (default: every column of text that is not named in
``log.features.categorical``), ``words`` known at most (20000), ``length`` in pieces that is read
at most (128), ``rank`` of what fine-tuning adds (8). Other columns are left unread.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from monitor.errors import HoldfastError
from retrain.checkpoints import Checkpoints
from retrain.contract import Contract, column_type, features_of
from retrain.distillation import distilled
from retrain.export import to_onnx
from retrain.finetune import Network, fit, joined, plan_of, target
from retrain.neural import Neural, checked, common, ended
from retrain.pieces import Pieces
from retrain.pretrained import pretrained
from retrain.prune import recover
from retrain.quantize import embedded, quantize
from retrain.spec import TransformerSpec
from retrain.trainer import Options, Split

SETTINGS = {"folder": str, "columns": list, "words": int, "length": int, "rank": int}

ALL_AT_ONCE = 3e-4
"""Largest rate at which every weight of a transformer learns (Devlin et al. 2019 take up to 5e-5
for large ones); added matrices take ``Options.rate``."""


class Passages(Neural):
    """Transformers over texts; see ``retrain.trainer.Trainer`` for what each method promises."""

    steps = 50

    def paced(self, data: Split, options: Options) -> Options:
        return replace(super().paced(data, options),
                       recovery_rate=min(options.recovery_rate, ALL_AT_ONCE))

    def beginners(self, data: Split, options: Options) -> list[Network]:
        from retrain.transformer import Transformer

        settings, train = checked(options.settings, SETTINGS), data.train
        if "folder" not in settings:
            raise HoldfastError("training.settings.folder: absent; right would be the folder of a "
                                "pretrained encoder on this machine")
        found = pretrained(settings["folder"])
        names = settings.get("columns") or [
            name for name in features_of(train)
            if name not in options.categorical and column_type(train[name]) == "string"]
        longest = json.loads(found.config).get("max_position_embeddings", 512) - 2
        encoder = Pieces.fit(train, names, found.tokenizer, most=settings.get("words", 20_000),
                             length=min(settings.get("length", 128), longest))
        spec = TransformerSpec(options.task, config=found.config, length=encoder.length,
                               rank=settings.get("rank", 8), dropout=options.dropout,
                               **target(train, options))
        _seeded(options.seed)
        module = Transformer(spec, found.body)
        if not module.feeding:
            raise HoldfastError(f"training.settings.folder: no feed-forward layers are found in "
                                f"{settings['folder']}; right would be an encoder as BERT")
        return [Network(module, spec, encoder)]

    def fresh(self, data: Split, options: Options, *, checkpoints: Checkpoints | None = None
              ) -> Network:
        [made] = self.beginners(data, options)
        return _learned(made, data, self.paced(data, options), step=("fresh", options.rate),
                        learn=partial(fit, checkpoints=checkpoints))

    def taught(self, teachers: Sequence[Network], data: Split, options: Options, *,
               checkpoints: Checkpoints | None = None) -> Network:
        [made] = self.beginners(data, options)
        return _learned(made, data, self.paced(data, options), step=("taught", options.rate),
                        learn=partial(distilled, teachers=teachers, checkpoints=checkpoints))

    def tuned(self, start: Network, data: Split, options: Options, *, name: str = "tune",
              checkpoints: Checkpoints | None = None) -> Network:
        fitted = Network(copy.deepcopy(start.module), start.spec,
                         start.encoder.widened(data.train))
        return _learned(fitted, data, self.paced(data, options),
                        step=(name, options.tuning_rate),
                        learn=partial(fit, checkpoints=checkpoints))

    def pruned(self, fitted: Network, share: float, data: Split, *, options: Options,
               checkpoints: Checkpoints | None = None) -> Network:
        module: Any = copy.deepcopy(fitted.module)
        module.cut(share)
        small = Network(module.eval(), module.narrowed(fitted.spec), fitted.encoder)
        return recover(small, fitted, data, options=self.paced(data, options),
                       checkpoints=checkpoints)

    def capped(self, options: Options, fitted: Network, start: Network | None = None) -> Options:
        return ended(options, fitted)

    def export(self, fitted: Network, contract: Contract, path: Path) -> Path:
        return to_onnx(confined(fitted), contract, path)

    def quantized(self, source: Path, target: Path, *, calibration: pd.DataFrame) -> Path:
        return embedded(quantize(source, target, calibration=calibration, kind="dynamic"))

    def varied(self, trial: Any, options: Options) -> Options:
        rank = trial.suggest_categorical("rank", [4, 8, 16, 32])
        length = trial.suggest_categorical("length", [32, 64, 128])
        return replace(common(trial, options), settings={
            **options.settings, "rank": rank, "length": length})


def confined(fitted: Network) -> Network:
    """The same function without the pieces of the vocabulary that no known word is cut into."""
    module: Any = copy.deepcopy(fitted.module)
    kept = tuple(sorted({*range(module.nothing + 1), *fitted.encoder.used()}))
    module.confine(kept)
    return Network(module.eval(), fitted.spec, replace(fitted.encoder, kept=kept))


def _learned(fitted: Network, data: Split, options: Options, *, step: tuple[str, float],
             learn: Callable[..., Network]) -> Network:
    """The network with LoRA trained beside its body, and merged into it; (name, rate) of the step,
    and what trains it by a plan.

    The head alone learns for ``options.head_epochs`` first.
    """
    from retrain.transformer import adapt, merge

    module: Any = fitted.module
    (name, rate), history = step, []
    adapt(module, fitted.spec.rank, options.seed)
    if options.head_epochs:
        plan = replace(plan_of(options, f"{name}-head", rate), frozen=True,
                       epochs=options.head_epochs, patience=options.head_epochs)
        history = learn(fitted, data=data, plan=plan).history
        fitted.head_epoch = fitted.best_epoch
    fitted = learn(fitted, data=data, plan=plan_of(options, name, rate))
    fitted.history = joined(history, fitted.history)
    merge(module)
    return fitted


def _seeded(seed: int) -> None:
    import torch

    torch.manual_seed(seed)
