"""Specs: the shapes of the networks, enough to build one before its weights are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from retrain.contract import Task

ROUND_TO = 8
"""Widths that pruning leaves are multiples of this, as matrix kernels like them."""

Tensors = tuple[tuple[str, int, str], ...]
"""(name, width, numpy type) of each tensor ``[n, width]`` that a network takes."""


class Shape(Protocol):
    """What is asked of every spec; ``kind`` is written into the weights' file.

    ``offset`` and ``scale`` turn the last layer's output into the target's units (regression).
    """

    kind: ClassVar[str]

    @property
    def task(self) -> Task: ...
    @property
    def classes(self) -> tuple[Any, ...]: ...
    @property
    def offset(self) -> float: ...
    @property
    def scale(self) -> float: ...
    @property
    def tensors(self) -> Tensors: ...


class Answering:
    """A spec's answers: a number per class, or one value."""

    __slots__ = ()

    classes: tuple[Any, ...]

    @property
    def outputs(self) -> int:
        return len(self.classes) or 1


@dataclass(frozen=True, slots=True)
class Spec(Answering):
    """The shape of a network over tables; ``n_numeric`` counts numbers and missing indicators."""

    kind: ClassVar[str] = "table"

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
    layers: tuple[int, ...] = ()
    """Widths of the hidden layers; empty: ``depth`` of ``width``."""

    @property
    def hidden(self) -> tuple[int, ...]:
        return self.layers or (self.width,) * self.depth

    @property
    def embedding_sizes(self) -> tuple[int, ...]:
        return self.sizes or tuple(embedding_size(rows) for rows in self.cardinalities)

    @property
    def tensors(self) -> Tensors:
        return (("numeric", self.n_numeric, "float32"),
                ("categorical", len(self.cardinalities), "int64"))


@dataclass(frozen=True, slots=True)
class ImageSpec(Answering):
    """The shape of a convolutional network over images of ``height`` x ``width`` x ``channels``.

    ``kernels`` are counts per convolution; each halves the picture, down to 1. Pixels (0 to 255)
    are normalised within the network by ``mean`` and ``deviation``.
    """

    kind: ClassVar[str] = "image"

    task: Task
    classes: tuple[Any, ...]
    height: int
    width: int
    channels: int = 1
    kernels: tuple[int, ...] = (16, 32, 64)
    hidden: int = 64
    dropout: float = 0.1
    offset: float = 0.0
    scale: float = 1.0
    mean: float = 127.5
    deviation: float = 127.5

    @property
    def tensors(self) -> Tensors:
        return (("pixels", self.height * self.width * self.channels, "uint8"),)


@dataclass(frozen=True, slots=True)
class TextSpec(Answering):
    """The shape of a network over ``length`` tokens: embeddings pooled by attention, then a
    multilayer perceptron; ``words`` counts rows of the embedding, absent and unknown included."""

    kind: ClassVar[str] = "text"

    task: Task
    classes: tuple[Any, ...]
    words: int
    length: int
    size: int = 64
    layers: tuple[int, ...] = (64,)
    dropout: float = 0.1
    offset: float = 0.0
    scale: float = 1.0

    @property
    def tensors(self) -> Tensors:
        return (("tokens", self.length, "int64"),)


@dataclass(frozen=True, slots=True)
class TransformerSpec(Answering):
    """The shape of a transformer over ``length`` pieces of words: its library's own configuration
    as JSON, and what pruning left of the layers that it names one width for."""

    kind: ClassVar[str] = "transformer"

    task: Task
    classes: tuple[Any, ...]
    config: str
    length: int
    rank: int = 8
    """Rank of the matrices that fine-tuning adds (LoRA), for a time."""
    inner: tuple[int, ...] = ()
    """Widths of the feed-forward layers; empty: as the configuration says."""
    dropout: float = 0.1
    offset: float = 0.0
    scale: float = 1.0

    @property
    def tensors(self) -> Tensors:
        return (("tokens", self.length, "int64"),)


SPECS: dict[str, type[Spec] | type[ImageSpec] | type[TextSpec] | type[TransformerSpec]] = {
    item.kind: item for item in (Spec, ImageSpec, TextSpec, TransformerSpec)}
"""Kind of network -> its spec."""


def embedding_size(cardinality: int) -> int:
    """Dimensions of a fresh embedding: a quarter of its rows, between 2 and 16."""
    return max(2, min(16, cardinality // 4 + 1))
