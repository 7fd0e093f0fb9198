"""Real servers for tests: found on PATH, started on free ports, stopped afterwards."""

from __future__ import annotations

import os
import socket

import pytest


def need(condition: object, why: str) -> None:
    """Skip the test, saying why, unless ``condition`` holds; with CI=true fail instead."""
    if condition:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"needed in CI: {why}", pytrace=False)
    pytest.skip(why)


def free_port() -> int:
    """A TCP port on loopback that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
