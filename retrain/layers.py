"""The torch module of the tabular network; the only file that imports torch at its top."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from retrain.spec import Spec


class Tabular(nn.Module):
    """Embeddings beside the numbers, then ``depth`` hidden layers and a head."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        sizes = spec.embedding_sizes
        self.embeddings = nn.ModuleList(
            nn.Embedding(cardinality, size)
            for cardinality, size in zip(spec.cardinalities, sizes, strict=True))
        self.hidden = nn.ModuleList()
        incoming = spec.n_numeric + sum(sizes)
        for _ in range(spec.depth):
            self.hidden.append(nn.Linear(incoming, spec.width))
            incoming = spec.width
        self.dropout = nn.Dropout(spec.dropout)
        self.head = nn.Linear(incoming, spec.outputs)
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
        x = self.head(x)
        if self.scale != 1.0 or self.offset != 0.0:
            x = x * self.scale + self.offset
        assert isinstance(x, Tensor)
        return x

