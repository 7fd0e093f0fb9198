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
            if item.type == "tensor(uint8)":
                feeds[item.name] = octets(data[item.name], item.shape[1])
                continue
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


def octets(column: pd.Series[Any], size: int) -> Any:
    """Bytes ``[n, size]`` of a binary column; absent is all zeros, another length an error.

    What is shorter or longer and is a PNG or JPEG file of ``size`` pixels (grey, or three bytes a
    pixel) is decoded, for which Pillow has to be there.
    """
    parts = []
    for value in column:
        if value is None or isinstance(value, float) or not len(value):
            parts.append(bytes(size))
        elif len(value) == size:
            parts.append(bytes(value))
        else:
            parts.append(_decoded(bytes(value), size))
    return np.frombuffer(b"".join(parts), np.uint8).reshape(len(parts), size)


def _decoded(value: bytes, size: int) -> bytes:
    from io import BytesIO

    if value[:4] != b"\x89PNG" and value[:3] != b"\xff\xd8\xff":
        raise ValueError(f"an image of {len(value)} bytes is neither PNG nor JPEG nor the {size} "
                         "raw bytes that the model takes")
    from PIL import Image

    with Image.open(BytesIO(value)) as image:
        grey = image.height * image.width == size
        pixels = np.asarray(image.convert("L" if grey else "RGB"), dtype=np.uint8)
    if pixels.size != size:
        raise ValueError(f"an image of {pixels.shape} has {pixels.size} bytes, the model takes "
                         f"{size}")
    return pixels.tobytes()


def _load_pyfunc(path: str) -> Served:
    return Served(path)
