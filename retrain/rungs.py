"""Rungs: the actions that may bring a model back, from the cheapest to the dearest.

Each gives a ``Proposal`` or raises ``HoldfastError`` with the reason why it has none. All choices
inside a rung are made on validation rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from monitor.errors import HoldfastError
from retrain.checkpoints import Checkpoints
from retrain.evaluate import Scores
from retrain.gate import choose
from retrain.ground import Ground, Player
from retrain.points import WHOLE, Point, measured, points
from retrain.quantize import CALIBRATION_ROWS
from retrain.recalibrate import bent, curve
from retrain.search import Found, Quest, Spending, search
from retrain.trainer import WEIGHT, Fitted, Options, Split

Choose = Callable[[str, Mapping[str, Point]], tuple[str, str]]
"""(rung, its points) -> the point to go on with, and why in words."""

STARTS = 3
"""Versions that fine-tuning starts from at most: the champion, the newest before it, the first."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model was trained, so that it can be done once more: from where, on which window, and
    how it was made small."""

    start: Player | None
    window: str
    options: Options
    share: float | None = None
    int8: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a rung proposes: an artifact with its validation scores, and how it came about.

    ``again`` names the earlier version that it is, where it is one; ``fitted`` are the weights that
    the next fine-tuning goes on from, where there are some; ``bent_on`` names the window whose rows
    bent the answers of the champion.
    """

    rung: str
    what: str
    artifact: Path
    scores: Scores
    fitted: Fitted | None = None
    again: str | None = None
    parent: Path | None = None
    trained: bool = False
    point: str = ""
    choice: str = ""
    points: Mapping[str, Scores] = field(default_factory=dict)
    recipe: Recipe | None = None
    bent_on: str = ""


def recall(ground: Ground) -> Proposal:
    """The earlier version that is the best again, as where a season comes back."""
    found: list[tuple[float, Player, Scores]] = []
    said: list[str] = []
    for player in ground.predecessors:
        if player.barred:
            said.append(f"{player.name}: {player.barred}")
        elif not _alike(ground, player):
            said.append(f"{player.name} takes or answers other columns than the champion")
        elif player.artifact is None:
            said.append(f"{player.name} cannot be run")
        else:
            scores = ground.scored(player.name, player.artifact, ground.validation)
            found.append((ground.gain(scores), player, scores))
    if not found:
        raise HoldfastError("; ".join(said) or "there is no earlier version")
    _, player, scores = max(found, key=lambda item: item[0])
    assert player.artifact is not None
    return Proposal("recall", f"{player.name} again", player.artifact, scores, player.fitted,
                    again=player.name, parent=player.parent)


def _alike(ground: Ground, player: Player) -> bool:
    one, other = player.contract, ground.contract
    return (dict(one.inputs), dict(one.outputs), set(map(str, one.classes))) == (
        dict(other.inputs), dict(other.outputs), set(map(str, other.classes)))


def _runnable(ground: Ground) -> tuple[Player, Path]:
    champion = ground.champion
    if champion is None:
        raise HoldfastError("there is no champion")
    if champion.artifact is None:
        raise HoldfastError(f"{champion.name} is no ONNX model that could be run here")
    return champion, champion.artifact


def probabilities(ground: Ground) -> Proposal:
    """The champion with its answers bent to the newest labels; of the windows, the best."""
    _runnable(ground)
    made: list[Proposal] = []
    refusals: list[str] = []
    for name, split in ground.splits:
        try:
            made.append(_bent(ground, name, split, folder=_folder(ground, "probabilities")))
        except HoldfastError as error:
            refusals.append(str(error))
    if not made:
        raise HoldfastError(refusals[0])
    return max(made, key=lambda item: ground.gain(item.scores))


def _bent(ground: Ground, window: str, split: Split, *, folder: Path) -> Proposal:
    """The champion with a curve by the training rows of the split."""
    champion, artifact = _runnable(ground)
    found = curve(ground.scored(champion.name, artifact, split.train), split.weight)
    path = bent(artifact, found, ground.contract, folder / f"{window.replace(' ', '-')}.onnx")
    parent = champion.parent and bent(champion.parent, found, ground.contract,
                                      path.with_name(f"{path.stem}-parent.onnx"))
    return Proposal(
        "probabilities", f"{champion.name} with {found.words(ground.contract)}, by the rows of "
        f"{window}", path, ground.scored("candidate", path, ground.validation), champion.fitted,
        parent=parent, bent_on=window)


def ranges(ground: Ground) -> Proposal:
    """The champion quantized anew, its ranges taken from the newest rows."""
    champion, _ = _runnable(ground)
    if champion.parent is None:
        raise HoldfastError(f"{champion.name} is not quantized, or its float form was not kept")
    path = _folder(ground, "ranges") / "int8.onnx"
    ground.trainer.quantized(champion.parent, path, calibration=ground.splits[0][1].train.tail(
        CALIBRATION_ROWS))
    return Proposal("ranges", f"{champion.name} quantized anew on recent rows", path,
                    ground.scored("candidate", path, ground.validation), champion.fitted,
                    parent=champion.parent)


