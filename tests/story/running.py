"""A daemon of its own process, and what it answers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx


class Running:
    """A daemon and what it answers."""

    def __init__(self, config: Path, *, prefix: Sequence[str] = (),
                 environment: Mapping[str, str] | None = None) -> None:
        self.said = config.with_name(f"said-{time.monotonic_ns()}")
        holdfast = Path(sys.executable).with_name("holdfast")
        with self.said.open("wb") as said:
            self.process = subprocess.Popen([*prefix, str(holdfast), "run", str(config)],
                                            stderr=said, env=os.environ | {
                                                "PYTHONWARNINGS": "ignore"} | (environment or {}))
        self.until(lambda: "http://" in self.said.read_text())
        address = re.findall(r'http://[^\s"]+', self.said.read_text())[0]
        self.client = httpx.Client(base_url=address, trust_env=False, timeout=30)

    def until(self, true: Callable[[], object]) -> None:
        deadline = time.monotonic() + 240
        while not true():
            assert self.process.poll() is None, self.said.read_text()
            assert time.monotonic() < deadline, self.said.read_text()
            time.sleep(0.1)

    def status(self) -> dict[str, Any]:
        return {model["model"]: model for model in self.client.get("/api/status").json()["models"]}

    def metrics(self) -> dict[str, float]:
        lines = self.client.get("/metrics").text.splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
                for line in lines if line and not line.startswith("#")}

    def ticked(self, model: str, result: str = "ok") -> float:
        return self.metrics().get(
            f'holdfast_ticks_total{{model="{model}",result="{result}"}}', 0.0)

    def stop(self) -> tuple[int, float]:
        """The exit code after SIGTERM and how many seconds it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60), time.monotonic() - began


@contextmanager
def running(config: Path, **more: Any) -> Iterator[Running]:
    """A daemon that is ended whatever happens."""
    daemon = Running(config, **more)
    try:
        yield daemon
    finally:
        daemon.client.close()
        if daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait()
