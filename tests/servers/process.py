"""Processes of servers that tests start: waiting until they answer, and ending them."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

PATIENCE = 30.0
"""Seconds that a server may take to start."""


def ready(address: str, process: subprocess.Popen[bytes], log: Path, *, name: str) -> None:
    """Wait until ``/-/ready`` answers; what the server logged where it ended instead."""
    ends = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(f"{address}/-/ready", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        assert process.poll() is None, f"{name} ended while it was starting:\n{log.read_text()}"
        assert time.monotonic() < ends, f"{name} was not ready within {PATIENCE:g} seconds"
        time.sleep(0.1)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process, by force where it does not within 20 seconds."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
