"""Vitals: what alerts ask of a model, and the reasons that they pass on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from monitor.config import Config
from monitor.exporter import samples
from monitor.faults import Fault
from monitor.series import Page
from monitor.state import Decision
from monitor.store import Store
from monitor.vitals import LONGEST, say
from monitor.window import isoformat
from tests.monitor.stored import DAY, at, configuration, estimate, verdict


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configuration(tmp_path)


def reasons(store: Store, config: Config) -> dict[tuple[str, str], str]:
    return {(model, about): words
            for model, about, words in samples(store, config)["holdfast_reason_info"]}


def test_reasons_in_words_go_along_and_keep_no_secret(store: Store, config: Config) -> None:
    told = reasons(store, config)
    assert told["electricity", "episode"].startswith("price moved: psi 0.41")
    assert told["electricity", "candidate"].startswith("accuracy .848 against .771")
    assert told["air-quality", "faults"].startswith("PM10: every one of 1,104 values is null")
    assert "the connection was refused" in told["air-quality", "trouble"]
    assert "hunter2" not in told["air-quality", "trouble"]
    assert "disagree" in told["quiet", "compression"] or "otherwise" in told["quiet", "compression"]
    assert not [model for model, _ in told if model in {"deliveries", "new-model"}]


def test_a_reason_is_one_line_of_bounded_length() -> None:
    page = Page()
    say(page, "m", "episode", "so  long\n" * 200)
    say(page, "m", "nothing", "  ")
    ((_, about, words),) = page.samples["holdfast_reason_info"]
    assert (about, len(words), words[-1]) == ("episode", LONGEST, "…")
    assert "\n" not in words
    assert "  " not in words


def test_an_episode_shows_only_causes_that_may_alarm(store: Store, tmp_path: Path) -> None:
    causes = samples(store, configuration(tmp_path))["holdfast_episode_cause"]
    assert causes == {("electricity", "degraded"): 1, ("electricity", "estimated"): 1,
                      ("electricity", "drifted"): 1}
    config = configuration(tmp_path)
    (model,) = [model for model in config.models if model.name == "electricity"]
    quiet = model.model_copy(update={"policy": model.policy.model_copy(
        update={"alarm_on": ["degraded"]})})
    told = samples(store, config.model_copy(update={"models": [quiet]}))
    assert set(told["holdfast_episode_cause"]) == {("electricity", "degraded")}


def test_an_estimate_that_opened_the_episode_is_its_cause_until_it_is_closed(
        store: Store, config: Config) -> None:
    opened = verdict("quiet", 4, estimate=replace(estimate(0.7), quality="degraded"))
    calm = verdict("quiet", 5)
    recorded, name = store.recorded("quiet"), f"quiet/{isoformat(opened.window.start)}"
    store.advance("quiet", recorded.number, replace(recorded.state, episode=name), at=at(6),
                  folded_to=calm.known_at, cause="x", verdicts=[
                      (opened, "suspect", name, Decision("alarm", "worse is expected")),
                      (calm, "suspect", name, Decision("none", ""))])
    causes = samples(store, config)["holdfast_episode_cause"]
    assert {cause: value for (model, cause), value in causes.items() if model == "quiet"} == {
        "degraded": 0, "estimated": 1, "drifted": 0}


def test_an_episode_that_a_segment_opened_is_degradation(store: Store, config: Config) -> None:
    recorded, name = store.recorded("quiet"), f"quiet/{isoformat(at(2))}"
    store.advance("quiet", recorded.number, replace(recorded.state, episode=name), at=at(6),
                  cause="weekday=6: accuracy 0.7")
    told = samples(store, config)
    assert told["holdfast_episode_cause"]["quiet", "degraded"] == 1
    assert reasons(store, config)["quiet", "episode"] == "weekday=6: accuracy 0.7"


def test_labels_are_late_once_their_window_should_have_them(store: Store, config: Config) -> None:
    (model,) = [model for model in config.models if model.name == "quiet"]
    recorded = store.recorded("quiet")
    due = verdict("quiet", 4, revision=0)
    late = replace(due, revision=1, known_at=due.window.end + model.maturity.delay,
                   faults=(Fault("labels", "", "warning", "1.0% of the rows have a label"),))
    later = verdict("quiet", 5)
    store.advance("quiet", recorded.number, recorded.state, folded_to=late.known_at,
                  at=late.known_at, cause="x", verdicts=[
                      (item, "stable", None, Decision("none", "")) for item in (due, later, late)])
    told = samples(store, config)
    assert told["holdfast_labels_late"]["quiet",] == 1
    assert reasons(store, config)["quiet", "labels"] == "1.0% of the rows have a label"
    assert told["holdfast_labels_late"]["electricity",] == 0


def test_the_alarm_budget_counts_episodes_of_its_newest_period(
        store: Store, config: Config, tmp_path: Path) -> None:
    told = samples(store, config)
    assert told["holdfast_alarm_budget"]["electricity",] == 1
    assert told["holdfast_alarm_budget_period_seconds"]["electricity",] == 90 * 86400
    assert told["holdfast_alarm_budget_used"]["electricity",] == 1
    assert told["holdfast_alarm_budget_used"]["quiet",] == 0
    recorded = store.recorded("electricity")
    store.advance("electricity", recorded.number, recorded.state, at=at(200), cause="x",
                  folded_to=at(14) + 90 * DAY)
    assert samples(store, config)["holdfast_alarm_budget_used"]["electricity",] == 0


def test_a_retrain_tells_its_cost_and_gain(store: Store, config: Config) -> None:
    told = samples(store, config)
    assert list(told["holdfast_retrain_timestamp_seconds"]) == [("electricity", "registered")]
    assert told["holdfast_retrain_cpu_seconds"]["electricity", "finetune"] == 41.5
    assert told["holdfast_retrain_gain"] == {("electricity", "finetune"): 0.077}
    assert told["holdfast_retrain_score"]["electricity", "candidate", "accuracy"] == 0.848
    assert told["holdfast_retrain_size_bytes"]["electricity",] == 81_344


def test_the_promise_and_who_answers_are_told(store: Store, config: Config) -> None:
    told = samples(store, config)
    assert told["holdfast_performance_threshold"]["electricity", "3", "accuracy"] == 0.828
    assert told["holdfast_champion_serving_ratio"]["quiet", "3"] == pytest.approx(4700 / 4800)
    assert told["holdfast_candidate_since_timestamp_seconds"] == {
        ("electricity", "4"): at(14.2).timestamp()}
