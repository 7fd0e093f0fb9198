"""Spec: the shape of the tabular network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from retrain.contract import Task


@dataclass(frozen=True, slots=True)
class Spec:
    """The shape of a network; ``n_numeric`` counts numbers and missing indicators.

    ``offset`` and ``scale`` turn the last layer's output into the target's units (regression).
    """

    task: Task
    classes: tuple[Any, ...]
    n_numeric: int
    cardinalities: tuple[int, ...]
    width: int = 64
    depth: int = 2
    dropout: float = 0.1
    offset: float = 0.0
    scale: float = 1.0
    sizes: tuple[int, ...] = ()
    """Dimensions of each embedding; empty: by ``embedding_size``."""

    @property
    def outputs(self) -> int:
        return len(self.classes) or 1

    @property
    def embedding_sizes(self) -> tuple[int, ...]:
        return self.sizes or tuple(embedding_size(rows) for rows in self.cardinalities)


def embedding_size(cardinality: int) -> int:
    """Dimensions of a fresh embedding: a quarter of its rows, between 2 and 16."""
    return max(2, min(16, cardinality // 4 + 1))
