"""Champion to candidate: fine-tune the champion's weights, or train from scratch."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitor.errors import HoldfastError
from retrain.checkpoints import Checkpoints
from retrain.contract import class_codes, class_values, features_of
from retrain.loop import AT_ONCE, Loss, Plan, Progress, Rows, State, run
from retrain.network import build, widened
from retrain.preprocess import Encoder, numbers
from retrain.spec import Spec
from retrain.trainer import WEIGHT, Options, Split

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(slots=True)
class Network:
    """A trained network (in evaluation mode) and how it came about.

    ``spec`` is a ``Shape``, ``encoder`` makes ``spec.tensors`` of a frame.
    """

    module: nn.Module
    spec: Any
    encoder: Any
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    head_epoch: int = 0
    """The best epoch of the stage in which the head learned alone."""
    loss: float = math.inf

    @property
    def inputs(self) -> dict[str, str]:
        """Input column -> MLflow type."""
        return dict(self.encoder.inputs)

    @property
    def classes(self) -> tuple[Any, ...]:
        """The classes in the order of the logits."""
        return tuple(self.spec.classes)


def train(data: Split, options: Options, *, start: Network | None = None, name: str = "tune",
          checkpoints: Checkpoints | None = None, progress: Progress | None = None) -> Network:
    """The fitted network over tables: ``start`` fine-tuned, or the best of the widths from scratch.

    Runs on one thread and repeats bit for bit; killed and called again with the same checkpoints it
    goes on after the last finished epoch and ends the same.
    """
    if start is not None:
        return tuned(start, data, options, name=name, checkpoints=checkpoints, progress=progress)
    return best(beginners(data, options), data, options, checkpoints=checkpoints,
                progress=progress)


def beginners(data: Split, options: Options) -> list[Network]:
    """An untrained network over tables of each of the widths."""
    encoder = Encoder.fit(data.train, features_of(data.train), options.categorical)
    return [fresh(encoder, data.train, options, width) for width in options.widths]


def best(untrained: Sequence[Network], data: Split, options: Options, *,
         checkpoints: Checkpoints | None = None, progress: Progress | None = None) -> Network:
    """Each network trained in place; the one with the least loss on validation."""
    return min((fit(item, data, plan=plan_of(options, f"fresh-{place}", options.rate),
                    checkpoints=checkpoints, progress=progress)
                for place, item in enumerate(untrained)), key=lambda item: item.loss)


def tuned(start: Network, data: Split, options: Options, *, name: str = "tune",
          checkpoints: Checkpoints | None = None, progress: Progress | None = None) -> Network:
    """A copy of ``start`` trained further: the head alone for ``options.head_epochs``, then all
    parts, with a rate that falls by ``options.decay`` from part to part towards the input.

    It comes back unchanged where no epoch of either stage is better on validation.
    """
    fitted, history = _widened(start, data.train), []
    if options.head_epochs:
        plan = replace(plan_of(options, f"{name}-head", options.tuning_rate), frozen=True,
                       epochs=options.head_epochs, patience=options.head_epochs)
        history = fit(fitted, data, plan=plan, checkpoints=checkpoints, progress=progress).history
        fitted.head_epoch = fitted.best_epoch
    plan = plan_of(options, name, options.tuning_rate)
    if options.decay is not None:
        plan = replace(plan, decay=options.decay)
    fitted = fit(fitted, data, plan=plan, checkpoints=checkpoints, progress=progress)
    fitted.history = joined(history, fitted.history)
    return fitted


def joined(first: list[dict[str, float]], then: list[dict[str, float]]) -> list[dict[str, float]]:
    """Two stages as one history; the second's epoch 0 is where the first ended."""
    if not first:
        return then
    last = first[-1]["epoch"]
    return [*first, *({**item, "epoch": item["epoch"] + last} for item in then[1:])]


def _widened(start: Network, frame: pd.DataFrame) -> Network:
    encoder = start.encoder.widened(frame)
    if encoder == start.encoder:
        return Network(copy.deepcopy(start.module), start.spec, encoder)
    module, spec = widened(start.module, start.spec, before=start.encoder, after=encoder)
    return Network(module, spec, encoder)


def plan_of(options: Options, step: str, rate: float) -> Plan:
    """The loop's plan for one named step."""
    return Plan(step, options.seed, options.epochs, options.patience, options.batch, rate,
                options.weight_decay, unknown=options.unknown, mixed=options.mixed)


def fresh(encoder: Encoder, frame: pd.DataFrame, options: Options, width: int) -> Network:
    """An untrained network of this width for the frame's labels."""
    spec = Spec(options.task, n_numeric=2 * len(encoder.numeric), width=width, depth=options.depth,
                cardinalities=encoder.cardinalities, dropout=options.dropout,
                **target(frame, options))
    return untrained(spec, encoder, options)


