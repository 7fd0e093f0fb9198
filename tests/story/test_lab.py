"""The lab that acts: policies live through the same rows, each with the versions it deploys."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from monitor.config import Loaded
from monitor.course import Retrain
from monitor.outcomes import total
from monitor.performance import measure
from monitor.policies import variants
from monitor.registry import Registry
from monitor.simulate import START
from monitor.trial import Opening, Trial, opening, recalibrated, trial
from monitor.window import Window, isoformat
from tests.monitor.test_replay import contents
from tests.story.deployment import DAY, Deployment, deploy

SPAN = Window(START + 25 * DAY, START + 35 * DAY)
SMALL = {"training": {"kind": "torch", "epochs": 3, "widths": [8], "prune": [], "window": "14d",
                      "holdout": "3d", "minimum_gain": 0.0},
         "window": {"length": "1d"}, "maturity": {"ratio": 0.9, "delay": "2d"}}


@dataclass(frozen=True)
class Lab:
    """What two policies brought, the second one with a training by the calendar."""

    loaded: Loaded
    begun: Opening
    never: Trial
    every: Trial


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("lab")
    loaded = deploy(folder, f"sqlite:///{folder / 'mlflow.db'}", **SMALL).loaded
    before = contents(folder)
    model = loaded.config.models[0]
    scratch = tmp_path_factory.mktemp("scratch")
    begun = opening(model, loaded, scratch / "opening", SPAN, lambda text: None)
    never, every = (trial(item, begun, scratch / item.name, lambda text: None)
                    for item in variants(["never", "every-7d"], model))
    assert contents(folder) == before, "nothing of the deployment was written"
    return Lab(loaded, begun, never, every)


def test_all_policies_start_from_one_champion(lab: Lab) -> None:
    for found in (lab.never, lab.every):
        assert [move.kind for move in found.course.moves][:1] == ["first"]
    assert lab.never.versions["1"] == lab.every.versions["1"]
    requests = lab.begun.folder.parent.glob("*/holdfast-files/requests/*")
    kinds = sorted(path.name.rsplit("-", 1)[0] for path in requests if "bootstrap" in path.name
                   or "serve-1" in path.name)
    assert kinds == ["deliveries", "deliveries-serve"], "one training, and one answer of all rows"


def test_who_never_retrains_serves_the_first_version_all_along(lab: Lab) -> None:
    assert lab.never.course.retrains == ()
    assert lab.never.served == lab.never.versions["1"]
    assert total(lab.never.served.values()).n == pytest.approx(10 * 150, rel=0.1)


def test_a_training_by_the_calendar_goes_through_the_gate(lab: Lab) -> None:
    (made,) = lab.every.course.retrains
    assert isinstance(made, Retrain)
    assert (made.at - lab.begun.live.start) // DAY == 7
    assert (made.why, made.fitted) == ("a retrain every 7d, whatever the evidence", True)
    assert made.ended in {"registered", "refused"}
    assert made.rows > 1000
    assert made.minutes > 0
    served = [move.version for move in lab.every.course.moves]
    assert served == (["1", "2"] if made.ended == "registered" else ["1"])
    before = {day: found for day, found in lab.every.served.items() if day < made.at - DAY}
    assert before == {day: lab.never.served[day] for day in before}, "until then they are alike"
    if made.ended == "registered":
        assert lab.every.served != lab.never.served


def test_rows_are_scored_by_the_version_that_served(lab: Lab) -> None:
    held = total(lab.never.served.values())
    found = measure(held, "accuracy", positive="yes", block=DAY)
    frame = lab.begun.frame
    rows = frame[(frame["_timestamp"] >= SPAN.start) & (frame["_timestamp"] < SPAN.end)]
    right = lab.begun.answers.loc[rows.index, "prediction"] == rows["_label"]
    assert (found.n, found.value) == (len(rows), pytest.approx(right.mean()))


def test_a_baseline_is_recalibrated_as_it_would_have_been_made(lab: Lab) -> None:
    model = lab.loaded.config.models[0]
    scene = variants(["never"], model)[0].model
    stage = scene.model_copy(update={"log": scene.log.model_copy(
        update={"timestamp": "_timestamp"})})
    made, own = recalibrated(lab.begun, stage, lab.loaded.config.limits), lab.begun.baseline
    assert json.loads(made.to_json()) == json.loads(own.to_json())


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return deploy(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}", **SMALL)


def test_broken_off_it_leaves_nothing_behind(tmp_path: Path, deployment: Deployment) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    before = contents(tmp_path)
    running = subprocess.Popen(
        [sys.executable, "-c", "from monitor.cli import main; main()", "replay",
         str(deployment.loaded.path), "--from", isoformat(SPAN.start), "--to", isoformat(SPAN.end),
         "--policy", "never", "--act", "--out", str(tmp_path / "out")],
        env=os.environ | {"TMPDIR": str(scratch)}, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 120
    place = "holdfast-lab-*/opening/holdfast-files/requests/*/lock"
    while not (locks := list(scratch.glob(place))):
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    out, _ = running.communicate(timeout=60)
    assert (running.returncode, out) == (128 + signal.SIGTERM, b"")
    assert not locks[0].exists()
    assert contents(tmp_path) == before


def test_the_configured_registry_is_left_alone(lab: Lab) -> None:
    versions = Registry(lab.loaded.config.mlflow).versions("deliveries")
    assert [item.version for item in versions] == ["1"]
