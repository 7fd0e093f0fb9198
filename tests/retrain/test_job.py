"""Whole jobs, each in a process of its own, against an embedded MLflow."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from monitor.config import load
from monitor.registry import Registry, Version
from monitor.request import Request
from tests.retrain.shop import INPUTS, SALT, raw_rows, request, shop, start, work

WRITTEN = {"request.json", "contract.json", "evaluation.json", "card.md", "decision.png",
           "baseline.json", "weights.safetensors", "result.json", "reports"}


class Deployed:
    """A shop with a first champion and a challenger that holdfast made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = shop(folder, f"sqlite:///{folder / 'mlflow.db'}", reports=True, widths=[32])
        self.registry = Registry(load(self.path).config.mlflow)
        self.bootstrap = request(self.path, "bootstrap", options={"report": False})
        self.first = work(self.bootstrap, folder)
        self.train = request(self.path, "train", champion="1")
        self.second = work(self.train, folder)

    def version(self, number: str) -> Version:
        found = self.registry.version("shop", number)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    return Deployed(tmp_path_factory.mktemp("deployed"))


def test_a_first_champion_and_a_challenger_are_registered(deployed: Deployed) -> None:
    assert (deployed.first.status, deployed.first.version) == ("registered", "1")
    assert (deployed.second.status, deployed.second.version) == ("registered", "2")
    assert deployed.registry.aliases("shop") == {"champion": "1", "challenger": "2"}
    tags = deployed.version("2").tags
    assert tags["holdfast.request_id"] == deployed.train.request_id
    assert tags["holdfast.parent"] == "1"
    assert tags["holdfast.compression"] == deployed.second.result["point"]


def test_every_retrain_is_a_run_that_says_everything(deployed: Deployed) -> None:
    run = deployed.registry.run_of(deployed.train.request_id)
    assert run is not None
    listed = deployed.registry.client.list_artifacts(run.info.run_id, "holdfast")
    point = deployed.second.result["point"]
    small = {name for part, names in (("int8", {"parent.onnx", "calibration.json"}),
                                      ("pruned", {"uncompressed.onnx", "calibration.json"}))
             if part in point for name in names}
    assert {item.path.removeprefix("holdfast/") for item in listed} == WRITTEN | small
    params = run.data.params
    assert params["reason"] == "the test asks"
    assert params["content_hash"] == deployed.second.result["content_hash"]
    assert params["window_end"] == "2026-02-15T00:00:00Z"
    assert run.data.metrics["holdout_accuracy"] > 0.5


def test_metrics_of_steps_lie_in_a_run_per_stage(deployed: Deployed) -> None:
    run, client = deployed.registry.run_of(deployed.train.request_id), deployed.registry.client
    assert run is not None
    children = client.search_runs([run.info.experiment_id],
                                  f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    rungs = {child.info.run_name.split("-")[0] for child in children}
    assert {"tune"} <= rungs <= {"tune", "refit"}
    assert {child.info.run_name for child in children} == {
        f"{rung}{size}" for rung in rungs for size in ("", "-pruned-50")}
    for child in children:
        steps = [item.step for item in
                 client.get_metric_history(child.info.run_id, "validation_loss")]
        assert steps == list(range(len(steps)))


def test_the_candidate_goes_on_from_the_champions_weights(deployed: Deployed) -> None:
    assert deployed.second.result["parent"] == "version 1"
    said = (deployed.folder / deployed.train.request_id / "log.txt").read_text()
    assert "version 1 fine-tuned" in said


def test_the_baseline_is_the_candidates_own(deployed: Deployed) -> None:
    from monitor.baseline import Baseline

    text = deployed.registry.baseline(deployed.version("2"))
    assert text is not None
    baseline = Baseline.from_json(text)
    assert baseline.version == "2"
    assert baseline.window is not None
    assert str(baseline.window) == "2026-01-18T00:00:00Z to 2026-02-15T00:00:00Z"
    assert "prediction:answer" in baseline.bins.by_key
    assert baseline.importance is not None
    assert baseline.importance.kind == "permutation"
    assert set(baseline.importance.drops) == set(INPUTS)


def test_the_description_speaks_of_the_gate_and_the_card_of_everything(
        deployed: Deployed) -> None:
    made = deployed.registry.client.get_model_version("shop", "2")
    description = made.description or ""
    card = deployed.registry.artifact(made.run_id or "", "holdfast/card.md") or ""
    assert "Passed on the newest" in description
    assert "version 1 (champion)" in description
    costs = [line for line in description.splitlines() if line.startswith(("| size", "| CPU"))]
    assert len(costs) == 3, "of a batch of 1 and one of 256, beside the size"
    assert not any("unknown" in line for line in costs), costs
    assert "| pruned-50 |" in card
    assert "| the champion | version 1 |" in card


def test_a_request_that_has_an_outcome_is_left_alone(deployed: Deployed) -> None:
    assert work(deployed.train, deployed.folder) == deployed.second
    assert len(deployed.registry.versions("shop")) == 2


def test_a_second_first_champion_is_refused(deployed: Deployed) -> None:
    outcome = work(request(deployed.path, "bootstrap"), deployed.folder)
    assert outcome.status == "refused"
    assert "has a champion, version 1" in outcome.reason


def test_too_few_rows_are_refused_in_words(deployed: Deployed) -> None:
    early = replace(request(deployed.path, "train", champion="1"),
                    known_at=pd.Timestamp("2026-01-07", tz="UTC").to_pydatetime())
    outcome = work(early, deployed.folder)
    assert outcome.status == "refused"
    assert "too few rows" in outcome.reason
    assert deployed.registry.requested("shop", early.request_id) is None


def test_rows_of_a_version_that_was_rolled_back_are_not_trained_on_again(deployed: Deployed
                                                                        ) -> None:
    again = request(deployed.path, "train", champion="1", options={"barred": ["2"]})
    outcome = work(again, deployed.folder)
    assert outcome.status == "refused"
    assert "version 2 was made of the same rows and was rolled back" in outcome.reason


def test_a_training_that_takes_too_long_fails_in_words(tmp_path: Path) -> None:
    path = shop(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}", deadline="1s")
    asked = request(path, "bootstrap", options={"report": False})
    assert start(asked, tmp_path).wait(120) == 42
    outcome = Registry(load(path).config.mlflow).outcome(asked.request_id)
    assert outcome is not None
    assert outcome.status == "failed"
    assert "took longer than training.deadline (1s)" in outcome.reason


def test_a_training_that_takes_too_much_memory_fails_in_words(tmp_path: Path) -> None:
    path = shop(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}", kind="sklearn", memory="200MB",
                prune=[])
    asked = request(path, "bootstrap", options={"report": False})
    assert start(asked, tmp_path).wait(120) == 42, said(asked, tmp_path)
    outcome = Registry(load(path).config.mlflow).outcome(asked.request_id)
    assert outcome is not None
    assert outcome.status == "failed"
    assert "took more than training.memory (200MB)" in outcome.reason


