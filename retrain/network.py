"""The tabular network: numbers and category embeddings into a multilayer perceptron."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrain.preprocess import UNKNOWN, Encoder
from retrain.spec import Spec

if TYPE_CHECKING:
    from torch import nn


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


def narrowed(spec: Spec, width: int) -> Spec:
    """The same network with hidden layers of another width."""
    return replace(spec, width=width)
