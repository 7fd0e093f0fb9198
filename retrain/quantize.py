"""int8 artifacts by ONNX Runtime: only the network's matrix products, preprocessing stays float.

Static: QDQ nodes, weights per channel, ranges measured on calibration rows. ``reduce_range`` keeps
7 bits, without which sums overflow on processors that have no VNNI.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pandas as pd

from monitor.errors import HoldfastError
from retrain.export import NETWORK
from retrain.runtime import feed, session

Kind = Literal["static", "dynamic"]

CALIBRATION_ROWS = 4096
"""Fewer rows give ranges that newer rows leave."""

BATCH = 512


class Calibration:
    """Raw columns of the calibration rows, batch by batch, as ONNX Runtime asks for them."""

    def __init__(self, source: Path, frame: pd.DataFrame) -> None:
        artifact = session(source)
        self.batches = iter([feed(artifact, frame.iloc[begin:begin + BATCH])
                             for begin in range(0, len(frame), BATCH)])

    def get_next(self) -> dict[str, Any] | None:
        return next(self.batches, None)


def quantize(source: Path, target: Path, *, calibration: pd.DataFrame, kind: Kind = "static"
             ) -> Path:
    """Write the int8 artifact to ``target``, and give its path; calibration rows set the ranges."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    if not len(calibration):
        raise HoldfastError("static int8 needs calibration rows; give some thousand recent ones")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        ready, raw = Path(folder) / "ready.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True,
                          skip_optimization=True)
        nodes = matrix_products(ready)
        if kind == "dynamic":
            quantization.quantize_dynamic(str(ready), str(raw), nodes_to_quantize=nodes,
                                          per_channel=True, reduce_range=True,
                                          weight_type=quantization.QuantType.QInt8)
        else:
            quantization.quantize_static(
                str(ready), str(raw), Calibration(ready, _enough(calibration)),
                quant_format=quantization.QuantFormat.QDQ, nodes_to_quantize=nodes,
                per_channel=True, reduce_range=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8)
        _write(raw, target)
    return target


def matrix_products(path: Path) -> list[str]:
    """Names of the network's nodes that become int8: matrix products and the activations between.

    The head stays float: it is small, and classes lie within few of its 128 steps.
    """
    nodes = [node for node in onnx.load(path).graph.node
             if node.op_type in {"Gemm", "MatMul", "Relu"} and node.name.startswith(NETWORK)]
    last = max(index for index, node in enumerate(nodes) if node.op_type != "Relu")
    names = [node.name for node in nodes[:last]]
    return names + [f"{name}_MatMul" for name in names]  # dynamic: a Gemm is split first


def _enough(frame: pd.DataFrame) -> pd.DataFrame:
    """At most ``CALIBRATION_ROWS`` rows, spread evenly over time; fewer stay as they are."""
    if len(frame) <= CALIBRATION_ROWS:
        return frame
    return frame.iloc[np.linspace(0, len(frame) - 1, CALIBRATION_ROWS).astype(int)]


def _write(raw: Path, target: Path) -> None:
    model = onnx.load(raw)
    del model.metadata_props[:]
    partial = target.with_name(target.name + ".partial")
    partial.write_bytes(model.SerializeToString(deterministic=True))
    os.replace(partial, target)


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer advises through the root logger; its advice is followed already."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
