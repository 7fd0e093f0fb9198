"""Networks on disk and in memory: built from a spec, saved beside what encodes their rows."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrain.pieces import Pieces
from retrain.pixels import Pixels
from retrain.preprocess import UNKNOWN, Encoder
from retrain.spec import SPECS, Shape
from retrain.vocabulary import UNKNOWN as UNKNOWN_WORD
from retrain.vocabulary import Words

if TYPE_CHECKING:
    from torch import Tensor, nn


Encoding = Encoder | Pixels | Words | Pieces
"""What makes tensors of raw columns."""

ENCODERS: dict[str, Any] = {"table": Encoder, "image": Pixels, "text": Words,
                            "transformer": Pieces}
"""Kind of network -> what makes its tensors."""


def build(spec: Shape) -> nn.Module:
    """A fresh module; ``forward`` takes ``spec.tensors`` and gives logits ``[n, classes]`` or
    values ``[n, 1]``."""
    if spec.kind == "transformer":  # an extra brings what it is made of
        from retrain.transformer import Transformer

        return Transformer(spec)  # type: ignore[arg-type]
    from retrain.layers import MODULES

    return MODULES[spec.kind](spec)  # type: ignore[arg-type]


def save(path: Path, module: nn.Module, *, spec: Shape, encoder: Encoding,
         extra: Mapping[str, Any] | None = None) -> Path:
    """Write weights, spec and encoder as one safetensors file (mode 0644), and give its path."""
    from safetensors.torch import save as to_bytes

    metadata = {"kind": spec.kind, "spec": json.dumps(asdict(spec)),  # type: ignore[call-overload]
                "encoder": json.dumps(encoder.to_dict()), "extra": json.dumps(dict(extra or {}))}
    tensors = {name: value.detach().contiguous() for name, value in module.state_dict().items()}
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(_in_order(to_bytes(tensors, metadata)))
    partial.chmod(0o644)
    os.replace(partial, path)
    return path


def _in_order(content: bytes) -> bytes:
    """The same file with its metadata sorted: safetensors leaves their order to chance, and equal
    weights should be equal files."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of 8
    return len(text).to_bytes(8, "little") + text + content[8 + length:]


def load(path: Path) -> tuple[nn.Module, Any, Any]:
    """The module (in evaluation mode), spec and encoder that ``save`` wrote."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        names = file.keys()
        tensors = {name: file.get_tensor(name) for name in names}
    kind = metadata.get("kind", "table")
    raw = json.loads(metadata["spec"])
    made: Any = SPECS[kind]
    spec = made(**{name: tuple(value) if isinstance(value, list) else value
                   for name, value in raw.items()})
    module = build(spec)
    module.load_state_dict(tensors)
    return module.eval(), spec, ENCODERS[kind].from_dict(json.loads(metadata["encoder"]))


def widened(module: nn.Module, spec: Any, *, before: Any, after: Any) -> tuple[nn.Module, Any]:
    """The same function for an encoder that knows more: new categories and words start as the
    unknown one, and a constant that now moves starts with weight 0."""
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    if spec.kind == "text":
        _grow(weights, "embedding.weight", after.rows, UNKNOWN_WORD)
        spec = replace(spec, words=after.rows)
    elif spec.kind == "table":
        sizes = spec.embedding_sizes
        for index, rows in enumerate(after.cardinalities):
            _grow(weights, f"embeddings.{index}.weight", rows, UNKNOWN)
        first = "hidden.0.weight" if spec.hidden else "head.weight"
        for index, (constant, column) in enumerate(zip(before.numeric, after.numeric, strict=True)):
            if constant.scale == 0 and column.scale:
                weights[first][:, index] = 0
        spec = replace(spec, cardinalities=after.cardinalities, sizes=sizes)
    wider = build(spec)
    wider.load_state_dict(weights)
    return wider.eval(), spec


def _grow(weights: dict[str, Tensor], name: str, rows: int, start: int) -> None:
    """Rows are added to an embedding, each a copy of row ``start``."""
    import torch

    old = weights[name]
    weights[name] = torch.cat([old, old[start].expand(rows - len(old), old.shape[1])])
