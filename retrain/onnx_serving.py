"""How MLflow serves an artifact: raw columns of a frame in, named columns out.

A copy of this file travels inside every registered version (``code/onnx_serving.py``) and is what
``mlflow.pyfunc.load_model`` runs; it needs numpy, pandas and onnxruntime only. MLflow's own ONNX
wrapper (3.17) hands pandas 3 text columns to the runtime in a form that it refuses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64,
          "tensor(int32)": np.int32, "tensor(bool)": np.bool_}


class Served:
    """One ONNX graph with an input per column, on one CPU thread."""

    def __init__(self, path: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options,
                                                    providers=["CPUExecutionProvider"])

    def predict(self, data: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row of named answers per row; columns that the model does not take are ignored."""
        feeds = {}
        for item in self.session.get_inputs():
            if item.name not in data.columns:
                raise ValueError(f"column {item.name!r} is absent; the model takes "
                                 f"{[each.name for each in self.session.get_inputs()]}")
            feed = _feed(data[item.name], item.type)
            feeds[item.name] = feed.reshape([-1] + [1] * (len(item.shape) - 1))
        answers = self.session.run(None, feeds)
        names = [item.name for item in self.session.get_outputs()]
        return pd.DataFrame({name: np.asarray(answer).reshape(len(data))
                             for name, answer in zip(names, answers, strict=True)},
                            index=data.index)


def _feed(column: pd.Series[Any], kind: str) -> Any:
    """The column as the runtime takes it; absent text is '', an absent number NaN."""
    if kind == "tensor(string)":
        values = column.astype(object)
        return values.where(values.notna(), "").map(str).to_numpy(dtype=object)
    if kind in {"tensor(float)", "tensor(double)"}:
        return column.to_numpy(dtype=_TYPES[kind], na_value=np.nan)
    return column.to_numpy(dtype=_TYPES[kind])


def _load_pyfunc(path: str) -> Served:
    return Served(path)
