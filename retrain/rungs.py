"""Rungs: the actions that may bring a model back, from the cheapest to the dearest.

Each gives a ``Proposal`` or raises ``HoldfastError`` with the reason why it has none. All choices
inside a rung are made on validation rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from monitor.errors import HoldfastError
from retrain.checkpoints import Checkpoints
from retrain.checks import Rules
from retrain.evaluate import Scores
from retrain.gate import choose
from retrain.ground import Ground, Player
from retrain.points import WHOLE, Point, measured, points
from retrain.proposal import Kept, Proposal, Recipe, Teacher, alike, room, runnable
from retrain.quantize import CALIBRATION_ROWS
from retrain.quest import Quest, Spending
from retrain.search import Found, search
from retrain.trainer import Fitted

Choose = Callable[[str, Mapping[str, Point]], tuple[str, str]]
"""(rung, its points) -> the point to go on with, and why in words."""

STARTS = 3
"""Versions that fine-tuning starts from at most: the champion, the newest before it, the first."""


def recall(ground: Ground) -> Proposal:
    """The earlier version that is the best again, as where a season comes back."""
    found: list[tuple[float, Player, Scores]] = []
    said: list[str] = []
    for player in ground.predecessors:
        if player.barred:
            said.append(f"{player.name}: {player.barred}")
        elif not alike(ground, player):
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


def ranges(ground: Ground) -> Proposal:
    """The champion quantized anew, its ranges taken from the newest rows."""
    champion, _ = runnable(ground)
    if champion.parent is None:
        raise HoldfastError(f"{champion.name} is not quantized, or its float form was not kept")
    path = room(ground, "ranges") / "int8.onnx"
    ground.trainer.quantized(champion.parent, path, calibration=ground.splits[0][1].train.tail(
        CALIBRATION_ROWS))
    return Proposal("ranges", f"{champion.name} quantized anew on recent rows", path,
                    ground.scored("candidate", path, ground.validation), champion.fitted,
                    parent=champion.parent, whole=champion.whole)


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
                                          checkpoints=Checkpoints(room(ground, "tune")))
            made.append((f"{item.name} fine-tuned on the rows of {name}", fitted,
                         Recipe(item, name, ground.options)))
    best = min(made, key=lambda item: item[1].loss)
    return _compressed(ground, "tune", best, choice, kept=_kept(ground, "tune", [best]))


def refit(ground: Ground, choice: Choose) -> Proposal:
    """A model trained from scratch on the window that does best on validation, made small."""
    made = _fresh(ground)
    return _compressed(ground, "refit", _least(made), choice, kept=_kept(ground, "refit", made))


def seek(ground: Ground, choice: Choose, *, spending: Spending,
         told: Callable[[Found], None] = lambda found: None) -> Proposal:
    """The best options and architecture that a search finds on that window, made small."""
    what, fitted, recipe = _least(_fresh(ground))
    quest = Quest(ground.trainer, ground.options, ground.contract, ground.split(recipe.window),
                  ground.metric, room(ground, "search"), ground.training.gate.max_size,
                  ground.training.gate.max_latency)
    found = search(quest, spending, default=fitted, said=ground.note)
    told(found)
    if found.number is None:
        raise HoldfastError(f"the search found nothing better than the default: {found.reason}")
    best = (f"{what}, by searched options: {found.reason}", found.fitted,
            replace(recipe, options=found.options, teachers=tuple(
                Teacher(item, quest.seeded(seed)) for seed, item in enumerate(found.teachers))))
    return _compressed(replace(ground, options=found.options), "search", best, choice,
                       kept=_kept(ground, "search", [best]))


Made = tuple[str, Fitted, Recipe]
"""What was fitted, in words; the model; how."""


def _fresh(ground: Ground) -> list[Made]:
    """A model from scratch on every window."""
    return [(f"trained from scratch on the rows of {name}", ground.trainer.fresh(
        split, ground.options, checkpoints=Checkpoints(
            room(ground, "refit") / name.replace(" ", "-"))),
        Recipe(None, name, ground.options)) for name, split in ground.splits]


def _least(made: Sequence[Made]) -> Made:
    """The one that does best on validation."""
    return min(made, key=lambda item: item[1].loss)


def _kept(ground: Ground, rung: str, made: Sequence[Made]) -> dict[str, Kept]:
    """The models as artifacts that a blend may take later; none where no blend is asked for."""
    if "blend" not in ground.training.ladder:
        return {}
    found: dict[str, Kept] = {}
    for place, (what, fitted, recipe) in enumerate(made):
        rows = ground.split(recipe.window).train["_timestamp"]
        path = ground.trainer.export(fitted, ground.contract,
                                     room(ground, "kept") / f"{rung}-{place}.onnx")
        found[path.stem] = Kept(what, path, rows.min().to_pydatetime(), rows.max().to_pydatetime())
    return found


def _compressed(ground: Ground, rung: str, made: Made, choice: Choose, *,
                kept: Mapping[str, Kept]) -> Proposal:
    what, fitted, recipe = made
    ground.note(what)
    ground.stage(rung, fitted.history)
    sizes = points(ground, fitted, ground.split(recipe.window), folder=room(ground, rung))
    name, why = choice(rung, sizes)
    taken = sizes[name]
    small = taken.parent or taken.artifact
    kept = {key: replace(item, artifact=small) if item.what == what else item
            for key, item in kept.items()}
    return Proposal(rung, what, taken.artifact, taken.scores, fitted, parent=taken.parent,
                    whole=None if taken.share is None else sizes[WHOLE].artifact,
                    trained=True, point=name, choice=why,
                    points={key: point.scores for key, point in sizes.items()},
                    recipe=replace(recipe, share=taken.share, int8=taken.parent is not None),
                    kept=kept)


def cheapest(ground: Ground, sizes: Mapping[str, Point]) -> tuple[str, str]:
    """The cheapest point that stays within the accuracy budget, and why in words."""
    found = choose([point.scores for point in sizes.values()], reference=sizes[WHOLE].scores,
                   rules=Rules(ground.metric, asked=ground.training.gate),
                   budget=ground.training.accuracy_budget)
    return found.scores.name, found.reason


def priced(ground: Ground, proposal: Proposal) -> Proposal:
    """The proposal with its size and latency, where no point of it was measured."""
    if proposal.scores.latency:
        return proposal
    taken = measured({"it": Point(proposal.fitted, proposal.artifact, proposal.scores)},
                     ground.validation)["it"]
    return replace(proposal, scores=taken.scores)
