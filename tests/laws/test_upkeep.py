"""The law of upkeep: merging and thinning change no verdict that is still to come, nor a replay."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

from monitor.config import Retention
from monitor.daemon import tick
from monitor.replay import replay
from monitor.simulate import START, Plan
from monitor.upkeep import tend
from monitor.window import isoformat
from tests.story.deployment import DAY, deploy

PLAN = Plan(days=66, rows_per_day=60, slow_from=30, abrupt_at=45)
BORN, MIDDLE, LAST = START + 25 * DAY, START + 62 * DAY, START + 65 * DAY


def test_a_store_that_is_seen_to_goes_on_as_one_that_is_not(tmp_path: Path) -> None:
    deployment = deploy(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}", plan=PLAN, window={
        "length": "12h", "lateness": "1h", "revise_for": "2d"})
    (model,) = deployment.loaded.config.models
    for now in (BORN, MIDDLE):
        with deployment.deps("left.db") as deps:
            tick(model, deps, now)
    shutil.copy(tmp_path / "left.db", tmp_path / "holdfast.db")
    with deployment.deps() as deps:
        done = tend(model, Retention(merge_after=DAY, keep_statistics=DAY), deps.store, MIDDLE)
        assert done.merged > 20
        assert done.thinned > 100
    told = {}
    for name in ("left.db", "holdfast.db"):
        with deployment.deps(name) as deps:
            tick(model, deps, LAST)
            told[name] = [row.line for row in deps.store.verdicts(model.name)]
            state = deps.store.recorded(model.name).state
            told[f"state of {name}"] = [state, deps.store.episodes(model.name),
                                        deps.store.transitions(model.name)]
    left, kept = told["left.db"], told["holdfast.db"]
    for mine, theirs in zip(kept, left, strict=True):
        assert mine == theirs or (mine["thinned"] and mine["reason"] == theirs["reason"])
    assert sum("thinned" in line for line in kept) == done.thinned
    assert all("thinned" not in line for line in kept if line["known_at"] > isoformat(MIDDLE))
    assert told["state of left.db"] == told["state of holdfast.db"]
    start, end = BORN + timedelta(hours=12), BORN + 3 * DAY
    again = list(replay(deployment.loaded, start, end))
    assert again
    assert again == left[: len(again)]
