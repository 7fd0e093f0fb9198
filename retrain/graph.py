"""Graph: an ONNX graph that grows node by node, from raw columns to a contract's named answers.

Inputs are one tensor per column as ``mlflow.onnx`` feeds a data frame: ``[N]`` where there are
several, ``[N, 1]`` where there is one; bytes are ``[N, bytes]`` always. Absent text
arrives as nothing, or as the words Python has for it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from monitor.errors import ContractError
from retrain.contract import Contract, class_text
from retrain.preprocess import (
    FIRST,
    LIMIT,
    NULL,
    NULL_TEXTS,
    UNKNOWN,
    CategoryColumn,
    Encoder,
    NumericColumn,
)
from retrain.trainer import Fitted

OPSETS = {"": 20, "ai.onnx.ml": 3}
TOKENIZER = "com.microsoft"
"""Domain of the runtime's own tokenizer; a graph without one does not name it."""
IR_VERSION = 10

ELEMENTS = {"boolean": TensorProto.BOOL, "integer": TensorProto.INT32, "long": TensorProto.INT64,
            "float": TensorProto.FLOAT, "double": TensorProto.DOUBLE,
            "string": TensorProto.STRING, "binary": TensorProto.UINT8}
"""MLflow type -> ONNX element type."""


class Graph:
    """A graph that grows node by node; ``prefix`` keeps its names apart from another graph's."""

    def __init__(self, inputs: Any, prefix: str = "", *, sizes: Mapping[str, int] | None = None
                 ) -> None:
        self.prefix, sizes = prefix, sizes or {}
        one: list[Any] = ["N", 1] if len(inputs) == 1 else ["N"]
        self.types = dict(inputs)
        self.inputs = [helper.make_tensor_value_info(
            name, ELEMENTS[kind], ["N", sizes.get(name, "bytes")] if kind == "binary" else one)
            for name, kind in inputs.items()]
        self.nodes: list[Any] = []
        self.told: list[Any] = []
        """Types of values that ONNX cannot infer."""
        self.constants: list[Any] = []

    @classmethod
    def of(cls, fitted: Fitted, contract: Contract, sizes: Mapping[str, int] | None = None
           ) -> Graph:
        """An empty graph with the contract's inputs; ``sizes`` as for a graph.

        ``ContractError`` where inputs or classes of the model are not the contract's.
        """
        _agree(fitted, contract)
        return cls(contract.inputs, sizes=sizes or {})

    def add(self, kind: str, inputs: Sequence[str], *, name: str = "", domain: str = "",
            **attributes: Any) -> str:
        """Append a node with one output and give the output's name."""
        output = name or f"{self.prefix}{kind.lower()}/{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], domain=domain,
                                           name=f"node:{self.prefix}{output}", **attributes))
        return output

    def places(self, keys: str, count: int) -> str:
        """Where in each row of ``[N, k]`` the ``count`` smallest keys are, smallest first."""
        values = f"{self.prefix}topk/{len(self.nodes)}"
        self.nodes.append(helper.make_node(
            "TopK", [keys, self.constant([count], np.int64)], [values, f"{values}/places"],
            name=f"node:{values}", axis=1, largest=0, sorted=1))
        return f"{values}/places"

    def constant(self, value: Any, dtype: Any) -> str:
        name = f"{self.prefix}constant/{len(self.constants)}"
        array = np.asarray(value, dtype=dtype)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def flat(self, column: str) -> str:
        """The column as ``[N]``, however many inputs there are."""
        if len(self.inputs) > 1:
            return column
        return self.flat_of(column)

    def flat_of(self, tensor: str) -> str:
        """Any tensor of one value per row as ``[N]``."""
        return self.add("Reshape", [tensor, self.constant([-1], np.int64)])

    def column(self, tensor: str) -> str:
        """Any tensor of one number per row as doubles ``[N, 1]``."""
        flat = self.add("Reshape", [tensor, self.constant([-1, 1], np.int64)])
        return self.add("Cast", [flat], to=TensorProto.DOUBLE)

    def side_by_side(self, columns: Sequence[str]) -> str:
        """``[N]`` columns as ``[N, k]``; one Concat and two reshapes, however many columns."""
        end_to_end = columns[0] if len(columns) == 1 else self.add("Concat", columns, axis=0)
        rows = self.add("Reshape", [end_to_end, self.constant([len(columns), -1], np.int64)])
        return self.add("Transpose", [rows], perm=[1, 0])

    def numbers(self, encoder: Encoder) -> str | None:
        """Imputed, scaled and bounded numbers beside their missing indicators, ``[N, 2 k]``."""
        columns = encoder.numeric
        if not columns:
            return None
        raw = self._doubles(columns)
        nan = self.add("IsNaN", [raw])
        missing = self.add("Or", [nan, self.add("IsInf", [raw])])
        medians = self.constant([column.median for column in columns], np.float64)
        means = self.constant([column.mean for column in columns], np.float64)
        factors = self.constant([1.0 / column.scale if column.scale else 0.0
                                 for column in columns], np.float64)
        filled = self.add("Where", [missing, medians, raw])
        scaled = self.add("Mul", [self.add("Sub", [filled, means]), factors])
        clipped = self.add("Clip", [scaled, self.constant(-LIMIT, np.float64),
                                    self.constant(LIMIT, np.float64)])
        halves = [self.add("Cast", [part], to=TensorProto.FLOAT) for part in (clipped, missing)]
        return self.add("Concat", halves, axis=1)

    def _doubles(self, columns: Sequence[NumericColumn]) -> str:
        """The raw numbers as doubles ``[N, k]``, cast once per logged type."""
        by_type: dict[str, list[int]] = {}
        for index, column in enumerate(columns):
            by_type.setdefault(self.types[column.name], []).append(index)
        parts, order = [], []
        for kind, places in by_type.items():
            part = self.side_by_side([self.flat(columns[index].name) for index in places])
            parts.append(part if kind == "double"
                         else self.add("Cast", [part], to=TensorProto.DOUBLE))
            order += places
        if len(parts) == 1:
            return parts[0]
        together = self.add("Concat", parts, axis=1)
        if order == sorted(order):
            return together
        back = self.constant(np.argsort(order), np.int64)
        return self.add("Gather", [together, back], axis=1)

    def categories(self, encoder: Encoder) -> str | None:
        """Indices of categories ``[N, c]``."""
        if not encoder.categorical:
            return None
        return self.side_by_side([self._codes(column) for column in encoder.categorical])

    def _codes(self, column: CategoryColumn) -> str:
        """Indices ``[N]`` of one column: 0 unknown, 1 absent, then the known categories."""
        known = list(range(FIRST, FIRST + len(column.categories)))
        raw, served = self.flat(column.name), self.types[column.name]
        if served == "string":
            texts = [*NULL_TEXTS, *(str(value) for value in column.categories)]
            return self._lookup(raw, keys_strings=texts,
                                values_int64s=[NULL] * len(NULL_TEXTS) + known)
        if served in {"boolean", "integer", "long"}:
            whole = raw if served == "long" else self.add("Cast", [raw], to=TensorProto.INT64)
            values = [int(value) for value in column.categories]
            nothing = -2**63  # a table may not be empty
            return self._lookup(whole, keys_int64s=[nothing, *values],
                                values_int64s=[UNKNOWN, *known])
        single = raw if served == "float" else self.add("Cast", [raw], to=TensorProto.FLOAT)
        codes = self._lookup(single, keys_floats=[3.4e38, *map(float, column.categories)],
                             values_int64s=[UNKNOWN, *known])
        absent = self.constant(NULL, np.int64)
        return self.add("Where", [self.add("IsNaN", [single]), absent, codes])

    def _lookup(self, raw: str, **table: Any) -> str:
        return self.add("LabelEncoder", [raw], domain="ai.onnx.ml", default_int64=UNKNOWN, **table)

    def grafted(self, body: Any, prefix: str, names: Mapping[str, str]) -> str:
        """Append another graph, its own tensors renamed by ``prefix`` and its inputs as ``names``
        say; gives its first output."""
        def renamed(name: str) -> str:
            return names.get(name) or (prefix + name if name else "")

        for tensor in body.initializer:
            tensor.name = renamed(tensor.name)
            self.constants.append(tensor)
        for index, node in enumerate(body.node):
            node.input[:] = [renamed(name) for name in node.input]
            node.output[:] = [renamed(name) for name in node.output]
            node.name = f"{prefix}{index}:{node.op_type}"
            node.doc_string = ""
            del node.metadata_props[:]  # stack traces with the paths of this machine
            self.nodes.append(node)
        return renamed(body.output[0].name)

    def answers(self, classes: Sequence[Any], contract: Contract, answer: str) -> list[Any]:
        """Append what turns logits ``[N, classes]`` or values ``[N, 1]`` into the contract's output
        columns, each ``[N]``."""
        if contract.task == "regression":
            value = self.flat_of(answer)
            [(name, kind)] = contract.outputs.items()
            self.add("Cast", [value], name=name, to=ELEMENTS[kind])
        else:
            self._classes(classes, contract, answer)
        return [helper.make_tensor_value_info(name, ELEMENTS[kind], ["N"])
                for name, kind in contract.outputs.items()]

    def _classes(self, classes: Sequence[Any], contract: Contract, answer: str) -> None:
        shares = self.add("Softmax", [answer], axis=1)
        texts = [class_text(value) for value in classes]
        for name, value in contract.probabilities.items():
            place = self.constant(texts.index(class_text(value)), np.int64)
            share = self.add("Gather", [shares, place], axis=1)
            self.add("Cast", [share], name=name, to=ELEMENTS[contract.outputs[name]])
        if contract.prediction is not None:
            best = self.add("ArgMax", [answer], axis=1, keepdims=0)
            labels = self.constant(*_labels(classes, contract))
            self.add("Gather", [labels, best], name=contract.prediction)

    def model(self, outputs: Sequence[Any]) -> Any:
        graph = helper.make_graph(self.nodes, "holdfast", self.inputs, list(outputs),
                                  self.constants, value_info=self.told)
        used = {node.domain for node in self.nodes} & {TOKENIZER}
        opsets = [helper.make_opsetid(domain, version)
                  for domain, version in (OPSETS | dict.fromkeys(used, 1)).items()]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION,
                                 producer_name="holdfast")


