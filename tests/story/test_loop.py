"""The whole loop against a real MLflow server, with real retrain processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest

from monitor import shadow
from monitor.assembly import opened
from monitor.baseline import Baseline
from monitor.config import load
from monitor.daemon import tick
from monitor.deps import Deps
from monitor.launch import LocalProcess
from monitor.reference import sealed
from monitor.simulate import START, deliveries
from monitor.store import RequestRow
from monitor.window import Window, isoformat
from tests.story.life import DAY, NAME, PLAN, REFERENCE, settle_in, write_labels, write_log

# what MLflow says about signatures is not what is tested here
pytestmark = pytest.mark.filterwarnings("ignore")

INPUTS = {"distance_km": "double", "items": "long", "temperature_c": "double",
          "rain_mm": "double", "traffic": "double", "courier_days": "double",
          "vehicle": "string", "zone": "string", "prepaid": "boolean"}
ALWAYS = """
    import mlflow
    import pandas as pd

    class Always(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return pd.DataFrame({"verdict": ["no"] * len(model_input),
                                 "chance": [0.25] * len(model_input)})

    mlflow.models.set_model(Always())
"""
FRAME = deliveries(PLAN)
HOUR = DAY / 24


@dataclass(frozen=True)
class Town:
    """A deployment whose log a test writes day by day, and the client that people use."""

    folder: Path
    deps: Deps
    client: Any
    registered: str

    def day(self, number: int, version: str, right: float) -> None:
        """Log the day as answered by ``version``, right so often, and the labels that came."""
        span = Window(START + number * DAY, START + (number + 1) * DAY)
        write_log(self.folder, FRAME, span, version, right=(right, right))
        write_labels(self.folder, FRAME, span)

    def tick(self, day: float) -> datetime:
        """Tick an hour after the start of the day."""
        now = START + day * DAY + HOUR
        tick(self.deps.config.models[0], self.deps, now)
        return now

    def promote(self, version: str) -> None:
        """What a person does in the MLflow UI."""
        self.client.set_registered_model_alias(self.registered, "champion", version)

    def champion(self) -> str:
        return str(self.client.get_model_version_by_alias(self.registered, "champion").version)

    @property
    def state(self) -> Any:
        return self.deps.store.recorded(NAME).state

    def lines(self, version: str) -> list[dict[str, Any]]:
        """Verdict lines on all rows about this version."""
        return [row.line for row in self.deps.store.verdicts(NAME, segment="")
                if row.line["version"] == version]

    def ended(self, day: float) -> RequestRow:
        """The open request once its process ended and a tick on that day has folded it."""
        row = self.deps.store.open_request(NAME)
        assert row is not None
        assert self.deps.launcher is not None
        request = row.request.request_id
        deadline = time.monotonic() + 150
        while self.deps.launcher.running(request):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.tick(day)
        (row,) = [row for row in self.deps.store.requests(NAME)
                  if row.request.request_id == request]
        return row


@contextmanager
def town(folder: Path, server: str, registered: str, **model: Any) -> Iterator[Town]:
    from mlflow import MlflowClient

    settle_in(folder, tracking=server, registered_model=registered, **model)
    with opened(load(folder / "holdfast.yaml")) as deps:
        yield Town(folder, replace(deps, reporter=None), MlflowClient(server, server), registered)


@pytest.fixture(scope="module")
def thumb(tmp_path_factory: pytest.TempPathFactory, mlflow_server: str) -> str:
    """A version that somebody else made: a pyfunc with a signature of its own."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    folder, registered = tmp_path_factory.mktemp("thumb"), f"loop-{uuid4().hex[:6]}"
    mlflow.set_tracking_uri(mlflow_server)
    mlflow.set_registry_uri(mlflow_server)
    (folder / "always.py").write_text(dedent(ALWAYS))
    signature = ModelSignature(Schema([ColSpec(kind, name) for name, kind in INPUTS.items()]),
                               Schema([ColSpec("string", "verdict"), ColSpec("double", "chance")]))
    with mlflow.start_run():
        mlflow.pyfunc.log_model(name="model", python_model=str(folder / "always.py"),
                                signature=signature, registered_model_name=registered,
                                pip_requirements=["mlflow"])
    return f"models:/{registered}/1"


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


@pytest.fixture
def bare(tmp_path: Path, mlflow_server: str, thumb: str) -> Iterator[Town]:
    """Three versions that somebody made, the first of them champion, watched until day 30."""
    registered = f"loop-{uuid4().hex[:6]}"
    with town(tmp_path / "town", mlflow_server, registered) as place:
        for _ in range(3):
            place.client.copy_model_version(thumb, registered)
        place.promote("1")
        for day in range(28, 30):
            place.day(day, "1", 0.85)
        place.tick(30)
        yield place


def test_a_person_who_moves_the_alias_in_between_wins_over_an_intent(bare: Town) -> None:
    store = bare.deps.store
    store.intend(NAME, "champion", "2", "1", START, "the move that did not happen yet")
    bare.promote("3")
    bare.tick(30)
    assert bare.champion() == "3"
    (intent,) = store.intents(NAME, open_only=False)
    assert intent.result == "somebody else moved it first"
    assert (bare.state.champion, bare.state.phase) == ("3", "probation")


def test_a_person_who_moves_the_alias_wins_over_a_pending_promotion(bare: Town) -> None:
    from monitor.state import Decision

    store, recorded = bare.deps.store, bare.deps.store.recorded(NAME)
    store.advance(NAME, recorded.number, recorded.state, at=START, cause="the gate passed it",
                  decision=Decision("promote", "it passed", {"to": "2", "from": "1"}))
    bare.promote("3")
    bare.tick(30)
    assert (bare.champion(), bare.state.champion) == ("3", "3")
    (settled,) = store.decisions(NAME)
    assert (settled.status, settled.note) == ("refused", "version 3 was promoted meanwhile")


def test_an_intent_that_was_written_down_is_carried_out(bare: Town) -> None:
    bare.deps.store.intend(NAME, "champion", "2", "1", START, "a promotion")
    bare.tick(30)
    assert bare.champion() == "2"
    bare.tick(30)
    assert (bare.state.champion, bare.state.phase) == ("2", "probation")


def test_a_deleted_alias_is_unknown_until_it_is_back(bare: Town) -> None:
    assert bare.state.phase == "stable"
    bare.client.delete_registered_model_alias(bare.registered, "champion")
    bare.day(30, "1", 0.85)
    bare.tick(31)
    assert (bare.state.phase, bare.state.champion) == ("unknown", None)
    before = len(bare.lines("1"))
    bare.day(31, "1", 0.85)
    bare.tick(32)
    assert not [line for line in bare.lines("1")[before:] if line["revision"] == 0]
    bare.promote("1")
    bare.tick(32)
    bare.day(32, "1", 0.85)
    bare.tick(33)
    assert bare.state.champion == "1"
    assert bare.lines("1")[-1]["revision"] == 0


def test_a_request_whose_process_dies_is_given_up_after_three_attempts(bare: Town) -> None:
    from monitor.byhand import ask

    dies = (sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
    deps = replace(bare.deps, launcher=LocalProcess(bare.folder / "requests", dies))
    place = replace(bare, deps=deps)
    ask(deps.config.models[0], deps, reason="to see it die", bootstrap=False,
        now=START + 30 * DAY, wait=False)
    assert place.state.phase == "retraining"
    assert place.ended(30).status == "open"
    assert place.ended(30).status == "open"
    row = place.ended(30)
    assert (row.status, row.attempts) == ("failed", 3)
    assert "ended 3 times" in (row.outcome or {})["reason"]
    assert place.state.phase == "stable"
    assert place.state.cooldown_until is not None
