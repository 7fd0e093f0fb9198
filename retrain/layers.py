"""The torch modules of the networks; the only file that imports torch at its top.

Every module names its parts in the order that signals pass them (``parts``), so that fine-tuning
can give those near the head larger steps, says which layers may lose units (``prunable``) and what
spec it has after it lost some (``narrowed``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from retrain.spec import ImageSpec, Spec, TextSpec


FAR = -1e4
"""Attention of what is no word."""

LIGHT = 1e-30
"""Least weight of a text; one without words has none."""


class Tabular(nn.Module):
    """Embeddings beside the numbers, then hidden layers and a head."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        sizes = spec.embedding_sizes
        self.embeddings = nn.ModuleList(
            nn.Embedding(cardinality, size)
            for cardinality, size in zip(spec.cardinalities, sizes, strict=True))
        incoming = spec.n_numeric + sum(sizes)
        self.hidden = _hidden(incoming, spec.hidden)
        self.dropout = nn.Dropout(spec.dropout)
        self.head = nn.Linear((incoming, *spec.hidden)[-1], spec.outputs)
        self.offset, self.scale = spec.offset, spec.scale
        for embedding in self.embeddings:
            assert isinstance(embedding, nn.Embedding)
            nn.init.normal_(embedding.weight, std=0.3)

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        parts = [numeric] if numeric.shape[1] else []
        parts += [embedding(categorical[:, index])
                  for index, embedding in enumerate(self.embeddings)]
        x = torch.cat(parts, dim=1)
        for layer in self.hidden:
            x = self.dropout(torch.relu(layer(x)))
        return _answer(self.head(x), self.offset, self.scale)

    @property
    def parts(self) -> list[nn.Module]:
        return [self.embeddings, *self.hidden, self.head]

    @property
    def prunable(self) -> list[nn.Module]:
        return list(self.hidden)

    def narrowed(self, spec: Spec) -> Spec:
        widths = _widths(self.hidden)
        if len(set(widths)) == 1:
            return replace(spec, width=widths[0], layers=())
        return replace(spec, width=widths[-1], layers=widths)


