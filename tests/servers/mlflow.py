"""A real MLflow server for tests: SQLite, its own folder, a free port, stopped afterwards."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest

from monitor.config import MLflow
from monitor.registry import Registry
from tests.servers import free_port

_PATIENCE = 120.0


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that lives as long as this test process (one per xdist worker)."""
    folder = tmp_path_factory.mktemp("mlflow-server")
    address = f"http://127.0.0.1:{free_port()}"
    process = start_mlflow(folder, address)
    try:
        yield address
    finally:
        stop_mlflow(process)


@pytest.fixture
def mlflow_uri(tmp_path: Path) -> str:
    """An embedded tracking store of the test's own, for tests that need no server."""
    return founded(f"sqlite:///{tmp_path / 'mlflow.db'}")


def founded(uri: str, artifacts: str = "mlruns/0") -> str:
    """The same address, with an embedded store there: a copy of one that MLflow made, which takes
    its time over it. An address of a server, or of a store that is there, is left as it is.

    ``artifacts`` is where the experiment lies that every store has.
    """
    file = uri.removeprefix("sqlite:///")
    if file != uri and not Path(file).exists():
        Path(file).write_bytes(_empty())
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("UPDATE experiments SET artifact_location = ?", (artifacts,))
    return uri


@cache
def _empty() -> bytes:
    """An embedded store without models or runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlflow.db"
        Registry(MLflow(tracking_uri=f"sqlite:///{path}")).aliases("nothing")
        return path.read_bytes()


def start_mlflow(folder: Path, address: str) -> subprocess.Popen[bytes]:
    """A server whose database and artifacts lie in ``folder``, once it answers."""
    artifacts = folder / "artifacts"
    uri = founded(f"sqlite:///{folder / 'mlflow.db'}", "mlflow-artifacts:/0")
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1",
               "--backend-store-uri", uri,
               "--artifacts-destination", str(artifacts),
               "--host", "127.0.0.1", "--port", address.rpartition(":")[2]]
    quiet = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                          "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=quiet, stdout=log, stderr=log,
                                   start_new_session=True)
    deadline = time.monotonic() + _PATIENCE
    while not _answers(address):
        if process.poll() is not None or time.monotonic() > deadline:
            stop_mlflow(process)
            pytest.fail(f"mlflow server did not start:\n{(folder / 'server.log').read_text()}")
        time.sleep(0.1)
    return process


def stop_mlflow(process: subprocess.Popen[bytes]) -> None:
    """End the server and its workers, all of one process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(10)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
