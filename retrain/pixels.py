"""Pixels: a column of images as the bytes that a network takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitor.errors import HoldfastError
from retrain.contract import column_type
from retrain.onnx_serving import octets


@dataclass(frozen=True, slots=True)
class Pixels:
    """One binary column: ``height`` x ``width`` x ``channels`` bytes, rows from the top."""

    name: str
    height: int
    width: int
    channels: int

    @classmethod
    def fit(cls, frame: pd.DataFrame, features: Sequence[str], shape: Sequence[int] | None = None
            ) -> Pixels:
        """The only binary column, in this shape; without one, square images, grey or of three
        colours (those that are encoded say their shape themselves)."""
        found = [name for name in features if column_type(frame[name]) == "binary"]
        if len(found) != 1:
            raise HoldfastError(f"an image trainer takes one binary column, the log holds {found}; "
                                "right would be one, named under log.features.include")
        [name] = found
        values = frame[name].dropna()
        if not len(values):
            raise HoldfastError(f"column {name!r} holds no image; train on rows that hold some")
        return cls(name, *(_declared(shape) if shape else _guessed(name, values.iloc[0])))

    @property
    def size(self) -> int:
        """Bytes of an image."""
        return self.height * self.width * self.channels

    @property
    def inputs(self) -> dict[str, str]:
        return {self.name: "binary"}

    def transform(self, frame: pd.DataFrame) -> tuple[NDArray[np.uint8]]:
        """Pixels ``[n, size]``; an absent image is black."""
        if self.name not in frame:
            raise HoldfastError(f"column {self.name!r} is absent; the model takes {self.name!r}")
        return (octets(frame[self.name], self.size),)

    def widened(self, _frame: pd.DataFrame) -> Pixels:
        """The same: images have no new categories."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``from_dict`` reads them back unchanged."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Pixels:
        return cls(**values)


def _declared(shape: Sequence[int]) -> tuple[int, int, int]:
    if len(shape) not in {2, 3} or any(side < 1 for side in shape):
        raise HoldfastError(f"training.settings.shape: {list(shape)} is no shape; right would be "
                            " [height, width] or [height, width, channels]")
    return (shape[0], shape[1], shape[2] if len(shape) == 3 else 1)


def _guessed(name: str, value: bytes) -> tuple[int, int, int]:
    if value[:4] in {b"\x89PNG", b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe1", b"\xff\xd8\xff\xdb"}:
        from io import BytesIO

        from PIL import Image

        with Image.open(BytesIO(value)) as image:
            return image.height, image.width, 1 if image.mode in {"1", "L", "I", "F"} else 3
    for channels in (1, 3):
        side = math.isqrt(len(value) // channels)
        if side * side * channels == len(value) and side:
            return side, side, channels
    raise HoldfastError(f"column {name!r} holds images of {len(value)} bytes, not square; "
                        "right would be training.settings: {shape: [height, width, channels]}")
