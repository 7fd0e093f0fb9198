"""Design: raw columns as the one matrix of numbers that scikit-learn's estimators take.

Scaled numbers, their missing indicators, and one column of 0 and 1 for each category: histogram
trees on category codes convert to other answers, trees on these convert exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from onnx import TensorProto

from monitor.errors import HoldfastError
from retrain.graph import Graph
from retrain.preprocess import Encoder

MOST, LEAST = 24, 20
"""Categories of a column with an indicator of their own, and the rows that each needs."""


@dataclass(frozen=True, slots=True)
class Design:
    """An encoder and what its codes become; columns keep their meaning for life.

    A later fit goes on with the same columns, so that trees and coefficients keep theirs: numbers
    that were constant may start to move, new categories stay "unknown".
    """

    encoder: Encoder

    @classmethod
    def fit(cls, frame: pd.DataFrame, features: Sequence[str], categorical: Sequence[str]
            ) -> Design:
        """What the frame's columns teach; ``HoldfastError`` where there is none."""
        if not features:
            raise HoldfastError("the rows hold no input column; right would be at least one "
                                "(log.features)")
        return cls(Encoder.fit(frame, features, categorical, most=MOST, least=LEAST))

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        return 2 * len(self.encoder.numeric) + sum(self.encoder.cardinalities)

    def renewed(self, frame: pd.DataFrame) -> Design:
        """The design with a scale for numbers that were constant and now move."""
        grown = self.encoder.widened(frame)
        return Design(replace(grown, categorical=self.encoder.categorical))

    def matrix(self, frame: pd.DataFrame) -> NDArray[np.float32]:
        """The rows as float32 ``[n, width]``, bit for bit what the graph computes."""
        values, codes = self.encoder.transform(frame)
        if not self.encoder.categorical:
            return values
        places, known = self._indicators()
        return np.concatenate([values, codes[:, places] == known], axis=1).astype(np.float32)

    def drawn(self, graph: Graph) -> str:
        """Append the same computation to a graph; gives the matrix."""
        parts = [graph.numbers(self.encoder)]
        codes = graph.categories(self.encoder)
        if codes is not None:
            places, known = self._indicators()
            spread = graph.add("Gather", [codes, graph.constant(places, np.int64)], axis=1)
            hot = graph.add("Equal", [spread, graph.constant(known, np.int64)])
            parts.append(graph.add("Cast", [hot], to=TensorProto.FLOAT))
        found = [part for part in parts if part is not None]
        return found[0] if len(found) == 1 else graph.add("Concat", found, axis=1)

    def to_dict(self) -> dict[str, Any]:
        return self.encoder.to_dict()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Design:
        return cls(Encoder.from_dict(values))

    def _indicators(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of each indicator the category column and the code that it stands for."""
        counts = self.encoder.cardinalities
        places = np.repeat(np.arange(len(counts)), counts)
        return places, np.concatenate([np.arange(count) for count in counts])
