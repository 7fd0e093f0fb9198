"""Structured pruning: whole hidden units go, then distillation brings the accuracy back."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from monitor.errors import HoldfastError
from retrain.checkpoints import Checkpoints
from retrain.finetune import Network, encode, finished, label_loss, mean, plan_of
from retrain.loop import Loss, Progress, Rows, run
from retrain.spec import ROUND_TO
from retrain.trainer import Options, Split

if TYPE_CHECKING:
    from torch import Tensor

ALPHA, TEMPERATURE = 0.7, 2.0
"""Weight of the teacher's answers against the labels, and how much they are softened."""


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
    """The student trained in place on labels and on the teacher's answers (Hinton 2015)."""
    widths = repr([len(item) for item in student.module.parameters()])
    step = f"recover-{hashlib.sha256(widths.encode()).hexdigest()[:12]}"
    state = run(student.module, encode(student, data.train, teacher),
                validation=encode(student, data.validation, teacher),
                plan=plan_of(options, step, options.recovery_rate),
                loss=distillation(student), checkpoints=checkpoints, progress=progress)
    return finished(student, state)


def distillation(student: Network) -> Loss:
    """``ALPHA`` x T^2 KL(teacher || student) of the softened classes + (1 - ALPHA) x label loss;
    for regression Huber's loss against the teacher's value in place of KL."""
    from torch.nn import functional

    spec, labels = student.spec, label_loss(student.spec)

    def loss(answer: Tensor, rows: Rows) -> Tensor:
        if spec.task == "regression":
            soft = functional.smooth_l1_loss(answer / spec.scale, rows.teacher / spec.scale,
                                             beta=0.5, reduction="none")[:, 0]
        else:
            soft = TEMPERATURE**2 * functional.kl_div(
                functional.log_softmax(answer / TEMPERATURE, dim=1),
                functional.log_softmax(rows.teacher / TEMPERATURE, dim=1),
                reduction="none", log_target=True).sum(dim=1)
        return ALPHA * mean(soft, rows.weight) + (1 - ALPHA) * labels(answer, rows)

    return loss
