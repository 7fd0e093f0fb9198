"""The whole loop against a real MLflow server, with real retrain processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest

from monitor import shadow
from monitor.baseline import Baseline
from monitor.reference import sealed
from monitor.simulate import START
from monitor.store import RequestRow
from monitor.window import Window, isoformat
from tests.story.life import DAY, NAME, REFERENCE, write_labels, write_log
from tests.story.town import FRAME, HOUR, Town, thumb, town

# what MLflow says about signatures is not what is tested here
pytestmark = pytest.mark.filterwarnings("ignore")
__all__ = ["thumb"]


@pytest.fixture(scope="module")
def succession(tmp_path_factory: pytest.TempPathFactory, mlflow_server: str, thumb: str
               ) -> Iterator[Town]:
    """Days 28 to 47: a foreign champion degrades, a retrain answers, a person promotes."""
    folder, registered = tmp_path_factory.mktemp("loop") / "town", f"loop-{uuid4().hex[:6]}"
    with town(folder, mlflow_server, registered, policy={"promotion": "manual"}) as place:
        place.client.copy_model_version(thumb, registered)
        place.promote("1")
        for day in range(28, 41):
            place.day(day, "1", 0.85 if day < 31 else 0.4)
        place.tick(41)
        yield place


@pytest.fixture(scope="module")
def challenged(succession: Town) -> tuple[Town, RequestRow]:
    return succession, succession.ended(41)


@pytest.fixture(scope="module")
def shadowed(challenged: tuple[Town, RequestRow]) -> tuple[Town, RequestRow]:
    """While it waits the challenger is scored beside the champion."""
    return challenged[0], challenged[0].ended(41)


@pytest.fixture(scope="module")
def promoted(shadowed: tuple[Town, RequestRow]) -> Town:
    """The challenger is promoted on day 41 and shares that day's traffic with its predecessor."""
    place, _ = shadowed
    place.promote("2")
    place.tick(41)
    start = START + 41 * DAY
    write_log(place.folder, FRAME, Window(start, start + DAY / 2), "1", right=(0.4, 0.4))
    write_log(place.folder, FRAME, Window(start + DAY / 2, start + DAY), "2", right=(0.9, 0.9))
    write_labels(place.folder, FRAME, Window(start, start + DAY))
    for day in range(42, 46):
        place.day(day, "2", 0.9)
    return place


def test_a_foreign_champion_is_adopted_and_its_degradation_makes_a_request(
        succession: Town) -> None:
    adoption = succession.deps.store.adoptions(NAME)[0]
    assert (adoption.version, adoption.at) == ("1", REFERENCE.end + DAY + HOUR
                                               - (START.resolution * 1_000_000))
    lines = succession.lines("1")
    assert lines[0]["start"] == isoformat(REFERENCE.end)
    assert {line["verdict"] for line in lines} >= {"stable", "degraded"}
    (request,) = [row.request for row in succession.deps.store.requests(NAME)]
    assert (request.kind, request.champion) == ("train", "1")
    assert "accuracy" in request.reason


def test_the_real_child_registers_a_challenger_and_leaves_the_champion(
        challenged: tuple[Town, RequestRow]) -> None:
    place, row = challenged
    assert row.status == "registered", row.outcome
    made = place.client.get_model_version_by_alias(place.registered, "challenger")
    assert (made.version, made.tags["holdfast.request_id"]) == ("2", row.request.request_id)
    assert made.tags["holdfast.parent"] == "1"
    versions = place.deps.registry.versions(place.registered)
    assert [item.version for item in versions] == ["1", "2"]
    causes = [(item.before, item.after) for item in place.deps.store.transitions(NAME)]
    assert ("retraining", "awaiting_promotion") in causes


def test_a_challenger_that_waits_is_scored_beside_the_champion(
        challenged: tuple[Town, RequestRow], shadowed: tuple[Town, RequestRow]) -> None:
    place, row = shadowed
    made = challenged[1].outcome or {}
    assert row.request.purpose == "shadow"
    assert row.status == "done", row.outcome
    assert (place.state.phase, place.state.challenger) == ("awaiting_promotion", "2")
    told = shadow.newest(place.deps.store, NAME)
    assert told is not None
    assert told["n"] > told["labelled"]
    assert told["start"] == made["result"]["window"][1], "where the challenger's own rows end"
    assert told["estimated"]["champion"]["accuracy"]["value"] > 0, "by the daemon's own counts"
    assert told["estimated"]["challenger"]["accuracy"]["value"] > 0
    tags = place.client.get_model_version(place.registered, "2").tags
    assert tags["holdfast.shadow.rows"] == str(told["n"])
    assert tags["holdfast.shadow.known_at"] == told["known_at"]
    assert place.deps.store.open_request(NAME) is None, "not due again yet"


