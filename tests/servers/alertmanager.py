"""A real Alertmanager for tests, and a webhook that keeps what arrives."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers import free_port, need
from tests.servers.process import end, ready


class Webhook:
    """Listens on a free port; ``alerts`` are those of all notifications, in their order."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                webhook.alerts.extend(json.loads(body)["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing on the console."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def wait_for(self, status: str, within: float) -> dict[str, Any]:
        """The first alert that is ``firing`` or ``resolved``."""
        ends = time.monotonic() + within
        while True:
            for alert in list(self.alerts):
                if alert["status"] == status:
                    return alert
            assert time.monotonic() < ends, f"nothing {status} in {within} s: {self.alerts}"
            time.sleep(0.1)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """A running server that tells everything to ``webhook`` at once."""

    address: str
    webhook: Webhook


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[Callable[..., Alertmanager]]:
    """A function that starts a server; it groups by alert and model and never repeats itself.

    ``more`` are further webhooks, as Alertmanager's configuration has them.
    """
    binary = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    need(binary, "no Alertmanager on PATH (Debian: apt-get install prometheus-alertmanager)")
    running: list[tuple[subprocess.Popen[bytes], Webhook]] = []

    def start(*more: dict[str, Any]) -> Alertmanager:
        folder, webhook = tmp_path / f"alertmanager-{len(running)}", Webhook()
        folder.mkdir()
        (folder / "alertmanager.yml").write_text(yaml.safe_dump({
            "route": {"receiver": "people", "group_by": ["alertname", "model"],
                      "group_wait": "0s", "group_interval": "1s", "repeat_interval": "12h"},
            "receivers": [{"name": "people", "webhook_configs": [
                {"url": webhook.url, "send_resolved": True}, *more]}]}))
        address = f"http://127.0.0.1:{free_port()}"
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(binary), f"--config.file={folder / 'alertmanager.yml'}",
                 f"--storage.path={folder / 'data'}", "--cluster.listen-address=",
                 f"--web.listen-address={address.removeprefix('http://')}"],
                stdout=log, stderr=log)
        running.append((process, webhook))
        ready(address, process, folder / "log", name="Alertmanager")
        return Alertmanager(address, webhook)

    yield start
    for process, webhook in running:
        end(process)
        webhook.close()
