"""Blend: the rung that lets several kept models answer together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from monitor.errors import HoldfastError
from retrain.evaluate import Answers, Scores, score
from retrain.ground import Ground, Player
from retrain.mixture import answered, joined, mixture
from retrain.proposal import Proposal, alike, room

CONSIDERED = 32
"""Newest kept models that are weighed; the oldest version always is."""


def blend(ground: Ground) -> Proposal:
    """Kept models and earlier versions, weighed by how they do on the validation rows.

    What it is worth there is told by weights of the other half of them.
    """
    members, rows = _members(ground), ground.validation
    parts = [ground.scored(item.name, path, rows) for item, path in members]
    halves = slice(0, len(rows) // 2), slice(len(rows) // 2, len(rows))
    most = ground.training.blend
    said = [answered(mixture(parts, most, other), parts, ground.contract, half)
            for half, other in (halves, halves[::-1])]
    scores = score("candidate", _together(said), rows, contract=ground.contract,
                   metrics=ground.metrics)
    return _blended(ground, members, parts, scores, "blend")


def renewed(ground: Ground, proposal: Proposal) -> Proposal:
    """The blend weighed once more, by the rows of validation and holdout."""
    members = _members(ground)
    rows = pd.concat([ground.validation, ground.holdout], ignore_index=True)
    parts = [ground.scored(item.name, path, rows) for item, path in members]
    return _blended(ground, members, parts, proposal.scores, "renewed")


def _together(halves: Sequence[Answers]) -> Answers:
    shares = [item.probability for item in halves if item.probability is not None]
    return Answers(np.concatenate([item.predictions for item in halves]),
                   np.concatenate(shares) if shares else None, halves[0].classes)


def _members(ground: Ground) -> list[tuple[Player, Path]]:
    """The models that know none of the validation rows."""
    start = ground.validation["_timestamp"].min()
    found = [(item, item.artifact) for item in (*ground.kept, *ground.everyone)
             if item.single and item.artifact is not None and not item.barred
             and alike(ground, item) and (item.until is None or item.until < start)]
    if len(found) < 2:
        raise HoldfastError("fewer than two models are kept that know none of the newest rows")
    return found[:CONSIDERED] + found[max(CONSIDERED, len(found) - 1):]


def _blended(ground: Ground, members: Sequence[tuple[Player, Path]], parts: Sequence[Scores],
             scores: Scores, place: str) -> Proposal:
    """The mixture by all rows of ``parts``, as a proposal with these scores."""
    found = mixture(parts, ground.training.blend)
    path = joined([path for _, path in members], found, ground.contract,
                  room(ground, place) / "mixture.onnx")
    taken = [(found.weights[place], members[place][0]) for place in found.taken]
    words = ", ".join(f"{weight:.2f} x {item.name}" for weight, item in sorted(
        taken, key=lambda item: -item[0]))
    return Proposal(
        "blend", f"a blend of {len(taken)}: {words}", path, scores,
        until=max((item.until for _, item in taken if item.until is not None), default=None))
