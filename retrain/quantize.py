"""int8 artifacts by ONNX Runtime: only the network's matrix products, preprocessing stays float.

Static: QDQ nodes, weights per channel, ranges measured on calibration rows. ``reduce_range`` keeps
7 bits, without which sums overflow on processors that have no VNNI.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper, numpy_helper

from monitor.errors import HoldfastError
from retrain.export import NETWORK
from retrain.graph import write
from retrain.runtime import feed, session

Kind = Literal["static", "dynamic"]

CALIBRATION_ROWS = 4096
"""Fewer rows give ranges that newer rows leave."""

BATCH = 512

LEAST_ROWS = 256
"""Embeddings with fewer rows stay float."""

LOOKUPS = {"Gather", "GatherND"}
PRODUCTS = {"Gemm", "MatMul", "Conv"}
PASSING = {"Relu", "MaxPool", "Reshape", "Flatten"}
"""Kinds of nodes: lookups and products become int8, the last may lie between them."""


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
        return _write(onnx.load(raw), target)


def matrix_products(path: Path) -> list[str]:
    """Names of the network's nodes that become int8: products and what passes numbers on between.

    The head stays float: it is small, and classes lie within few of its 128 steps.
    """
    graph = onnx.load(path).graph
    shapes = {item.name: tuple(item.dims) for item in graph.initializer}
    nodes = [node for node in graph.node if node.name.startswith(NETWORK)
             and (node.op_type in PASSING or _weighted(node, shapes))]
    places = [index for index, node in enumerate(nodes) if node.op_type in PRODUCTS]
    names = [node.name for node in nodes[places[0]:places[-1]]] if places else []
    return names + [f"{name}_MatMul" for name in names]  # dynamic: a Gemm is split first


def _weighted(node: Any, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether it is a product with learned weights of more than one output."""
    shape = shapes.get(node.input[1], ()) if node.op_type in PRODUCTS else ()
    return len(shape) > 1 and shape[-1] > 1


def embedded(path: Path) -> Path:
    """Embeddings of the artifact as int8 with a scale per column, in place: rows are looked up
    first and become float afterwards, so that nobody unpacks the whole table."""
    model = onnx.load(path)
    tables = {item.name: item for item in model.graph.initializer}
    for node in list(model.graph.node):
        table = tables.get(node.input[0]) if node.op_type in LOOKUPS else None
        if (table is not None and table.name.startswith(NETWORK) and len(table.dims) == 2
                and table.dims[0] >= LEAST_ROWS):
            _narrow(model.graph, node, table)
    return _write(model, path)


def _narrow(graph: Any, node: Any, table: Any) -> None:
    """One lookup in int8, with a scale per column; where products alone take its rows, the scale
    is theirs, as they are so much smaller."""
    values = numpy_helper.to_array(table)
    scale = np.maximum(np.abs(values).max(axis=0), 1e-12).astype(np.float32) / 127
    graph.initializer.remove(table)
    graph.initializer.append(numpy_helper.from_array(
        np.round(values / scale).astype(np.int8), table.name))
    graph.initializer.append(numpy_helper.from_array(scale, f"{table.name}/scale"))
    answer, node.output[0] = node.output[0], f"{table.name}/rows"
    users = [each for each in graph.node if answer in each.input]
    weights = {item.name: item for item in graph.initializer}
    if not all(each.op_type == "MatMul" and (each.input[1] == answer or each.input[1] in weights)
               for each in users):
        _scaled(graph, node, answer, table.name)
        _cast(graph, node, f"{table.name}/float", table.name)
        return
    for place, user in enumerate(users):
        if user.input[1] == answer:
            wanted, user.output[0] = user.output[0], f"{table.name}/product{place}"
            _scaled(graph, user, wanted, table.name)
        else:
            old = weights[user.input[1]]
            user.input[1] = f"{table.name}/weights{place}"
            graph.initializer.append(numpy_helper.from_array(
                numpy_helper.to_array(old) * scale[:, None], user.input[1]))
    _cast(graph, node, answer, table.name)


def _scaled(graph: Any, before: Any, answer: str, table: str) -> None:
    """Multiply the columns of what the node gives by the table's scale."""
    given = before.output[0] if before.output[0] != f"{table}/rows" else f"{table}/float"
    _after(graph, before, helper.make_node("Mul", [given, f"{table}/scale"], [answer],
                                           name=f"{answer}/scaled"))


def _cast(graph: Any, lookup: Any, answer: str, table: str) -> None:
    _after(graph, lookup, helper.make_node("Cast", [f"{table}/rows"], [answer],
                                           name=f"{table}/cast", to=TensorProto.FLOAT))


def _after(graph: Any, before: Any, node: Any) -> None:
    graph.node.insert(list(graph.node).index(before) + 1, node)


def _enough(frame: pd.DataFrame) -> pd.DataFrame:
    """At most ``CALIBRATION_ROWS`` rows, spread evenly over time; fewer stay as they are."""
    if len(frame) <= CALIBRATION_ROWS:
        return frame
    return frame.iloc[np.linspace(0, len(frame) - 1, CALIBRATION_ROWS).astype(int)]


def _write(model: Any, target: Path) -> Path:
    del model.metadata_props[:]
    return write(model, target)


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
