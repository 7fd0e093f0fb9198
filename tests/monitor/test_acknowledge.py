"""What a person says of a window, and what follows from it, on a real log by the real command."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitor.acknowledgement import (
    Acknowledgement,
    Spoken,
    about,
    covers,
    in_force,
    renewal,
    spared,
    touched,
)
from monitor.act import request_for
from monitor.assembly import opened
from monitor.config import load
from monitor.daemon import tick
from monitor.faults import Fault
from monitor.follow import _sound, expire
from monitor.request import Request
from monitor.soundness import tainted
from monitor.status import overview
from monitor.versions import Outcome
from monitor.window import Calendar, Window, parse_time
from tests.monitor.command import configured, holdfast
from tests.story.deployment import register

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
MODEL = {"name": "a", "log": {"source": "log.parquet", "timestamp": "at", "prediction": "guess"},
         "reference": {"from": "2026-01-01", "to": "2026-02-05"},
         "policy": {"statistics": ["psi"]}}


def rows(days: int = 86) -> pd.DataFrame:
    """A size that shifts for good on day 50 (20 February), and two broken days, 41 and 46."""
    rng = np.random.default_rng(4)
    at = pd.date_range(START.replace(tzinfo=None), periods=days * 100, freq="864s")
    day = np.arange(days * 100) // 100
    size = rng.normal(0, 1, day.size) + np.where(day >= 50, 3.0, 0.0)
    frame = pd.DataFrame({"at": at, "guess": rng.choice(["x", "y"], day.size), "size": size,
                          "zone": rng.choice(["a", "b", "c"], day.size)})
    frame.loc[np.isin(day, [41, 46]) & (np.arange(day.size) % 5 < 2), "size"] = None
    return frame


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows().to_parquet(tmp_path / "log.parquet", index=False)
    register(f"sqlite:///{tmp_path / 'mlflow.db'}", "a")
    return configured(tmp_path, MODEL)


def once(file: Path, now: str) -> dict[str, Any]:
    """The model's state after a tick that makes no report."""
    loaded = load(file)
    with opened(loaded) as parts:
        tick(loaded.config.models[0], replace(parts, reporter=None), parse_time(now))
        (found,) = overview(loaded.config, parts.store)["models"]
    return dict(found)


def say(file: Path, *words: object, code: int = 0) -> str:
    said = holdfast("acknowledge", file, "--model", "a", *words)
    assert said.code == code, said.err
    return said.out + said.err


def lines(file: Path, start: str) -> list[dict[str, Any]]:
    """Every revision of the verdict on one day."""
    with opened(load(file)) as deps:
        span = Window(parse_time(start), parse_time(start) + DAY)
        return [row.line for row in deps.store.verdicts("a", span=span)]


def test_a_fault_leaves_training_and_its_next_verdict_says_so(file: Path) -> None:
    assert once(file, "2026-02-12T12:00")["newest"]["verdict"] == "faulty"
    told = say(file, "--window", "2026-02-11T08:00", "--as", "fault", "--note", "sensor off",
               "--now", "2026-02-12T13:00")
    assert "its rows leave training and the reference" in told
    assert "said before" in say(file, "--window", "2026-02-11", "--as", "fault", "--note",
                                "sensor off", "--now", "2026-02-12T14:00")
    state = once(file, "2026-02-13T12:00")
    assert state["phase"] == "stable"
    assert [item["as"] for item in state["acknowledged"]] == ["fault"]
    first, second = lines(file, "2026-02-11")
    assert (first["acknowledged"], second["acknowledged"]) == (None, "fault")
    assert second["reason"].startswith("acknowledged as fault (sensor off): size: ")
    assert second["revision"] == 1
    assert "sensor off" in holdfast("status", file).out


def test_a_request_carries_what_nothing_is_learned_from(file: Path) -> None:
    once(file, "2026-02-18T12:00")
    say(file, "--window", "2026-02-08/2026-02-09T06:00", "--as", "fault", "--now",
        "2026-02-18T12:00")
    say(file, "--window", "2026-02-16", "--as", "expected", "--now", "2026-02-18T12:00")
    once(file, "2026-02-19T12:00")
    loaded = load(file)
    with opened(loaded) as deps:
        request = request_for("train", loaded.config.models[0], deps,
                              parse_time("2026-02-19T12:00"), reason="a test")
    day = [f"2026-02-{number:02d}T00:00:00Z" for number in range(1, 20)]
    assert request.exclude == ((day[7], day[9]), (day[10], day[11]))
    assert Request.from_json(request.to_json()) == request


