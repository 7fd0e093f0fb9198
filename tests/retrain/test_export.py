"""The artifact: one ONNX graph that answers raw rows as the torch module does."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest

from monitor.errors import ContractError
from retrain.contract import Contract, default
from retrain.export import to_onnx
from retrain.finetune import Network, probabilities, train
from retrain.runtime import columns, session
from retrain.trainer import Options
from tests.retrain.real import bikes, elec, elec_champion, hotel, hotel_champion, insects


def elec_contract() -> Contract:
    return default(elec("1996-05-06", "1996-06-06"), "binary", classes=("DOWN", "UP"),
                   positive="UP")


def answers(fitted: Network, contract: Contract, rows: pd.DataFrame, folder: Path
            ) -> dict[str, np.ndarray]:
    return columns(session(to_onnx(fitted, contract, folder / "model.onnx")), rows)


def test_numbers_and_a_category_of_numbers_with_nulls_and_the_unseen(tmp_path: Path) -> None:
    rows = elec("1998-06-01", "1998-09-01")  # two years on, joined market
    rows["nswprice"] = rows["nswprice"].mask(np.arange(len(rows)) % 5 == 0)
    rows["transfer"] = rows["transfer"].mask(np.arange(len(rows)) % 9 == 0, np.inf)
    rows["day"] = rows["day"].astype("int32").mask(np.arange(len(rows)) % 3 == 0, 99)
    got = answers(elec_champion(), elec_contract(), rows, tmp_path)
    expected = probabilities(elec_champion(), rows)
    np.testing.assert_allclose(got["probability"], expected[:, 1], atol=1e-5)
    assert got["prediction"].tolist() == np.array(["DOWN", "UP"])[expected.argmax(1)].tolist()


def test_text_with_nulls_and_the_unseen(tmp_path: Path) -> None:
    rows = hotel().holdout
    rows.loc[::5, "country"] = "Atlantis"
    rows.loc[::4, "meal"] = np.nan
    contract = default(hotel().train, "binary", classes=(0, 1))
    got = answers(hotel_champion(), contract, rows, tmp_path)
    expected = probabilities(hotel_champion(), rows)
    np.testing.assert_allclose(got["probability"], expected[:, 1], atol=1e-5)
    assert got["prediction"].dtype == np.int64


@pytest.mark.parametrize("kind", ["double", "long", "string"])
def test_categories_and_booleans_of_every_type(tmp_path: Path, kind: str) -> None:
    frame = mixed(kind)
    data = type(insects())(frame, frame, frame)
    fitted = train(data, Options("binary", categorical=("code",), widths=(16,), epochs=2))
    contract = default(frame, "binary", classes=(False, True))
    assert contract.inputs["code"] == kind
    got = answers(fitted, contract, frame, tmp_path)
    np.testing.assert_allclose(got["probability"], probabilities(fitted, frame)[:, 1], atol=1e-5)
    assert got["prediction"].dtype == np.bool_


def mixed(kind: str) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    code = pd.Series(rng.integers(0, 4, 400))
    typed = {"double": code.astype(float).mask(code == 3), "long": code,
             "string": code.astype(str).astype(object).mask(code == 3, None)}[kind]
    return pd.DataFrame({"code": typed, "flag": code > 1, "small": code.astype("int8"),
                         "single": code.astype("float32"), "amount": rng.normal(size=400),
                         "_label": code.isin([1, 2]),
                         "_timestamp": pd.date_range("2026-01-01", periods=400, freq="h")})


def test_many_classes_answer_a_probability_each(tmp_path: Path) -> None:
    data, classes = insects(1500), (2, 3, 4, 5, 11, 12)
    fitted = train(data, Options("multiclass", classes=classes, widths=(16,), epochs=2))
    turned = default(data.train, "multiclass", classes=classes[::-1])  # in any order
    got = answers(fitted, turned, data.holdout, tmp_path)
    shares = np.stack([got[f"probability_{value}"] for value in classes], axis=1)
    np.testing.assert_allclose(shares, probabilities(fitted, data.holdout), atol=1e-5)
    assert got["prediction"].tolist() == np.array(classes)[shares.argmax(1)].tolist()


def test_values_in_their_own_units(tmp_path: Path) -> None:
    data = bikes()
    fitted = train(data, Options("regression", categorical=("hr",), widths=(16,), epochs=3))
    got = answers(fitted, default(data.train, "regression"), data.holdout, tmp_path)
    assert got["prediction"].dtype == np.float64
    np.testing.assert_allclose(got["prediction"], probabilities(fitted, data.holdout), rtol=1e-4,
                               atol=1e-2)


def test_a_single_input_is_fed_as_a_table(tmp_path: Path) -> None:
    frame = mixed("long")[["amount", "_label", "_timestamp"]]
    fitted = train(type(insects())(frame, frame, frame), Options("binary", widths=(16,), epochs=1))
    path = to_onnx(fitted, default(frame, "binary", classes=(False, True)), tmp_path / "m.onnx")
    assert session(path).get_inputs()[0].shape == ["N", 1]
    assert len(columns(session(path), frame)["probability"]) == 400


def test_names_and_types_are_the_champions(tmp_path: Path) -> None:
    contract = elec_contract()
    inputs = {**contract.inputs, "day": "double"}
    foreign = replace(contract, inputs=inputs, outputs={"answer": "string", "up": "double"},
                      probabilities={"up": "UP"})
    rows = elec("1996-06-06", "1996-06-13")
    got = answers(elec_champion(), foreign, rows, tmp_path)
    assert {name: value.dtype.kind for name, value in got.items()} == {"answer": "O", "up": "f"}
    np.testing.assert_allclose(got["up"], probabilities(elec_champion(), rows)[:, 1], atol=1e-5)


def test_same_weights_same_bytes_and_nothing_of_this_machine(tmp_path: Path) -> None:
    first, second = (to_onnx(elec_champion(), elec_contract(), tmp_path / name)
                     for name in ("a.onnx", "b.onnx"))
    assert first.read_bytes() == second.read_bytes()
    onnx.checker.check_model(onnx.load(first), full_check=True)
    for word in (b".py", b"site-packages", str(Path.cwd()).encode()):
        assert word not in first.read_bytes()


def test_the_artifact_runs_where_only_the_runtime_is(tmp_path: Path) -> None:
    path = to_onnx(elec_champion(), elec_contract(), tmp_path / "model.onnx")
    script = """