def untrained(spec: Any, encoder: Any, options: Options) -> Network:
    """A network of this shape; its weights follow from the seed."""
    import torch

    torch.manual_seed(options.seed)
    return Network(build(spec), spec, encoder)


def target(frame: pd.DataFrame, options: Options) -> dict[str, Any]:
    """``classes``, ``offset`` and ``scale`` of a spec for the frame's labels."""
    if options.task == "regression":
        values = numbers(frame["_label"])
        return {"classes": (), "offset": float(np.mean(values)),
                "scale": float(np.std(values)) or 1.0}
    found = class_values(frame["_label"])
    if len(found) < 2:
        raise HoldfastError(f"the training rows hold {len(found)} class; at least two are "
                            "needed: train on more rows")
    return {"classes": options.classes or found}


def fit(fitted: Network, data: Split, *, plan: Plan, checkpoints: Checkpoints | None = None,
        progress: Progress | None = None) -> Network:
    """The network trained in place on labels alone."""
    rows, validation = encode(fitted, data.train), encode(fitted, data.validation)
    state = run(fitted.module, rows, validation=validation, plan=plan,
                loss=label_loss(fitted.spec), checkpoints=checkpoints, progress=progress)
    return finished(fitted, state)


def finished(fitted: Network, state: State) -> Network:
    """The network with the history of its training."""
    fitted.module.eval()
    fitted.history, fitted.best_epoch = state.history, state.best_epoch
    fitted.loss = state.best
    return fitted


def encode(fitted: Network, frame: pd.DataFrame, teachers: Sequence[Network] = ()) -> Rows:
    """Rows as tensors, with the mean of what the teachers answer; those whose label is absent or
    none of the classes are left out."""
    import torch

    frame = frame[_usable(fitted.spec, frame)]
    if not len(frame):
        raise HoldfastError("no row has a usable label; train on a window whose labels are mature")
    answers = (torch.stack([output(item, frame) for item in teachers]).mean(0) if teachers
               else torch.zeros(len(frame), 0))
    weight = (frame[WEIGHT].to_numpy(np.float32) if WEIGHT in frame
              else np.ones(len(frame), dtype=np.float32))
    return Rows(tensors(fitted, frame), torch.from_numpy(_targets(fitted.spec, frame)), answers,
                torch.from_numpy(weight.copy()))


def tensors(fitted: Network, frame: pd.DataFrame) -> tuple[Tensor, ...]:
    """The network's inputs."""
    import torch

    return tuple(torch.from_numpy(np.array(item)) for item in fitted.encoder.transform(frame))


def _usable(spec: Any, frame: pd.DataFrame) -> NDArray[np.bool_]:
    if spec.task == "regression":
        return np.isfinite(numbers(frame["_label"]))
    return class_codes(frame["_label"], spec.classes) >= 0


def _targets(spec: Any, frame: pd.DataFrame) -> NDArray[Any]:
    if spec.task == "regression":
        return numbers(frame["_label"]).astype(np.float32)
    return class_codes(frame["_label"], spec.classes)


def label_loss(spec: Any) -> Loss:
    """Cross entropy, or Huber's loss of the standardized value; the weighted mean over rows."""
    from torch.nn import functional

    def classes(answer: Tensor, rows: Rows) -> Tensor:
        return mean(functional.cross_entropy(answer, rows.target, reduction="none"), rows.weight)

    def value(answer: Tensor, rows: Rows) -> Tensor:
        return mean(functional.smooth_l1_loss(answer[:, 0] / spec.scale, rows.target / spec.scale,
                                              beta=0.5, reduction="none"), rows.weight)

    return value if spec.task == "regression" else classes


def mean(losses: Tensor, weight: Tensor) -> Tensor:
    """The weighted mean of the rows' losses."""
    return (losses * weight).sum() / weight.sum()


def output(fitted: Network, frame: pd.DataFrame) -> Tensor:
    """Logits ``[n, classes]`` or values ``[n, 1]`` of the torch module."""
    import torch

    given = tensors(fitted, frame)
    fitted.module.eval()
    with torch.no_grad():
        parts = [fitted.module(*(item[begin:begin + AT_ONCE] for item in given))
                 for begin in range(0, max(1, len(frame)), AT_ONCE)]
    return torch.cat(parts)


def probabilities(fitted: Network, frame: pd.DataFrame) -> NDArray[np.float64]:
    """Class probabilities ``[n, classes]`` or values ``[n]`` of the torch module."""
    answer = output(fitted, frame).double()
    plain = answer[:, 0] if fitted.spec.task == "regression" else answer.softmax(dim=1)
    return np.asarray(plain.numpy())
