"""The ladder: cheapest first, no holdout without a gain on validation, the error in halves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import HoldfastError, RegistryError, SourceError
from retrain.gate import ERROR, GateResult
from retrain.ladder import Attempt, Judged, Rung, Trial, best, climb
from retrain.proposal import Proposal

GAINS = st.lists(st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2), st.booleans()),
                 min_size=1, max_size=6)


def rung(index: int, possible: bool = True) -> Rung:
    def make() -> Proposal:
        if not possible:
            raise HoldfastError("nothing to do it with")
        return Proposal(f"r{index}", "something", Path("a.onnx"), cast(Any, SimpleNamespace()))

    return Rung(f"r{index}", make)


def climbed(gains: list[tuple[float, float, bool]], *, enough: float = 0.1,
            minimum: float = 0.005) -> tuple[list[Attempt], list[float]]:
    levels: list[float] = []

    def gate(proposal: Proposal, level: float) -> Judged:
        levels.append(level)
        gain = gains[int(proposal.rung[1:])][1]
        return Judged(GateResult(gain >= minimum, "said", ()), cast(Any, None), gain)

    trial = Trial(lambda proposal: gains[int(proposal.rung[1:])][0], gate, minimum, enough,
                  timedelta(minutes=5))
    rungs = [rung(index, possible) for index, (_, _, possible) in enumerate(gains)]
    return climb(rungs, trial, said=lambda line: None), levels


def test_a_free_rung_is_tried_after_enough_and_a_straight_one_whatever_validation_says() -> None:
    gains = [(.2, .2, True), (-.01, -.01, True), (-.01, -.01, True)]

    def gate(proposal: Proposal, level: float) -> Judged:
        return Judged(GateResult(True, "said", ()), cast(Any, None), 0.2)

    trial = Trial(lambda proposal: gains[int(proposal.rung[1:])][0], gate, 0.005, 0.1,
                  timedelta(minutes=5))
    rungs = [rung(0), replace(rung(1), straight=True), replace(rung(2), straight=True, free=True),
             replace(rung(2), free=True)]
    attempts = climb(rungs, trial, said=lambda line: None)
    assert [item.result for item in attempts] == ["passed", "not tried", "passed", "no gain"]


def broken(name: str, error: BaseException) -> Rung:
    def make() -> Proposal:
        raise error

    return Rung(name, make)


def test_a_rung_in_which_a_library_breaks_leaves_the_others_their_turn() -> None:
    def gate(proposal: Proposal, level: float) -> Judged:
        if proposal.rung == "r2":
            raise ValueError("the gate cannot run this")
        return Judged(GateResult(True, "said", ()), cast(Any, None), 0.01)

    trial = Trial(lambda proposal: 0.01, gate, 0.005, 0.1, timedelta(minutes=5))
    breaks = broken("tune", RuntimeError("CUDA out of memory"))
    attempts = climb([breaks, rung(0), rung(2), rung(1)], trial, said=lambda line: None)
    assert [item.result for item in attempts] == ["impossible", "passed", "impossible", "passed"]
    assert attempts[0].reason == "RuntimeError: CUDA out of memory"
    assert attempts[0].broke is not None
    assert attempts[0].broke.__traceback__ is None
    with pytest.raises(RuntimeError, match="CUDA"):
        climb([breaks, rung(2)], trial, said=lambda line: None)


@pytest.mark.parametrize("error", [
    RegistryError("MLflow is away"), SourceError("the log is away"), KeyboardInterrupt()])
def test_what_is_not_the_rungs_own_ends_the_climb(error: BaseException) -> None:
    trial = Trial(lambda proposal: 0.2, cast(Any, None), 0.005, 0.1, timedelta(minutes=5))
    with pytest.raises(type(error)):
        climb([broken("tune", error), rung(0)], trial, said=lambda line: None)


def passed(name: str, validation: float | None, holdout: float) -> Attempt:
    judged = Judged(GateResult(True, "said", ()), cast(Any, None), holdout)
    return Attempt(name, "passed", "", judged=judged, validation=validation, proposal=Proposal(
        "blend" if "blend" in name else name, "", Path("a"), cast(Any, None)))


def test_a_blend_that_passed_goes_before_what_gained_little_more() -> None:
    """By validation; by the holdout where something is borne or validation tells not of all."""
    found = [passed("recall", .3, .1), passed("blend", .2, .2), passed("refit", .4, .35)]
    assert best(found) is found[2]
    assert best(found, borne=.1) is found[2]
    assert best(found, borne=.2) is found[1]
    again = passed("reblend", 0., .25)
    assert best([*found, again], borne=.2) is again
    untold = [passed("blend", None, -.001), passed("tune", None, .375)]
    assert best(untold) is untold[1]
    assert best(untold, borne=.4) is untold[0]


@given(GAINS)
def test_laws_of_the_climb(gains: list[tuple[float, float, bool]]) -> None:
    attempts, levels = climbed(gains)
    assert [item.rung for item in attempts] == [f"r{index}" for index in range(len(gains))]
    assert sum(levels) < ERROR
    for attempt, (validation, holdout, possible) in zip(attempts, gains, strict=True):
        if attempt.judged is not None:
            assert possible
            assert validation >= 0.005
            assert (attempt.result == "passed") == (holdout >= 0.005)
        if attempt.result == "impossible":
            assert not possible
    stopped = [index for index, item in enumerate(attempts)
               if item.result == "passed" and (item.gain or 0) >= 0.1]
    if stopped:
        assert all(item.result == "not tried" for item in attempts[stopped[0] + 1:])
    taken = best(attempts)
    passed = [item.validation or 0 for item in attempts if item.result == "passed"]
    assert (taken is None) == (not passed)
    if taken is not None:
        assert taken.validation == max(passed)


def test_the_climb_ends_at_the_first_that_gains_enough() -> None:
    attempts, levels = climbed([(0.02, 0.02, True), (0.2, 0.15, True), (0.3, 0.3, True)])
    assert [item.result for item in attempts] == ["passed", "passed", "not tried"]
    assert levels == pytest.approx([0.025, 0.0125])
    taken = best(attempts)
    assert taken is not None
    assert taken.rung == "r1"


def test_what_validation_cannot_tell_the_gate_decides() -> None:
    trial = Trial(lambda proposal: None, lambda proposal, level: Judged(
        GateResult(True, "yes", ()), cast(Any, None), 0.01 + 0.01 * int(proposal.rung[1:])),
        0.005, 0.1, timedelta(minutes=5))
    attempts = climb([rung(0), rung(1)], trial, said=lambda line: None)
    assert [item.result for item in attempts] == ["passed", "passed"]
    taken = best(attempts)
    assert taken is not None
    assert taken.rung == "r1"
    assert attempts[0].plain()["validation_gain"] is None


def test_a_used_up_budget_begins_nothing_more() -> None:
    trial = Trial(lambda proposal: 1.0, lambda proposal, level: Judged(
        GateResult(False, "no", ()), cast(Any, None), 0.0), 0.005, 0.1, timedelta(seconds=-1))
    attempts = climb([rung(0), rung(1)], trial, said=lambda line: None)
    assert [item.result for item in attempts] == ["refused", "not tried"]
    assert "budget" in attempts[1].reason