import sys, json, numpy, onnxruntime
kinds = {"tensor(double)": "float64", "tensor(int32)": "int32"}
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
fed = {item.name: numpy.ones(2, kinds[item.type]) for item in session.get_inputs()}
print(json.dumps([value.tolist() for value in session.run(["prediction", "probability"], fed)]))
assert not {"torch", "pandas", "retrain", "monitor"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True,
                          text=True, check=True, cwd=tmp_path)
    predictions, shares = json.loads(done.stdout)
    assert set(predictions) <= {"UP", "DOWN"}
    assert all(0 <= share <= 1 for share in shares)


def test_other_classes_and_missing_inputs_are_refused(tmp_path: Path) -> None:
    contract = elec_contract()
    with pytest.raises(ContractError, match="knows the classes"):
        to_onnx(elec_champion(), replace(contract, classes=("UP", "FLAT")), tmp_path / "m.onnx")
    fewer = {name: kind for name, kind in contract.inputs.items() if name != "transfer"}
    with pytest.raises(ContractError, match="transfer"):
        to_onnx(elec_champion(), replace(contract, inputs=fewer), tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_inputs_that_the_network_does_not_use_are_still_taken(tmp_path: Path) -> None:
    contract = elec_contract()
    more = replace(contract, inputs={**contract.inputs, "note": "string"})
    rows = elec("1996-06-06", "1996-06-08").assign(note="x")
    path = to_onnx(elec_champion(), more, tmp_path / "m.onnx")
    assert [item.name for item in session(path).get_inputs()] == list(more.inputs)
    assert len(columns(session(path), rows)["probability"]) == len(rows)


def test_a_column_that_is_input_and_output_is_refused(tmp_path: Path) -> None:
    contract = elec_contract()
    clash = replace(contract, inputs={**contract.inputs, "probability": "double"})
    with pytest.raises(ContractError, match="inputs and outputs"):
        to_onnx(elec_champion(), clash, tmp_path / "m.onnx")
