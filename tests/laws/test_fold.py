"""The fold law: hourly ticks, one catch-up tick and `replay` write identical verdict rows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from monitor.daemon import tick
from monitor.errors import ConflictError
from monitor.fold import advance
from monitor.replay import replay
from monitor.simulate import START
from tests.story.deployment import DAY, Deployment, deploy, hours

FIRST, LAST = START + 25 * DAY, START + 38 * DAY


def lines(deployment: Deployment, store: str, instants: list[datetime]) -> list[dict[str, Any]]:
    """Verdict lines after ticks at these instants, in the order of the fold."""
    with deployment.deps(store) as deps:
        for now in instants:
            tick(deps.config.models[0], deps, now)
        return [row.line for row in deps.store.verdicts("deliveries")]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    folder = tmp_path_factory.mktemp("deployment")
    return deploy(folder, f"sqlite:///{folder / 'mlflow.db'}")


@pytest.fixture(scope="module")
def at_once(deployment: Deployment) -> list[dict[str, Any]]:
    return lines(deployment, "once.db", [LAST])


def test_ticks_every_few_hours_write_what_one_catch_up_writes(
    deployment: Deployment, at_once: list[dict[str, Any]]
) -> None:
    often = lines(deployment, "often.db", list(hours(FIRST, LAST, timedelta(hours=5))))
    assert often == at_once


def test_replay_writes_what_the_daemon_wrote_and_changes_nothing(
    deployment: Deployment, at_once: list[dict[str, Any]]
) -> None:
    files = list(deployment.folder.rglob("*.parquet"))
    before = [path.stat().st_mtime_ns for path in files]
    start = FIRST + timedelta(hours=12)
    assert list(replay(deployment.loaded, start, LAST)) == at_once
    assert not (deployment.folder / "holdfast.db").exists()
    assert sorted(deployment.folder.rglob("*.parquet")) == sorted(files)
    assert [path.stat().st_mtime_ns for path in files] == before


def test_late_rows_and_late_labels_revise_and_keep_the_earlier_verdict(
    at_once: list[dict[str, Any]]
) -> None:
    revised = [line for line in at_once if line["revision"] > 0 and line["segment"] == ""]
    assert any("inputs" in line["news"] for line in revised)
    assert any(line["news"] == ["labels"] for line in revised)
    first = {line["start"]: line for line in at_once
             if line["revision"] == 0 and line["segment"] == ""}
    grown = [line for line in revised if line["n"] > first[line["start"]]["n"]]
    assert grown
    assert all(line["known_at"] > first[line["start"]]["known_at"] for line in grown)


def test_estimates_come_with_the_rows_and_are_checked_by_labels(
    at_once: list[dict[str, Any]]
) -> None:
    whole = [line for line in at_once if line["segment"] == "" and line["n"]]
    assert all(item["estimated"] is False for line in whole for item in line["performance"])
    told = [line["estimated"] for line in whole if line["estimated"]["performance"]]
    assert all(item["estimated"] for one in told for item in one["performance"])
    first = next(line for line in whole if line["revision"] == 0)
    assert first["performance"] == []
    assert first["estimated"]["performance"][0]["metric"] == "accuracy"
    assert "valid" in {one["check"]["state"] for one in told if one["check"]}


def test_revisions_count_up_without_gap(at_once: list[dict[str, Any]]) -> None:
    seen: dict[tuple[str, str], int] = {}
    for line in at_once:
        place = (line["segment"], line["start"])
        assert line["revision"] == seen.get(place, -1) + 1
        seen[place] = line["revision"]


def test_a_second_tick_at_the_same_time_changes_nothing(
    deployment: Deployment, at_once: list[dict[str, Any]]
) -> None:
    with deployment.deps("once.db") as deps:
        change = deps.store.change()
        tick(deps.config.models[0], deps, LAST)
        assert deps.store.change() == change
    assert lines(deployment, "once.db", []) == at_once


def test_a_checkpoint_that_another_writer_folded_is_not_folded_again(
    deployment: Deployment, at_once: list[dict[str, Any]]
) -> None:
    with deployment.deps("once.db") as deps:
        model, before = deps.config.models[0], deps.store.recorded("deliveries")
        with pytest.raises(ConflictError, match="another writer"):
            advance(model.calendar.last_checkpoint(LAST), [], model, deps.store)
        assert deps.store.recorded("deliveries") == before