def test_a_candidate_that_learned_from_what_turns_out_to_be_faulty_is_withdrawn(file: Path) -> None:
    """11 and 16 were known to be faulty when it was asked for; 14 is said to be so only later."""
    once(file, "2026-02-18T12:00")
    loaded, now = load(file), parse_time("2026-02-18T12:00")
    model, result = loaded.config.models[0], {"window": ["2026-02-05", "2026-02-17"]}
    with opened(loaded) as deps:
        request = request_for("train", model, deps, now, reason="a test")
        assert [start[:10] for start, _ in request.exclude] == ["2026-02-11", "2026-02-16"]
        assert tainted(request, result, model, deps, now=now) == ""
        assert "2026-02-11T00:00:00Z to 2026-02-12T00:00:00Z, which turned out" in tainted(
            replace(request, exclude=()), result, model, deps, now=now)
        deps.store.request(request)
        deps.store.conclude(request.request_id, "registered", {"version": "2", "result": result})
        before = deps.store.recorded(model.name)
        deps.store.advance(model.name, before.number, replace(
            before.state, phase="awaiting_promotion", challenger="2", since=now), decision=None,
            at=now, cause="the test")
        expire(model, deps, now)
        assert deps.store.recorded(model.name).state.phase == "awaiting_promotion"
    say(file, "--window", "2026-02-14", "--as", "fault", "--now", "2026-02-18T14:00")
    with opened(loaded) as deps:
        later = parse_time("2026-02-18T15:00")
        expire(model, deps, later)
        state = deps.store.recorded(model.name).state
        assert (state.phase, state.challenger) != ("awaiting_promotion", "2")
        outcome = Outcome(request.request_id, "registered", "2", "passed", "run", result)
        refused = _sound(outcome, request, model, deps, now=later)
        assert (refused.status, refused.version) == ("refused", None)
        assert refused.reason == ("version 2 is withdrawn: it learned from rows of "
                                  "2026-02-14T00:00:00Z to 2026-02-15T00:00:00Z, which turned "
                                  "out to be faulty")
        assert _sound(outcome, request, model, deps, now=now) == outcome


def test_what_was_expected_is_not_raised_again_while_it_looks_the_same(file: Path) -> None:
    once(file, "2026-02-12T12:00")
    say(file, "--window", "2026-02-11", "--as", "expected", "--now", "2026-02-12T13:00")
    once(file, "2026-02-18T12:00")
    again = lines(file, "2026-02-16")[-1]
    assert again["verdict"] == "stable"
    assert [item["severity"] for item in again["faults"]] == ["acknowledged"]
    say(file, "--window", "2026-02-11", "--undo", "--now", "2026-02-18T13:00")
    once(file, "2026-02-19T12:00")
    assert lines(file, "2026-02-11")[-1]["verdict"] == "faulty"
    assert say(file, "--list").strip() == ""
    assert "nothing is acknowledged" in say(file, "--window", "2026-02-11", "--undo", code=1)


def test_an_expected_shift_closes_its_episode(file: Path) -> None:
    state = once(file, "2026-02-23T12:00")
    assert (state["phase"], state["newest"]["verdict"]) == ("suspect", "drifted")
    say(file, "--window", "2026-02-20/2026-02-23", "--as", "expected", "--note", "new scale",
        "--rebaseline", "--now", "2026-02-23T13:00")
    state = once(file, "2026-02-25T12:00")
    assert state["episode"] is None
    with opened(load(file)) as deps:
        (episode,) = deps.store.episodes("a")
        assert episode.closed is not None
        causes = [item.action for item in deps.store.decisions("a")]
        assert causes == []
    cleared = [line for line in lines(file, "2026-02-20") if line["decision"]["action"] == "clear"]
    assert cleared[0]["decision"]["reason"].startswith("acknowledged as expected (new scale)")


def test_a_reference_that_starts_anew_is_gathered_and_then_adopted(file: Path) -> None:
    once(file, "2026-02-23T12:00")
    say(file, "--window", "2026-02-20", "--as", "expected", "--rebaseline", "--now",
        "2026-02-23T13:00")
    state = once(file, "2026-02-28T12:00")
    assert state["newest"]["reason"] == ("a new reference for the inputs, from "
                                         "2026-02-20T00:00:00Z on, is being gathered (8 of 28 "
                                         "windows)")
    assert state["phase"] == "unknown"
    shutil.copy(file.with_name("holdfast.db"), file.with_name("later.db"))
    once(file, "2026-03-20T02:00")
    state = once(file, "2026-03-22T12:00")
    assert (state["newest"]["inputs"], state["phase"]) == ("stable", "stable")
    later = file.with_name("later.yaml")
    later.write_text(file.read_text() + "store: sqlite:///later.db\n")
    once(later, "2026-03-22T12:00")
    with opened(load(file)) as deps, opened(load(later)) as other:
        adoptions = deps.store.adoptions("a")
        assert adoptions == other.store.adoptions("a")
        assert [item.version for item in adoptions] == ["1", "1"]
        assert adoptions[1].at == parse_time("2026-03-20T01:00:00Z")
        assert [row.line for row in deps.store.verdicts("a")] == [
            row.line for row in other.store.verdicts("a")]
    assert lines(file, "2026-02-22")[0]["verdict"] == "drifted", "earlier verdicts are kept"
    say(file, "--window", "2026-02-20", "--undo", "--now", "2026-03-22T13:00")
    assert once(file, "2026-03-24T12:00")["newest"]["verdict"] == "drifted"


