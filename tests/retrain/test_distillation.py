"""Distillation: a small network learns from a large one's answers, repeatably and resumably."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monitor.errors import HoldfastError
from retrain import loop
from retrain.checkpoints import Checkpoints
from retrain.finetune import Network, encode, label_loss, output, probabilities
from retrain.loop import evaluate
from retrain.tabular import Tabular
from retrain.trainer import Options, Split, taught, teaches
from tests.retrain.real import (
    ELEC,
    PICTURES,
    SENTENCES,
    bikes,
    elec_champion,
    elec_split,
    hotel,
    image_champion,
    images,
    text_champion,
    texts,
)
from tests.retrain.test_finetune import Killed, same_weights

SMALL = replace(ELEC, widths=(8,), rate=5e-3, batch=64)


def distance(one: Network, other: Network, data: Split) -> float:
    """How far their answers to unseen rows lie apart on average."""
    return float(np.abs(probabilities(one, data.holdout) - probabilities(other, data.holdout))
                 .mean())


def test_what_is_taught_answers_more_like_its_teacher_than_what_is_not() -> None:
    data, teacher = elec_split(), elec_champion()
    student = Tabular().taught([teacher], data, SMALL)
    scratch = Tabular().fresh(data, SMALL)
    assert student.spec.width == scratch.spec.width == 8
    assert distance(student, teacher, data) < 0.8 * distance(scratch, teacher, data)


def test_of_several_teachers_it_learns_the_mean_of_their_answers() -> None:
    data = elec_split()
    teachers = [Tabular().fresh(data, replace(SMALL, seed=seed, epochs=2)) for seed in range(3)]
    shown = encode(teachers[0], data.validation, teachers).teacher
    each = [output(item, data.validation) for item in teachers]
    np.testing.assert_allclose(shown, np.mean([item.numpy() for item in each], axis=0), rtol=1e-5)
    one, all_three = (Tabular().taught(given, data, replace(SMALL, epochs=2))
                      for given in (teachers[:1], teachers))
    assert not same_weights(one, all_three)


def test_values_are_taught_too() -> None:
    data = bikes()
    options = Options("regression", categorical=("hr",), widths=(64,), epochs=12)
    small = replace(options, widths=(8,), rate=5e-3, batch=64)
    teacher = Tabular().fresh(data, options)
    student, scratch = Tabular().taught([teacher], data, small), Tabular().fresh(data, small)
    assert distance(student, teacher, data) < distance(scratch, teacher, data)


def test_its_loss_is_that_of_labels_alone() -> None:
    data = elec_split()
    student = Tabular().taught([elec_champion()], data, replace(SMALL, epochs=2))
    rows = encode(student, data.validation)
    assert student.loss == pytest.approx(evaluate(student.module, rows, label_loss(student.spec)))
    assert student.loss != min(item["validation_loss"] for item in student.history)


def test_killed_it_goes_on_and_ends_the_same(tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    data, options = elec_split(), replace(SMALL, widths=(8, 16), epochs=3)
    whole = Tabular().taught([elec_champion()], data, options)
    saved: list[int] = []
    save = loop._save

    def dies(*given: object) -> None:
        save(*given)  # type: ignore[arg-type]
        saved.append(1)
        if len(saved) in {2, 4}:
            raise Killed

    monkeypatch.setattr(loop, "_save", dies)
    for _ in range(2):
        with suppress(Killed):
            Tabular().taught([elec_champion()], data, options, checkpoints=Checkpoints(tmp_path))
    again = Tabular().taught([elec_champion()], data, options, checkpoints=Checkpoints(tmp_path))
    assert same_weights(again, whole)
    assert (again.loss, again.history) == (whole.loss, whole.history)
    assert len(saved) == 6, "each epoch of both widths was made once"


def test_images_and_texts_are_taught_as_tables_are() -> None:
    from retrain.image import Image
    from retrain.text import Text

    picture = Image().taught([image_champion()], images(), replace(
        PICTURES, widths=(8,), epochs=1))
    assert picture.spec.kernels == (2, 4, 8)
    words = Text().taught([text_champion()], texts(), replace(
        SENTENCES, widths=(8,), epochs=1, settings={"words": 500}))
    assert words.spec.words < text_champion().spec.words, "another vocabulary than the teacher's"


def test_a_teacher_of_another_question_is_told_in_words() -> None:
    with pytest.raises(HoldfastError, match="the teacher answers binary of DOWN, UP, the student "
                                            "binary of 0, 1; right would be"):
        Tabular().taught([elec_champion()], hotel(), Options("binary"))
    with pytest.raises(HoldfastError, match="the student regression"):
        Tabular().taught([elec_champion()], bikes(), Options("regression"))


def test_without_a_teacher_it_is_a_model_from_scratch() -> None:
    data, options = elec_split(), replace(SMALL, epochs=1)
    assert teaches(Tabular())
    assert same_weights(taught(Tabular(), (), data, options),
                        Tabular().fresh(data, options))
