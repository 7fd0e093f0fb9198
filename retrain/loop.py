"""The training loop: epochs with early stopping that repeat bit for bit and survive a kill."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from retrain.checkpoints import Checkpoints

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

AT_ONCE = 2048
"""Rows that a network answers at once, so that memory is bounded."""

Progress = Callable[[int, int, dict[str, float]], None]
"""Called after each epoch with (step, total, metrics)."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Encoded rows: the network's inputs, targets, for distillation the teacher's output, and how
    much each row counts."""

    inputs: tuple[Tensor, ...]
    target: Tensor
    teacher: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.target)

    def batch(self, index: Tensor | slice, device: Any = None) -> Rows:
        """Some of the rows, on the device."""
        return Rows(tuple(item[index].to(device) for item in self.inputs),
                    self.target[index].to(device), self.teacher[index].to(device),
                    self.weight[index].to(device))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (*self.inputs, self.target, self.teacher, self.weight)


Loss = Callable[["Tensor", Rows], "Tensor"]
"""(output of the network, its rows) -> mean loss."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the loop may spend; ``step`` names its checkpoint."""

    step: str
    seed: int
    epochs: int
    patience: int
    batch: int
    rate: float
    weight_decay: float
    unknown: float = 0.01
    """Share of categories shown as unknown, so that the unknown embedding learns too."""
    decay: float = 1.0
    """What the rate is multiplied by with each part further from the head (Howard, Ruder 2018)."""
    frozen: bool = False
    """Only the head learns."""
    mixed: bool = False
    """Products in bfloat16; on a GPU they always are."""


@dataclass(slots=True)
class State:
    """Where a run stands after an epoch; the best epoch so far is kept beside the newest."""

    epoch: int = 0
    best_epoch: int = 0
    best: float = math.inf
    history: list[dict[str, float]] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)

    def finished(self, plan: Plan) -> bool:
        return self.epoch >= plan.epochs or self.epoch - self.best_epoch >= plan.patience


def run(module: nn.Module, rows: Rows, *, validation: Rows, plan: Plan, loss: Loss,
        checkpoints: Checkpoints | None = None, progress: Progress | None = None) -> State:
    """Train the module in place, leave it at its best epoch on validation, and give the history.

    Epoch 0 is the module as given: where no epoch is better it comes back unchanged. Every random
    choice is drawn from (seed, epoch), so a resumed run needs no generator state. Works on a GPU
    where there is one, and leaves the module on the CPU.
    """
    import torch

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    mark = _fingerprint(module, rows, plan)
    module.to(device())
    optimizer = _optimizer(module, plan)
    state = _resume(module, optimizer, mark, plan, checkpoints)
    if state is None:
        state = State()
        _judge(module, state, {"validation_loss": evaluate(module, validation, loss)})
    while not state.finished(plan):
        state.epoch += 1
        metrics = {"train_loss": _epoch(module, rows, optimizer, plan, state.epoch, loss),
                   "validation_loss": evaluate(module, validation, loss)}
        _judge(module, state, metrics)
        if checkpoints is not None:
            _save(module, optimizer, state, mark, plan, checkpoints)
        if progress is not None:
            progress(state.epoch, plan.epochs, metrics)
    module.load_state_dict(state.weights)
    module.cpu().eval()
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    return state


def device() -> Any:
    """The GPU where there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _optimizer(module: Any, plan: Plan) -> Optimizer:
    """AdamW over the module's parts, each with its share of the rate; frozen ones are left out."""
    import torch

    parts = module.parts[-1:] if plan.frozen else module.parts
    learning = {id(item) for part in parts for item in part.parameters()}
    for parameter in module.parameters():
        parameter.requires_grad_(id(parameter) in learning)
    groups = [{"params": list(part.parameters()), "share": plan.decay ** (len(parts) - 1 - place)}
              for place, part in enumerate(parts)]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=plan.rate,
                             weight_decay=plan.weight_decay)


def evaluate(module: nn.Module, rows: Rows, loss: Loss) -> float:
    """Mean loss over the rows without dropout."""
    import torch

    module.eval()
    place = next(module.parameters()).device
    total = 0.0
    with torch.no_grad():
        for begin in range(0, len(rows), AT_ONCE):
            part = rows.batch(slice(begin, begin + AT_ONCE), place)
            total += float(loss(module(*part.inputs), part)) * float(part.weight.sum())
    return total / float(rows.weight.sum())


def _epoch(module: nn.Module, rows: Rows, optimizer: Optimizer, plan: Plan, epoch: int,
           loss: Loss) -> float:
    import torch

    torch.manual_seed(plan.seed * 100_003 + epoch)
    rate = plan.rate * (0.05 + 0.95 * (1 + math.cos(math.pi * (epoch - 1) / plan.epochs)) / 2)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]
    module.train()
    order, place = torch.randperm(len(rows)), device()
    total = 0.0
    for begin in range(0, len(rows), plan.batch):
        part = rows.batch(order[begin:begin + plan.batch], place)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(place.type, dtype=torch.bfloat16,
                            enabled=plan.mixed or place.type == "cuda"):
            answer = module(*(_hidden(item, plan.unknown) for item in part.inputs))
        value = loss(answer.float(), part)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        total += float(value.detach()) * len(part)
    return total / len(rows)


def _hidden(codes: Tensor, share: float) -> Tensor:
    """Codes of categories with this share of them shown as unknown; other inputs as they are."""
    import torch

    if not share or codes.dtype != torch.int64 or not codes.numel():
        return codes
    return codes * (torch.rand(codes.shape) >= share).to(codes.device)


def _judge(module: nn.Module, state: State, metrics: dict[str, float]) -> None:
    value = metrics["validation_loss"]
    state.history.append({"epoch": float(state.epoch), **metrics})
    if value < state.best or not state.weights:
        state.best, state.best_epoch = value, state.epoch
        state.weights = {name: item.detach().cpu().clone()
                         for name, item in module.state_dict().items()}


def _fingerprint(module: nn.Module, rows: Rows, plan: Plan) -> str:
    digest = hashlib.sha256(repr(plan).encode())
    for tensor in (*rows.tensors, *module.state_dict().values()):
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _save(module: nn.Module, optimizer: Optimizer, state: State, mark: str, plan: Plan,
          checkpoints: Checkpoints) -> None:
    tensors = {f"module.{name}": value for name, value in module.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in state.weights.items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
    checkpoints.save(plan.step, tensors, {
        "mark": mark, "epoch": state.epoch, "best_epoch": state.best_epoch, "best": state.best,
        "history": state.history})


def _resume(module: nn.Module, optimizer: Optimizer, mark: str, plan: Plan,
            checkpoints: Checkpoints | None) -> State | None:
    found = checkpoints.load(plan.step) if checkpoints is not None else None
    if found is None or found[1]["mark"] != mark:
        return None
    tensors, saved = found
    module.load_state_dict(_under("module.", tensors))
    slots: dict[int, dict[str, Any]] = {}
    for name, value in _under("optimizer.", tensors).items():
        index, slot = name.split(".")
        slots.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({"state": slots,
                               "param_groups": optimizer.state_dict()["param_groups"]})
    return State(saved["epoch"], saved["best_epoch"], saved["best"], saved["history"],
                 _under("best.", tensors))


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items()
            if name.startswith(prefix)}
