"""One ONNX graph from raw columns to named answers: preprocessing, network and class labels."""

from __future__ import annotations

from pathlib import Path

from retrain.contract import Contract
from retrain.finetune import Fitted


def to_onnx(fitted: Fitted, contract: Contract, path: Path) -> Path:
    """Write the artifact and give its path; the same weights give the same bytes."""
    raise NotImplementedError
