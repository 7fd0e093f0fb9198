"""What a request's process says to whoever started it, by its exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml
from structlog.contextvars import get_contextvars

from monitor.config import load
from monitor.registry import Registry
from monitor.request import Request
from monitor.window import parse_time
from retrain.cli import main
from retrain.record import Record


def test_a_recorded_failure_is_final_and_a_refusal_to_start_too(tmp_path: Path, mlflow_uri: str
                                                                ) -> None:
    config = tmp_path / "holdfast.yaml"
    config.write_text(yaml.safe_dump({
        "mlflow": {"tracking_uri": mlflow_uri},
        "models": [{"name": "m", "log": {"source": "log.csv", "timestamp": "t", "label": "y"}}]}))
    request = Request("m-train-1", "train", "m", str(config), parse_time("2026-03-01"))
    path, work = tmp_path / "read-only" / "request.json", tmp_path / "work" / "m-train-1"
    path.parent.mkdir()
    path.write_text(request.to_json())
    path.parent.chmod(0o500)
    Record.open(Registry(load(config).config.mlflow), request).conclude("failed", "for good")
    assert main([str(path), "--work", str(work)]) == 42
    assert (work / "lock").exists()
    config.unlink()
    assert main([str(path), "--work", str(work)]) == 2
    assert get_contextvars() == {}  # later lines of this process are about something else


WAITING = """import threading
from retrain import __main__ as child
threading.Thread(target=threading.Event().wait).start()
child.LAST = 0.5
child.leave(75)
"""


def test_a_thread_that_nobody_ends_does_not_keep_the_process() -> None:
    assert subprocess.run([sys.executable, "-c", WAITING], timeout=60, check=False).returncode == 75
