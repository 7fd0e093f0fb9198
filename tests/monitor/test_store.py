"""The store, with the same tests on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from monitor.errors import HoldfastError
from monitor.outcomes import SUMS, Outcomes
from monitor.profile import Profile
from monitor.request import Request
from monitor.source import Increment
from monitor.state import Decision, ModelState
from monitor.store import Score, Store
from monitor.window import Window
from tests.monitor.backends import DAY, START, at, folded, store, url
from tests.monitor.stored import verdict as calm

__all__ = ["store", "url"]


def increment(day: int, *, known: int | None = None, labels: int = 2) -> Increment:
    pane = START + day * DAY
    block = int(pane.timestamp())
    sums = (float(labels), 0.1 + 0.2, 1 / 3, *[0.0] * (len(SUMS) - 3))
    return Increment(pane, START + (day + 1 if known is None else known) * DAY, "3", "",
                     Profile(5, np.array([1, 0, 4, -2, 2**40]), 1, 0),
                     Outcomes({(block, "UP", "DOWN", 7): labels}, {block: sums}))


def test_scores_are_renewed_by_what_was_known_later(store: Store) -> None:
    day = Window(at(0), at(1))
    for known, value in ((2, 0.1), (9, 0.9), (3, 0.3)):
        store.save_scores("m", "shadow", ("4", "3"), [Score(day, at(known), {"value": value})])
    store.save_scores("m", "shadow", ("4", "3"), [Score(Window(at(1), at(2)), at(9), {"n": 1})])
    store.save_scores("m", "compression", ("4", "3"), [Score(day, at(9), {})])
    found = store.scores("m", "shadow", ("4", "3"))
    assert [(item.span.start, item.known_at, item.line) for item in found] == [
        (at(1), at(9), {"n": 1}), (at(0), at(9), {"value": 0.9})]
    assert store.scores("m", "shadow", ("5", "3")) == []


def test_the_newest_scoring_of_a_purpose_is_found(store: Store) -> None:
    for name, kind in (("m-shadow-1", "score"), ("m-score-2", "score"), ("m-train-3", "train")):
        store.request(Request(name, kind, "m", "c.yaml", START))  # type: ignore[arg-type]
        store.conclude(name, "done", {})
    found = store.scored("m", "shadow")
    assert found is not None
    assert found.request.request_id == "m-shadow-1"
    assert store.scored("m", "compression") is None


def test_every_write_moves_the_change_number_and_no_read_does(store: Store) -> None:
    first = store.change()
    store.save_baseline("m", "3", "k", "{}")
    second = store.change()
    store.save_baseline("m", "3", "k", "{}")
    store.baseline("m", "3")
    assert first < second == store.change()
    writes: list[Callable[[], object]] = [
        lambda: store.adopt("m", "3", at(0), key="k"),
        lambda: store.save_counts("m", "k", [], until=at(1), fingerprint="f"),
        lambda: store.advance("m", 0, ModelState(), at=at(1), cause="x"),
        lambda: store.ticked("n", at(1), 0.1, True),
        lambda: store.ticked("n", at(2), 0.1, True),
        lambda: store.trouble("n", at(2), "here", "broken"),
        lambda: store.untroubled("n"),
        lambda: store.request(Request("r", "train", "m", "c", at(0), "why"), None),
        lambda: store.attempt("r"),
        lambda: store.conclude("r", "failed", {}),
        lambda: store.save_report("m", 1, "u", "p"),
    ]
    for number, write in enumerate(writes, 1):
        write()
        assert store.change() == second + number


def test_whom_a_write_was_about_is_known(store: Store) -> None:
    store.save_baseline("m", "3", "k", "{}")
    store.ticked("n", at(1), 0.1, True)
    number, models = store.touched(-1)
    assert (number, models) == (store.change(), {"m", "n"})
    assert store.touched(number) == (number, set())
    assert store.request(Request("r", "train", "m", "c", at(0), "why"), None)
    store.write_message("n", "key", 0, title="a", body="b")
    for write, about in (
            (lambda: store.attempt("r"), "m"), (lambda: store.conclude("r", "failed", {}), "m"),
            (lambda: store.message_failed([1]), "n"), (lambda: store.claim(1, "x"), "")):
        number, _ = store.touched(-1)
        write()
        assert store.touched(number) == (number + 1, {about})


def test_verdicts_are_counted_as_they_are_kept(store: Store) -> None:
    made = calm("m", 0)
    for number in range(2):  # again is no other one
        store.advance("m", number, ModelState(), at=at(1), cause="x",
                      verdicts=[(made, "stable", None, Decision("none", ""))])
    assert store.verdict_totals() == {("m", "stable"): 1}


def test_a_baseline_is_kept_as_it_was_first_written(store: Store) -> None:
    store.save_baseline("m", "3", "k1", "one")
    store.save_baseline("m", "3", "k1", "two")
    store.save_baseline("m", "3", "k2", "three")
    assert store.baseline("m", "3", "k1") == ("k1", "one")
    assert store.baseline("m", "3") == ("k2", "three")
    assert store.baseline("m", "4") is None


def test_an_adoption_that_is_no_news_is_not_a_row(store: Store) -> None:
    assert store.adopt("m", "3", at(0), key="k")
    assert not store.adopt("m", "3", at(1), key="k")
    assert store.adopt("m", None, at(2), key="")
    assert store.adopt("m", "3", at(3), key="k")
    assert [item.version for item in store.adoptions("m")] == ["3", None, "3"]


def test_increments_come_back_to_the_bit(store: Store) -> None:
    kept = [increment(0), increment(0, known=3), increment(1)]
    store.save_counts("m", "k", kept, until=at(3), fingerprint="f")
    assert store.increments("m", "k", Window(at(0), at(2)), until=at(3)) == kept
    assert store.counted("m", "k") == (at(3), "f")


def test_increments_are_chosen_by_pane_and_by_when_they_were_known(store: Store) -> None:
    kept = [increment(0), increment(0, known=3), increment(1)]
    store.save_counts("m", "k", kept, until=at(3), fingerprint="f")
    both = Window(at(0), at(2))
    assert store.increments("m", "k", both, until=at(2)) == [kept[0], kept[2]]
    assert store.increments("m", "k", both, until=at(3), after=at(2)) == [kept[1]]
    assert store.increments("m", "k", Window(at(1), at(2)), until=at(3)) == [kept[2]]
    assert store.increments("m", "k", both, until=at(3), segment="day=1") == []
    assert store.labelled("m", "k", since=at(0), until=at(2)) == 4
    assert store.labelled("m", "k", since=at(0), until=at(3), version="4") == 0


def test_counts_that_stand_are_not_rewritten_and_the_watermark_never_falls(store: Store) -> None:
    store.save_counts("m", "k", [increment(0)], until=at(2), fingerprint="new")
    store.save_counts("m", "k", [increment(0, labels=9)], until=at(1), fingerprint="old")
    assert store.increments("m", "k", Window(at(0), at(1)), until=at(2)) == [increment(0)]
    assert store.counted("m", "k") == (at(2), "new")


def test_the_state_comes_back_as_it_went_in(store: Store) -> None:
    state = ModelState(phase="probation", since=at(1), cooldown_until=at(9) + timedelta(
        microseconds=1), champion="4", predecessor="3", adopted_at=at(1))
    assert store.recorded("m").number == 0
    assert store.advance("m", 0, state, folded_to=at(2), at=at(2), cause="promoted") == 1
    found = store.recorded("m")
    assert (found.state, found.number, found.folded_to) == (state, 1, at(2))


def test_the_fold_leaves_verdicts_transitions_and_episodes(store: Store) -> None:
    state = ModelState(phase="stable")
    number = store.advance("m", 0, state, at=at(0), cause="adopted")
    steps = [folded(0, "stable"), folded(1, "suspect", "m/1", action="alarm", reason="moved"),
             folded(2, "stable", action="clear", reason="calm")]
    store.advance("m", number, state, verdicts=steps, at=at(3), cause="folded")
    assert [(item.before, item.after, item.cause) for item in store.transitions("m")] == [
        ("suspect", "stable", "calm"), ("stable", "suspect", "moved"),
        ("unknown", "stable", "adopted")]
    (episode,) = store.episodes("m")
    assert (episode.name, episode.opened, episode.closed) == ("m/1", at(2), at(3))
    assert episode.reason == "moved"
    assert (episode.peak, episode.peak_at) == (None, None)
    peaked = replace(state, peak=2.5, peak_at=at(1), peak_of="m/1")
    store.advance("m", number + 1, peaked, at=at(4), cause="folded")
    (episode,) = store.episodes("m")
    assert (episode.peak, episode.peak_at) == (2.5, at(1))
    assert store.verdict_totals() == {("m", "stable"): 2, ("m", "drifted"): 1}


def test_a_verdict_is_kept_as_the_line_that_replay_prints(store: Store) -> None:
    store.advance("m", 0, ModelState(), verdicts=[folded(0, "stable")], at=at(1), cause="x")
    (row,) = store.verdicts("m")
    assert row.line["start"] == "2026-03-01T00:00:00Z"
    assert row.line["features"] == [{"name": "price", "statistic": "psi", "value": 0.4,
                                     "threshold": 0.2, "error_bound": 0.0, "drifted": False,
                                     "windows": 1}]
    assert row.line["performance"][0]["high"] is None  # NaN is not a number to report
    assert row.line["decision"] == {"action": "none", "reason": "so it is"}
    assert store.verdict(row.id) == row
    assert store.measured("m", "3") == row


def test_verdicts_are_chosen_by_window_segment_revision_and_age(store: Store) -> None:
    steps = [folded(0, "stable"), folded(0, "stable", segment="day=1"), folded(1, "stable"),
             folded(0, "stable", revision=1), folded(2, "stable")]
    store.advance("m", 0, ModelState(phase="stable"), verdicts=steps, at=at(3), cause="x")

    def chosen(**how: object) -> list[tuple[str, int]]:
        rows = store.verdicts("m", **how)  # type: ignore[arg-type]
        return [(row.line["start"][8:10], row.line["revision"]) for row in rows]

    assert chosen(segment="") == [("01", 0), ("01", 1), ("02", 0), ("03", 0)]
    assert chosen(segment="", newest=2) == [("02", 0), ("03", 0)]
    assert chosen(segment="", latest_revision=True) == [("01", 1), ("02", 0), ("03", 0)]
    assert chosen(span=Window(at(1), at(2))) == [("02", 0)]
    assert chosen(segment="day=1") == [("01", 0)]


def test_a_verdict_again_is_one_row_and_another_one_is_refused(store: Store) -> None:
    store.advance("m", 0, ModelState(), verdicts=[folded(0, "stable")], at=at(1), cause="x")
    store.advance("m", 1, ModelState(), verdicts=[folded(0, "stable")], at=at(1), cause="x")
    assert len(store.verdicts("m")) == 1
    with pytest.raises(HoldfastError, match="never rewritten"):
        store.advance("m", 2, ModelState(), verdicts=[folded(0, "stable", reason="no")],
                      at=at(1), cause="x")
    assert store.recorded("m").number == 2


def test_the_newest_decision_waits_and_supersedes_older_ones(store: Store) -> None:
    steps = [folded(0, "retraining", action="retrain", reason="first"),
             folded(1, "retraining", action="hold"),
             folded(2, "retraining", action="retrain", reason="second")]
    store.advance("m", 0, ModelState(), verdicts=steps, at=at(3), cause="x")
    waiting = store.pending("m")
    assert waiting is not None
    assert (waiting.decision.reason, waiting.known_at) == ("second", at(3))
    assert waiting.decision.evidence == {"n": 10}
    assert [item.status for item in store.decisions("m")] == ["pending", "superseded"]
    assert store.settle(waiting.id, "done")
    assert not store.settle(waiting.id, "failed")
    assert store.pending("m") is None


def test_one_request_is_in_flight_and_ids_never_repeat(store: Store) -> None:
    store.advance("m", 0, ModelState(), decision=Decision("retrain", "r"), at=at(1), cause="x")
    waiting = store.pending("m")
    assert waiting is not None
    first = Request("m-1", "train", "m", "/c.yaml", at(1), "why", "3", ("2",), {"n": 1})
    assert store.request(first, waiting.id)
    assert store.pending("m") is None
    assert not store.request(replace(first, request_id="m-2"), waiting.id)
    assert not store.request(replace(first, request_id="m-2"), None)
    assert store.request(replace(first, request_id="n-1", model="n"), None)
    assert [store.attempt("m-1"), store.attempt("m-1")] == [1, 2]
    assert store.conclude("m-1", "registered", {"version": "4"})
    assert not store.conclude("m-1", "failed", {})
    assert store.attempt("m-1") == 0
    assert store.open_request("m") is None
    (row,) = store.requests("m")
    assert (row.request, row.status, row.outcome) == (first, "registered", {"version": "4"})
    assert not store.request(first, None)
    assert store.request_totals()["m", "train", "registered"] == 1


def test_an_alias_move_is_intended_once_and_finished_once(store: Store) -> None:
    first = store.intend("m", "champion", "4", "3", at(1), "gate passed")
    assert store.intend("m", "champion", "4", "3", at(2), "again") == first
    second = store.intend("m", "champion", "5", "3", at(3), "better")
    assert [(item.to, item.expected) for item in store.intents("m")] == [("5", "3")]
    assert store.finish_intent(second, "moved")
    assert not store.finish_intent(second, "moved")
    assert [item.result for item in store.intents("m", open_only=False)] == [
        "superseded", "moved"]


def test_a_verdict_has_one_report(store: Store) -> None:
    made = store.save_report("m", 7, "runs:/a/report.html", "/r/a.html")
    assert store.save_report("m", 7, "runs:/b/report.html", "/r/b.html") == made
    found = store.report(made)
    assert found is not None
    assert found.path == "/r/a.html"
    assert store.reports("m", 5) == [found]
    assert store.report(made + 1) is None


def test_the_same_trouble_again_is_counted_and_a_cure_clears_it(store: Store) -> None:
    for hour in range(3):
        store.trouble("m", at(0) + timedelta(hours=hour), "SourceError",
                      "postgresql://me:hunter2@db/x does not answer")
    trouble = store.troubles()["m"]
    assert trouble is not None
    assert (trouble.times, trouble.first, trouble.where) == (3, at(0), "SourceError")
    assert "hunter2" not in trouble.message
    assert store.untroubled("m")
    assert store.troubles() == {"m": None}
    assert store.past_troubles("m", 1)[0].cleared


def test_ticks_are_counted(store: Store) -> None:
    store.ticked("m", at(0), 0.5, True)
    store.ticked("m", at(1), 0.7, False)
    tick = store.ticks()["m"]
    assert (tick.at, tick.fine_at, tick.fine, tick.failed) == (at(1), at(0), 1, 1)
    assert store.models() == ["m"]
    assert store.recorded("m").number == 0
