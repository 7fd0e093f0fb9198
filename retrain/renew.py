"""Renew: a proposal that passed, made once more in the same way on all rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from retrain import bend, blend
from retrain.checkpoints import Checkpoints
from retrain.ground import Ground
from retrain.proposal import Proposal, Recipe, room
from retrain.quantize import CALIBRATION_ROWS
from retrain.trainer import Fitted, Split, Trainer, taught


def renewed(ground: Ground, proposal: Proposal) -> Proposal:
    """The proposal made once more in the same way, with the rows of validation and holdout too.

    A training is as many rounds of the same recipe; what was measured of the proposal is what the
    recipe is worth. An earlier version stays what it is.
    """
    if proposal.rung == "blend":
        return blend.renewed(ground, proposal)
    if proposal.bent_on:
        return bend.renewed(ground, proposal)
    recipe, trainer = proposal.recipe, ground.trainer
    if recipe is None or proposal.fitted is None:
        return proposal
    data, folder = ground.split(recipe.window).whole, room(ground, "renewed")
    whole = _trained(trainer, recipe, data, fitted=proposal.fitted, folder=folder)
    small = whole if recipe.share is None else trainer.pruned(
        whole, recipe.share, data, options=recipe.options,
        checkpoints=Checkpoints(folder / "small"))
    artifact, parent = trainer.export(small, ground.contract, folder / "float.onnx"), None
    before = None if small is whole else trainer.export(whole, ground.contract,
                                                        folder / "whole.onnx")
    if recipe.int8:
        parent = artifact
        artifact = trainer.quantized(parent, folder / "int8.onnx",
                                     calibration=data.train.tail(CALIBRATION_ROWS))
    return replace(proposal, artifact=artifact, parent=parent, whole=before, fitted=whole)


def _trained(trainer: Trainer, recipe: Recipe, data: Split, *, fitted: Fitted, folder: Path
             ) -> Fitted:
    """A model by the recipe on these rows, in as many rounds as ``fitted`` took; its teachers too
    know them all."""
    checkpoints, start = Checkpoints(folder), recipe.start
    if start is not None:
        assert start.fitted is not None
        return trainer.tuned(start.fitted, data, trainer.capped(
            recipe.options, fitted, start.fitted), checkpoints=checkpoints)
    teachers = [trainer.fresh(data, trainer.capped(item.options, item.fitted),
                              checkpoints=Checkpoints(folder / f"teacher-{place}"))
                for place, item in enumerate(recipe.teachers)]
    return taught(trainer, teachers, data, trainer.capped(recipe.options, fitted),
                  checkpoints=checkpoints)
