"""Sensitivity: which layers can lose units, measured by the loss on validation.

Each layer is pruned alone, step by step, and the loss looked at (Li et al. 2017, "Pruning filters
for efficient convnets", section 3.2). All layers then get the largest ratio that costs each no
more than one common limit; the limit is the smallest that removes what was asked.
What need not go is given back.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from retrain.finetune import Network, encode, label_loss
from retrain.loop import evaluate
from retrain.prune import example, prune
from retrain.trainer import Split

STEPS = (0.25, 0.5, 0.625, 0.75, 0.8125, 0.875)
"""Ratios that are tried of each layer."""

ABOUT = 1.03
"""What may be left over what uniform ratios leave, so that no whole step more goes."""

ROWS = 2000
"""Newest validation rows that the loss is measured on."""


def ratios(fitted: Network, share: float, data: Split) -> list[float]:
    """A ratio for each prunable layer; together about as many weights and multiplications go
    as where every layer loses ``share``."""
    module: Any = fitted.module
    layers = len(module.prunable)
    if not share or layers < 2:
        return [share] * layers
    aim = tuple(int(item * ABOUT) for item in burden(prune(fitted, share)))
    costs = measured(fitted, data.validation)
    for limit in sorted({cost for row in costs for cost in row}):
        chosen = [max((step for step, cost in zip(STEPS, row, strict=True) if cost <= limit),
                      default=0.0) for row in costs]
        if _within(prune(fitted, share, ratios=chosen), aim):
            return _given_back(fitted, chosen, aim)
    return [share] * layers


def _given_back(fitted: Network, chosen: list[float], aim: tuple[int, ...]) -> list[float]:
    """The ratios without what need not go, that of the last layers first."""
    kept = list(chosen)
    for place in reversed(range(len(kept))):
        for step in (step for step in (0.0, *STEPS) if step < kept[place]):
            fewer = [*kept[:place], step, *kept[place + 1:]]
            if _within(prune(fitted, 0.0, ratios=fewer), aim):
                kept = fewer
                break
    return kept


def measured(fitted: Network, frame: pd.DataFrame) -> list[list[float]]:
    """[layer][step]: how much worse the loss is when this layer alone loses units."""
    rows = encode(fitted, frame.tail(ROWS))
    loss = label_loss(fitted.spec)
    whole = evaluate(fitted.module, rows, loss)
    module: Any = fitted.module
    found = []
    for place in range(len(module.prunable)):
        alone = [[step if place == each else 0.0 for each in range(len(module.prunable))]
                 for step in STEPS]
        found.append([evaluate(prune(fitted, 0.0, ratios=one).module, rows, loss) - whole
                      for one in alone])
    return found


def burden(fitted: Network) -> tuple[int, int]:
    """Numbers that the network is made of, and multiplications for one row."""
    from torch_pruning.utils import count_ops_and_params

    operations, numbers = count_ops_and_params(fitted.module, example(fitted.spec, 1))
    return int(numbers), int(operations)


def _within(fitted: Network, aim: tuple[int, ...]) -> bool:
    return all(item <= most for item, most in zip(burden(fitted), aim, strict=True))
