"""Blends: kept models and versions that answer together, on elec2 and in whole jobs."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pytest

from monitor.config import load
from monitor.errors import HoldfastError
from monitor.policy import Training
from monitor.registry import Registry
from monitor.window import isoformat, parse_time
from retrain import rungs
from retrain.ascent import Stakes, Ways, climbed
from retrain.blend import blend, reblend
from retrain.checks import Rules
from retrain.contract import default
from retrain.ground import Ground, Player, metrics
from retrain.ladder import Attempt, best
from retrain.renew import renewed
from retrain.scikit import Scikit
from retrain.trainer import Options, Split
from tests.retrain.real import elec
from tests.retrain.shop import request, shop, work

OPTIONS = Options("binary", ("day",), ("DOWN", "UP"), settings={"trees": 25})
LADDER = ["recall", "blend", "refit"]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """A champion of 1996, and models that trainings of 1997 fitted and nobody took."""
    folder, trainer = tmp_path_factory.mktemp("ground"), Scikit()
    new = Split(elec("1997-07-01", "1997-09-01"), elec("1997-09-01", "1997-09-21"),
                elec("1997-09-21", "1997-10-05"))
    contract = default(new.train, "binary", classes=OPTIONS.classes, positive="UP")

    def player(name: str, start: str, end: str) -> Player:
        fitted = trainer.fresh(replace(new, train=elec(start, end)), OPTIONS)
        path = trainer.export(fitted, contract, folder / f"{name}.onnx")
        return Player(name, contract, path, fitted, until=datetime.fromisoformat(end))

    kept = (player("summer", "1997-06-15", "1997-08-25"), player("spring", "1997-05-01",
                                                                 "1997-06-15"))
    return Ground(trainer, OPTIONS, contract, "accuracy", metrics("binary", "accuracy"),
                  Training.model_validate({"kind": "sklearn", "prune": [0.5], "ladder": LADDER,
                                           "accuracy_budget": 0.05}),
                  (("all", new), ("recent", replace(new, train=new.train.tail(1200)))),
                  player("version 1", "1996-06-01", "1996-09-01"), (), folder, lambda line: None,
                  lambda name, history: None, kept)


def test_a_blend_beats_the_champion_and_fits_no_weights_of_models(ground: Ground) -> None:
    made = blend(ground)
    assert (made.rung, made.trained, made.fitted) == ("blend", False, None)
    assert ground.gain(made.scores) > 0.01
    assert made.what.startswith("a blend of ")
    assert "x summer" in made.what
    assert made.until == ground.validation["_timestamp"].max(), "it was weighed by those rows"
    whole = ground.scored("it", made.artifact, ground.validation)
    loss, theirs = (item.quality["log_loss"].value for item in (whole, made.scores))
    assert loss is not None
    assert theirs is not None
    assert loss < theirs, "what a blend is worth is told by weights of rows that it is not asked on"


def test_its_weights_are_fitted_once_more_by_the_newest_rows(ground: Ground) -> None:
    made = blend(ground)
    again = renewed(ground, made)
    assert (again.rung, again.scores) == ("blend", made.scores)
    before, after = (ground.scored("it", item.artifact, ground.holdout).quality["log_loss"].value
                     for item in (made, again))
    assert before is not None
    assert after is not None
    assert after < before
    assert again.until == ground.holdout["_timestamp"].max()


def test_what_knows_the_rows_or_is_no_single_model_is_left_out(ground: Ground) -> None:
    knowing = replace(ground.kept[0], until=datetime(1997, 9, 2))
    made = blend(replace(ground, kept=(knowing, ground.kept[1])))
    assert "summer" not in made.what
    bent = replace(ground.kept[0], single=False)
    assert "summer" not in blend(replace(ground, kept=(bent, ground.kept[1]))).what
    with pytest.raises(HoldfastError, match="fewer than two models are kept"):
        blend(replace(ground, kept=()))


def test_few_validation_rows_are_filled_up_with_those_before_that_no_model_knows(
        ground: Ground) -> None:
    """As where a drift began lately; what it is worth is still told on the validation rows."""
    split = ground.splits[0][1]
    short = Split(elec("1997-07-01", "1997-09-19"), elec("1997-09-19", "1997-09-21"),
                  split.holdout)
    lately = replace(ground, splits=(("all", short),))
    made, alone = blend(lately), blend(replace(lately, folder=ground.folder / "alone", splits=(
        ("all", replace(short, train=elec("1997-07-01", "1997-08-31"))),)))
    assert len(made.scores) == len(short.validation)
    losses = [ground.scored("it", item.artifact, elec("1997-09-01", "1997-09-19")
                            ).quality["log_loss"].value or 9 for item in (made, alone)]
    assert losses[0] < losses[1], "it knows the rows of the fortnight before"
    late = replace(ground.kept[0], until=datetime(1997, 9, 15))
    fewer = replace(lately, kept=(late,), champion=None, predecessors=(ground.kept[1],))
    assert "x summer" in blend(fewer).what, "rather fewer rows than no blend"


def test_models_of_the_same_climb_are_blended_at_once(ground: Ground) -> None:
    alone = replace(ground, kept=())
    fitted = rungs.refit(alone, lambda rung, sizes: rungs.cheapest(alone, sizes))
    made = reblend(alone, [fitted])
    assert made.rung == "blend"
    assert "trained from scratch" in made.what
    again = renewed(alone, made)
    assert "trained from scratch" in again.what
    assert again.artifact != made.artifact
    with pytest.raises(HoldfastError, match="no model was fitted"):
        reblend(alone, [])


def test_where_a_blend_serves_it_is_weighed_anew_and_may_lose_a_little(ground: Ground) -> None:
    """Recall and bending are in it; rungs that fit follow, and their models are blended at once."""
    assert ground.champion is not None
    made = renewed(ground, blend(ground))
    champion = replace(ground.champion, artifact=made.artifact, single=False, blend=True,
                       until=made.until)
    serving = replace(ground, champion=champion, predecessors=(ground.champion,))
    assert serving.blended

    def climb(**gate: float) -> list[Attempt]:
        training = Training.model_validate({"kind": "sklearn", "prune": [0.5], "ladder": LADDER,
                                            "accuracy_budget": 0.05, "gate": gate})
        here = replace(serving, training=training)
        meeting, _ = here.met(here.holdout)
        return climbed(here, Stakes(meeting, Rules("accuracy", .002, training.gate), .03, .9,
                                    spent="no weights are fitted"),
                       Ways(lambda _, sizes: rungs.cheapest(here, sizes)))

    attempts = climb(blend_budget=.2)
    assert [(item.rung, item.result) for item in attempts] == [
        ("blend", "passed"), ("refit", "not tried"), ("reblend", "not tried")]
    assert best(attempts) is attempts[0]
    assert attempts[0].judged is not None
    assert attempts[0].validation is None, "the champion was weighed by those rows"
    assert {row["role"] for row in attempts[0].judged.verdict.table} >= {"the champion"}
    assert "an earlier version" not in str(attempts[0].judged.verdict.table)
    assert climb(blend_budget=0)[0].result == (
        "passed" if (attempts[0].gain or 0) >= 0 else "refused")


@pytest.mark.parametrize(("lost", "began", "waits"), [
    (.5, "1997-09-20", True), (.5, "1997-08-20", False), (.5, "1997-08-30", False),
    (.5, None, False), (.04, "1997-09-20", False)])
def test_weights_wait_for_rows_of_a_world_that_began_lately(
        ground: Ground, *, lost: float, began: str | None, waits: bool) -> None:
    """Only where so much is lost that nothing else can mend it, and for four weeks at most."""
    meeting, _ = ground.met(ground.holdout)
    assert ground.champion is not None
    now = ground.standing.quality["accuracy"].value if ground.standing else None
    assert now is not None
    promised = min(now, meeting[ground.champion.name].quality["accuracy"].value or 1) + lost
    stakes = Stakes(meeting, Rules("accuracy", .002), .03, promised,
                    began=None if began is None else datetime.fromisoformat(began))
    named = {item.rung: item.reason for item in climbed(
        replace(ground, training=ground.training.model_copy(update={"ladder": ["refit"]})), stakes,
        Ways(lambda _, sizes: rungs.cheapest(ground, sizes)))}
    assert ("200 are waited for" in named["refit"]) == waits, named


def test_trees_are_fitted_anew_before_they_are_fine_tuned(ground: Ground) -> None:
    """That costs no more; networks go on from their weights first."""
    meeting, _ = ground.met(ground.holdout)
    here = replace(ground, training=ground.training.model_copy(
        update={"ladder": ["tune", "refit", "search"]}))

    class Network(Scikit):
        tunes_cheaply: ClassVar[bool] = True

    def order(trainer: Scikit) -> list[str]:
        return [item.rung for item in climbed(
            replace(here, trainer=trainer),
            Stakes(meeting, Rules("accuracy", .002), .03, spent="no weights are fitted"),
            Ways(lambda _, sizes: rungs.cheapest(here, sizes)))]

    assert order(Scikit()) == ["refit", "tune", "search"]
    assert order(Network()) == ["tune", "refit", "search"]


def test_a_training_keeps_the_model_of_every_window(ground: Ground) -> None:
    made = rungs.refit(ground, lambda rung, sizes: rungs.cheapest(ground, sizes))
    assert [item.what for item in made.kept.values()] == [
        f"trained from scratch on the rows of {name}" for name, _ in ground.splits]
    for item in made.kept.values():
        assert item.artifact.is_file()
        assert item.until == ground.splits[0][1].train["_timestamp"].max()
    silent = replace(ground, training=ground.training.model_copy(update={"ladder": ["refit"]}))
    assert rungs.refit(silent, lambda rung, sizes: rungs.cheapest(silent, sizes)).kept == {}
    assert made.point != "fp32"
    taken, = (item for item in made.kept.values() if item.what == made.what)
    assert taken.artifact == made.artifact, "as it was made small"


def test_models_of_earlier_runs_are_found_by_later_jobs(tmp_path: Path) -> None:
    """Refused or not: what a run kept is there for the next, but not what learned from a fault."""
    path = shop(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}", ladder=LADDER,
                windows=["all", "recent"])
    registry = Registry(load(path).config.mlflow)
    first = request(path, "bootstrap", options={"report": False})
    assert work(first, tmp_path).version == "1"
    asked = request(path, "train", champion="1", options={"report": False})
    work(asked, tmp_path)
    runs = registry.runs("shop", tag="holdfast.kept", most=5)
    assert [run.data.tags["holdfast.request_id"] for run in runs] == [asked.request_id,
                                                                      first.request_id]
    index = json.loads(registry.artifact(runs[0].info.run_id, "holdfast/kept/kept.json") or "")
    assert set(index["models"]) == {"refit-0", "refit-1"}

    def later(days: int, **values: object) -> str:
        known = asked.known_at + timedelta(days=days)
        told = request(path, "train", champion="1", known_at=known, options={"report": False},
                       **values)
        found = work(told, tmp_path).result["ladder"]
        return str(next(item for item in found if item["rung"] == "blend"))

    assert "fewer than two" not in later(1)
    until = parse_time(index["models"]["refit-1"]["until"])
    faulty = isoformat(until - timedelta(days=9)), isoformat(until)
    before = "2025-01-01T00:00:00Z", faulty[0]  # the first champion's reference
    assert "fewer than two" in later(2, exclude=(before, faulty))
