"""Recall: an earlier version that is the best again is proposed, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from monitor.registry import Version
from retrain.recall import best_again, same_contract
from retrain.rivals import Rival
from tests.retrain.test_export import elec_contract
from tests.retrain.test_gate import scored


def known(number: str, *, runnable: bool = True) -> Rival:
    version = Version("elec", number, "run", {}, datetime(1998, 8, 1, tzinfo=UTC))
    return Rival(version, elec_contract(), Path("model.onnx") if runnable else None)


CHAMPION, FIRST, SECOND = known("3"), known("1"), known("2")
SCORES = {"version 3": scored("version 3", 0.70), "version 2": scored("version 2", 0.72),
          "version 1": scored("version 1", 0.80)}


def test_the_best_earlier_version_is_proposed_with_its_gain() -> None:
    again = best_again(CHAMPION, [SECOND, FIRST], SCORES, metric="accuracy", gain=0.005)
    assert again is not None
    assert again.rival is FIRST
    assert again.reason.startswith("Version 1 is the best again: on the newest 1400 holdout rows")
    assert "better than that of version 3, the champion" in again.reason


def test_a_gain_that_is_too_small_recalls_nobody() -> None:
    assert best_again(CHAMPION, [SECOND, FIRST], SCORES, metric="accuracy", gain=0.2) is None


def test_the_champion_that_is_best_stays() -> None:
    assert best_again(FIRST, [CHAMPION, SECOND], SCORES, metric="accuracy", gain=0.0) is None


def test_a_version_that_cannot_be_run_is_not_recalled() -> None:
    others = [SECOND, known("1", runnable=False)]
    again = best_again(CHAMPION, others, SCORES, metric="accuracy", gain=0.005)
    assert again is not None
    assert again.rival is SECOND


def test_only_a_version_with_the_same_columns_may_serve_again() -> None:
    contract = elec_contract()
    assert same_contract(contract, elec_contract())
    fewer = dict(list(contract.inputs.items())[1:])
    assert not same_contract(replace(contract, inputs=fewer), contract)
    assert not same_contract(None, contract)
