"""Decide: a pure fold; what a state becomes and what it asks for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from monitor import decide
from monitor.config import Model
from monitor.judge import Promise, Verdict
from monitor.request import Request
from monitor.state import NOTHING, ModelState
from monitor.window import Window, parse_time

DAY = timedelta(days=1)
START = parse_time("2026-03-01")


def model(**policy: Any) -> Model:
    return Model.model_validate({
        "name": "m", "log": {"source": "x", "timestamp": "t", "prediction": "p", "label": "y"},
        "policy": policy, "training": {"kind": "torch"}})


def verdict(day: int = 0, **change: Any) -> Verdict:
    start = START + day * DAY
    plain = Verdict(
        model="m", version="1", segment="", window=Window(start, start + DAY), revision=0,
        known_at=start + 2 * DAY, watermark=start + 2 * DAY, arrival="logged", n=100,
        label_maturity=1.0, kind="stable", inputs="stable", quality="stable", reason="because",
        news=("inputs", "labels"), labelled=5000)
    return replace(plain, **change)


def drifted(day: int = 0) -> Verdict:
    return verdict(day, kind="drifted", inputs="drifted")


def hot(day: int, severity: float) -> Verdict:
    return replace(drifted(day), severity=severity, settled=False)


def degraded(day: int = 0, **change: Any) -> Verdict:
    return verdict(day, kind="degraded", quality="degraded", **change)


WATCHED = decide.adopted(ModelState(), "1", START, model())


def fold(state: ModelState, verdicts: list[Verdict], rules: Model) -> tuple[ModelState, list[str]]:
    actions = []
    for item in verdicts:
        state, decision = decide.step(state, item, rules)
        actions.append(decision.action)
    return state, actions


def test_without_a_verdict_nothing_is_known() -> None:
    assert WATCHED.phase == "unknown"
    assert decide.step(WATCHED, verdict(), model())[0].phase == "stable"


def test_drift_alone_raises_an_alarm_and_trains_nothing() -> None:
    state, actions = fold(WATCHED, [verdict(), drifted(1), drifted(2)], model())
    assert actions == ["none", "alarm", "none"]
    assert state.phase == "suspect"
    assert state.episode == "m/2026-03-02T00:00:00Z"


def test_where_only_degradation_alarms_drift_opens_no_episode_and_keeps_none_open() -> None:
    rules = model(alarm_on=["degraded"])
    days = [drifted(0), degraded(1), *(hot(day, 2.0) for day in (2, 3, 4)), drifted(5)]
    state, actions = fold(WATCHED, days, rules)
    assert actions == ["none", "retrain", "none", "none", "clear", "none"]
    assert state.episode is None
    assert state.inputs == "drifted"


def test_where_only_drift_alarms_degradation_opens_no_episode() -> None:
    rules = model(alarm_on=["drifted"], retrain={"on": ["drifted"]})
    state, _ = fold(WATCHED, [degraded(0)], rules)
    assert state.episode is None


def test_an_episode_ends_after_calm_verdicts_in_a_row() -> None:
    days = [drifted(0), verdict(1), verdict(2), drifted(3), verdict(4), verdict(5), verdict(6)]
    state, actions = fold(WATCHED, days, model())
    assert actions == ["alarm", "none", "none", "none", "none", "none", "clear"]
    assert state.episode is None
    assert state.phase == "stable"


def test_degradation_asks_for_a_retrain_with_its_evidence() -> None:
    state, decision = decide.step(WATCHED, degraded(), model())
    assert decision.action == "retrain"
    assert decision.reason == "because"
    assert decision.evidence["n"] == 100
    assert state.phase == "retraining"


def losing(lost: float) -> Verdict:
    return verdict(quality="stable", news=("labels",), promised=Promise("accuracy", .9, .87, lost))


@pytest.mark.parametrize(("lost", "actions"), [(0.99, ["none"]), (1.0, ["retrain"])])
def test_a_loss_that_counts_asks_for_a_retrain_before_it_is_beyond_doubt(
        lost: float, actions: list[str]) -> None:
    state, taken = fold(WATCHED, [losing(lost)], model())
    assert taken == actions
    assert state.episode is None
    _, taken = fold(WATCHED, [losing(lost)], model(retrain={"on": ["degraded"]}))
    assert taken == ["none"]


def test_a_retrain_may_end_a_probation_that_was_compared() -> None:
    tried = replace(WATCHED, phase="probation", predecessor="0", comparisons=1)
    state, decision = decide.step(tried, degraded(), model())
    assert decision.action == "retrain"
    assert (state.phase, state.predecessor) == ("retraining", None)


def test_a_version_made_while_the_world_moved_is_followed_up() -> None:
    rules = model(retrain={"follow_up": "20d"})
    second = replace(decide.adopted(WATCHED, "2", START, rules), phase="stable")
    assert fold(second, [verdict(10)], rules)[1] == ["none"]
    state, decision = decide.step(second, verdict(18), rules)
    assert (decision.action, decision.evidence["follow_up"]) == ("retrain", True)
    assert "20d more" in decision.reason
    vain, _ = decide.concluded(replace(state, request="r"), None, START + 21 * DAY, rules)
    assert fold(vain, [verdict(30), verdict(40)], rules)[1] == ["none", "retrain"]
    first = replace(WATCHED, phase="stable")
    assert fold(first, [verdict(500)], rules)[1] == ["none"]
    assert fold(second, [verdict(500)], model(retrain={"follow_up": None}))[1] == ["none"]
    assert fold(second, [verdict(500)], model(retrain={"on": []}))[1] == ["none"]


def test_a_blend_is_weighed_anew_once_its_labels_are_known() -> None:
    rules = model(retrain={"reweigh": "14d"}, promotion="automatic")
    blend = decide.adopted(WATCHED, "2", START, rules, blend=True)
    assert blend.phase == "probation"
    assert fold(blend, [verdict(20)], rules)[1] == ["none"], "it was not compared yet"
    tried = replace(blend, comparisons=1)
    assert fold(tried, [verdict(11)], rules)[1] == ["none"]
    state, decision = decide.step(tried, verdict(12, labelled=10), rules)
    assert (decision.action, decision.evidence["reweigh"]) == ("retrain", True)
    assert "weigh it by" in decision.reason
    assert "follow_up" not in decision.evidence
    vain, _ = decide.concluded(replace(state, request="r"), None, START + 15 * DAY, rules)
    assert fold(vain, [verdict(24), verdict(27)], rules)[1] == ["none", "retrain"]
    by_hand = model(retrain={"reweigh": "14d"})
    assert fold(tried, [verdict(500)], by_hand)[1] == ["none"], "a person would have to promote it"
    for other in (model(retrain={"reweigh": None}, promotion="automatic"),
                  model(retrain={"on": []}, promotion="automatic")):
        assert fold(tried, [verdict(500)], other)[1] == ["none"]
    assert not decide.adopted(blend, "3", START + DAY, rules).blend


@pytest.mark.parametrize(("state", "item", "words"), [
    (replace(WATCHED, cooldown_until=START + 90 * DAY), degraded(), "cooldown"),
    (replace(WATCHED, phase="probation"), degraded(), "probation already"),
    (replace(WATCHED, inputs="faulty"), degraded(news=("labels",)), "faulty"),
    (WATCHED, degraded(labelled=10), "10 labelled rows"),
])
def test_a_retrain_is_held_back_in_words(state: ModelState, item: Verdict, words: str) -> None:
    held = replace(state, episode="open")
    _, decision = decide.step(held, item, model())
    assert decision.action == "hold"
    assert words in decision.reason


def test_segments_inform_and_change_nothing() -> None:
    state, decision = decide.step(WATCHED, replace(degraded(), segment="day=3"), model())
    assert state == WATCHED
    assert decision.action == "none"


def test_a_segment_that_degrades_opens_an_episode_where_the_policy_wants() -> None:
    wants = model(segments={"alarm": True})
    worse = replace(degraded(news=("labels",)), segment="day=3")
    state, decision = decide.step(WATCHED, worse, wants)
    assert decision.action == "alarm"
    assert decision.reason.startswith("day=3: ")
    assert state.episode is not None
    assert (state.inputs, state.quality) == (WATCHED.inputs, WATCHED.quality)
    again, decision = decide.step(replace(state, calm=2), worse, wants)
    assert (again.calm, decision.action) == (0, "none")
    calm = replace(worse, quality="stable", kind="stable")
    assert decide.step(state, calm, wants)[0] == state


def test_old_labels_say_nothing_new_about_inputs() -> None:
    state, _ = decide.step(WATCHED, verdict(5), model())
    state, _ = decide.step(state, verdict(0, inputs="faulty", news=("labels",)), model())
    assert state.inputs == "stable"


def test_faulty_data_is_a_phase_of_its_own() -> None:
    state, _ = decide.step(WATCHED, verdict(kind="faulty", inputs="faulty"), model())
    assert state.phase == "faulty"
    assert decide.step(state, verdict(1), model())[0].phase == "stable"


CROSSED = {"version": "1", "reason": "answers otherwise"}


def test_a_compression_beyond_its_limits_asks_only_where_the_policy_wants() -> None:
    assert decide.doubted(WATCHED, CROSSED, 5000, START, model=model()) == WATCHED
    wants = model(retrain={"on": ["degraded", "compression"]})
    found = decide.doubted(WATCHED, CROSSED, 5000, START, model=wants)
    assert isinstance(found, tuple)
    state, decision = found
    assert (state.phase, decision.action) == ("retraining", "retrain")
    assert decision.reason == "compression: answers otherwise"
    assert decision.evidence == {"compression": CROSSED}


@pytest.mark.parametrize(("state", "labelled"), [
    (replace(WATCHED, champion="2"), 5000), (replace(WATCHED, phase="probation"), 5000),
    (WATCHED, 10), (replace(WATCHED, cooldown_until=START + DAY), 5000)])
def test_a_compression_beyond_its_limits_waits_as_every_retrain_does(state: ModelState,
                                                                     labelled: int) -> None:
    wants = model(retrain={"on": ["compression"]})
    assert decide.doubted(state, CROSSED, labelled, START, model=wants) == state


def request(kind: Any = "train") -> Request:
    return Request("r1", kind, "m", "c.yaml", START)


def test_a_challenger_waits_for_a_person_or_is_promoted_by_policy() -> None:
    asked = decide.requested(WATCHED, request(), START)
    assert asked.phase == "retraining"
    waiting, decision = decide.concluded(asked, "2", START, model())
    assert (waiting.phase, waiting.challenger) == ("awaiting_promotion", "2")
    assert decision.action == "none"
    _, decision = decide.concluded(asked, "2", START, model(promotion="automatic"))
    assert decision.action == "promote"
    assert decision.evidence == {"to": "2", "from": "1"}


def test_a_refused_candidate_costs_a_cooldown() -> None:
    state, _ = decide.concluded(decide.requested(WATCHED, request(), START), None, START, model())
    assert state.request is None
    assert state.cooldown_until == START + model().policy.retrain.cooldown


@pytest.mark.parametrize(("cooldown", "most"), [("14d", 3), ("30d", 1), ("10d", 3)])
def test_the_cooldown_bounds_the_retrains_of_a_month(cooldown: str, most: int) -> None:
    """However bad it stays and however often a candidate is refused; and one goes on at a time."""
    rules, state, asked = model(retrain={"cooldown": cooldown}), WATCHED, list[int]()
    for day in range(200):
        state, decision = decide.step(state, degraded(day), rules)
        if decision.action != "retrain":
            continue
        asked.append(day)
        again, held = decide.step(state, degraded(day), rules)
        assert held.action == "hold"
        assert "retraining already" in held.reason
        state, _ = decide.concluded(again, None, degraded(day).known_at, rules)
    assert len(asked) >= 200 // 14 // 3
    assert max(sum(day <= later < day + 30 for later in asked) for day in asked) == most


def promoted() -> ModelState:
    return decide.adopted(WATCHED, "2", START, model())


def test_a_promoted_version_is_on_probation_beside_its_predecessor() -> None:
    state = promoted()
    assert (state.phase, state.champion, state.predecessor) == ("probation", "2", "1")


def test_probation_compares_when_enough_labels_matured_and_once_more_at_its_end() -> None:
    rules, state = model(), promoted()
    assert decide.probation(state, 10, START + DAY, rules).action == "none"
    assert decide.probation(state, 900, START + DAY, rules).action == "compare"
    state, _ = decide.compared(state, {"low": -0.1}, START + DAY, rules)
    assert decide.probation(state, 900, START + 2 * DAY, rules).action == "none"
    assert decide.probation(state, 900, START + 40 * DAY, rules).action == "compare"
    state, _ = decide.compared(state, {"low": -0.1}, START + 40 * DAY, rules)
    assert decide.probation(state, 900, START + 40 * DAY, rules).action == "acquit"
    assert decide.acquitted(state, START).predecessor is None


def test_only_a_better_predecessor_rolls_back_and_only_where_policy_says_so() -> None:
    better = {"low": 0.01, "reason": "it was better"}
    _, decision = decide.compared(promoted(), better, START, model(rollback="automatic"))
    assert (decision.action, decision.evidence["to"]) == ("roll_back", "1")
    state, decision = decide.compared(promoted(), better, START, model())
    assert decision.action == "announce"
    assert state.phase != "probation"


def test_a_comparison_that_tells_nothing_rolls_nothing_back() -> None:
    """As by the area under the curve on rows of one class: it is no number."""
    rules = model(rollback="automatic")
    for low in (None, float("nan"), float("-inf"), 0.0):
        state, decision = decide.compared(promoted(), {"low": low, "reason": "?"}, START, rules)
        assert decision == NOTHING
        assert (state.phase, state.champion, state.comparisons) == ("probation", "2", 1)


def test_a_version_that_a_person_promoted_again_is_not_rolled_back_again() -> None:
    rules = model(rollback="automatic")
    back = decide.adopted(promoted(), "1", START, rules)
    assert back.phase == "rolled_back"
    again = decide.adopted(back, "2", START, rules)
    _, decision = decide.compared(again, {"low": 0.01}, START, rules)
    assert decision.action == "announce"


def test_a_deleted_alias_is_unknown() -> None:
    assert decide.adopted(promoted(), None, START, model()).phase == "unknown"


def test_a_request_that_outlives_its_champion_leaves_the_new_one_alone() -> None:
    request = Request("r1", "train", "m", "c.yaml", START)
    asked = decide.requested(replace(WATCHED, phase="stable"), request, START)
    moved = decide.adopted(asked, "7", START + DAY, model())
    assert moved.phase == "probation"
    ended, decision = decide.concluded(moved, "8", START + 2 * DAY, model(promotion="automatic"))
    assert ended == replace(moved, request=None)
    assert decision == NOTHING


def test_a_rolled_back_champion_stays_so_until_its_inputs_are_known() -> None:
    back = decide.adopted(replace(WATCHED, predecessor="0"), "0", START, model())
    assert back.phase == "rolled_back"
    labels = replace(verdict(1), version="0", news=("labels",))
    assert decide.step(back, labels, model())[0].phase == "rolled_back"
    assert decide.step(back, verdict(1), model())[0].phase == "stable"


def test_an_episode_knows_its_peak_and_closes_when_all_has_settled() -> None:
    near = [verdict(day, severity=0.9, settled=False) for day in (3, 4, 5, 6)]
    calm = [verdict(day, severity=0.3) for day in (7, 8, 9)]
    state, actions = fold(WATCHED, [hot(0, 1.2), hot(1, 3.4), hot(2, 2.0), *near, *calm], model())
    assert actions == ["alarm", *["none"] * 8, "clear"]
    assert (state.peak, state.peak_at) == (3.4, START + DAY)
    assert state.peak_of == "m/2026-03-01T00:00:00Z"
    again, _ = decide.step(state, hot(20, 1.1), model())
    assert (again.peak, again.peak_at) == (1.1, START + 20 * DAY)