def test_probation_compares_with_the_predecessor_on_the_same_rows(deployed: Deployed) -> None:
    outcome = work(request(deployed.path, "score", champion="1", predecessors=("2",),
                           options={"window": ["2026-02-01", "2026-02-15"]}), deployed.folder)
    assert outcome.status == "done"
    result = outcome.result
    assert result["low"] <= result["difference"] <= result["high"]
    assert result["n"] > 1000
    values = result["values"]
    assert result["difference"] == pytest.approx(values["version 2"] - values["version 1"])
    assert values["version 1"] == pytest.approx(0.7, abs=0.05), "as logged, not as it would answer"


def test_where_no_score_is_logged_probation_compares_by_accuracy(deployed: Deployed) -> None:
    scored = deployed.path.with_name("scored.yaml")
    config = yaml.safe_load(deployed.path.read_text())
    config["models"][0]["policy"] = {"performance": {"metric": "roc_auc"}}
    scored.write_text(yaml.safe_dump(config))
    outcome = work(request(scored, "score", champion="1", predecessors=("2",),
                           options={"window": ["2026-02-01", "2026-02-15"]}), deployed.folder)
    assert outcome.status == "done"
    assert outcome.result["metric"] == "accuracy"
    assert "accuracy than version 1" in outcome.reason


def test_rows_are_served_by_a_version(deployed: Deployed, tmp_path: Path) -> None:
    raw_rows(50).to_parquet(tmp_path / "rows.parquet")
    order = {"rows": str(tmp_path / "rows.parquet"), "out": str(tmp_path / "out.parquet"),
             "versions": ["1", "2"]}
    outcome = work(request(deployed.path, "score", options={"serve": order}), deployed.folder)
    assert outcome.status == "done"
    out = pd.read_parquet(tmp_path / "out.parquet")
    assert list(out.columns[:4]) == ["_row", "_version", "prediction", "score"]
    assert out["_version"].value_counts().to_dict() == {"1": 50, "2": 50}
    assert set(out["prediction"]) <= {"yes", "no"}
    assert ((out["score"] >= 0.5) == (out["prediction"] == "yes")).all()


def test_the_example_is_made_up(deployed: Deployed) -> None:
    client = deployed.registry.client
    source = client.get_model_version_download_uri("shop", "2")
    example = json.loads(deployed.registry._fetch(f"{source}/input_example.json"))
    made_up = pd.DataFrame(example["data"], columns=example["columns"])
    assert set(made_up.columns) == set(INPUTS)
    log = pd.read_parquet(deployed.folder / "log.parquet")
    assert not set(made_up["temperature_c"]) & set(log["temperature_c"])


def test_no_secret_is_left_anywhere(deployed: Deployed) -> None:
    """The salt is read from a file; nothing that a job writes holds it."""
    written = [path for path in deployed.folder.rglob("*") if path.is_file()
               and path.name != "salt"]
    assert len(written) > 20
    assert not [path for path in written if SALT.encode() in path.read_bytes()]


def test_columns_that_are_hashed_are_no_inputs(deployed: Deployed, tmp_path: Path) -> None:
    """A service would send the raw value, and a model that knows hashes would not know it."""
    hidden = deployed.path.read_text().replace("- request_id", "- zone")
    (deployed.folder / "hidden.yaml").write_text(hidden)
    outcome = work(request(deployed.folder / "hidden.yaml", "train", champion="1"), deployed.folder)
    assert outcome.status == "refused"
    assert "takes zone, which privacy.hash hides" in outcome.reason


def test_told_to_stop_it_hands_back_and_goes_on(deployed: Deployed) -> None:
    asked = request(deployed.path, "train", champion="1", predecessors=("2",),
                    options={"report": False})
    process = start(asked, deployed.folder)
    until(lambda: "[2/5]" in said(asked, deployed.folder))
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 75
    waiting = deployed.registry.outcome(asked.request_id)
    assert waiting is not None
    assert waiting.status == "running"
    outcome = work(asked, deployed.folder)
    assert outcome.status in {"registered", "refused"}
    assert "version 2" in outcome.reason or outcome.status == "registered"


def said(asked: Request, folder: Path) -> str:
    return (folder / asked.request_id / "log.txt").read_text()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
