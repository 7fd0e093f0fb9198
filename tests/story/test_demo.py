"""The demo on a log of one's own: a table, JSON, addresses that work, and an end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from monitor.simulate import Plan, deliveries
from tests.monitor.command import holdfast

COMMAND = (sys.executable, "-c", "from monitor.cli import main; main()", "demo")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Five weeks of deliveries, their truth in a column, as somebody else would have kept them."""
    frame = deliveries(Plan(days=35, rows_per_day=60, slow_from=15, abrupt_at=20))
    file = tmp_path / "somebody.parquet"
    frame.drop(columns=["received_at", "label_at", "request_id"]).assign(
        note="n").to_parquet(file, index=False)
    return file


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_a_real_log_is_played_served_and_stopped(tmp_path: Path, log: Path) -> None:
    folder = tmp_path / "played"
    done = subprocess.run(
        [*COMMAND, "--folder", str(folder), "--log", str(log), "--label", "late", "--positive",
         "yes", "--exclude", "note", "--delay", "2d", "--reference", "0.5", "--json"],
        capture_output=True, text=True, timeout=280, check=False)
    try:
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout.splitlines()[0])
        assert result["windows"] >= 16
        assert sum(result["verdicts"].values()) == result["windows"] + result["revisions"]
        assert result["served"][0][1] == "1"
        assert sum(period["rows"] for period in result["periods"]) > 500
        assert all(0 < period["with_holdfast"] <= 1 for period in result["periods"])
        servers = json.loads((folder / "servers.json").read_text())
        status, mlflow = servers["status"]["address"], servers["mlflow"]["address"]
        for address in (f"{status}/", f"{status}/metrics", f"{mlflow}/health"):
            assert answers(address), address
    finally:
        said = holdfast("demo", "--stop", "--folder", folder)
    assert said.out == "stopped mlflow and status\n"
    deadline = time.monotonic() + 20
    while answers(f"{status}/healthz") or answers(f"{mlflow}/health"):
        assert time.monotonic() < deadline, "the servers were not stopped"
        time.sleep(0.2)
    assert holdfast("demo", "--stop", "--folder", folder).out == "nothing was left up\n"


def test_wrong_columns_and_foreign_folders_are_refused(tmp_path: Path, log: Path) -> None:
    folder = tmp_path / "new"
    said = holdfast("demo", "--folder", folder, "--log", log)
    assert said.code == 2
    assert "--label: absent" in said.err
    for option, words in (("--label", "--label: 'laat'"), ("--timestamp", "--timestamp: 'laat'"),
                          ("--exclude", "--exclude: 'laat'")):
        said = holdfast("demo", "--folder", folder, "--log", log, "--label", "late", option, "laat")
        assert said.code == 2
        assert f"{words} is not a column" in said.err
    (tmp_path / "text").write_text("at,late\n")
    for option, value, words in (
            ("--positive", "maybe", "'maybe' is none of the classes no, yes"),
            ("--timestamp", "distance_km", "'distance_km' holds no times"),
            ("--delay", "soon", "'soon' is not a duration"),
            ("--log", tmp_path / "text", "cannot be read as Parquet"),
            ("--folder", log, "is a file"), ("--folder", log / "below", "cannot be written to")):
        said = holdfast("demo", "--folder", folder, "--log", log, "--label", "late", option, value)
        assert said.code == 2
        assert words in said.err
    assert not folder.exists()


@pytest.mark.parametrize("name", ["thesis.txt", "holdfast.yaml"])
def test_a_folder_that_no_demo_made_is_left_as_it_is(tmp_path: Path, log: Path, name: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("years of work")
    said = holdfast("demo", "--folder", tmp_path / "mine", "--log", log, "--label", "late")
    assert said.code == 2
    assert "holds something that no demo wrote" in said.err
    assert (tmp_path / "mine" / name).read_text() == "years of work"
