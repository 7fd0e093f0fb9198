"""int8: the network's products only, close to float, from real calibration rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from monitor.errors import HoldfastError
from retrain.contract import default
from retrain.export import to_onnx
from retrain.quantize import Kind, quantize
from retrain.runtime import columns, session
from tests.retrain.real import elec_champion, elec_split, hotel, hotel_champion
from tests.retrain.test_export import elec_contract


@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_int8_answers_almost_as_float_and_is_smaller(tmp_path: Path, kind: Kind) -> None:
    data = elec_split()
    source = to_onnx(elec_champion(), elec_contract(), tmp_path / "fp32.onnx")
    target = quantize(source, tmp_path / "int8.onnx", calibration=data.train, kind=kind)
    exact, close = (columns(session(path), data.holdout) for path in (source, target))
    assert np.abs(exact["probability"] - close["probability"]).max() < 0.05
    assert np.mean(exact["prediction"] != close["prediction"]) < 0.01
    assert target.stat().st_size < source.stat().st_size


def test_text_inputs_and_preprocessing_stay_as_they_are(tmp_path: Path) -> None:
    data = hotel()
    contract = default(data.train, "binary", classes=(0, 1))
    source = to_onnx(hotel_champion(), contract, tmp_path / "fp32.onnx")
    target = quantize(source, tmp_path / "int8.onnx", calibration=data.train)
    kinds = [node.op_type for node in onnx.load(target).graph.node]
    assert kinds.count("LabelEncoder") == len(hotel_champion().encoder.categorical)
    assert kinds.count("QuantizeLinear") == 3  # into, between and out of two hidden layers
    exact, close = (columns(session(path), data.holdout) for path in (source, target))
    assert np.abs(exact["probability"] - close["probability"]).max() < 0.05


def test_same_rows_same_bytes(tmp_path: Path) -> None:
    source = to_onnx(elec_champion(), elec_contract(), tmp_path / "fp32.onnx")
    rows = elec_split().train
    first, second = (quantize(source, tmp_path / name, calibration=rows) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_no_calibration_rows_are_refused(tmp_path: Path) -> None:
    source = to_onnx(elec_champion(), elec_contract(), tmp_path / "fp32.onnx")
    with pytest.raises(HoldfastError, match="calibration rows"):
        quantize(source, tmp_path / "int8.onnx", calibration=elec_split().train.head(0))
