"""The real streams for tests; they are not part of the product."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from tests.servers import need

ROOT = Path(__file__).resolve().parents[1]


def path(name: str) -> Path:
    """The stream's Parquet file in HOLDFAST_DATA (default ../shared/data); skips where absent."""
    folder = Path(os.environ.get("HOLDFAST_DATA", ROOT.parent / "shared" / "data"))
    file = folder / f"{name}.parquet"
    need(file.exists(), f"no {name}.parquet in HOLDFAST_DATA ({folder})")
    return file


def stream(name: str) -> pd.DataFrame:
    """The stream as a frame."""
    return pd.read_parquet(path(name))
