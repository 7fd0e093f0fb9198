"""The training loop: what stays still, what moves how fast, and in which precision it counts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

from retrain import loop
from retrain.finetune import Network, encode, label_loss, plan_of, tuned
from retrain.image import Image
from retrain.loop import Plan, Rows
from retrain.neural import Neural
from retrain.tabular import Tabular
from retrain.text import Text
from retrain.trainer import Options, Split
from tests.retrain.real import (
    ELEC,
    PICTURES,
    SENTENCES,
    elec,
    elec_champion,
    image_champion,
    images,
    text_champion,
    texts,
)


@cache
def later(kind: str) -> Split:
    """Rows after those that the champion of this kind learned from."""
    if kind == "table":
        return Split(elec("1997-05-04", "1997-06-01"), elec("1997-06-01", "1997-06-15"),
                     elec("1997-06-15", "1997-07-01"))
    if kind == "image":
        return images(3900, 4100, 4200, 4300)
    data = texts()
    return replace(data, train=data.holdout.head(600), validation=data.holdout.tail(300))


CHAMPIONS: dict[str, tuple[Callable[[], Network], Options]] = {
    "table": (elec_champion, ELEC), "image": (image_champion, PICTURES),
    "text": (text_champion, SENTENCES)}


def weights(module: Any) -> list[list[torch.Tensor]]:
    """The weights of each part, from the input to the head."""
    return [[item.detach().clone() for item in part.parameters()] for part in module.parts]


def moved(before: list[list[torch.Tensor]], after: list[list[torch.Tensor]]) -> list[float]:
    """How far the farthest weight of each part went."""
    return [max((float((b - a).abs().max()) for a, b in zip(one, other, strict=True)), default=0.0)
            for one, other in zip(before, after, strict=True)]


@pytest.mark.parametrize("kind", CHAMPIONS)
def test_in_head_epochs_the_head_alone_moves_and_then_every_part(
        kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    champion, options = CHAMPIONS[kind]
    start = champion()  # before anything is watched
    stages: list[tuple[str, list[float], int]] = []

    def watched(module: Any, rows: Rows, **given: Any) -> loop.State:
        before, plan = weights(module), given["plan"]
        epoch = loop._epoch  # the weights of the last epoch, not of the best one
        ends: list[list[list[torch.Tensor]]] = []

        def recorded(*args: Any) -> float:
            value = epoch(*args)
            ends.append(weights(module))
            return value

        with monkeypatch.context() as patched:
            patched.setattr(loop, "_epoch", recorded)
            state = loop.run(module, rows, **given)
        stages.append((plan.step, moved(before, ends[-1]), len(ends)))
        return state

    monkeypatch.setattr("retrain.finetune.run", watched)
    whole = replace(options, head_epochs=2, epochs=2, patience=2)
    fitted = tuned(start, later(kind), whole)
    (first, head, epochs), (second, all_parts, _) = stages
    assert (first, second, epochs) == ("tune-head", "tune", 2)
    assert head[-1] > 0
    assert not any(head[:-1])
    assert all(part > 0 for part in all_parts)
    assert [item["epoch"] for item in fitted.history] == [0, 1, 2, 3, 4]


AT_ONCE, STAGED = [(False, 1.0)], [(True, 1.0), (False, 0.7)]


@pytest.mark.parametrize(("trainer", "kind", "stages"), [
    (Tabular(), "table", AT_ONCE), (Image(), "image", STAGED), (Text(), "text", AT_ONCE)])
def test_each_kind_is_fine_tuned_in_stages_of_its_own(
        trainer: Neural, kind: str, stages: list[tuple[bool, float]],
        monkeypatch: pytest.MonkeyPatch) -> None:
    champion, options = CHAMPIONS[kind]
    start, plans = champion(), []

    def watched(module: Any, rows: Rows, **given: Any) -> loop.State:
        plans.append(given["plan"])
        return loop.run(module, rows, **given)

    monkeypatch.setattr("retrain.finetune.run", watched)
    fitted = trainer.tuned(start, later(kind), replace(options, epochs=2))
    assert [(plan.frozen, plan.decay) for plan in plans] == stages
    again = trainer.capped(options, fitted, start)
    assert (again.head_epochs, again.epochs) == (fitted.head_epoch, max(1, fitted.best_epoch))
    assert (fitted.head_epoch > 0) == (stages == STAGED)
    plans.clear()
    trainer.tuned(start, later(kind), replace(options, epochs=1, head_epochs=2, decay=0.4))
    assert [(plan.frozen, plan.decay) for plan in plans] == [(True, 1.0), (False, 0.4)]


def first_step(plan: Plan, kind: str = "table") -> list[float]:
    """How far each part goes in one update; Adam's first is the rate, whatever the gradient."""
    champion, _ = CHAMPIONS[kind]
    fitted = Network(copy.deepcopy(champion().module), champion().spec, champion().encoder)
    data = encode(fitted, later(kind).train.head(plan.batch))
    fitted.module.train()
    before, optimizer = weights(fitted.module), loop._optimizer(fitted.module, plan)
    loop._epoch(fitted.module, data, optimizer, plan, 1, label_loss(fitted.spec))
    return moved(before, weights(fitted.module))


