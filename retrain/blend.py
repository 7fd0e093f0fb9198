"""Blend: the rung that lets several kept models answer together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from monitor.errors import HoldfastError
from retrain.evaluate import Scores, score, together
from retrain.ground import Ground, Player
from retrain.mixture import answered, joined, mixture
from retrain.proposal import Proposal, alike, room

CONSIDERED = 32
"""Newest kept models that are weighed; the oldest version always is."""


def blend(ground: Ground, newest: Sequence[Player] = (), *, place: str = "blend") -> Proposal:
    """Kept models and earlier versions, weighed by how they do on the validation rows.

    What it is worth there is told by weights of the other half of them. ``newest`` are models that
    were fitted in the same climb.
    """
    members, rows = _members(ground, newest), ground.validation
    parts = [ground.scored(item.name, path, rows) for item, path in members]
    halves = slice(0, len(rows) // 2), slice(len(rows) // 2, len(rows))
    most = ground.training.blend
    said = [answered(mixture(parts, most, other), parts, ground.contract, half)
            for half, other in (halves, halves[::-1])]
    scores = score("candidate", together(said), rows, contract=ground.contract,
                   metrics=ground.metrics)
    return replace(_blended(ground, members, parts, scores, place), newest=tuple(newest))


def reblend(ground: Ground, attempts: Sequence[Proposal]) -> Proposal:
    """The same with the models that the proposals of this climb were chosen from."""
    newest = [Player(item.what, ground.contract, item.artifact, until=item.until)
              for proposal in attempts for item in proposal.kept.values()]
    if not newest:
        raise HoldfastError("no model was fitted in this climb")
    return blend(ground, newest, place="reblend")


def renewed(ground: Ground, proposal: Proposal) -> Proposal:
    """The blend weighed once more, by the rows of validation and holdout."""
    members = _members(ground, proposal.newest)
    rows = pd.concat([ground.validation, ground.holdout], ignore_index=True)
    parts = [ground.scored(item.name, path, rows) for item, path in members]
    return _blended(ground, members, parts, proposal.scores, "renewed")


def _members(ground: Ground, newest: Sequence[Player]) -> list[tuple[Player, Path]]:
    """The models that know none of the validation rows."""
    start = ground.validation["_timestamp"].min()
    found = [(item, item.artifact) for item in (*newest, *ground.kept, *ground.everyone)
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