def tune(ground: Ground, choice: Choose) -> Proposal:
    """The best fine-tuned one of the champion and of earlier versions, made small."""
    known = [item for item in (ground.champion, *ground.predecessors)
             if item is not None and item.fitted is not None and not item.barred]
    starts = list({item.name: item for item in (*known[:STARTS - 1], *known[-1:])}.values())
    if not starts:
        raise HoldfastError("no version's weights are there to go on from")
    made: list[tuple[str, Fitted, Recipe]] = []
    for name, split in ground.splits:
        for item in starts:
            assert item.fitted is not None
            fitted = ground.trainer.tuned(item.fitted, split, ground.options,
                                          name=f"{item.name}-{name}".replace(" ", "-"),
                                          checkpoints=Checkpoints(_folder(ground, "tune")))
            made.append((f"{item.name} fine-tuned on the rows of {name}", fitted,
                         Recipe(item, name, ground.options)))
    return _compressed(ground, "tune", min(made, key=lambda item: item[1].loss), choice)


def refit(ground: Ground, choice: Choose) -> Proposal:
    """A model trained from scratch on the window that does best on validation, made small."""
    return _compressed(ground, "refit", _fresh(ground), choice)


def seek(ground: Ground, choice: Choose, spending: Spending, *,
         told: Callable[[Found], None] = lambda found: None) -> Proposal:
    """The best options and architecture that a search finds on that window, made small."""
    what, fitted, recipe = _fresh(ground)
    found = search(Quest(ground.trainer, ground.options, ground.contract,
                         ground.split(recipe.window), ground.metric, _folder(ground, "search"),
                         ground.training.gate.max_size, ground.training.gate.max_latency),
                   spending, default=fitted, said=ground.note)
    told(found)
    if found.number is None:
        raise HoldfastError(f"the search found nothing better than the default: {found.reason}")
    return _compressed(replace(ground, options=found.options), "search", (
        f"{what}, by searched options: {found.reason}", found.fitted,
        replace(recipe, options=found.options)), choice)


def _fresh(ground: Ground) -> tuple[str, Fitted, Recipe]:
    """The model from scratch, on the window that does best on validation."""
    made = []
    for name, split in ground.splits:
        fitted = ground.trainer.fresh(split, ground.options, checkpoints=Checkpoints(
            _folder(ground, "refit") / name.replace(" ", "-")))
        made.append((f"trained from scratch on the rows of {name}", fitted,
                     Recipe(None, name, ground.options)))
    return min(made, key=lambda item: item[1].loss)


def _compressed(ground: Ground, rung: str, made: tuple[str, Fitted, Recipe], choice: Choose
                ) -> Proposal:
    what, fitted, recipe = made
    ground.note(what)
    ground.stage(rung, fitted.history)
    sizes = points(ground, fitted, ground.split(recipe.window), folder=_folder(ground, rung))
    name, why = choice(rung, sizes)
    taken = sizes[name]
    return Proposal(rung, what, taken.artifact, taken.scores, fitted, parent=taken.parent,
                    trained=True, point=name, choice=why,
                    points={key: point.scores for key, point in sizes.items()},
                    recipe=replace(recipe, share=taken.share, int8=taken.parent is not None))


def renewed(ground: Ground, proposal: Proposal) -> Proposal:
    """The proposal made once more in the same way, with the rows of validation and holdout too.

    A training is as many rounds of the same recipe; what was measured of the proposal is what the
    recipe is worth. An earlier version stays what it is.
    """
    if proposal.bent_on:
        split = _whole(ground.split(proposal.bent_on))
        again = _bent(ground, proposal.bent_on, split, folder=_folder(ground, "renewed"))
        return replace(proposal, artifact=again.artifact, parent=again.parent)
    recipe, trainer = proposal.recipe, ground.trainer
    if recipe is None or proposal.fitted is None:
        return proposal
    data, folder = _whole(ground.split(recipe.window)), _folder(ground, "renewed")
    start = None if recipe.start is None else recipe.start.fitted
    options = trainer.capped(recipe.options, proposal.fitted, start)
    checkpoints = Checkpoints(folder)
    whole = (trainer.fresh(data, options, checkpoints=checkpoints) if start is None
             else trainer.tuned(start, data, options, checkpoints=checkpoints))
    small = whole if recipe.share is None else trainer.pruned(
        whole, recipe.share, data, options=recipe.options,
        checkpoints=Checkpoints(folder / "small"))
    artifact, parent = trainer.export(small, ground.contract, folder / "float.onnx"), None
    if recipe.int8:
        parent = artifact
        artifact = trainer.quantized(parent, folder / "int8.onnx",
                                     calibration=data.train.tail(CALIBRATION_ROWS))
    return replace(proposal, artifact=artifact, parent=parent, fitted=whole)


def _whole(split: Split) -> Split:
    """A split whose training rows are all of its rows; newer ones count like its newest."""
    rows = pd.concat([split.train, split.validation, split.holdout], ignore_index=True)
    if WEIGHT in rows:
        rows[WEIGHT] = rows[WEIGHT].fillna(split.train[WEIGHT].max())
    return Split(rows, split.holdout, split.holdout)


def cheapest(ground: Ground, sizes: Mapping[str, Point]) -> tuple[str, str]:
    """The cheapest point that stays within the accuracy budget, and why in words."""
    found = choose([point.scores for point in sizes.values()], reference=sizes[WHOLE].scores,
                   metric=ground.metric, budget=ground.training.accuracy_budget)
    return found.scores.name, found.reason


def _folder(ground: Ground, rung: str) -> Path:
    path = ground.folder / rung
    path.mkdir(parents=True, exist_ok=True)
    return path


def priced(ground: Ground, proposal: Proposal) -> Proposal:
    """The proposal with its size and latency, where no point of it was measured."""
    if proposal.scores.latency:
        return proposal
    taken = measured({"it": Point(proposal.fitted, proposal.artifact, proposal.scores)},
                     ground.validation)["it"]
    return replace(proposal, scores=taken.scores)
