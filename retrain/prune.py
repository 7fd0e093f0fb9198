"""Structured pruning: whole hidden units go, then distillation brings the accuracy back."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from monitor.errors import HoldfastError
from retrain.checkpoints import Checkpoints
from retrain.distillation import distilled
from retrain.finetune import Network, plan_of
from retrain.loop import Progress
from retrain.spec import ROUND_TO
from retrain.trainer import Options, Split

if TYPE_CHECKING:
    from torch import Tensor

def prune(fitted: Network, share: float, *, ratios: Sequence[float] | None = None) -> Network:
    """A copy without the ``share`` of hidden units of each layer that weigh least.

    ``ratios`` are shares of their own for each of ``module.prunable``. Inputs, embeddings of
    categories and the head keep their sizes. ``share`` 0 gives a plain copy.
    """
    if not 0 <= share < 1:
        raise HoldfastError(f"prune: {share} is not a share; right would be 0 or more, below 1")
    module = copy.deepcopy(fitted.module)
    asked = [share] * len(module.prunable) if ratios is None else ratios  # type: ignore[arg-type]
    if any(asked):
        _remove_units(module, asked, fitted.spec)
    return Network(module.eval(), module.narrowed(fitted.spec),  # type: ignore[operator]
                   fitted.encoder)


def _remove_units(module: Any, ratios: Sequence[float], spec: Any) -> None:
    import torch_pruning

    module.train()
    for parameter in module.parameters():  # frozen ones would silently stay
        parameter.requires_grad_(True)
    chosen = dict(zip(module.prunable, ratios, strict=True))
    if hasattr(module, "cut"):  # torch-pruning takes attention's one output for one of the words'
        module.cut(chosen.pop(module.embedding), ROUND_TO)
    for layer, ratio in chosen.items():  # asked for fewer units, torch-pruning removes none at all
        chosen[layer] = min(ratio, max(0.0, 1 - ROUND_TO / len(layer.weight)))
    kept = {id(layer) for layer in chosen}
    pruner = torch_pruning.pruner.BasePruner(
        module, example(spec), importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=0.0, pruning_ratio_dict=chosen, round_to=ROUND_TO,
        ignored_layers=[layer for layer in module.modules()
                        if next(layer.children(), None) is None and id(layer) not in kept])
    pruner.step()


def example(spec: Any, rows: int = 2) -> tuple[Tensor, ...]:
    """Tensors as the network takes them, all zeros."""
    import torch

    return tuple(torch.zeros(rows, width, dtype=getattr(torch, kind))
                 for _, width, kind in spec.tensors)


def recover(student: Network, teacher: Network, data: Split, *, options: Options,
            checkpoints: Checkpoints | None = None, progress: Progress | None = None) -> Network:
    """The student trained in place on the teacher's answers alone (Hinton 2015): labels would pull
    it away from what it is held against (docs/benchmarks.md)."""
    widths = repr([len(item) for item in student.module.parameters()])
    step = f"recover-{hashlib.sha256(widths.encode()).hexdigest()[:12]}"
    return distilled(student, [teacher], data, plan=plan_of(options, step, options.recovery_rate),
                     alpha=1.0, checkpoints=checkpoints, progress=progress)
