"""A search whose trials learn from the default, and how what it found is made once more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monitor.policy import Training
from retrain import proof, quest, rungs, trials
from retrain.contract import default
from retrain.finetune import Network
from retrain.ground import Ground, metrics
from retrain.proposal import Proposal
from retrain.quest import Quest, Spending
from retrain.renew import renewed
from retrain.search import Found, search
from retrain.tabular import Tabular
from retrain.trainer import Options, Split
from tests.retrain.real import elec
from tests.retrain.test_finetune import same_weights
from tests.retrain.test_search import by_size

OPTIONS = Options("binary", ("day",), ("DOWN", "UP"), widths=(32,), epochs=4, rate=5e-3)


def rows() -> Split:
    return Split(elec("1997-07-01", "1997-08-15"), elec("1997-08-15", "1997-09-07"),
                 elec("1997-09-07", "1997-09-21"))


class Watched(Tabular):
    """Remembers who taught whom on how many rows."""

    def __init__(self) -> None:
        self.lessons: list[tuple[Sequence[Network], int, Options]] = []
        self.scratch: list[tuple[Network, int, Options]] = []

    def fresh(self, data: Split, options: Options, **given: Any) -> Network:
        made = super().fresh(data, options, **given)
        self.scratch.append((made, len(data.train), options))
        return made

    def taught(self, teachers: Sequence[Network], data: Split, options: Options, **given: Any
               ) -> Network:
        self.lessons.append((teachers, len(data.train), options))
        return super().taught(teachers, data, options, **given)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes by bytes, and a proof of two seeds and one earlier stretch that the
    worthiest always passes."""
    monkeypatch.setattr(trials, "latency", by_size)
    monkeypatch.setattr(proof, "worth", lambda item, default, gap: 1.0)
    for module in (quest, proof):
        monkeypatch.setattr(module, "SEEDS", 2)
    monkeypatch.setattr(proof, "FOLDS", ((0.6, 0.8),))
    monkeypatch.setattr(proof, "TOLERANCE", 1.0)
    monkeypatch.setattr(proof, "proven", lambda gaps: True)


def sought(folder: Path, trainer: Tabular | None = None) -> Found:
    data = rows()
    contract = default(data.train, "binary", classes=OPTIONS.classes, positive="UP")
    return search(Quest(trainer or Tabular(), OPTIONS, contract, data, "accuracy", folder),
                  Spending(trials=2))


@pytest.mark.usefixtures("eager")
def test_each_trial_is_taught_by_the_defaults_of_the_same_rows(tmp_path: Path) -> None:
    watched = Watched()
    found = sought(tmp_path, watched)
    assert found.number is not None
    assert ", taught by the default's answers: " in found.reason
    assert all(made == replace(OPTIONS, seed=made.seed) for _, _, made in watched.scratch)
    defaults = {(made.seed, count): fitted for fitted, count, made in watched.scratch}
    assert len(defaults) == 2 * 3, "on all rows, an earlier stretch, and the newest third"
    assert {count for _, count, _ in watched.lessons} == {count for _, count in defaults}
    for teachers, count, _ in watched.lessons:
        assert len(teachers) == 2
        assert all(same_weights(teacher, defaults[seed, count])
                   for seed, teacher in enumerate(teachers))


@pytest.mark.usefixtures("eager")
def test_a_killed_search_of_taught_trials_ends_the_same(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    class Dies(Tabular):
        lessons = 0

        def taught(self, *given: Any, **named: Any) -> Network:
            Dies.lessons += 1
            if Dies.lessons == 4:
                raise Killed
            return super().taught(*given, **named)

    whole = sought(tmp_path / "whole")
    with pytest.raises(Killed):
        sought(tmp_path / "killed", Dies())
    again = sought(tmp_path / "killed")
    assert (again.number, again.options) == (whole.number, whole.options)
    assert again.artifact.read_bytes() == whole.artifact.read_bytes()
    assert again.fitted.history == whole.fitted.history


class Untaught:
    """A trainer of one's own that has all methods but ``taught``."""

    def __init__(self) -> None:
        made = Tabular()
        for name in ("file", "fresh", "export", "save", "load", "varied", "firsts"):
            setattr(self, name, getattr(made, name))


@pytest.mark.usefixtures("eager")
def test_a_trainer_that_does_not_teach_is_searched_all_the_same(tmp_path: Path) -> None:
    made: Any = Untaught()
    found = sought(tmp_path, made)
    assert found.number is not None
    assert found.teachers == ()
    assert "taught" not in found.reason
    assert not (tmp_path / "default-0" / Tabular.file).exists()


def ground(folder: Path) -> Ground:
    data = rows()
    contract = default(data.train, "binary", classes=OPTIONS.classes, positive="UP")
    return Ground(Tabular(), OPTIONS, contract, "accuracy", metrics("binary", "accuracy"),
                  Training(kind="torch", prune=[]), (("all", data),), None, (), folder,
                  lambda line: None, lambda name, history: None)


def found_by(standing: Ground) -> Proposal:
    return rungs.seek(standing, lambda rung, sizes: ("fp32", "as it is"),
                      spending=Spending(trials=2))


@pytest.mark.usefixtures("eager")
def test_what_was_taught_is_taught_again_on_all_rows(tmp_path: Path) -> None:
    """By teachers of the default's options that know them all too, in as many rounds each."""
    standing, made = ground(tmp_path), found_by(ground(tmp_path))
    assert made.recipe is not None
    teachers: Any = made.recipe.teachers
    assert [item.options for item in teachers] == [replace(OPTIONS, seed=seed) for seed in (0, 1)]
    student: Any = made.fitted
    assert student.best_epoch >= 1
    again: Any = renewed(standing, made).fitted
    trainer, whole = Tabular(), rows().whole
    taught = trainer.taught(
        [trainer.fresh(whole, trainer.capped(item.options, item.fitted)) for item in teachers],
        whole, trainer.capped(made.recipe.options, student))
    assert same_weights(again, taught)
    assert max(item["epoch"] for item in again.history) == student.best_epoch
