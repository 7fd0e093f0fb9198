"""Pruning: whole units go, inputs and answers stay, and distillation brings accuracy back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from monitor.errors import HoldfastError
from retrain.checkpoints import Checkpoints
from retrain.distillation import distilled
from retrain.finetune import output, plan_of, probabilities
from retrain.prune import prune, recover
from tests.retrain.real import ELEC, elec_champion, elec_split, hotel, hotel_champion
from tests.retrain.test_finetune import accuracy, same_weights


@pytest.mark.parametrize(("share", "width"), [(0.7, 16), (0.5, 32), (0.25, 48), (0.0, 64)])
def test_hidden_units_go_and_classes_stay(share: float, width: int) -> None:
    small = prune(elec_champion(), share)
    assert small.spec.width == width
    assert small.spec.classes == elec_champion().spec.classes
    assert output(small, elec_split().holdout.head(3)).shape == (3, 2)
    widths = [layer.out_features for layer in small.module.hidden]  # type: ignore[union-attr]
    assert widths == [width, width]


def test_nothing_pruned_is_the_same_function_and_the_original_stays() -> None:
    fitted, rows = elec_champion(), elec_split().holdout.head(50)
    before = output(fitted, rows)
    assert torch.equal(output(prune(fitted, 0.0), rows), before)
    prune(fitted, 0.7)
    assert torch.equal(output(fitted, rows), before)


def test_embeddings_keep_their_rows() -> None:
    small = prune(hotel_champion(), 0.5)
    assert small.spec.cardinalities == hotel_champion().spec.cardinalities
    assert output(small, hotel().holdout.head(3)).shape == (3, 2)


def test_distillation_recovers_what_pruning_took() -> None:
    teacher, data = elec_champion(), elec_split()
    small = prune(teacher, 0.8)
    cut = accuracy(small, data.holdout)
    recovered = recover(small, teacher, data, options=ELEC)
    whole = accuracy(teacher, data.holdout)
    assert accuracy(recovered, data.holdout) >= max(cut, whole - 0.01)


def test_it_answers_more_as_before_than_where_labels_have_a_say() -> None:
    teacher, data = elec_champion(), elec_split()
    alone, both = (distilled(prune(teacher, 0.8), [teacher], data, alpha=alpha,
                             plan=plan_of(ELEC, "recover", ELEC.recovery_rate))
                   for alpha in (1.0, 0.3))
    near, far = (np.abs(probabilities(item, data.holdout) - probabilities(
        teacher, data.holdout)).mean() for item in (alone, both))
    assert near < far
    assert same_weights(alone, recover(prune(teacher, 0.8), teacher, data, options=ELEC))


def test_a_second_recovery_from_its_checkpoint_is_the_same(tmp_path: Path) -> None:
    teacher, data, options = elec_champion(), elec_split(), replace(ELEC, epochs=2)
    first = recover(prune(teacher, 0.5), teacher, data, options=options,
                    checkpoints=Checkpoints(tmp_path))
    calls: list[int] = []
    again = recover(prune(teacher, 0.5), teacher, data, options=options,
                    checkpoints=Checkpoints(tmp_path),
                    progress=lambda step, total, metrics: calls.append(step))
    assert same_weights(first, again)
    assert calls == []
    assert np.isfinite(first.loss)


def test_a_share_of_everything_is_refused() -> None:
    with pytest.raises(HoldfastError, match="below 1"):
        prune(elec_champion(), 1.0)
