"""Artifacts in ONNX Runtime, on one CPU thread: data frame in, columns out.

Needs nothing of torch: what serves and scores imports only this.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
from numpy.typing import NDArray

from monitor.errors import ContractError
from retrain.onnx_serving import octets

DTYPES: dict[str, Any] = {
    "tensor(bool)": np.bool_, "tensor(int32)": np.int32, "tensor(int64)": np.int64,
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(string)": object}
"""ONNX tensor type -> numpy type."""


def session(path: Path, threads: int = 1) -> Any:
    """A session on this many CPU threads, with the runtime's own warnings switched off."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def feed(artifact: Any, frame: pd.DataFrame) -> dict[str, NDArray[Any]]:
    """The frame's columns as the session's inputs; ``ContractError`` where one is absent."""
    inputs = artifact.get_inputs()
    absent = [item.name for item in inputs if item.name not in frame.columns]
    if absent:
        raise ContractError(f"columns {absent} are absent; the model takes "
                            f"{[item.name for item in inputs]}")
    return {item.name: _column(frame[item.name], item) for item in inputs}


def _column(column: pd.Series, item: Any) -> NDArray[Any]:
    if item.type == "tensor(uint8)":
        try:
            return np.asarray(octets(column, item.shape[1]))
        except ValueError as error:
            raise ContractError(f"column {item.name!r}: {error}") from error
    kind = DTYPES[item.type]
    if kind is object:
        values = column.astype(object).where(column.notna(), "").to_numpy()
    elif kind in {np.float32, np.float64}:
        values = (pd.to_numeric(column, errors="coerce").astype("Float64")
                  .to_numpy(dtype=kind, na_value=np.nan))
    else:
        if column.isna().any():
            raise ContractError(f"column {item.name!r} holds nulls, but the model takes {item.type}"
                                " there; log it as a double so that nulls can pass")
        values = column.to_numpy().astype(kind)
    return values.reshape(-1, 1) if len(item.shape) == 2 else values


def columns(artifact: Any, frame: pd.DataFrame, batch: int = 8192) -> dict[str, NDArray[Any]]:
    """{output name: values ``[n]``} for all rows of the frame."""
    names = [item.name for item in artifact.get_outputs()]
    parts = [artifact.run(names, feed(artifact, frame.iloc[begin:begin + batch]))
             for begin in range(0, len(frame), batch)]
    if not parts:
        return {name: np.empty(0, dtype=DTYPES[item.type])
                for name, item in zip(names, artifact.get_outputs(), strict=True)}
    return {name: np.concatenate([part[index].reshape(-1) for part in parts])
            for index, name in enumerate(names)}
