"""Vitals: what alerts ask of a model, and the reasons in words that they pass on.

Reasons are samples of ``holdfast_reason_info``: one per model and subject, so that a page says why
without a look elsewhere. They are masked, and cut at ``LONGEST``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from monitor.config import Model
from monitor.secrets import redact
from monitor.series import Page
from monitor.state import ModelState
from monitor.store import RequestRow, Store
from monitor.window import Window, parse_time

LONGEST = 300
"""Characters of a reason at most."""
MICRO = timedelta(microseconds=1)
COUNTED = 100
"""Episodes looked at for the alarm budget at most, the newest ones."""


def vitals(page: Page, store: Store, model: Model) -> None:
    """Everything below, for one model that the store knows."""
    recorded = store.recorded(model.name)
    state = recorded.state
    newest = store.verdicts(model.name, segment="", newest=1)
    line = newest[0].line if newest else {}
    _episode(page, store, model, state, line)
    _faults(page, model, line)
    _labels(page, store, model)
    _budget(page, store, model)
    if state.champion is not None:
        page.put("holdfast_champion_adopted_timestamp_seconds", state.adopted_at, model.name,
                 state.champion)
    for report in store.reports(model.name, 1):
        page.put("holdfast_report_info", 1, model.name, str(report.id))
    row = store.retrained(model.name)
    if row is not None:
        _retrain(page, model, row)
    if state.phase == "awaiting_promotion" and state.challenger is not None:
        page.put("holdfast_candidate_since_timestamp_seconds", state.since, model.name,
                 state.challenger)
        say(page, model.name, "candidate", str(((row and row.outcome) or {}).get("reason", "")))
    if state.phase == "rolled_back":
        undone = store.transitions(model.name, 1)
        say(page, model.name, "rollback", undone[0].cause if undone else state.compared)


def say(page: Page, model: str, about: str, reason: str) -> None:
    """A reason in words, as one sample; none where there is nothing to say."""
    words = " ".join(redact(reason).split())
    if words:
        page.put("holdfast_reason_info", 1, model, about,
                 words if len(words) <= LONGEST else words[: LONGEST - 1] + "…")


def _episode(page: Page, store: Store, model: Model, state: ModelState, line: dict[str, Any]
             ) -> None:
    """What the open episode has shown so far, of what may alarm, and why it was opened."""
    if state.episode is None:
        return
    start = parse_time(state.episode.rpartition("/")[2])
    first = store.verdicts(model.name, segment="", span=Window(start, start + MICRO))
    lines = [line, *(row.line for row in first)]
    shown = {"drifted": state.inputs == "drifted" or state.peak_of == state.episode,
             "degraded": state.quality == "degraded",
             "estimated": any((item.get("estimated") or {}).get("quality") == "degraded"
                              for item in lines)}
    shown["degraded"] |= not any(shown.values())  # a segment's, or one that labels take back
    for cause in model.policy.alarm_on:
        page.put("holdfast_episode_cause", float(shown[cause]), model.name, cause)
    quiet = store.snoozes().get(model.name)
    if quiet is not None and quiet.episode == state.episode:
        page.put("holdfast_episode_snoozed_until_timestamp_seconds", quiet.until, model.name)
    for episode in store.episodes(model.name, 1):
        say(page, model.name, "episode", episode.reason)


def _faults(page: Page, model: Model, line: dict[str, Any]) -> None:
    found = [item["message"] if not item["column"] else f"{item['column']}: {item['message']}"
             for item in line.get("faults", []) if item["severity"] == "fault"
             or (item["check"] == "freshness" and item["severity"] == "warning")]
    say(page, model.name, "faults", "; ".join(found))


def _labels(page: Page, store: Store, model: Model) -> None:
    """Whether the newest window whose labels should be there lacks them."""
    recorded = store.recorded(model.name)
    if not model.log.labelled or recorded.folded_to is None or recorded.state.champion is None:
        return
    start = recorded.folded_to - model.maturity.delay - model.calendar.length
    row = store.overdue(model.name, recorded.state.champion, start)
    if row is None:
        return
    late = [item for item in row.line["faults"] if item["check"] == "labels"]
    page.put("holdfast_labels_late", bool(late), model.name)
    say(page, model.name, "labels", late[0]["message"] if late else "")


def _budget(page: Page, store: Store, model: Model) -> None:
    """Episodes of the newest budget period of event time, beside how many are to be borne."""
    budget, until = model.policy.alarm_budget, store.recorded(model.name).folded_to
    page.put("holdfast_alarm_budget", budget.alarms, model.name)
    page.put("holdfast_alarm_budget_period_seconds", budget.per.total_seconds(), model.name)
    if until is not None:
        span = Window(until - budget.per, until)
        opened = [item for item in store.episodes(model.name, COUNTED) if item.opened > span.start]
        page.put("holdfast_alarm_budget_used", len(opened), model.name)


def _retrain(page: Page, model: Model, row: RequestRow) -> None:
    """What the newest retrain cost and brought."""
    outcome = row.outcome or {}
    result = outcome.get("result") or {}
    page.put("holdfast_retrain_timestamp_seconds", row.finished, model.name, row.status)
    if row.finished is not None:
        page.put("holdfast_retrain_duration_seconds",
                 (row.finished - row.created).total_seconds(), model.name)
    say(page, model.name, "retrain", str(outcome.get("reason", "")))
    for step in result.get("ladder", []):
        page.put("holdfast_retrain_cpu_seconds", step["cpu_seconds"], model.name, step["rung"])
        page.put("holdfast_retrain_gain", step["holdout_gain"], model.name, step["rung"])
    for player, scores in result.get("holdout", {}).items():
        page.put("holdfast_retrain_score", scores["value"], model.name, player,
                 str(result["metric"]))
    page.put("holdfast_retrain_size_bytes", (result.get("cost") or {}).get("size_bytes"),
             model.name)
