"""Alert rules: one file, one runbook and one promtool test each, about what is really exported."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from monitor.cli import main
from monitor.metrics import CATALOGUE
from tests.data import ROOT
from tests.servers.prometheus import promtool

RULES = sorted((ROOT / "helm" / "alerts").glob("*.yaml"))
BASE = "http://127.0.0.1:8700/runbooks"
TARGET = {"job", "namespace", "instance", "pod", "container", "endpoint"}
"""Labels that scraping adds."""
WANTED = {"Drift", "Degraded", "EstimatedDegradation", "FaultyData", "LogStale", "LabelsLate",
          "TickStale", "SourceFailing", "RetrainFailing", "CandidateWaiting", "Rollback",
          "CompressionDisagreement", "ChampionNotServing", "BudgetUsedUp", "NoLeader"}


def rule(file: Path) -> dict[str, Any]:
    (group,) = yaml.safe_load(file.read_text())["groups"]
    (found,) = group["rules"]
    assert group["name"] == found["alert"] == file.stem
    return dict(found)


def run(*words: object) -> str:
    """What promtool says; it has to be content."""
    done = subprocess.run([promtool(), *map(str, words)], capture_output=True, text=True,
                          timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_nothing_that_people_must_know_of_is_without_an_alert() -> None:
    assert {f"Holdfast{name}" for name in WANTED} <= {file.stem for file in RULES}


def test_promtool_finds_nothing_to_complain_about() -> None:
    said = run("check", "rules", "--lint=all", "--lint-fatal", *RULES)
    assert said.count("SUCCESS: 1 rules found") == len(RULES)


def test_every_alert_fires_when_it_should_and_only_then() -> None:
    tests = sorted((ROOT / "tests" / "alerts").glob("*.yaml"))
    assert [file.name for file in tests] == [file.name for file in RULES]
    assert run("test", "rules", *tests).count("SUCCESS") == len(RULES)
    for file in tests:
        cases = [case for test in yaml.safe_load(file.read_text())["tests"]
                 for case in test["alert_rule_test"]]
        assert any("exp_alerts" in case for case in cases), file.name
        assert any("exp_alerts" not in case for case in cases), file.name


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.stem)
def test_an_alert_tells_people_what_and_where_to_read_on(file: Path) -> None:
    found = rule(file)
    notes = found["annotations"]
    assert re.fullmatch(r"Holdfast([A-Z][a-z]+)+", found["alert"])
    assert found["for"] == "15m"
    assert found["labels"] in ({"severity": "critical"}, {"severity": "warning"},
                               {"severity": "info"})
    assert "\n" not in notes["summary"]
    assert len(notes["summary"]) < 120
    assert notes["description"]
    assert notes["runbook_url"] == f"{BASE}/{file.stem}.md"
    text = (ROOT / "docs" / "runbooks" / f"{file.stem}.md").read_text()
    assert re.findall("^##? .*$", text, re.MULTILINE) == [
        f"# {file.stem}", "## How to see it", "## What to do", "## How to silence it"]
    assert f"alertname={file.stem}" in text
    assert f"severity `{found['labels']['severity']}`" in text


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.stem)
def test_an_alert_asks_for_what_is_exported(file: Path) -> None:
    found = rule(file)
    asked = found["expr"] + found["annotations"].get("reason", "")
    names = set(re.findall(r"\b(?:holdfast|process|python)_\w+", asked))
    assert names
    assert names - {"process_start_time_seconds"} <= set(CATALOGUE)
    known = {label for name in names & set(CATALOGUE) for label in CATALOGUE[name].labels}
    grouped = {label.strip() for group in re.findall(r"(?:without|by|on|ignoring) \(([^)]*)\)",
                                                     asked) for label in group.split(",")}
    matched = set(re.findall(r"(\w+)(?:=|!=|=~|!~)[\"'%]", asked))
    shown = set(re.findall(r"\$labels\.(\w+)", str(found)))
    assert (grouped | matched | shown) <= known | TARGET


def test_the_documentation_lists_all_alerts_by_severity() -> None:
    text = (ROOT / "docs" / "operations.md").read_text().split("## Alerts")[1].split("\n## ")[0]
    told = {name: severity for severity, names in re.findall(
        r"^\| (critical|warning|info) \| (.*) \|$", text, re.MULTILINE)
        for name in names.split(", ")}
    assert told == {file.stem: rule(file)["labels"]["severity"] for file in RULES}
    assert BASE in text


def test_no_runbook_is_without_its_alert() -> None:
    books = {file.stem for file in (ROOT / "docs" / "runbooks").glob("*.md")}
    assert books == {file.stem for file in RULES}


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.stem)
def test_a_runbook_speaks_of_commands_keys_and_metrics_that_exist(file: Path) -> None:
    text = (ROOT / "docs" / "runbooks" / f"{file.stem}.md").read_text()
    spoken = re.findall(r"`([^`]+)`", text)
    keys = set(re.findall(r"^\| `(\w+)`", (ROOT / "docs" / "configuration.md").read_text(),
                          re.MULTILINE))
    for words in spoken:
        if words.startswith("holdfast "):
            _, name, *rest = words.split()
            command = main.commands[name]
            options = {option for parameter in command.params
                       if isinstance(parameter, click.Option) for option in parameter.opts}
            assert {word for word in rest if word.startswith("-")} <= options, words
        elif re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", words) and not words.endswith(".txt"):
            assert set(words.split(".")[1:]) <= keys, words
    assert set(re.findall(r"\bholdfast_\w+", text)) <= set(CATALOGUE)
