"""The search: one study over loss, latency and size, that survives a kill and keeps its word."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from optuna.trial import FixedTrial

from monitor.config import load
from monitor.registry import Registry
from retrain import proof, trials
from retrain.contract import default
from retrain.evaluate import answer, compare, score, session
from retrain.front import Tried, cheaper, front, picture
from retrain.image import Image
from retrain.neural import Neural
from retrain.quest import Quest, Spending
from retrain.record import Record
from retrain.scikit import Scikit
from retrain.search import Found, recorded, search
from retrain.tabular import Tabular
from retrain.text import Text
from retrain.trainer import Options, Split
from tests.retrain.real import bikes, elec_split
from tests.retrain.shop import request, shop, work


def few() -> Split:
    data = elec_split()
    return replace(data, train=data.train.tail(2500).reset_index(drop=True))


def quest(folder: Path, **changes: Any) -> Quest:
    data = few()
    contract = default(data.train, "binary", classes=("DOWN", "UP"), positive="UP")
    options = Options("binary", categorical=("day",), classes=("DOWN", "UP"),
                      settings={"trees": 60})
    return replace(Quest(Scikit(), options, contract, data, "accuracy", folder), **changes)


def by_size(artifacts: Mapping[str, Any], frame: pd.DataFrame, *, batches: tuple[int, ...],
            seconds: float) -> dict[str, dict[int, float]]:
    """A clock that a busy machine cannot disturb: a nanosecond a byte of the artifact and row."""
    return {name: {batch: Path(artifact._model_path).stat().st_size * batch * 1e-9
                   for batch in batches} for name, artifact in artifacts.items()}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "latency", by_size)
        return search(quest(tmp_path_factory.mktemp("search")), Spending(trials=12))


def test_what_is_chosen_is_no_worse_and_cheaper_on_the_holdout_too(found: Found) -> None:
    assert found.number is not None
    chosen = next(item for item in found.tried if item.number == found.number)
    smaller, faster = cheaper(chosen, found.default)
    assert smaller > 1
    assert faster >= 1
    contract, rows = quest(Path()).contract, few().holdout
    scores = [score(path.parent.name, answer(session(path), rows, contract), rows,
                    contract=contract, metrics=("accuracy",))
              for path in (found.artifact, found.artifact.parents[1] / "default.onnx")]
    assert compare(*scores, "accuracy").difference <= 0.005
    assert f"trial {found.number} of 12" in found.reason


def test_options_and_model_of_the_choice_come_back(found: Found) -> None:
    chosen = next(item for item in found.tried if item.number == found.number)
    assert found.options.settings["trees"] == chosen.params["trees"]
    assert found.fitted.loss == chosen.loss
    again = Scikit().fresh(few(), found.options)
    assert again.loss == pytest.approx(chosen.loss)


def test_bad_trials_end_early_with_the_reason(found: Found) -> None:
    assert {item.state for item in found.tried} == {"complete", "pruned"}
    ended = [item for item in found.tried if item.state == "pruned"]
    assert all("on a third of the rows, the default's is" in item.reason for item in ended)


class Odd(Scikit):
    """Some of its options give no number, others take more memory than there is."""

    def fresh(self, data: Split, options: Options, **given: Any) -> Any:
        made = super().fresh(data, options, **given)
        leaves = options.settings.get("leaves")  # the default names none
        if leaves == 15:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")
        if leaves == 7 or (leaves and len(data.train) > 2000):
            made.loss = math.nan
        return made


def test_trials_that_break_or_give_no_number_are_told_and_end_nothing_else(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One without a loss is a trial that was asked for: tried again it would be without one again,
    for ever."""
    monkeypatch.setattr(trials, "latency", by_size)
    found = search(quest(tmp_path, trainer=Odd()), Spending(trials=6))
    assert found.number is None
    assert len(found.tried) == 6
    said = {item.reason.partition(", ")[0].partition("20")[0] for item in found.tried}
    assert said == {"RuntimeError: CUDA out of memory. Tried to allocate ",
                    "loss nan on a third of the rows", "loss nan on all rows"}


class Killed(Exception):
    pass


