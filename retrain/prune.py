"""Structured pruning: whole hidden units go, then distillation brings the accuracy back."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from monitor.errors import HoldfastError
from retrain.checkpoints import Checkpoints
from retrain.finetune import Network, encode, finished, label_loss, mean, plan_of
from retrain.loop import Loss, Progress, Rows, run
from retrain.network import narrowed
from retrain.trainer import Options, Split

if TYPE_CHECKING:
    from torch import Tensor

ROUND_TO = 8
"""Widths stay multiples of this, as matrix kernels like them."""

ALPHA, TEMPERATURE = 0.7, 2.0
"""Weight of the teacher's answers against the labels, and how much they are softened."""


def prune(fitted: Network, share: float) -> Network:
    """A copy without the ``share`` of hidden units of each layer that weigh least.

    Inputs, embeddings and the head keep their sizes. ``share`` 0 gives a plain copy.
    """
    if not 0 <= share < 1:
        raise HoldfastError(f"prune: {share} is not a share; right would be 0 or more, below 1")
    module = copy.deepcopy(fitted.module)
    if share:
        _remove_units(module, share, fitted)
    width: int = module.hidden[-1].out_features  # type: ignore[union-attr, index]
    return Network(module.eval(), narrowed(fitted.spec, width), fitted.encoder)


def _remove_units(module: Any, share: float, fitted: Network) -> None:
    import torch
    import torch_pruning

    spec = fitted.spec
    module.train()
    for parameter in module.parameters():  # frozen ones would silently stay
        parameter.requires_grad_(True)
    example = (torch.zeros(2, spec.n_numeric),
               torch.zeros(2, len(spec.cardinalities), dtype=torch.int64))
    pruner = torch_pruning.pruner.BasePruner(
        module, example, importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=share, round_to=ROUND_TO,
        ignored_layers=[module.head, *module.embeddings])
    pruner.step()


def recover(student: Network, teacher: Network, data: Split, *, options: Options,
            checkpoints: Checkpoints | None = None, progress: Progress | None = None) -> Network:
    """The student trained in place on labels and on the teacher's answers (Hinton 2015)."""
    step = f"recover-{student.spec.width}"
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