def test_a_promoted_version_is_adopted_with_its_own_baseline(promoted: Town) -> None:
    version = promoted.deps.registry.version(promoted.registered, "2")
    assert version is not None
    own = Baseline.from_json(promoted.deps.registry.baseline(version) or "")
    adoption = promoted.deps.store.adoptions(NAME)[1]
    assert adoption.key == sealed(promoted.deps.config.models[0], own)
    assert (promoted.state.champion, promoted.state.phase) == ("2", "probation")
    assert promoted.state.predecessor == "1"
    assert version.tags["holdfast.promoted_at"] == isoformat(START + 41 * DAY + HOUR)


def test_versions_are_never_mixed_where_outputs_are_judged(promoted: Town) -> None:
    promoted.tick(46)
    start, known_at = START + 41 * DAY, START + 46 * DAY + HOUR
    rows = FRAME[(FRAME["timestamp"] >= start) & (FRAME["timestamp"] < start + DAY)]
    own = rows[rows["timestamp"] >= start + DAY / 2]
    line = [line for line in promoted.lines("2") if line["start"] == isoformat(start)][-1]
    assert line["n"] == len(rows)
    assert line["performance"][1]["n"] == (own["label_at"] < pd.Timestamp(known_at)).sum()
    assert line["performance"][1]["value"] > 0.75
    assert not [line for line in promoted.lines("1") if line["start"] >= isoformat(start)]


def test_a_better_version_is_acquitted_by_the_comparison(promoted: Town) -> None:
    promoted.tick(46)
    row = promoted.deps.store.requests(NAME)[0]
    assert (row.request.kind, row.request.champion) == ("score", "2")
    assert row.request.evidence["predecessor"] == "1"
    assert promoted.champion() == "2"


@contextmanager
def mistaken(folder: Path, server: str, source: tuple[Town, RequestRow],
             rollback: str, *, noise: bool = False) -> Iterator[Town]:
    """A trained version 1 that serves well, and a worse version 2 that a person promoted.

    With ``noise`` labels follow nothing any more from that day on: both are as good as a coin. It
    ends a day later, as requests of one name and instant are one request to an MLflow server.
    """
    registered = f"loop-{uuid4().hex[:6]}"
    rules = {"rollback": rollback, "retrain": {"minimum_rows": 10_000}}
    with town(folder, server, registered, policy=rules) as place:
        other = source[0].registered
        place.client.copy_model_version(f"models:/{other}/2", registered)
        place.client.copy_model_version(f"models:/{other}/1", registered)
        place.promote("1")
        for day in range(28, 40):
            place.day(day, "1", 0.85)
        place.tick(40)
        place.promote("2")
        place.tick(40)
        coin = np.random.default_rng(7).choice(["yes", "no"], len(FRAME))
        end = 45 if noise else 44
        for day in range(40, end):
            span = Window(START + day * DAY, START + (day + 1) * DAY)
            place.day(day, "2", 0.5 if noise else 0.2)
            if noise:
                write_labels(place.folder, FRAME.assign(late=coin), span)
        place.tick(end)
        yield place


def test_a_worse_promotion_is_rolled_back_once(
        tmp_path: Path, mlflow_server: str, challenged: tuple[Town, RequestRow]) -> None:
    with mistaken(tmp_path / "town", mlflow_server, challenged, "automatic") as place:
        assert place.state.phase == "probation"
        row = place.ended(44)
        assert row.status == "done", row.outcome
        assert row.outcome is not None
        assert row.outcome["result"]["low"] > 0
        assert row.outcome["result"]["n"] > 150
        assert place.champion() == "1"
        place.tick(44)
        assert (place.state.phase, place.state.champion) == ("rolled_back", "1")

        place.promote("2")  # the person insists
        place.tick(44)
        for day in range(44, 48):
            place.day(day, "2", 0.2)
        place.tick(48)
        assert place.ended(48).status == "done"
        assert place.champion() == "2"
        assert place.deps.store.decisions(NAME)[0].action == "announce"
        assert place.state.champion == "2"


def test_a_world_that_worsens_for_both_rolls_nothing_back(
        tmp_path: Path, mlflow_server: str, challenged: tuple[Town, RequestRow]) -> None:
    with mistaken(tmp_path / "town", mlflow_server, challenged, "automatic", noise=True) as place:
        row = place.ended(45)
        assert row.status == "done", row.outcome
        assert row.outcome is not None
        result = row.outcome["result"]
        assert result["low"] <= 0
        assert max(result["values"].values()) < 0.65, "both are worse than the .85 before"
        assert (place.champion(), place.state.champion) == ("2", "2")
        assert place.state.phase == "probation"
        assert not [item for item in place.deps.store.decisions(NAME)
                    if item.action in {"roll_back", "announce"}]


def test_a_worse_promotion_is_announced_where_people_roll_back(
        tmp_path: Path, mlflow_server: str, challenged: tuple[Town, RequestRow]) -> None:
    with mistaken(tmp_path / "town", mlflow_server, challenged, "manual") as place:
        assert place.ended(44).status == "done"
        told = place.deps.store.decisions(NAME)[0]
        assert (told.action, told.status) == ("announce", "done")
        assert "better" in told.reason
        assert place.champion() == "2"
        assert place.state.champion == "2"
        assert place.state.phase in {"stable", "suspect"}