def finished(graph: Graph, fitted: Fitted, scores: str, *, contract: Contract, path: Path) -> Path:
    """Close a graph with the contract's answers, write it and give its path.

    ``scores`` are logits ``[N, classes]`` in the order of ``fitted.classes``, or values ``[N, 1]``.
    """
    model = graph.model(graph.answers(fitted.classes, contract, scores))
    onnx.checker.check_model(model)
    return write(model, path)


def write(model: Any, path: Path) -> Path:
    """The model as a file, whole or not at all; the same model gives the same bytes."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(model.SerializeToString(deterministic=True))
    os.replace(partial, path)
    return path


def _agree(fitted: Fitted, contract: Contract) -> None:
    known, asked = fitted.inputs, dict(contract.inputs)
    if missing := [name for name in known if name not in asked]:
        raise ContractError(f"the network takes {missing}, which the champion does not; train on "
                            f"its inputs {list(asked)}")
    if twice := sorted(set(asked) & set(contract.outputs)):
        raise ContractError(f"columns {twice} are inputs and outputs of the model at once; exclude "
                            "them under log.features.exclude")
    odd = {name: (known[name], asked[name]) for name in known
           if known[name] != asked[name] and {"string", "binary"} & {known[name], asked[name]}}
    if odd:
        raise ContractError(f"columns {odd} are text or bytes on one side of the contract and "
                            "something else on the other; log them as the champion takes them")
    ours = {class_text(value) for value in fitted.classes}
    theirs = {class_text(value) for value in contract.classes}
    if ours != theirs:
        raise ContractError(f"the network knows the classes {sorted(ours)}, the champion "
                            f"{sorted(theirs)}; train on rows that hold them all")


def _labels(classes: Sequence[Any], contract: Contract) -> tuple[list[Any], Any]:
    """The contract's class values in the order of these classes, and their array type."""
    assert contract.prediction is not None
    kind = contract.outputs[contract.prediction]
    spelled = {class_text(value): value for value in contract.classes}
    values = [spelled[class_text(value)] for value in classes]
    if kind == "string":
        return [str(value) for value in values], object
    types = {"boolean": np.bool_, "integer": np.int32, "long": np.int64, "float": np.float32,
             "double": np.float64}
    try:
        return [types[kind](value) for value in values], types[kind]
    except ValueError as error:
        raise ContractError(f"output {contract.prediction!r} is {kind}, but the classes are "
                            f"{values}; the champion's classes must be numbers") from error
