"""Proposal: what a rung of the ladder proposes, and how it could be made once more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from monitor.errors import HoldfastError
from retrain.evaluate import Scores
from retrain.ground import Ground, Player
from retrain.trainer import Fitted, Options


@dataclass(frozen=True, slots=True)
class Teacher:
    """A model that another one learned from, and how it was trained from scratch itself."""

    fitted: Fitted
    options: Options


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model was trained, so that it can be done once more: from where, on which window, by
    whose answers beside the labels, and how it was made small."""

    start: Player | None
    window: str
    options: Options
    share: float | None = None
    int8: bool = False
    teachers: tuple[Teacher, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """A model that was fitted on the way, as an artifact of the contract, and the event time of the
    oldest and the newest row that it learned from."""

    what: str
    artifact: Path
    start: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a rung proposes: an artifact with its validation scores, and how it came about.

    ``parent`` is the float artifact that an int8 one was made of, ``whole`` the one before units
    were removed. ``again`` names the earlier version that it is, where it is one; ``fitted`` are
    the weights that the next fine-tuning goes on from, where there are some; ``bent_on`` names the
    window whose rows bent the answers of the champion. ``until`` is the newest event time that a
    blend was weighed by. ``kept`` are the models that were fitted on the way, by name, and
    ``newest`` those that a blend could take because they were fitted in the same climb.
    """

    rung: str
    what: str
    artifact: Path
    scores: Scores
    fitted: Fitted | None = None
    again: str | None = None
    parent: Path | None = None
    whole: Path | None = None
    trained: bool = False
    point: str = ""
    choice: str = ""
    points: Mapping[str, Scores] = field(default_factory=dict)
    recipe: Recipe | None = None
    bent_on: str = ""
    until: datetime | None = None
    kept: Mapping[str, Kept] = field(default_factory=dict)
    newest: tuple[Player, ...] = ()


def alike(ground: Ground, player: Player) -> bool:
    """Whether the player takes and answers the columns that the champion does."""
    one, other = player.contract, ground.contract
    return (dict(one.inputs), dict(one.outputs), set(map(str, one.classes))) == (
        dict(other.inputs), dict(other.outputs), set(map(str, other.classes)))


def room(ground: Ground, rung: str) -> Path:
    """The folder of a rung's files."""
    path = ground.folder / rung
    path.mkdir(parents=True, exist_ok=True)
    return path


def runnable(ground: Ground) -> tuple[Player, Path]:
    """The champion and its artifact; ``HoldfastError`` where there is none that could be run."""
    champion = ground.champion
    if champion is None:
        raise HoldfastError("there is no champion")
    if champion.artifact is None:
        raise HoldfastError(f"{champion.name} is no ONNX model that could be run here")
    return champion, champion.artifact
