"""Contracts: what goes into an artifact and what comes out."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from monitor.errors import ContractError
from retrain.contract import (
    Contract,
    class_codes,
    class_text,
    class_values,
    column_type,
    default,
    features_of,
    from_columns,
)

FRAME = pd.DataFrame({"x": [1.0, None], "n": [1, 2], "s": ["a", None], "b": [True, False],
                      "_label": ["no", "yes"], "_timestamp": pd.to_datetime(["2026-01-01"] * 2)})


def test_default_contract_names_raw_inputs_and_a_probability_of_the_positive_class() -> None:
    contract = default(FRAME, "binary", classes=("no", "yes"))
    assert contract.inputs == {"x": "double", "n": "long", "s": "string", "b": "boolean"}
    assert contract.outputs == {"prediction": "string", "probability": "float"}
    assert contract.probabilities == {"probability": "yes"}


def test_multiclass_contract_has_a_column_per_class() -> None:
    contract = default(FRAME, "multiclass", classes=(1, 2, 3))
    assert contract.outputs == {"prediction": "long", "probability_1": "float",
                                "probability_2": "float", "probability_3": "float"}


def test_contract_survives_json() -> None:
    contract = default(FRAME, "binary", classes=("no", "yes"), positive="no")
    assert Contract.from_dict(json.loads(json.dumps(contract.to_dict()))) == contract


def test_a_foreign_signature_keeps_its_output_names() -> None:
    contract = from_columns("binary", inputs={"x": "double"}, classes=("no", "yes"),
                            outputs={"answer": "string", "p_yes": "double"})
    assert contract.prediction == "answer"
    assert contract.probabilities == {"p_yes": "yes"}


def test_outputs_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(ContractError, match="could each be the prediction"):
        from_columns("binary", inputs={"x": "double"}, classes=("no", "yes"),
                     outputs={"a": "string", "b": "string"})


def test_an_unknown_positive_class_is_refused() -> None:
    with pytest.raises(ContractError, match="none of the classes"):
        default(FRAME, "binary", classes=("no", "yes"), positive="maybe")


@pytest.mark.parametrize(("values", "kind"), [
    (pd.Series([1, 2], dtype="int8"), "integer"), (pd.Series([1, 2], dtype="int64"), "long"),
    (pd.Series([1, None], dtype="Int64"), "double"), (pd.Series([1.5], dtype="float32"), "float"),
    (pd.Series([True, None], dtype=object), "string"), (pd.Series(["a"]), "string"),
    (pd.Series(["a"], dtype="category"), "string"), (pd.Series([True]), "boolean"),
    (pd.Series([1, 2.5, None], dtype=object), "double")])
def test_column_types(values: pd.Series, kind: str) -> None:
    assert column_type(values) == kind


def test_instants_are_no_inputs() -> None:
    assert features_of(FRAME.assign(when=FRAME["_timestamp"])) == ["x", "n", "s", "b"]
    with pytest.raises(ContractError, match="exclude it"):
        column_type(FRAME["_timestamp"])


def test_classes_are_matched_however_they_are_typed() -> None:
    assert [class_text(value) for value in (True, np.True_, 1, 1.0, "1")] == [
        "true", "true", "1", "1", "1"]
    assert class_values(pd.Series([2.0, 1.0, None])) == (1, 2)
    assert class_codes(pd.Series([1.0, "2", None, 3], dtype=object), (1, 2)).tolist() == [
        0, 1, -1, -1]
