"""Showcase: the servers behind the demo, kept for an hour after it has ended.

``python -m monitor.showcase FOLDER`` serves metrics and the status page of a demo's stored
state; the MLflow server that the demo started goes on beside it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from monitor.config import load
from monitor.errors import HoldfastError
from monitor.store import Store

KEEP = 3600.0
"""Seconds that the demo's servers stay up unless they are stopped."""
PATIENCE = 90.0


@dataclass(frozen=True, slots=True)
class Server:
    """A child in a process group of its own, and its address."""

    pid: int
    address: str

    def stop(self) -> None:
        """End the whole process group, if it still runs."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGTERM)


def start_mlflow(folder: Path, port: int) -> Server:
    """A real MLflow server (SQLite, artifacts below ``folder``) that ends after an hour."""
    address = f"http://127.0.0.1:{port}"
    return _start(folder, "mlflow", address, "/health", [
        "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port),
        "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination", str(folder / "artifacts")])


def start_status(folder: Path, port: int) -> Server:
    """Metrics and status page of the demo's stored state; ends after an hour."""
    return _start(folder, "status", f"http://127.0.0.1:{port}", "/healthz",
                  ["-m", "monitor.showcase", str(folder), str(port)])


def keep(folder: Path, servers: dict[str, Server]) -> None:
    """Write down what runs, so that ``stop`` finds it."""
    rows = {name: {"pid": server.pid, "address": server.address}
            for name, server in servers.items()}
    (folder / "servers.json").write_text(json.dumps(rows, indent=1))


def stop(folder: Path) -> list[str]:
    """End the servers of an earlier demo in ``folder``; their names."""
    file = folder / "servers.json"
    if not file.exists():
        return []
    rows = json.loads(file.read_text())
    for row in rows.values():
        if _is_ours(row["pid"], folder):
            Server(row["pid"], row["address"]).stop()
    file.unlink()
    return list(rows)


def _is_ours(pid: int, folder: Path) -> bool:
    """Whether the process still is one of this folder's demo: a recycled id is left alone."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return not Path("/proc").exists()
    place = os.fsencode(folder)
    ours = b"mlflow" in command or b"monitor.showcase" in command
    return ours and (place + b"/" in command or place in command.split(b"\0"))


def _start(folder: Path, name: str, address: str, path: str, command: list[str]) -> Server:
    quiet = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "DO_NOT_TRACK": "1",
                          "MLFLOW_DISABLE_TELEMETRY": "true"}
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        child = subprocess.Popen(  # noqa: S603 - our own modules
            [sys.executable, *command], cwd=folder, env=quiet, stdout=out, stderr=out,
            start_new_session=True)
    deadline = time.monotonic() + PATIENCE
    while not _answers(address + path):
        if child.poll() is not None or time.monotonic() > deadline:
            Server(child.pid, address).stop()
            raise HoldfastError(f"the {name} server did not start; its last words: "
                                + log.read_text(errors="replace")[-600:])
        time.sleep(0.1)
    return Server(child.pid, address)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=1) as answer:  # noqa: S310 - loopback only
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def main(folder: Path, port: int) -> None:
    """Serve the demo's stored state until an hour is over or somebody stops it."""
    from monitor.exporter import Snapshot
    from monitor.web import create_app, serve

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    config = load(folder / "holdfast.yaml").config
    with Store.open(config.store) as store:
        server = serve(create_app(store, config, Snapshot(store, config)), "127.0.0.1", port)
        try:
            time.sleep(KEEP)
        finally:
            server.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
