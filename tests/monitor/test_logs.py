"""Logs: one shape for all lines, nothing secret in any of them, and only events that are told."""

from __future__ import annotations

import ast
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from structlog.contextvars import bound_contextvars

from monitor.daemon import attend
from monitor.logs import EVENTS, Standard, begin
from monitor.secrets import resolve
from tests.data import ROOT
from tests.story.deployment import DAY, deploy

SECRET = "s3cr3t-passphrase"


@pytest.fixture(autouse=True)
def _afterwards() -> Iterator[None]:
    """Logging as it was: this process has more tests to run."""
    root, ours = logging.getLogger(), logging.getLogger("holdfast")
    before = root.level, ours.level, list(root.handlers)
    yield
    root.setLevel(before[0])
    ours.setLevel(before[1])
    root.handlers = before[2]
    structlog.reset_defaults()


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_logger_writes_the_same_json(capsys: pytest.CaptureFixture[str]) -> None:
    begin("json", "info")
    with bound_contextvars(model="m"):
        structlog.get_logger().info("decision", action="retrain", value=float("nan"), at=DAY)
        structlog.get_logger().debug("tick")
        logging.getLogger("apscheduler.executors.default").warning("%s jobs", 3)
        logging.getLogger("apscheduler.executors.default").info("nobody has to know")
        logging.getLogger("apscheduler.scheduler").warning("one job is skipped")
    ours, theirs = lines(capsys.readouterr().err)
    assert list(ours) == ["timestamp", "level", "event", "action", "value", "at", "model"]
    assert (ours["level"], ours["value"], ours["at"]) == ("info", "nan", "1 day, 0:00:00")
    assert theirs["event"] == "3 jobs"
    assert (theirs["logger"], theirs["model"]) == ("apscheduler.executors.default", "m")


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_is_in_any_line(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HOLDFAST_TEST", SECRET)
    resolve("${env:HOLDFAST_TEST}", tmp_path, [])
    begin(form, "debug")
    log = structlog.get_logger()
    log.info("serving", url=f"http://me:{SECRET}@host", deep=[{SECRET: Path(f"/{SECRET}")}])
    try:
        raise ValueError(f"no entry with {SECRET}")
    except ValueError as error:
        log.error("crashed", reason=error, exc_info=True)
        logging.getLogger("uvicorn.error").exception("failed on %s", SECRET)
    said = capsys.readouterr().err
    assert SECRET not in said
    assert said.count("ValueError: no entry with ***") == 2
    assert said.count("***") >= 6


def test_lines_for_people_are_words_and_steps_stand_as_ever(capsys: pytest.CaptureFixture[str]
                                                           ) -> None:
    begin("console", "info")
    log = structlog.get_logger()
    with bound_contextvars(request_id="r1"):
        log.info("step", step="2/5", more=False, seconds=4.14, words="climb the ladder")
        log.info("step", step="2/5", more=True, seconds=14.0, words="done")
    log.warning("no report", model="m", reason="no room")
    first, second, third = capsys.readouterr().err.splitlines()
    assert first == "[2/5]   4.1 s  climb the ladder  (r1)"
    assert second == "       14.0 s  done  (r1)"
    assert "[warning" in third
    assert third.endswith("model=m reason='no room'")


def test_configured_twice_a_line_is_written_once(capsys: pytest.CaptureFixture[str]) -> None:
    begin("json", "info")
    begin("json", "info")
    structlog.get_logger().info("watching", models=[])
    assert len(lines(capsys.readouterr().err)) == 1
    assert sum(isinstance(item, Standard) for item in logging.getLogger().handlers) == 1


def test_every_event_is_told_and_every_told_one_is_logged() -> None:
    logged = set()
    for path in [*(ROOT / "monitor").glob("*.py"), *(ROOT / "retrain").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and _logs(node.func) and node.args:
                assert isinstance(node.args[0], ast.Constant), f"{path}:{node.lineno}"
                logged.add(node.args[0].value)
    assert logged == set(EVENTS)


def _logs(called: ast.expr) -> bool:
    """Whether this is a method of a logger: ``log.info``, or one chosen at run time."""
    if isinstance(called, ast.IfExp):
        return _logs(called.body)
    if isinstance(called, ast.Call) and isinstance(called.func, ast.Name):
        return called.func.id == "getattr" and ast.unparse(called.args[0]) == "log"
    return (isinstance(called, ast.Attribute)
            and called.attr in {"debug", "info", "warning", "error"}
            and ast.unparse(called.value) in {"log", "structlog.get_logger()"})


def test_a_tick_tells_what_it_decides_once(tmp_path: Path, mlflow_uri: str,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    deployment = deploy(tmp_path, mlflow_uri)
    reference = deployment.loaded.config.models[0].reference.to
    assert reference is not None
    with deployment.deps() as deps:
        model = deployment.loaded.config.models[0]
        begin("json", "debug")
        capsys.readouterr()
        for _ in range(2):
            assert attend(model, deps, reference + timedelta(days=8))
        verdicts = deps.store.verdicts("deliveries", segment="")
    said = [line for line in lines(capsys.readouterr().err) if "logger" not in line]
    assert {line["model"] for line in said} == {"deliveries"}
    told = [line for line in said if line["event"] == "verdict"]
    assert [(line["window"], line["revision"], line["verdict"]) for line in told] == [
        (f"{row.line['start']}/{row.line['end']}", row.line["revision"], row.line["verdict"])
        for row in verdicts]
    assert [line["version"] for line in said if line["event"] == "adopted"] == ["1"]
    decided = [line for line in said if line["event"] == "decision"]
    assert decided
    assert {"window", "version", "action", "reason", "tick"} <= decided[0].keys()


def test_the_daemon_writes_json_where_nobody_looks(tmp_path: Path, mlflow_uri: str) -> None:
    deployment = deploy(tmp_path, mlflow_uri)
    settings = yaml.safe_load(deployment.loaded.path.read_text()) | {"http": {"port": 0}}
    settings["models"][0] |= {
        "name": "astray", "registered_model": "deliveries",
        "log": {"source": "nowhere/*.parquet", "timestamp": "t", "label": "y"}}
    deployment.loaded.path.write_text(yaml.safe_dump(settings))
    command = [str(Path(sys.executable).with_name("holdfast")), "run", str(deployment.loaded.path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT,
                          env=os.environ | {"PYTHONPATH": str(ROOT)}) as daemon:
        assert daemon.stderr is not None
        said = []
        try:
            for line in daemon.stderr:
                said.append(json.loads(line))
                if said[-1]["event"] == "tick failed":
                    daemon.send_signal(signal.SIGTERM)
        finally:
            daemon.terminate()
        assert daemon.wait(30) == 0
    events = [line["event"] for line in said]
    assert events[:2] == ["serving", "watching"]
    assert events[-1] == "stopped"
    failed = next(line for line in said if line["event"] == "tick failed")
    assert failed["model"] == "astray"
    assert failed["where"] == "SourceError"
