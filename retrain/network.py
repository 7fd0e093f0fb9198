"""The tabular network: numbers and category embeddings into a multilayer perceptron."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrain.contract import Task
from retrain.preprocess import UNKNOWN, Encoder

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
    sizes: tuple[int, ...] = ()
    """Dimensions of each embedding; empty: by ``embedding_size``."""

    @property
    def outputs(self) -> int:
        return len(self.classes) or 1

    @property
    def embedding_sizes(self) -> tuple[int, ...]:
        return self.sizes or tuple(embedding_size(rows) for rows in self.cardinalities)


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
        names = file.keys()
        tensors = {name: file.get_tensor(name) for name in names}
    raw = json.loads(metadata["spec"])
    spec = Spec(**{**raw, "classes": tuple(raw["classes"]),
                   "cardinalities": tuple(raw["cardinalities"]),
                   "sizes": tuple(raw["sizes"])})
    module = build(spec)
    module.load_state_dict(tensors)
    return module.eval(), spec, Encoder.from_dict(json.loads(metadata["encoder"]))


def widened(module: nn.Module, spec: Spec, *, before: Encoder, after: Encoder
            ) -> tuple[nn.Module, Spec]:
    """The same function for an encoder that knows more: new categories start as the unknown one,
    and a constant that now moves starts with weight 0."""
    import torch

    weights = {name: value.clone() for name, value in module.state_dict().items()}
    sizes = spec.embedding_sizes
    for index, (old, new) in enumerate(zip(before.cardinalities, after.cardinalities, strict=True)):
        rows = weights[f"embeddings.{index}.weight"]
        added = rows[UNKNOWN].expand(new - old, sizes[index])
        weights[f"embeddings.{index}.weight"] = torch.cat([rows, added])
    for index, (constant, column) in enumerate(zip(before.numeric, after.numeric, strict=True)):
        if constant.scale == 0 and column.scale:
            weights["hidden.0.weight"][:, index] = 0
    spec = replace(spec, cardinalities=after.cardinalities, sizes=sizes)
    wider = build(spec)
    wider.load_state_dict(weights)
    return wider.eval(), spec


def embedding_size(cardinality: int) -> int:
    """Dimensions of a fresh embedding: a quarter of its rows, between 2 and 16."""
    return max(2, min(16, cardinality // 4 + 1))


def narrowed(spec: Spec, width: int) -> Spec:
    """The same network with hidden layers of another width."""
    return replace(spec, width=width)