class Dies(Scikit):
    """Killed in the middle of its third trial."""

    exports = 0

    def export(self, *given: Any) -> Path:
        Dies.exports += 1
        if Dies.exports == 4:
            raise Killed
        return super().export(*given)


def test_a_killed_search_goes_on_and_ends_as_if_nothing_had_been(
        tmp_path: Path, found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial that the kill ended is no trial: the next one takes its place and seed."""
    monkeypatch.setattr(trials, "latency", by_size)
    with pytest.raises(Killed):
        search(quest(tmp_path, trainer=Dies()), Spending(trials=12))
    assert len(trials.study_of(quest(tmp_path)).trials) == 3
    again = search(quest(tmp_path), Spending(trials=12))
    assert [replace(item, folder="") for item in again.tried] == [
        replace(item, folder="") for item in found.tried]
    assert (again.number, again.options) == (found.number, found.options)
    assert again.artifact.read_bytes() == found.artifact.read_bytes()


def test_time_that_nobody_searched_is_not_spent(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that a kill left open is closed when the search goes on, a day later."""
    search(quest(tmp_path), Spending(trials=1))
    study = trials.study_of(quest(tmp_path))
    study.ask()
    with closing(sqlite3.connect(tmp_path / "study.db")) as stored, stored:
        stored.execute("UPDATE trials SET datetime_start = datetime('now', '-1 day') "
                       "WHERE state = 'RUNNING'")
    assert len(search(quest(tmp_path), Spending(trials=2, minutes=60)).tried) == 2


def test_limits_are_kept_or_the_default_stays(tmp_path: Path) -> None:
    limited = search(quest(tmp_path, max_size=1), Spending(trials=3))
    assert limited.number is None
    assert "is better than the default" in limited.reason
    assert not any(item.feasible for item in limited.tried if item.state == "complete")


def test_minutes_end_it_too(tmp_path: Path) -> None:
    assert len(search(quest(tmp_path), Spending(trials=50, minutes=0.001)).tried) == 1


def test_values_and_two_workers(tmp_path: Path) -> None:
    data = bikes()
    asked = Quest(Scikit(), Options("regression", categorical=("hr",),
                                    settings={"estimator": "linear"}),
                  default(data.train, "regression"), data, "mae", tmp_path)
    found = search(asked, Spending(trials=4, workers=2))
    assert 4 <= len(found.tried) <= 5
    assert all(item.state in {"complete", "pruned"} for item in found.tried)


def test_the_front_holds_what_no_other_beats(tmp_path: Path) -> None:
    costs = [(1.0, 1.0, 10), (2.0, 0.5, 10), (2.0, 0.6, 11), (0.5, 2.0, 20), (0.1, 0.1, 1)]
    tried = [Tried(index, "complete", {}, loss, latency, size, feasible=index != 4)
             for index, (loss, latency, size) in enumerate(costs)]
    tried.append(Tried(5, "pruned", {}))
    assert [item.number for item in front(tried)] == [0, 1, 3]
    path = picture(tried, Tried(-1, "default", {}, 1.5, 1.0, 12), 1, tmp_path / "front.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_every_trial_is_a_nested_run_and_the_front_a_picture(tmp_path: Path, found: Found) -> None:
    path = shop(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}")
    registry = Registry(load(path).config.mlflow)
    record = Record.open(registry, request(path, "train", champion="1"))
    for _ in range(2):  # after a kill it is written again
        recorded(record, found, tmp_path)
    record.data("shop", "c" * 64, "log.parquet")
    children = registry.client.search_runs(
        [record.experiment], f"tags.`mlflow.parentRunId` = '{record.run_id}'")
    assert len(children) == 12
    assert all("trees" in child.data.params for child in children)
    listed = registry.client.list_artifacts(record.run_id, "holdfast/search")
    assert {item.path for item in listed} == {"holdfast/search/front.png",
                                             "holdfast/search/trials.json"}
    [given] = registry.client.get_run(record.run_id).inputs.dataset_inputs
    assert given.dataset.digest == "c" * 36


def test_what_is_better_once_and_worse_before_is_not_proven() -> None:
    assert proof.proven([-0.01, -0.002, 0.001, -0.004])
    assert proof.proven([-0.03, -0.02, 0.004, 0.0])
    assert not proof.proven([-0.03, 0.02, 0.01, 0.01])
    assert not proof.proven([-0.03, 0.03, -0.03, 0.03])
    assert proof.proven([0.001, -0.01, -0.002, -0.004])
    assert not proof.proven([0.006, -0.02, -0.02, -0.02]), "the newest rows come first"
    assert not proof.proven([-0.008, -0.2, -0.003, 0.024])  # once the default fails altogether


def test_a_stretch_that_cannot_be_told_of_proves_nothing() -> None:
    """As the area under the curve where no row is positive."""
    none = math.nan
    assert not proof.proven([0.004, none, none, 0.01]), "as without them"
    assert not proof.proven([0.004, none, none, none])
    assert not proof.proven([none, -0.02, -0.02, -0.02]), "the newest rows come first"
    assert proof.proven([-0.01, none, 0.001, -0.004])
    assert proof.mean([0.01, none, 0.03]) == pytest.approx(0.02)


@pytest.mark.parametrize("made", [Tabular(), Image(), Text()])
def test_smaller_networks_are_tried_first(made: Neural) -> None:
    """Each within what a trial may suggest, and as the options say but for its shape and pace."""
    options = Options("binary", widths=(64, 128))
    firsts = [made.varied(FixedTrial(params), options) for params in made.firsts(options)]
    assert len(firsts) == 6
    assert [item.batch for item in firsts] == 3 * [256] + 3 * [64]
    assert firsts[0].rate == options.rate
    assert firsts[0] != firsts[1] != firsts[2]
    if isinstance(made, Tabular):
        assert [item.widths for item in firsts] == 2 * [(64,), (32,), (16,)]


def test_boosted_trees_of_fewer_leaves_are_tried_first() -> None:
    """Each within what a trial may suggest, relative to the settings that are asked for."""
    made, options = Scikit(), Options("binary", settings={"leaves": 16, "rate": 0.3})
    firsts = [made.varied(FixedTrial(params), options).settings
              for params in made.firsts(options)]
    assert [item["leaves"] for item in firsts] == [8, 8, 4, 4]
    assert all(0.3 < item["rate"] <= 0.4 for item in firsts)
    assert made.firsts(Options("binary", settings={"estimator": "linear"})) == []


def test_a_choice_goes_by_the_longer_measurement(tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """A first measurement that a busy machine spoiled neither takes a trial nor leaves it."""
    def spoiled(artifacts: Mapping[str, Any], frame: pd.DataFrame, *, batches: tuple[int, ...],
                seconds: float) -> dict[str, dict[int, float]]:
        times = by_size(artifacts, frame, batches=batches, seconds=seconds)
        if seconds < trials.SURELY:
            times["it"] = {batch: value * 100 for batch, value in times["it"].items()}
        return times

    monkeypatch.setattr(trials, "latency", spoiled)
    found = search(quest(tmp_path), Spending(trials=2))
    for item in found.tried:
        assert item.latency is not None
        assert item.size is not None
        assert item.latency == pytest.approx(item.size * 1e-9)


def test_the_tolerance_is_the_one_that_is_promised() -> None:
    assert proof.TOLERANCE == 0.005


def test_the_ladder_searches_where_it_is_asked_to(tmp_path: Path) -> None:
    path = shop(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}", kind="sklearn",
                settings={"trees": 20}, ladder=["search"], windows=["all"], search={"trials": 3})
    registry, quiet = Registry(load(path).config.mlflow), {"report": False}
    assert work(request(path, "bootstrap", options=quiet), tmp_path).version == "1"
    asked = request(path, "train", champion="1", options=quiet)
    outcome = work(asked, tmp_path)
    run = registry.run_of(asked.request_id)
    assert run is not None
    assert run.inputs.dataset_inputs[0].dataset.digest == outcome.result["content_hash"][:36]
    names = [item.path for item in registry.client.list_artifacts(run.info.run_id,
                                                                 "holdfast/search")]
    assert "holdfast/search/front.png" in names
    assert "search: " in (
        tmp_path / asked.request_id / "log.txt").read_text()
