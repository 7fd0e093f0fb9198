"""Replay: what it prints is a contract, and it changes nothing anywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from monitor.conditions import Benchmark, Fairness, Gate
from monitor.config import load
from monitor.mapping import Features
from monitor.registry import Registry
from monitor.rehearsal import left_out, rows_of, settings
from monitor.replay import replay
from monitor.simulate import START
from monitor.source import Source
from monitor.window import Window, parse_time
from tests.monitor.command import holdfast
from tests.story.deployment import DAY, deploy

CONTRACT = {"model", "version", "segment", "start", "end", "revision", "known_at", "watermark",
            "label_maturity", "n", "verdict", "episode", "phase", "features", "performance",
            "faults", "decision"}
EXTRA = {"arrival", "inputs", "quality", "labelled", "news", "reason", "groups", "segments",
         "severity", "estimated", "error_drift", "freshness", "acknowledged", "answered",
         "promised"}


def contents(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*") if path.is_file()}


def test_a_line_has_exactly_the_keys_of_the_contract_and_nothing_changes(
        tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = deploy(tmp_path, mlflow_uri).loaded.path
    asked = ("replay", file, "--from", "2026-01-31", "--to", "2026-02-09", "--json")
    before = contents(tmp_path)
    said = holdfast(*asked)
    assert (said.code, said.err) == (0, "")
    assert contents(tmp_path) == before, "a deployment that never ran gets no store either"
    lines = said.lines
    assert all(set(line) == CONTRACT | EXTRA for line in lines)
    assert {line["arrival"] for line in lines} == {"logged"}
    assert {line["segment"] for line in lines} == {"", "vehicle=bike", "vehicle=car",
                                                   "vehicle=scooter"}
    for line in lines:
        assert line["verdict"] in {"stable", "drifted", "degraded", "faulty", "unknown"}
        assert set(line["decision"]) == {"action", "reason"}
        for feature in line["features"]:
            assert set(feature) - {"importance"} == {"name", "statistic", "value", "threshold",
                                                     "error_bound", "drifted", "windows"}
        for item in line["performance"]:
            assert {"metric", "value", "low", "high", "n", "estimated"} <= set(item)
        for fault in line["faults"]:
            assert {"check", "column", "severity", "message"} <= set(fault)
    order = [(line["known_at"], line["end"], line["revision"]) for line in lines]
    assert order == sorted(order)
    drifted = [line for line in lines if line["verdict"] == "drifted" and not line["segment"]
               and any(feature["name"] == "vehicle" and feature["drifted"]
                       for feature in line["features"])]
    assert parse_time(drifted[0]["end"]) > START + 30 * DAY
    assert holdfast(*asked).out == said.out

    assert holdfast("once", file, "--now", "2026-02-09").code == 0
    ran = contents(tmp_path)
    assert holdfast(*asked).code == 0
    assert contents(tmp_path) == ran, "one that ran keeps its store as it is"


def test_what_a_person_reads(tmp_path: Path, mlflow_uri: str) -> None:
    file = deploy(tmp_path, mlflow_uri).loaded.path
    said = holdfast("replay", file, "--from", "2026-02-06", "--to", "2026-02-09")
    assert ("2026-02-07T12:00 deliveries r0: drifted, n=130, suspect: moved: vehicle (psi "
            in said.out)
    assert " -> alarm" in said.out


@pytest.mark.parametrize(("words", "code", "error"), [
    (("0001-01-01", "2026-02-01"), 2, "'0001-01-01T00:00:00Z' lies too far away"),
    (("2026-02-02", "9999-12-31"), 2, "'9999-12-31T00:00:00Z' lies too far away"),
    (("2026-02-02", "2026-02-01"), 2, "--from: 2026-02-02T00:00:00Z is not before --to"),
    (("2026-02-01", "2026-02-02", "--model", "x"), 2, "configured are deliveries"),
    (("2026-02-01", "2026-02-02", "--act"), 2, "--act trains; right would be torch"),
])
def test_what_is_refused(tmp_path: Path, mlflow_uri: str, words: tuple[str, ...], code: int,
                         error: str) -> None:
    file = deploy(tmp_path, mlflow_uri).loaded.path
    start, end, *more = words
    said = holdfast("replay", file, "--from", start, "--to", end, *more, "--json")
    assert (said.code, said.out) == (code, "")
    assert error in said.err


def test_nothing_due_is_said(tmp_path: Path, mlflow_uri: str) -> None:
    file = deploy(tmp_path, mlflow_uri).loaded.path
    said = holdfast("replay", file, "--from", "2026-02-01T02:00", "--to", "2026-02-01T03:00",
                    "--json")
    assert (said.code, said.out) == (0, "")
    assert "no window fell due" in said.err


def test_acting_happens_in_a_scratch_store_and_a_scratch_registry(
        tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    deployment = deploy(tmp_path, mlflow_uri, training={
        "kind": "torch", "epochs": 3, "widths": [8], "prune": [0.5], "window": "14d",
        "holdout": "3d"})
    before = contents(tmp_path)
    versions = Registry(deployment.loaded.config.mlflow).versions("deliveries")
    lines = list(replay(deployment.loaded, START + 25 * DAY, START + 33 * DAY, act=True))
    assert contents(tmp_path) == before
    assert Registry(deployment.loaded.config.mlflow).versions("deliveries") == versions
    assert {line["version"] for line in lines} == {"1"}
    assert all(set(line) == CONTRACT | EXTRA for line in lines)
    assert {line["verdict"] for line in lines} & {"drifted", "degraded"}


def test_the_scratch_configuration_names_nothing_of_the_configured_one(
        tmp_path: Path, mlflow_uri: str) -> None:
    deployment = deploy(tmp_path, mlflow_uri, training={"kind": "torch"})
    scratch = settings(deployment.loaded.config.models[0], pd.DataFrame(),
                       Window(START, START + DAY))
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "elsewhere" / "holdfast.yaml"
    file.write_text(yaml.safe_dump(scratch))
    config, own = load(file).config, deployment.loaded.config
    assert config.store != own.store
    assert config.mlflow.tracking_uri != own.mlflow.tracking_uri
    for text in _texts(config.model_dump(mode="json")):
        assert str(tmp_path) not in text.replace(str(file.parent), "")


def test_groups_are_held_apart_in_a_rehearsal_and_what_is_left_out_is_said(
        tmp_path: Path, mlflow_uri: str) -> None:
    deployment = deploy(tmp_path, mlflow_uri, training={"kind": "torch"})
    own = deployment.loaded.config.models[0]
    gate = Gate(fairness=[Fairness(column="vehicle", ceiling=0.1)])
    model = own.model_copy(update={
        "training": own.training.model_copy(update={"gate": gate}),
        "log": own.log.model_copy(update={"segments": ["vehicle", "zone"],
                                          "features": Features(exclude=["vehicle"])})})
    assert left_out(model) == ""
    with Source(model, deployment.loaded.config.limits) as source:
        frame = rows_of(model, source, Window(START, START + 5 * DAY))
    scratch = settings(model, frame, Window(START, START + DAY))["models"][0]
    assert scratch["log"]["segments"] == ["vehicle", "zone"]
    assert scratch["log"]["features"]["exclude"] == ["vehicle"]
    assert [rule["column"] for rule in scratch["training"]["gate"]["fairness"]] == ["vehicle"]
    bare = settings(model, frame.drop(columns="vehicle"), Window(START, START + DAY))["models"][0]
    assert bare["log"]["segments"] == ["zone"]
    assert bare["training"]["gate"]["fairness"] == []
    golden = model.model_copy(update={"benchmarks": [Benchmark(name="old-cases", source="x.csv")]})
    assert "golden sets and their audits (old-cases)" in left_out(golden)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value
