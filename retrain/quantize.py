"""int8 artifacts by ONNX Runtime: only the network's matrix products, preprocessing stays float."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd

Kind = Literal["static", "dynamic"]


def quantize(source: Path, target: Path, *, calibration: pd.DataFrame, kind: Kind = "static") -> Path:
    """Write the int8 artifact to ``target``; static ranges come from the calibration rows."""
    raise NotImplementedError
