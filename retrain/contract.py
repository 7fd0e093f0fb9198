"""The serving contract: which columns go into an artifact and which come out, by name and type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitor.errors import ContractError

Task = Literal["binary", "multiclass", "regression"]

TYPES = ("boolean", "integer", "long", "float", "double", "string", "binary")
"""Column types, by their names in an MLflow signature."""

NUMBER_OBJECTS = ("integer", "floating", "mixed-integer-float", "decimal")
"""What pandas infers of object columns that hold numbers."""

PREDICTION = "prediction"
PROBABILITY = "probability"


@dataclass(frozen=True, slots=True)
class Contract:
    """Input and output columns with their MLflow type names; classes in the order of the network.

    ``classes`` hold the values as they are logged (text, numbers or booleans) and are empty for
    regression. ``positive`` is the class that a binary probability speaks of.
    """

    task: Task
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    classes: tuple[Any, ...] = ()
    positive: Any = None
    probabilities: Mapping[str, Any] = field(default_factory=dict)
    """Output column -> the class whose probability it holds."""

    @property
    def prediction(self) -> str | None:
        """The output column that holds the predicted class or value."""
        names = [name for name in self.outputs if name not in self.probabilities]
        return names[0] if names else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``from_dict`` reads them back unchanged."""
        return {"task": self.task, "inputs": dict(self.inputs), "outputs": dict(self.outputs),
                "classes": list(self.classes), "positive": self.positive,
                "probabilities": dict(self.probabilities)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Contract:
        return cls(values["task"], values["inputs"], values["outputs"],
                   tuple(values["classes"]), values["positive"], values["probabilities"])


def column_type(column: pd.Series) -> str:
    """The MLflow type that the column is served as; a boolean with nulls is text.

    Raises ``ContractError`` for what no input of an artifact can hold (instants, lists).
    """
    kind = column.dtype.kind if hasattr(column.dtype, "kind") else "O"
    bits = "".join(filter(str.isdigit, str(column.dtype)))
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column_type(pd.Series(column.cat.categories))
    if kind == "b":
        return "string" if column.isna().any() else "boolean"
    if kind in "iu":
        if column.isna().any():
            return "double"
        return "long" if bits == "64" or str(column.dtype).lower() == "uint32" else "integer"
    if kind == "f":
        return "double" if bits == "64" else "float"
    inferred = pd.api.types.infer_dtype(column, skipna=True) if kind == "O" else ""
    if inferred in NUMBER_OBJECTS:
        return "double"
    if inferred == "bytes":
        return "binary"
    if kind in "OU" or isinstance(column.dtype, pd.StringDtype):
        return "string"
    raise ContractError(f"column {column.name!r} is logged as {column.dtype}, which a model cannot "
                        "take as input; exclude it under log.features.exclude")


def default(frame: pd.DataFrame, task: Task, *, classes: Sequence[Any] = (), positive: Any = None
            ) -> Contract:
    """The contract of a first champion: raw features in, ``prediction`` and probabilities out.

    Binary models give ``probability`` of the positive class (the last one unless named), multiclass
    ones a column ``probability_CLASS`` each.
    """
    inputs = {str(name): column_type(frame[name]) for name in features_of(frame)}
    if task == "regression":
        return Contract(task, inputs, {PREDICTION: "double"})
    outputs = {PREDICTION: _type_of(classes)}
    if task == "binary":
        positive = _positive(classes, positive)
        probabilities = {PROBABILITY: positive}
    else:
        positive = None
        probabilities = {f"{PROBABILITY}_{value}": value for value in classes}
    return Contract(task, inputs, outputs | dict.fromkeys(probabilities, "float"), tuple(classes),
                    positive, probabilities)


def from_columns(task: Task, *, inputs: Mapping[str, str], outputs: Mapping[str, str],
                 classes: Sequence[Any] = (), positive: Any = None) -> Contract:
    """The contract that a champion's signature states, given as {name: MLflow type}.

    Of a classifier's outputs those named ``probability…``, ``…_CLASS`` or of a float type beside a
    prediction are probabilities. ``ContractError`` where an output cannot be told.
    """
    _known({**inputs, **outputs})
    if task == "regression":
        if len(outputs) != 1:
            raise ContractError(f"a regression model answers one column; this one {list(outputs)}")
        return Contract(task, dict(inputs), dict(outputs))
    positive = _positive(classes, positive) if task == "binary" else None
    probabilities: dict[str, Any] = {}
    rest: list[str] = []
    for name, kind in outputs.items():
        value = _class_named(name, classes, positive)
        floats = kind in {"float", "double"} and _type_of(classes) not in {"float", "double"}
        if value is not None and (floats or name.startswith(PROBABILITY)):
            probabilities[name] = value
        elif floats and task == "binary":
            probabilities[name] = positive
        else:
            rest.append(name)
    if len(rest) > 1:
        raise ContractError(f"output columns {rest} could each be the prediction; right would be "
                            "one, and probabilities named after their class")
    return Contract(task, dict(inputs), dict(outputs), tuple(classes), positive, probabilities)


def features_of(frame: pd.DataFrame) -> list[str]:
    """Columns that are inputs: all but those whose name starts with an underscore, and instants."""
    return [str(name) for name in frame.columns
            if not str(name).startswith("_") and frame[name].dtype.kind not in "mM"]


def class_text(value: Any) -> str:
    """One text per class, however it was typed on the way: ``true``, ``3``, ``UP``."""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def class_values(labels: pd.Series) -> tuple[Any, ...]:
    """The distinct labels as plain Python values, in order; absent ones are none."""
    values = {value.item() if isinstance(value, np.generic) else value
              for value in labels.dropna().unique()}
    if all(isinstance(value, float) and value.is_integer() for value in values):
        values = {int(value) for value in values}
    return tuple(sorted(values, key=lambda value: (isinstance(value, str), value)))


def class_codes(values: Iterable[Any], classes: Sequence[Any]) -> NDArray[np.int64]:
    """The place of each value among the classes; -1 for one that is absent or none of them."""
    places = {class_text(value): index for index, value in enumerate(classes)}
    series = pd.Series(values) if not isinstance(values, pd.Series) else values
    distinct = {value: places.get(class_text(value), -1) for value in series.dropna().unique()}
    codes = series.astype(object).map(distinct).fillna(-1)
    return np.asarray(codes.to_numpy(dtype=np.int64, copy=True))


def _known(columns: Mapping[str, str]) -> None:
    wrong = {name: kind for name, kind in columns.items() if kind not in TYPES}
    if wrong:
        raise ContractError(f"columns {wrong} have types that an ONNX artifact cannot keep; "
                            f"right would be one of {', '.join(TYPES)}")


def _type_of(classes: Sequence[Any]) -> str:
    if all(isinstance(value, bool) for value in classes):
        return "boolean"
    if all(isinstance(value, int) for value in classes):
        return "long"
    if all(isinstance(value, float | int) for value in classes):
        return "double"
    return "string"


def _positive(classes: Sequence[Any], positive: Any) -> Any:
    if positive is None:
        return classes[-1]
    for value in classes:
        if value == positive or str(value) == str(positive):
            return value
    raise ContractError(f"the positive class {positive!r} is none of the classes {list(classes)}; "
                        "set log.positive_label to one of them")


def _class_named(name: str, classes: Sequence[Any], positive: Any) -> Any:
    if name == PROBABILITY:
        return positive
    for value in classes:
        if name == str(value) or name.endswith(f"_{value}"):
            return value
    return None