def test_often_at_once_and_replayed_are_the_same_with_people_speaking(file: Path) -> None:
    spoken = [("2026-02-12T13:00", "2026-02-11", "fault", False),
              ("2026-02-23T13:00", "2026-02-20", "expected", True)]
    written: list[list[dict[str, Any]]] = []
    for name, step in (("often", 23 * HOUR), ("seldom", 6 * DAY)):
        text = file.read_text() + f"store: sqlite:///{name}.db\n"
        other = file.with_name(f"{name}.yaml")
        other.write_text(text)
        loaded = load(other)
        now = parse_time("2026-02-06T02:00")
        with opened(loaded) as parts:
            deps = replace(parts, reporter=None)
            for at, where, said, anew in [*spoken, ("2026-02-27T12:00", "", "", False)]:
                while now < parse_time(at):
                    tick(loaded.config.models[0], deps, now)
                    now += step
                tick(loaded.config.models[0], deps, parse_time(at))
                if where:
                    say(other, "--window", where, "--as", said, *["--rebaseline"] * anew,
                        "--now", at)
                now = max(now, parse_time(at))
            written.append([row.line for row in deps.store.verdicts("a")])
    assert written[0] == written[1]
    assert {line["acknowledged"] for line in written[0]} == {None, "fault", "expected"}
    replayed = holdfast("replay", file.with_name("often.yaml"), "--from", "2026-02-06", "--to",
                        "2026-02-27T12:00", "--json")
    assert replayed.lines == written[0]


@pytest.mark.parametrize(("words", "message"), [
    (("--window", "soon", "--as", "fault"), "'soon' is not a time"),
    (("--window", "2026-02-11"), "--window with --as"),
    (("--as", "fault"), "--window with --as"),
    (("--window", "2026-02-11/2026-02-10", "--as", "fault"), "ends before it starts"),
    (("--window", "2026-02-11", "--as", "fault", "--rebaseline"), "--rebaseline: beside"),
])
def test_what_cannot_be_said(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    assert message in say(configured(tmp_path, MODEL), *words, code=2)


def said(day: int, **change: Any) -> Acknowledgement:
    start = START + day * DAY
    plain = Acknowledgement(Window(start, start + DAY), "expected", False, "", start + 2 * DAY,
                            (("null_rate", "size", 0.3), ("volume", "", 100.0)))
    return replace(plain, **change)


def test_the_last_word_counts_from_when_it_was_known() -> None:
    first, taken = said(3), said(3, said="undone", at=START + 9 * DAY)
    assert in_force([first, taken], START + 5 * DAY) == []
    assert in_force([first, taken], START + 6 * DAY) == [first]
    assert in_force([taken, first], START + 10 * DAY) == []


def test_a_window_is_meant_when_half_of_it_is() -> None:
    calendar = Calendar(DAY, HOUR, HOUR, 30 * DAY)
    span = said(3).span
    windows = touched([span], calendar, Window(START, START + 30 * DAY))
    assert len(windows) == 25
    assert all(covers(span, window) for window in windows)
    assert about(Window(span.start + 13 * HOUR, span.end + 13 * HOUR), [said(3)]) is None


def test_only_the_same_fault_again_is_spared() -> None:
    faults = [Fault("null_rate", "size", "fault", "", 0.34), Fault("null_rate", "size", "fault", "",
              0.36), Fault("null_rate", "zone", "fault", "", 0.1),
              Fault("volume", "", "warning", "", 150.0), Fault("volume", "", "fault", "", 10.0)]
    spoken = Spoken(expected=(said(3),))
    assert {(item.value, item.severity) for item in spared(faults, spoken)} == {
        (0.34, "acknowledged"), (0.36, "fault"), (0.1, "fault"), (150.0, "acknowledged"),
        (10.0, "fault")}


def test_a_reference_starts_anew_only_after_the_present_one() -> None:
    row = said(3, rebaseline=True)
    assert renewal([row], START + 3 * DAY) is row
    assert renewal([row], START + 4 * DAY) is None
    assert renewal([said(3)], None) is None
