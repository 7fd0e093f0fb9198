"""The torch module of transformers over texts, and the matrices that fine-tuning adds for a time.

LoRA (Hu et al. 2021): beside each linear layer of the frozen body two thin matrices learn, and are
added to its weights afterwards, so that nothing of them is left to serve.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from retrain import pretrained
from retrain.spec import ROUND_TO

if TYPE_CHECKING:
    from retrain.spec import TransformerSpec


class Transformer(nn.Module):
    """A transformer's last states of all pieces, averaged, into a head; code 0 is nothing, the
    others are places in the vocabulary and 1."""

    def __init__(self, spec: TransformerSpec, body: Any = None) -> None:
        super().__init__()
        self.body: Any = pretrained.body(spec.config) if body is None else body
        self.nothing = int(self.body.config.pad_token_id or 0)
        self.dropout = nn.Dropout(spec.dropout)
        self.head = nn.Linear(self.body.config.hidden_size, spec.outputs)
        self.offset, self.scale = spec.offset, spec.scale
        self.feeding = _feeding(self.body)
        for pair, width in zip(self.feeding, spec.inner, strict=False):
            _kept(pair, torch.arange(width))

    def forward(self, tokens: Tensor) -> Tensor:
        known = tokens > 0
        pieces = torch.where(known, tokens - 1, self.nothing)
        states = self.body(input_ids=pieces, attention_mask=known.long()).last_hidden_state
        shares = known.unsqueeze(2).float()
        mean = (states * shares).sum(dim=1) / shares.sum(dim=1).clamp(min=1)
        answer: Tensor = self.head(self.dropout(mean))
        return (answer * self.scale + self.offset if self.scale != 1.0 or self.offset != 0.0
                else answer)

    @property
    def parts(self) -> list[nn.Module]:
        """What learns: the added matrices, where there are some, else the body; and the head."""
        added = [part for name, part in self.body.named_modules()
                 if name.endswith(("lora_A", "lora_B"))]
        return [nn.ModuleList(added) if added else self.body, self.head]

    def cut(self, share: float) -> None:
        """Drop this share of each layer's inner units, those of the least weights in and out."""
        for pair in self.feeding:
            one, other = pair
            kept = max(ROUND_TO, round(one.out_features * (1 - share) / ROUND_TO) * ROUND_TO)
            worth = one.weight.norm(dim=1) * other.weight.norm(dim=0)
            _kept(pair, worth.argsort(descending=True)[:kept].sort().values)

    def narrowed(self, spec: TransformerSpec) -> TransformerSpec:
        return replace(spec, inner=tuple(one.out_features for one, _ in self.feeding))

    def confine(self, pieces: tuple[int, ...]) -> None:
        """Keep these places of the vocabulary alone, in their order."""
        old = self.body.get_input_embeddings()
        table = nn.Embedding(len(pieces), old.embedding_dim)
        table.weight = nn.Parameter(old.weight.detach()[list(pieces)].clone())
        self.body.set_input_embeddings(table)


def adapt(module: Transformer, rank: int, seed: int) -> None:
    """Freeze the body and add matrices of this rank beside all its linear layers, in place; they
    change nothing before they learn."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    with pretrained.quiet():
        module.body = get_peft_model(module.body, LoraConfig(
            r=rank, lora_alpha=2 * rank, target_modules="all-linear", bias="none"))


def merge(module: Transformer) -> None:
    """Add what the matrices learned to the body's own weights, in place; all of it can learn."""
    with pretrained.quiet():
        module.body = module.body.merge_and_unload()
    for parameter in module.parameters():
        parameter.requires_grad_(True)


def _feeding(body: Any) -> list[tuple[nn.Linear, nn.Linear]]:
    """Each layer's two feed-forward products: out to more numbers, and back."""
    hidden = body.config.hidden_size
    linear = [part for part in body.modules() if isinstance(part, nn.Linear)]
    return [(one, other) for one, other in pairwise(linear)
            if one.in_features == other.out_features == hidden
            and one.out_features == other.in_features != hidden]


def _kept(pair: tuple[nn.Linear, nn.Linear], place: Tensor) -> None:
    """Some of the inner units of a pair, in place."""
    one, other = pair
    one.weight = nn.Parameter(one.weight.detach()[place].clone())
    if one.bias is not None:
        one.bias = nn.Parameter(one.bias.detach()[place].clone())
    other.weight = nn.Parameter(other.weight.detach()[:, place].clone())
    one.out_features = other.in_features = len(place)
