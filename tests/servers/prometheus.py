"""A real Prometheus for tests: its own folder, a free port, stopped afterwards."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers import free_port, need
from tests.servers.process import PATIENCE, end, ready


def promtool() -> str:
    """The path of ``promtool``; skips where there is none."""
    found = shutil.which("promtool")
    need(found, "no promtool on PATH (Debian: apt-get install prometheus)")
    return str(found)


def check_metrics(exposition: bytes) -> str:
    """What ``promtool check metrics`` has to say; '' when it is content."""
    done = subprocess.run([promtool(), "check", "metrics"], input=exposition,
                          capture_output=True, timeout=60, check=False)
    said = (done.stdout + done.stderr).decode().strip()
    return said or ("" if done.returncode == 0 else f"exit {done.returncode}")


class Prometheus:
    """A running server that scrapes one target every second."""

    def __init__(self, address: str) -> None:
        self.address = address

    def query(self, promql: str, at: float | None = None) -> list[dict[str, Any]]:
        """The result of an instant query, now or then: [{metric, value: [time, text]}]."""
        url = f"{self.address}/api/v1/query?" + urllib.parse.urlencode(
            {"query": promql} | ({} if at is None else {"time": at}))
        with urllib.request.urlopen(url, timeout=10) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return result

    def over(self, promql: str, seconds: float, end: float | None = None
             ) -> list[dict[str, Any]]:
        """The result of a range query up to now or then: [{metric, values: [[time, text], …]}]."""
        now = time.time() if end is None else end
        url = f"{self.address}/api/v1/query_range?" + urllib.parse.urlencode(
            {"query": promql, "start": now - seconds, "end": now, "step": seconds / 75})
        with urllib.request.urlopen(url, timeout=10) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return result

    def wait_for(self, promql: str) -> list[dict[str, Any]]:
        """The same, once it is not empty."""
        ends = time.monotonic() + PATIENCE
        while not (found := self.query(promql)):
            assert time.monotonic() < ends, f"no result for {promql} within {PATIENCE} s"
            time.sleep(0.2)
        return found


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[..., Prometheus]]:
    """A function that starts a server which scrapes ``host:port``, every second by default.

    ``rules`` is the text of a rule file, evaluated every second; alerts go to ``alertmanager``;
    ``job`` holds further keys of the scrape configuration.
    """
    binary = shutil.which("prometheus")
    need(binary, "no prometheus on PATH (Debian: apt-get install prometheus)")
    running: list[subprocess.Popen[bytes]] = []

    def start(target: str, *, rules: str = "", alertmanager: str = "",
              every: str = "1s", job: dict[str, Any] | None = None) -> Prometheus:
        folder = tmp_path / f"prometheus-{len(running)}"
        folder.mkdir()
        (folder / "rules.yml").write_text(rules or "groups: []\n")
        managers = [{"static_configs": [{"targets": [alertmanager.removeprefix("http://")]}]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump({
            "global": {"scrape_interval": every, "scrape_timeout": every,
                       "evaluation_interval": "1s"},
            "rule_files": [str(folder / "rules.yml")],
            "alerting": {"alertmanagers": managers if alertmanager else []},
            "scrape_configs": [{"job_name": "holdfast",
                                "static_configs": [{"targets": [target]}], **(job or {})}]}))
        address = f"http://127.0.0.1:{free_port()}"
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(binary), f"--config.file={folder / 'prometheus.yml'}",
                 f"--storage.tsdb.path={folder / 'data'}",
                 f"--web.listen-address={address.removeprefix('http://')}"],
                stdout=log, stderr=log)
        running.append(process)
        ready(address, process, folder / "log", name="Prometheus")
        return Prometheus(address)

    yield start
    for process in running:
        end(process)
