"""The tabular network: numbers and category embeddings into a multilayer perceptron."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrain.contract import Task
from retrain.preprocess import Encoder

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Spec:
    """The shape of a network; ``n_numeric`` counts numbers and missing indicators.

    ``offset`` and ``scale`` turn the last layer's output into the target's units (regression).
    """

    task: Task
    classes: tuple[Any, ...]
    n_numeric: int
    cardinalities: tuple[int, ...]
    width: int = 64
    depth: int = 2
    dropout: float = 0.1
    offset: float = 0.0
    scale: float = 1.0

    @property
    def outputs(self) -> int:
        return len(self.classes) or 1


def build(spec: Spec) -> nn.Module:
    """A fresh module: ``forward(numeric [n, k], categorical [n, c])`` gives logits ``[n, classes]``
    or values ``[n, 1]``."""
    from retrain.layers import Tabular

    return Tabular(spec)


def save(path: Path, module: nn.Module, *, spec: Spec, encoder: Encoder,
         extra: Mapping[str, Any] | None = None) -> Path:
    """Write weights, spec and encoder as one safetensors file (mode 0644), and give its path."""
    from safetensors.torch import save as to_bytes

    metadata = {"spec": json.dumps(asdict(spec)), "encoder": json.dumps(encoder.to_dict()),
                "extra": json.dumps(dict(extra or {}))}
    tensors = {name: value.detach().contiguous() for name, value in module.state_dict().items()}
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(to_bytes(tensors, metadata))
    partial.chmod(0o644)
    os.replace(partial, path)
    return path


def load(path: Path) -> tuple[nn.Module, Spec, Encoder]:
    """The module (in evaluation mode), spec and encoder that ``save`` wrote."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    raw = json.loads(metadata["spec"])
    spec = Spec(**{**raw, "classes": tuple(raw["classes"]),
                   "cardinalities": tuple(raw["cardinalities"])})
    module = build(spec)
    module.load_state_dict(tensors)
    return module.eval(), spec, Encoder.from_dict(json.loads(metadata["encoder"]))


def narrowed(spec: Spec, width: int) -> Spec:
    """The same network with hidden layers of another width."""
    return replace(spec, width=width)
