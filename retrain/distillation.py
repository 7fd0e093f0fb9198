"""Distillation: a network that learns others' answers beside the labels (Hinton 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from monitor.errors import HoldfastError
from retrain.checkpoints import Checkpoints
from retrain.finetune import Network, encode, finished, label_loss, mean, plan_of
from retrain.loop import Loss, Plan, Progress, Rows, evaluate, run
from retrain.trainer import Options, Split

if TYPE_CHECKING:
    from torch import Tensor

ALPHA, TEMPERATURE = 0.7, 2.0
"""Weight of the teachers' answers against the labels where a network begins anew, and how much they
are softened."""


def taught(students: Sequence[Network], teachers: Sequence[Network], data: Split,
           options: Options, *, checkpoints: Checkpoints | None = None) -> Network:
    """Each untrained student trained in place; the one with the least loss on validation."""
    return min((distilled(item, teachers, data, plan=plan_of(options, f"taught-{place}",
                                                             options.rate), checkpoints=checkpoints)
                for place, item in enumerate(students)), key=lambda item: item.loss)


def distilled(student: Network, teachers: Sequence[Network], data: Split, *, plan: Plan,
              alpha: float = ALPHA, checkpoints: Checkpoints | None = None,
              progress: Progress | None = None) -> Network:
    """The student trained in place on labels and on the mean of what the teachers answer, which
    weighs ``alpha``.

    Its epoch is chosen by both; its ``loss`` is of the labels alone, as every network's.
    """
    for teacher in teachers:
        _same_answers(student, teacher)
    validation = encode(student, data.validation, teachers)
    state = run(student.module, encode(student, data.train, teachers), validation=validation,
                plan=plan, loss=distillation(student, alpha), checkpoints=checkpoints,
                progress=progress)
    made = finished(student, state)
    made.loss = evaluate(made.module, validation, label_loss(made.spec))
    return made


def distillation(student: Network, alpha: float) -> Loss:
    """``alpha`` x T^2 KL(teacher || student) of the softened classes + (1 - ``alpha``) x loss of
    labels; for regression Huber's loss against the teacher's value in place of KL."""
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
        return alpha * mean(soft, rows.weight) + (1 - alpha) * labels(answer, rows)

    return loss


def _same_answers(student: Network, teacher: Network) -> None:
    """``HoldfastError`` where the teacher answers another question than the student is asked."""
    ours, theirs = ((item.spec.task, tuple(item.spec.classes)) for item in (student, teacher))
    if ours != theirs:
        raise HoldfastError(f"the teacher answers {_named(theirs)}, the student {_named(ours)}; "
                            "right would be the same task and the same classes in one order")


def _named(answers: tuple[str, tuple[object, ...]]) -> str:
    task, classes = answers
    return f"{task} of {', '.join(map(str, classes))}" if classes else task
