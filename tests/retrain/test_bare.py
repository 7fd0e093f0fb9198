"""Artifacts answer as torch does where numpy and ONNX Runtime are, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from retrain.contract import Contract, default
from retrain.finetune import Network, probabilities
from retrain.image import Image
from retrain.neural import Neural
from retrain.tabular import Tabular
from retrain.text import Text
from retrain.trainer import Split
from tests.retrain.bare import answered
from tests.retrain.real import (
    hotel,
    hotel_champion,
    image_champion,
    images,
    text_champion,
    texts,
)

KINDS: dict[str, tuple[Neural, Callable[[], Network], Callable[[], Split]]] = {
    "table": (Tabular(), hotel_champion, hotel), "image": (Image(), image_champion, images),
    "text": (Text(), text_champion, texts)}


def contract(fitted: Network, data: Split) -> Contract:
    return default(data.train, fitted.spec.task, classes=fitted.classes)


@pytest.mark.parametrize("kind", KINDS)
def test_numpy_and_the_runtime_are_enough(kind: str, tmp_path: Path) -> None:
    trainer, champion, split = KINDS[kind]
    fitted, data = champion(), split()
    rows = data.holdout.head(100)
    expected = probabilities(fitted, rows)
    path = trainer.export(fitted, contract(fitted, data), tmp_path / "fp32.onnx")
    got = answered(path, rows, tmp_path)
    names = ([f"probability_{name}" for name in fitted.classes] if len(fitted.classes) > 2
             else ["probability"])
    shares = np.stack([got[name] for name in names], axis=1)
    np.testing.assert_allclose(shares, expected if len(names) > 1 else expected[:, 1:], atol=1e-5)
    assert got["prediction"].tolist() == np.array(fitted.classes)[expected.argmax(axis=1)].tolist()
    small = answered(trainer.quantized(path, tmp_path / "int8.onnx", calibration=data.train), rows,
                     tmp_path)
    assert np.mean(small["prediction"] == got["prediction"]) >= 0.95
