"""Checkpoints of a training in a folder: safetensors and JSON, each written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Named steps of one run; a step that was saved is found again after a kill."""

    folder: Path

    def save(self, step: str, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Replace the step by these tensors and plain values, atomically."""
        from safetensors.torch import save

        self.folder.mkdir(parents=True, exist_ok=True)
        kept = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
        path = self._path(step)
        partial = path.with_suffix(".partial")
        partial.write_bytes(save(kept, {"state": json.dumps(dict(state))}))
        os.replace(partial, path)

    def load(self, step: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What was saved of the step; None where nothing was."""
        from safetensors import safe_open

        path = self._path(step)
        if not path.exists():
            return None
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, state

    def _path(self, step: str) -> Path:
        return self.folder / f"{step}.safetensors"
