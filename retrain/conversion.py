"""Conversion: a scikit-learn pipeline as one ONNX graph that answers as it does, or no graph.

skl2onnx converts the estimator alone; what leads to its matrix and from its probabilities is drawn
by hand. Every artifact is compared with scikit-learn on rows before it is written.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from monitor.errors import ContractError
from retrain.contract import Contract, class_text
from retrain.estimator import Floats, Pipeline
from retrain.graph import OPSETS, Graph, finished
from retrain.runtime import columns, session

ESTIMATOR = "estimator/"
"""Prefix of the nodes and tensors of the converted estimator."""

TOLERANCE = 1e-4
"""How far a probability, or a value in units of the answers' spread, may be from scikit-learn's:
the runtime adds leaves as single floats."""

MADE_UP = 256
"""Rows with nulls and unknown categories that an artifact is tried on beside real ones."""


def to_onnx(pipeline: Pipeline, contract: Contract, path: Path) -> Path:
    """Write the artifact once it answers as scikit-learn does, and give its path.

    ``ContractError`` where inputs or classes are not the contract's, or where answers differ.
    """
    graph = Graph.of(pipeline, contract)
    answer = graph.grafted(converted(pipeline), ESTIMATOR, {"matrix": pipeline.design.drawn(graph)})
    if contract.task != "regression":
        answer = graph.add("Log", [answer])
    untried = path.with_name(path.name + ".untried")
    try:
        finished(graph, pipeline, answer, contract=contract, path=untried)
        for rows in tried(pipeline, contract):
            same(untried, pipeline, contract, rows)
        untried.replace(path)
    finally:
        untried.unlink(missing_ok=True)
    return path


def converted(pipeline: Pipeline) -> Any:
    """The estimator's graph from ``matrix`` to probabilities ``[N, classes]`` or ``[N, 1]``."""
    from skl2onnx import to_onnx as convert
    from skl2onnx.common.data_types import FloatTensorType

    estimator = pipeline.estimator
    classifies = hasattr(estimator, "predict_proba")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = convert(estimator, target_opset=dict(OPSETS),
                        initial_types=[("matrix", FloatTensorType([None, pipeline.design.width]))],
                        options={id(estimator): {"zipmap": False}} if classifies else None).graph
    wanted = graph.output[-1]  # a classifier's first output is the label
    del graph.output[:]
    graph.output.append(wanted)
    needed, kept = {wanted.name}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    return graph


def same(path: Path, pipeline: Pipeline, contract: Contract, rows: pd.DataFrame) -> None:
    """``ContractError`` where the artifact answers the rows otherwise than scikit-learn."""
    expected, got = pipeline.answer(rows), columns(session(path), rows)
    if contract.task == "regression":
        [name] = contract.outputs
        far = np.abs(got[name] - expected) / (float(np.std(expected)) or 1.0)
        whole = contract.outputs[name] in {"long", "integer"}
        _within(far - 1.0 / (float(np.std(expected)) or 1.0) * whole, pipeline)
        return
    texts = [class_text(value) for value in pipeline.classes]
    for name, value in contract.probabilities.items():
        _within(np.abs(got[name] - expected[:, texts.index(class_text(value))]), pipeline)
    if contract.prediction is not None:
        said = [texts.index(class_text(value)) for value in got[contract.prediction].tolist()]
        _within(expected.max(axis=1) - expected[np.arange(len(rows)), said], pipeline)


def _within(far: Floats, pipeline: Pipeline) -> None:
    wrong = int((~(far <= TOLERANCE)).sum())
    if wrong:
        raise ContractError(f"the ONNX form of this {pipeline.kind} answers {wrong} of {len(far)} "
                            f"rows otherwise than scikit-learn (by up to {np.nanmax(far):.3g}), "
                            "and is not used; right would be another training.estimator")


def tried(pipeline: Pipeline, contract: Contract) -> list[pd.DataFrame]:
    """Validation rows, where it was just fitted, and rows made up of what its design knows."""
    made = made_up(pipeline, contract)
    if pipeline.tried is None:
        return [made]
    given = pipeline.tried
    extra = {name: made[name].iloc[np.arange(len(given)) % len(made)].to_numpy()
             for name in contract.inputs if name not in given}
    return [given.assign(**extra), made]


def made_up(pipeline: Pipeline, contract: Contract) -> pd.DataFrame:
    """Rows in the contract's types, far out and absent values and unknown categories among them."""
    rng = np.random.default_rng(0)
    encoder = pipeline.design.encoder
    numeric = {column.name: rng.normal(column.mean, 4 * (column.scale or 1.0), MADE_UP)
               for column in encoder.numeric}
    known = {column.name: [column.categories[index] if index < len(column.categories) else None
                           for index in rng.integers(0, len(column.categories) + 2, MADE_UP)]
             for column in encoder.categorical}
    return pd.DataFrame({name: _column(numeric.get(name, known.get(name)), kind, rng)
                         for name, kind in contract.inputs.items()})


def _column(values: Any, kind: str, rng: np.random.Generator) -> Any:
    """The values in this MLflow type; what has no value is absent, or 99 where nothing can be."""
    if values is None:
        values = [None] * MADE_UP
    if kind == "string":
        return np.array(["never seen" if value is None and rng.random() < 0.5 else value
                         for value in values], dtype=object)
    numbers = np.array([np.nan if value is None else float(value) for value in values])
    if kind in {"float", "double"}:
        numbers[rng.random(MADE_UP) < 0.1] = np.nan
        return numbers.astype(np.float32 if kind == "float" else np.float64)
    whole = np.where(np.isnan(numbers), 99, numbers).round()
    return whole.astype({"long": np.int64, "integer": np.int32, "boolean": np.bool_}[kind])