@pytest.mark.parametrize("kind", CHAMPIONS)
def test_each_part_further_from_the_head_steps_by_half(kind: str) -> None:
    options = replace(CHAMPIONS[kind][1], weight_decay=0.0, batch=256)
    steps = first_step(replace(plan_of(options, "it", 1e-3), decay=0.5), kind)
    assert steps == pytest.approx([1e-3 * 0.5 ** place for place in reversed(range(len(steps)))],
                                  rel=0.02)
    alike = first_step(plan_of(options, "it", 1e-3), kind)
    assert alike == pytest.approx([1e-3] * len(steps), rel=0.02)


def test_a_frozen_network_takes_no_step_but_the_heads() -> None:
    plan = replace(plan_of(replace(ELEC, weight_decay=0.1), "it", 1e-3), frozen=True)
    *body, head = first_step(plan)
    assert not any(body)
    assert head > 0


def test_nothing_stays_frozen_after_a_run() -> None:
    data = later("table")
    fitted = tuned(elec_champion(), data, replace(ELEC, head_epochs=1, epochs=1))
    assert all(item.requires_grad for item in fitted.module.parameters())


def types_of_products(plan: Plan) -> set[torch.dtype]:
    """In what precision the head's products are taken while a network learns."""
    champion = elec_champion()
    module, seen = copy.deepcopy(champion.module), set()
    data = encode(champion, later("table").train.head(64))
    module.head.register_forward_hook(  # type: ignore[union-attr]
        lambda _module, _given, answer: seen.add(answer.dtype))
    module.train()
    loop._epoch(module, data, loop._optimizer(module, plan), plan, 1, label_loss(champion.spec))
    assert all(item.dtype == torch.float32 for item in module.parameters())
    return seen


def test_mixed_precision_is_taken_where_it_is_asked_for() -> None:
    plan = plan_of(ELEC, "it", 1e-3)
    assert types_of_products(plan) == {torch.float32}
    assert types_of_products(replace(plan, mixed=True)) == {torch.bfloat16}


@pytest.mark.parametrize("kind", CHAMPIONS)
def test_in_bfloat16_a_network_learns_as_well_and_repeats(kind: str) -> None:
    champion, options = CHAMPIONS[kind]
    short = replace(options, epochs=2)
    plain = tuned(champion(), later(kind), short)
    mixed, again = (tuned(champion(), later(kind), replace(short, mixed=True)) for _ in range(2))
    assert mixed.loss == again.loss
    assert mixed.loss == pytest.approx(plain.loss, abs=0.03)
    assert mixed.loss < mixed.history[0]["validation_loss"]
    assert mixed.history != plain.history


@pytest.mark.parametrize(("there", "kind"), [(True, "cuda"), (False, "cpu")])
def test_a_gpu_is_taken_where_there_is_one(
        there: bool, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert loop.device().type == kind


def test_wherever_it_learns_a_network_comes_back_to_the_cpu() -> None:
    data, short = later("table"), replace(ELEC, epochs=3)
    there = tuned(elec_champion(), data, short)
    assert loop.device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert all(item.device.type == "cpu" for item in there.module.parameters())
    assert there.loss < there.history[0]["validation_loss"]
