"""Rungs on elec2 after the market was joined: each action on the same ground."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from monitor.errors import HoldfastError
from monitor.policy import Training
from retrain import rungs
from retrain.bend import NEWEST, probabilities
from retrain.contract import default
from retrain.evaluate import Answers
from retrain.ground import Ground, Player, metrics
from retrain.quest import Spending
from retrain.renew import renewed
from retrain.scikit import Scikit
from retrain.trainer import Options, Split
from tests.retrain.real import elec

OPTIONS = Options("binary", ("day",), ("DOWN", "UP"), settings={"trees": 25})


def later() -> Split:
    """Summer 1997: two months to learn from, three weeks to choose on, two for the gate."""
    return Split(elec("1997-07-01", "1997-09-01"), elec("1997-09-01", "1997-09-21"),
                 elec("1997-09-21", "1997-10-05"))


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """A champion of 1996, and a version of late summer 1997 that served before it."""
    folder, trainer = tmp_path_factory.mktemp("ground"), Scikit()
    new = later()
    contract = default(new.train, "binary", classes=OPTIONS.classes, positive="UP")
    old = Split(elec("1996-06-01", "1996-09-01"), elec("1996-09-01", "1996-10-01"), new.holdout)
    players = []
    for name, rows in (("version 2", old), ("version 1", new)):
        fitted = trainer.fresh(rows, OPTIONS)
        players.append(Player(name, contract, trainer.export(
            fitted, contract, folder / f"{name}.onnx"), fitted))
    return Ground(trainer, OPTIONS, contract, "accuracy", metrics("binary", "accuracy"),
                  Training(kind="sklearn", prune=[0.5], accuracy_budget=0.05),
                  (("all", new), ("recent", replace(new, train=new.train.tail(1200)))),
                  players[0], (players[1],), folder, lambda line: None,
                  lambda name, history: None)


def choice(ground: Ground) -> rungs.Choose:
    return lambda rung, sizes: rungs.cheapest(ground, sizes)


def test_recall_names_the_earlier_version_unless_it_is_barred(ground: Ground) -> None:
    made = rungs.recall(ground)
    assert (made.again, made.trained) == ("version 1", False)
    assert ground.gain(made.scores) > 0
    barred = replace(ground, predecessors=(replace(ground.predecessors[0], barred="was undone"),))
    with pytest.raises(HoldfastError, match="version 1: was undone"):
        rungs.recall(barred)


def test_bent_answers_are_better_and_fit_no_weights(ground: Ground) -> None:
    made = probabilities(ground)
    assert not made.trained
    assert ground.gain(made.scores) > 0
    assert "log-probabilities x" in made.what


def test_bent_answers_are_bent_once_more_by_the_newest_rows(ground: Ground) -> None:
    made = probabilities(ground)
    again = renewed(ground, made)
    assert made.bent_on in {"all", "recent", NEWEST}
    assert again.artifact != made.artifact
    before, after = (ground.scored("it", item.artifact, ground.holdout).quality["log_loss"].value
                     for item in (made, again))
    assert before is not None
    assert after is not None
    assert after < before


def test_a_curve_is_fitted_on_rows_that_the_champion_has_not_learned_from(ground: Ground) -> None:
    assert ground.champion is not None
    new = ground.splits[0][1]
    fitted = ground.trainer.fresh(new, OPTIONS)
    path = ground.trainer.export(fitted, ground.contract, ground.folder / "knowing.onnx")
    until = new.train["_timestamp"].max().to_pydatetime()
    knowing = replace(ground, champion=replace(
        ground.champion, artifact=path, fitted=fitted, until=until))
    made = probabilities(knowing)
    assert made.bent_on == NEWEST

    def slope(what: str) -> float:
        return float(what.partition("log-probabilities x ")[2].partition(",")[0])

    deceived = probabilities(replace(knowing, champion=replace(
        ground.champion, artifact=path, fitted=fitted), splits=((
            "all", replace(new, validation=new.validation.head(150))),)))
    assert slope(made.what) < slope(deceived.what), "of rows that it knows it is too sure"
    blind = replace(knowing.champion, until=new.holdout["_timestamp"].max().to_pydatetime())
    with pytest.raises(HoldfastError, match="0 labelled rows that version 2 has not learned from"):
        probabilities(replace(knowing, champion=blind))


def test_what_a_curve_of_the_newest_weeks_is_worth_is_told_by_the_other_half(ground: Ground
                                                                             ) -> None:
    assert ground.champion is not None
    start = ground.validation["_timestamp"].min().to_pydatetime()
    made = probabilities(replace(ground, champion=replace(ground.champion, until=start)))
    assert made.bent_on == NEWEST
    whole = ground.scored("it", made.artifact, ground.validation)
    loss, theirs = (item.quality["log_loss"].value for item in (whole, made.scores))
    assert loss is not None
    assert theirs is not None
    assert loss < theirs


def test_rows_that_the_champion_learned_from_prove_nothing(ground: Ground) -> None:
    scores = rungs.recall(ground).scores
    assert ground.champion is not None

    def learned(until: str, *, of: str = "champion") -> Ground:
        moment = datetime.fromisoformat(until)
        known = replace(ground.champion, until=moment) if of == "champion" else replace(
            ground.predecessors[0], until=moment)
        return replace(ground, **({"champion": known} if of == "champion" else
                                  {"predecessors": (known,)}))

    assert ground.proven(scores) == pytest.approx(ground.gain(scores))
    assert learned("1997-08-01T00:00:00").proven(scores) == ground.proven(scores)
    assert learned("1997-09-20T12:00:00").proven(scores) is None
    part = learned("1997-09-11T00:00:00").proven(scores)
    rows = (scores.timestamps >= "1997-09-11").to_numpy()
    label = scores.judged.label[rows]
    ours, theirs = (np.mean(item.judged.answer[rows] == label)
                    for item in (scores, ground.standing) if item is not None)
    assert part == pytest.approx(ours - theirs)
    theirs_too = learned("1997-09-20T12:00:00", of="version 1")
    assert theirs_too.proven(scores) is not None
    assert theirs_too.proven(scores, "version 1") is None


def test_accuracy_decides_where_scores_are_not_there(ground: Ground) -> None:
    """Of candidates, as the contract has it, or of a champion that is known by its log alone."""
    asked = replace(ground, metric="roc_auc")
    assert ground.champion is not None
    assert (ground.deciding, asked.deciding) == ("accuracy", "roc_auc")
    classes = replace(ground.contract, outputs={"prediction": "string"}, probabilities={})
    assert replace(asked, contract=classes).deciding == "accuracy"
    logged = replace(ground.champion, artifact=None, logged=lambda rows: Answers(
        rows["_label"].to_numpy(object), None, ("DOWN", "UP")))
    assert replace(asked, champion=logged).deciding == "accuracy"


def test_ranges_need_a_float_form(ground: Ground) -> None:
    with pytest.raises(HoldfastError, match="its float form was not kept"):
        rungs.ranges(ground)


def test_a_refit_wins_and_its_recipe_can_be_done_once_more(ground: Ground) -> None:
    made = rungs.refit(ground, choice(ground))
    assert made.trained
    assert ground.gain(made.scores) > 0.02
    assert {"fp32", "pruned-50"} <= set(made.points)
    again = renewed(ground, made)
    assert again.artifact != made.artifact
    before, after = (ground.scored("it", item.artifact, ground.holdout) for item in (made, again))
    assert after.quality["accuracy"].value > before.quality["accuracy"].value, "it saw these rows"
    twice = renewed(ground, made)
    assert np.array_equal(ground.scored("it", twice.artifact, ground.holdout).predictions,
                          after.predictions)


def test_fine_tuning_starts_from_the_best_of_the_versions(ground: Ground) -> None:
    made = rungs.tune(ground, choice(ground))
    assert made.what.startswith("version 1 fine-tuned")
    assert made.recipe is not None
    assert made.recipe.start is not None


def test_a_search_is_a_rung_as_well(ground: Ground, tmp_path: Path) -> None:
    seen = []
    searched = replace(ground, folder=tmp_path)
    with suppress(HoldfastError):  # three trials need not find anything
        rungs.seek(searched, choice(ground), spending=Spending(trials=3, minutes=1),
                   told=seen.append)
    assert len(seen[0].tried) == 3