class Convolutional(nn.Module):
    """Raw bytes of an image, normalised, through convolutions that halve it, then a hidden layer
    and a head."""

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        self.shape = (spec.height, spec.width, spec.channels)
        self.convolutions = nn.ModuleList()
        height, width, incoming = self.shape
        for kernels in spec.kernels:
            self.convolutions.append(nn.Conv2d(incoming, kernels, 3, padding=1))
            incoming, height, width = kernels, max(1, height // 2), max(1, width // 2)
        self.hidden = nn.Linear(incoming * height * width, spec.hidden)
        self.dropout = nn.Dropout(spec.dropout)
        self.head = nn.Linear(spec.hidden, spec.outputs)
        self.mean, self.deviation = spec.mean, spec.deviation
        self.offset, self.scale = spec.offset, spec.scale

    def forward(self, pixels: Tensor) -> Tensor:
        height, width, channels = self.shape
        x = (pixels.float() - self.mean) / self.deviation
        x = x.reshape(-1, height, width, channels)
        x = x.reshape(-1, 1, height, width) if channels == 1 else x.permute(0, 3, 1, 2)
        for layer in self.convolutions:
            x = torch.relu(layer(x))
            if min(x.shape[2:]) > 1:
                x = nn.functional.max_pool2d(x, 2)
        x = self.dropout(torch.relu(self.hidden(x.flatten(1))))
        return _answer(self.head(x), self.offset, self.scale)

    @property
    def parts(self) -> list[nn.Module]:
        return [*self.convolutions, self.hidden, self.head]

    @property
    def prunable(self) -> list[nn.Module]:
        return [*self.convolutions, self.hidden]

    def narrowed(self, spec: ImageSpec) -> ImageSpec:
        return replace(spec, kernels=_widths(self.convolutions), hidden=self.hidden.out_features)


class Pooled(nn.Module):
    """Word embeddings, averaged with learned attention, then hidden layers and a head; token 0 is
    no word."""

    def __init__(self, spec: TextSpec) -> None:
        super().__init__()
        self.embedding = nn.Embedding(spec.words, spec.size, padding_idx=0)
        self.attention = nn.Linear(spec.size, 1)
        self.hidden = _hidden(spec.size, spec.layers)
        self.dropout = nn.Dropout(spec.dropout)
        self.head = nn.Linear((spec.size, *spec.layers)[-1], spec.outputs)
        self.offset, self.scale = spec.offset, spec.scale
        nn.init.normal_(self.embedding.weight, std=0.3)
        with torch.no_grad():
            self.embedding.weight[0] = 0

    def forward(self, tokens: Tensor) -> Tensor:
        words = self.embedding(tokens)
        scores = self.attention(words)[:, :, 0].masked_fill(tokens == 0, FAR)
        return self.answer((scores.softmax(dim=1).unsqueeze(1) @ words)[:, 0])

    def answer(self, x: Tensor) -> Tensor:
        """From the average word of each text, ``[n, size]``; nought where there is none."""
        for layer in self.hidden:
            x = self.dropout(torch.relu(layer(x)))
        return _answer(self.head(x), self.offset, self.scale)

    @property
    def parts(self) -> list[nn.Module]:
        return [self.embedding, self.attention, *self.hidden, self.head]

    @property
    def prunable(self) -> list[nn.Module]:
        return [self.embedding, *self.hidden]

    @property
    def served(self) -> nn.Module:
        """The same function with one lookup per word."""
        return Served(self)

    def cut(self, ratio: float, multiple: int) -> None:
        """Drop this share of the words' dimensions, those that reach the next layer least."""
        after = self.hidden[0] if len(self.hidden) else self.head
        assert isinstance(after, nn.Linear)
        size = self.embedding.embedding_dim
        kept = max(multiple, round(size * (1 - ratio) / multiple) * multiple)
        worth = self.embedding.weight.norm(dim=0) * after.weight.norm(dim=0)
        place = worth.argsort(descending=True)[:kept].sort().values
        for layer in (self.embedding, self.attention, after):
            layer.weight = nn.Parameter(layer.weight.detach()[:, place].clone())
        self.embedding.embedding_dim = self.attention.in_features = after.in_features = len(place)

    def narrowed(self, spec: TextSpec) -> TextSpec:
        return replace(spec, size=self.embedding.embedding_dim, layers=_widths(self.hidden))


class Served(nn.Module):
    """``Pooled`` as it is exported: a word's attention depends on the word alone, so it stands
    beside its embedding as a weight, and one lookup gives both.

    The weight has two columns, coarse and fine, so that it keeps 16 bits where each column becomes
    int8.
    """

    def __init__(self, pooled: Pooled) -> None:
        super().__init__()
        self.pooled = pooled
        with torch.no_grad():
            scores = pooled.attention(pooled.embedding.weight)[:, 0]
            weight = (scores - scores[1:].max()).exp()
            weight[0] = 0
            coarse = (weight * 127).round() / 127
            table = torch.cat([pooled.embedding.weight, coarse[:, None],
                               (weight - coarse)[:, None]], dim=1)
            both = torch.zeros(table.shape[1], 1)
            both[-2:] = 1
        self.table: Tensor
        self.both: Tensor
        self.register_buffer("table", table)
        self.register_buffer("both", both)

    def forward(self, tokens: Tensor) -> Tensor:
        rows = self.table[tokens]
        weight = (rows @ self.both).squeeze(2)
        whole = weight.sum(dim=1, keepdim=True).clamp(min=LIGHT)
        answer: Tensor = self.pooled.answer((weight.unsqueeze(1) @ rows)[:, 0, :-2] / whole)
        return answer


MODULES: dict[str, type[Tabular] | type[Convolutional] | type[Pooled]] = {
    "table": Tabular, "image": Convolutional, "text": Pooled}
"""Kind of network -> its module."""


def _hidden(incoming: int, widths: tuple[int, ...]) -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(before, after)
                         for before, after in zip((incoming, *widths), widths, strict=False))


def _widths(layers: nn.ModuleList) -> tuple[int, ...]:
    return tuple(int(layer.weight.shape[0]) for layer in layers)  # type: ignore[index]


def _answer(x: Tensor, offset: float, scale: float) -> Tensor:
    """The last layer's output in the target's units."""
    return x * scale + offset if scale != 1.0 or offset != 0.0 else x
