"""Champion to candidate: fine-tune the champion's weights, or train from scratch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitor.errors import HoldfastError
from retrain.checkpoints import Checkpoints
from retrain.contract import Task, class_codes, class_values, features_of
from retrain.loop import Plan, Progress, Rows, State, run
from retrain.network import build, widened
from retrain.preprocess import Encoder, numbers
from retrain.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Split:
    """Labelled rows by time, oldest first; columns as ``Source.sample`` gives them.

    Features under their names, ``_label``, ``_timestamp`` and, where logged, ``_prediction``,
    ``_score`` and ``_version``. Choices are made on ``validation``; only the gate sees ``holdout``.
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    holdout: pd.DataFrame


@dataclass(frozen=True, slots=True)
class Options:
    """How to train; ``categorical`` names columns of numbers that are names, not amounts.

    ``classes`` are those that the contract knows, for training rows that do not hold them all.
    """

    task: Task
    categorical: tuple[str, ...] = ()
    classes: tuple[Any, ...] = ()
    seed: int = 0
    epochs: int = 30
    patience: int = 5
    batch: int = 256
    widths: tuple[int, ...] = (64, 128)
    depth: int = 2
    dropout: float = 0.1
    rate: float = 2e-3
    tuning_rate: float = 5e-4
    recovery_rate: float = 2e-3
    weight_decay: float = 1e-2


@dataclass(slots=True)
class Fitted:
    """A trained network (in evaluation mode) and how it came about."""

    module: nn.Module
    spec: Spec
    encoder: Encoder
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    validation: dict[str, float] = field(default_factory=dict)


def train(data: Split, options: Options, *, start: Fitted | Sequence[Fitted] | None = None,
          checkpoints: Checkpoints | None = None, progress: Progress | None = None) -> Fitted:
    """The fitted network: ``start`` fine-tuned, or the best of the widths from scratch.

    Of several starts (the champion and earlier versions) the one that ends best on validation is
    taken: where a season comes back an older version is often the better start.
    Runs on one thread and repeats bit for bit; killed and called again with the same checkpoints it
    goes on after the last finished epoch and ends the same.
    """
    starts = [start] if isinstance(start, Fitted) else list(start or ())
    if starts:
        return _best([fit(_widened(item, data.train), data,
                          plan=plan_of(options, f"tune-{index}", options.tuning_rate),
                          checkpoints=checkpoints, progress=progress)
                      for index, item in enumerate(starts)])
    encoder = Encoder.fit(data.train, features_of(data.train), options.categorical)
    return _best([fit(fresh(encoder, data.train, options, width), data,
                  plan=plan_of(options, f"width-{width}", options.rate),
                  checkpoints=checkpoints, progress=progress)
              for width in options.widths])


def _best(fitted: Sequence[Fitted]) -> Fitted:
    return min(fitted, key=lambda item: item.validation["loss"])


def _widened(start: Fitted, frame: pd.DataFrame) -> Fitted:
    encoder = start.encoder.widened(frame)
    if encoder == start.encoder:
        return Fitted(copy.deepcopy(start.module), start.spec, encoder)
    module, spec = widened(start.module, start.spec, before=start.encoder, after=encoder)
    return Fitted(module, spec, encoder)


def plan_of(options: Options, step: str, rate: float) -> Plan:
    """The loop's plan for one named step."""
    return Plan(step, options.seed, options.epochs, options.patience, options.batch, rate,
                options.weight_decay)


def fresh(encoder: Encoder, frame: pd.DataFrame, options: Options, width: int) -> Fitted:
    """An untrained network of this width for the frame's labels."""
    import torch

    classes: tuple[Any, ...] = ()
    offset, scale = 0.0, 1.0
    if options.task == "regression":
        values = numbers(frame["_label"])
        offset, scale = float(np.mean(values)), float(np.std(values)) or 1.0
    else:
        found = class_values(frame["_label"])
        if len(found) < 2:
            raise HoldfastError(f"the training rows hold {len(found)} class; at least two are "
                                "needed: train on more rows")
        classes = options.classes or found
    spec = Spec(options.task, classes, 2 * len(encoder.numeric), encoder.cardinalities, width,
                options.depth, options.dropout, offset, scale)
    torch.manual_seed(options.seed)
    return Fitted(build(spec), spec, encoder)


def fit(fitted: Fitted, data: Split, *, plan: Plan, checkpoints: Checkpoints | None = None,
        progress: Progress | None = None) -> Fitted:
    """The network trained in place on labels alone."""
    rows, validation = encode(fitted, data.train), encode(fitted, data.validation)
    state = run(fitted.module, rows, validation=validation, plan=plan,
                loss=label_loss(fitted.spec), checkpoints=checkpoints, progress=progress)
    return finished(fitted, state)


def finished(fitted: Fitted, state: State) -> Fitted:
    """The network with the history of its training."""
    fitted.module.eval()
    fitted.history, fitted.best_epoch = state.history, state.best_epoch
    fitted.validation = {"loss": state.best}
    return fitted


def encode(fitted: Fitted, frame: pd.DataFrame, teacher: Fitted | None = None) -> Rows:
    """Rows as tensors; those whose label is absent or none of the classes are left out."""
    import torch

    frame = frame[_usable(fitted.spec, frame)]
    if not len(frame):
        raise HoldfastError("no row has a usable label; train on a window whose labels are mature")
    numeric, categorical = fitted.encoder.transform(frame)
    target = _targets(fitted.spec, frame)
    answers = torch.zeros(len(frame), 0) if teacher is None else output(teacher, frame)
    return Rows(torch.from_numpy(numeric), torch.from_numpy(categorical),
                torch.from_numpy(target), answers)


def _usable(spec: Spec, frame: pd.DataFrame) -> NDArray[np.bool_]:
    if spec.task == "regression":
        return np.isfinite(numbers(frame["_label"]))
    return class_codes(frame["_label"], spec.classes) >= 0


def _targets(spec: Spec, frame: pd.DataFrame) -> NDArray[Any]:
    if spec.task == "regression":
        return numbers(frame["_label"]).astype(np.float32)
    return class_codes(frame["_label"], spec.classes)


def label_loss(spec: Spec) -> Any:
    """Cross entropy, or Huber's loss of the standardized value."""
    from torch.nn import functional

    def classes(answer: Tensor, target: Tensor, teacher: Tensor) -> Tensor:
        return functional.cross_entropy(answer, target)

    def value(answer: Tensor, target: Tensor, teacher: Tensor) -> Tensor:
        return functional.smooth_l1_loss(answer[:, 0] / spec.scale, target / spec.scale, beta=0.5)

    return value if spec.task == "regression" else classes


def output(fitted: Fitted, frame: pd.DataFrame) -> Tensor:
    """Logits ``[n, classes]`` or values ``[n, 1]`` of the torch module."""
    import torch

    numeric, categorical = fitted.encoder.transform(frame)
    fitted.module.eval()
    with torch.no_grad():
        answer = fitted.module(torch.from_numpy(numeric), torch.from_numpy(categorical))
    assert isinstance(answer, torch.Tensor)
    return answer


def probabilities(fitted: Fitted, frame: pd.DataFrame) -> NDArray[np.float64]:
    """Class probabilities ``[n, classes]`` or values ``[n]`` of the torch module."""
    answer = output(fitted, frame).double()
    plain = answer[:, 0] if fitted.spec.task == "regression" else answer.softmax(dim=1)
    return np.asarray(plain.numpy())
