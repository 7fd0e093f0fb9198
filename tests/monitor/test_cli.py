"""The command line: what a stranger types, and what it answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from monitor.cli import main
from tests.monitor.command import configured, holdfast
from tests.servers import free_port
from tests.story.deployment import register

COMMANDS = ("check", "baseline", "run", "once", "replay", "retrain", "status", "demo",
            "acknowledge", "audit", "password", "upkeep")


def model(**log: Any) -> dict[str, Any]:
    return {"name": "a", "log": {"source": "log.csv", "timestamp": "at", "prediction": "guess",
                                 **log}}


def rows(folder: Path, name: str = "log.csv", days: int = 40) -> None:
    at = pd.date_range("2026-01-01", periods=days * 24, freq="h")
    frame = pd.DataFrame({"at": at, "guess": ["x", "y", "z"] * (days * 8),
                          "size": range(days * 24), "truth": ["x", "y", "y"] * (days * 8)})
    frame["size"] = frame["size"] % 17
    frame.to_csv(folder / name, index=False)


def test_every_command_explains_itself_and_its_options() -> None:
    listed = holdfast("--help")
    assert listed.code == 0
    assert set(COMMANDS) == set(main.commands)  # type: ignore[attr-defined]
    for name in COMMANDS:
        said = holdfast(name, "--help")
        assert said.code == 0
        assert name in listed.out
        for option in main.commands[name].params:  # type: ignore[attr-defined]
            assert option.name == "config" or option.help, f"{name} {option.name}"


@pytest.mark.parametrize("words", [
    (), ("nonsense",), ("check",), ("check", "/"), ("check", "absent.yaml"), ("status", "--what"),
    ("replay", "x.yaml"), ("replay", "x.yaml", "--from", "yesterday", "--to", "2026-01-01"),
    ("once", "x.yaml", "--now", "soon"), ("retrain", "x.yaml"), ("demo", "--log", "absent.parquet"),
    ("demo", "--task", "poetry"),
])
def test_wrong_usage_is_refused(words: tuple[str, ...]) -> None:
    said = holdfast(*words)
    assert said.code == 2
    assert said.out == ""
    assert said.err


@pytest.mark.parametrize(("content", "words"), [
    (b"models: [b\n", "is not YAML: expected ',' or ']', but got '<stream end>' in line 2"),
    (b"\tmodels: x\n", "line 1, column 1"),
    (b"just text", "holds no mapping"), (b"", "holds no mapping"),
    (b"\xff\xfe\x00", "is not text; right would be YAML in UTF-8"),
    (b"models: []", "models: a list of 0; right would be at least 1"),
    (b"models: {name: x}", "models: a mapping; right would be a list"),
    (b"models: [{name: x, log: {source: '${env:HOLDFAST_NOT_SET}', timestamp: t}}]",
     "models[0].log.source: ${env:HOLDFAST_NOT_SET}: the environment variable is not set"),
])
def test_a_file_that_is_no_configuration_is_refused_in_words(
        tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "holdfast.yaml"
    file.write_bytes(content)
    for command in ("check", "once", "status", "baseline"):
        said = holdfast(command, file)
        assert said.code == 2
        assert words in said.err


def test_an_unreachable_store_or_registry_is_said_without_its_password(tmp_path: Path) -> None:
    rows(tmp_path)
    port = free_port()
    away = configured(tmp_path, model(), store=f"postgresql+psycopg://u:hunter22@127.0.0.1:{port}/d")
    for command in ("status", "once", "baseline"):
        said = holdfast(command, away)
        assert said.code == 1
        assert f"error: store postgresql+psycopg://u:***@127.0.0.1:{port}/d: " in said.err
    away = configured(tmp_path, model(),
                      mlflow={"tracking_uri": f"http://u:hunter22@127.0.0.1:{port}"})
    said = holdfast("once", away, "--json")
    assert said.code == 1
    assert said.json["models"][0]["trouble"].startswith("MLflow at http://u:***@127.0.0.1:")
    assert "hunter22" not in said.out + said.err


def test_before_anything_ran_and_without_a_champion(tmp_path: Path) -> None:
    rows(tmp_path)
    file = configured(tmp_path, model())
    said = holdfast("status", file)
    assert said.code == 0
    assert "not looked at yet: `holdfast once CONFIG` does" in said.out
    said = holdfast("baseline", file)
    assert said.code == 1
    assert "'a' has no alias `champion`" in said.err
    said = holdfast("replay", file, "--from", "2026-02-01", "--to", "2026-02-03", "--json")
    assert (said.code, said.out) == (1, "")
    assert "nothing to judge against" in said.err
    said = holdfast("once", file, "--now", "2026-02-05")
    assert said.code == 0
    assert "alias `champion` is not set in MLflow" in said.out


def test_one_model_that_fails_stops_no_other(tmp_path: Path) -> None:
    rows(tmp_path)
    other = model() | {"name": "b"}
    absent = model(source="absent.csv") | {"name": "c"}
    file = configured(tmp_path, model(), absent, other)
    for name in ("a", "c", "b"):
        register(f"sqlite:///{tmp_path / 'mlflow.db'}", name)
    said = holdfast("baseline", file, "--json")
    assert said.code == 1
    assert [line["model"] for line in said.lines] == ["a", "b"]
    assert "absent.csv: no file matches" in said.err
    said = holdfast("once", file, "--now", "2026-02-05", "--json")
    assert said.code == 1
    states = {line["model"]: line for line in said.json["models"]}
    assert states["a"]["newest"]["verdict"] == states["b"]["newest"]["verdict"] == "stable"
    assert "absent.csv: no file matches" in states["c"]["trouble"]
    said = holdfast("replay", file, "--from", "2026-02-01", "--to", "2026-02-04", "--json")
    assert said.code == 1
    assert {line["model"] for line in said.lines} == {"a", "b"}


@pytest.mark.parametrize("change", [
    {"log": {}}, {"task": "multiclass", "log": {"label": "truth"}},
    {"task": "regression", "log": {"prediction": "size", "label": "size2"}},
    {"log": {"prediction": None, "features": {"include": ["size"]}}},
])
def test_logs_of_every_kind_are_watched(tmp_path: Path, change: dict[str, Any]) -> None:
    rows(tmp_path)
    frame = pd.read_csv(tmp_path / "log.csv")
    frame.assign(size2=frame["size"] + 0.5).to_csv(tmp_path / "log.csv", index=False)
    settings = model(**change["log"]) | {"task": change.get("task", "binary")}
    settings["maturity"] = {"delay": "1d"}
    file = configured(tmp_path, settings)
    register(f"sqlite:///{tmp_path / 'mlflow.db'}", "a")
    assert holdfast("check", file).code == 0
    said = holdfast("baseline", file)
    assert said.code == 0, said.err
    said = holdfast("once", file, "--now", "2026-02-09T12:00", "--json")
    assert said.code == 0, said.err
    (state,) = said.json["models"]
    assert state["newest"]["verdict"] == "stable"
    judged = state["performance"]
    labelled = "label" in change["log"]
    assert (judged is not None) == labelled
    if labelled:
        assert judged["metric"] == ("mae" if settings["task"] == "regression" else "accuracy")


def test_what_retrain_refuses(tmp_path: Path, mlflow_uri: str) -> None:
    rows(tmp_path)
    said = holdfast("retrain", configured(tmp_path, model()), "--model", "a")
    assert said.code == 2
    assert "training.kind: none only monitors; right would be torch" in said.err
    file = configured(tmp_path, model(label="truth") | {"training": {"kind": "torch"}})
    assert "--model: 'b' is not configured" in holdfast("retrain", file, "--model", "b").err
    said = holdfast("retrain", file, "--model", "a")
    assert said.code == 1
    assert "add --bootstrap" in said.err
    register(mlflow_uri, "a")
    said = holdfast("retrain", file, "--model", "a", "--bootstrap")
    assert said.code == 1
    assert "has a champion already, version 1" in said.err


def test_the_daemon_serves_what_it_knows_and_ends_on_sigterm(tmp_path: Path) -> None:
    rows(tmp_path)
    port = free_port()
    file = configured(tmp_path, model(), http={"port": port})
    command = [sys.executable, "-c", "from monitor.cli import main; main()", "run", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env=os.environ) as daemon:
        assert daemon.stderr is not None
        try:
            assert f"http://127.0.0.1:{port}" in daemon.stderr.readline()
            for page in ("healthz", "metrics", ""):
                address = f"http://127.0.0.1:{port}/{page}"
                with urllib.request.urlopen(address, timeout=10) as answer:
                    assert answer.status == 200
            said = holdfast("run", file)
            assert said.code == 1
            assert "Address already in use" in said.err
        finally:
            daemon.send_signal(signal.SIGTERM)
            out, err = daemon.communicate(timeout=60)
        assert (daemon.returncode, out) == (0, "")
        assert "Traceback" not in err
