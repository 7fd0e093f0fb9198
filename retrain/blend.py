"""Blend: the rung that lets several kept models answer together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from monitor.errors import HoldfastError
from retrain.evaluate import Scores, score, together
from retrain.ground import Ground, Player
from retrain.mixture import answered, joined, mixture
from retrain.proposal import Proposal, alike, room

CONSIDERED = 32
"""Newest kept models that are weighed; the oldest version always is."""


def blend(ground: Ground, newest: Sequence[Player] = (), *, place: str = "blend") -> Proposal:
    """Kept models and earlier versions, weighed by the newest rows before the holdout.

    What it is worth is told on the validation rows, on each half of them by weights of the others.
    ``newest`` are models that were fitted in the same climb.
    """
    older, members = _lineup(ground, newest)
    rows = pd.concat([older, ground.validation], ignore_index=True)
    parts = [ground.scored(item.name, path, rows) for item, path in members]
    most, places = ground.training.blend, np.arange(len(rows))
    told = places[len(older):]
    said = [answered(mixture(parts, most, np.setdiff1d(places, half)), parts, ground.contract, half)
            for half in (told[:len(told) // 2], told[len(told) // 2:])]
    scores = score("candidate", together(said), ground.validation, contract=ground.contract,
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
    """The blend weighed once more, by the rows of the holdout too."""
    older, members = _lineup(ground, proposal.newest)
    rows = pd.concat([older, ground.validation, ground.holdout], ignore_index=True)
    parts = [ground.scored(item.name, path, rows) for item, path in members]
    return _blended(ground, members, parts, proposal.scores, "renewed")


def _lineup(ground: Ground, newest: Sequence[Player]
            ) -> tuple[pd.DataFrame, list[tuple[Player, Path]]]:
    """Rows before validation rows of less time than a holdout, so that both together are as long,
    and the models that know none of all these; no such rows where too few models do not.

    A drift that began lately leaves few rows to validation, and weights ask for more. Models of
    this climb know all but validation.
    """
    start = ground.holdout["_timestamp"].min() - ground.training.holdout
    train = max((split.train for _, split in ground.splits), key=len)
    older = train[train["_timestamp"] >= start][list(ground.validation.columns)]
    for rows in (older.iloc[:0],) if newest else (older, older.iloc[:0]):
        first = (rows if len(rows) else ground.validation)["_timestamp"].min()
        members = _members(ground, newest, first)
        if len(members) > 1:
            return rows, members
    raise HoldfastError("fewer than two models are kept that know none of the newest rows")


def _members(ground: Ground, newest: Sequence[Player], start: pd.Timestamp
             ) -> list[tuple[Player, Path]]:
    """The models that know no rows from ``start`` on."""
    found = [(item, item.artifact) for item in (*newest, *ground.kept, *ground.everyone)
             if item.single and item.artifact is not None and not item.barred
             and alike(ground, item) and (item.until is None or item.until < start)]
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
    return Proposal("blend", f"a blend of {len(taken)}: {words}", path, scores,
                    until=parts[0].timestamps.max().to_pydatetime())
