"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ["DO_NOT_TRACK"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers have one core each, as have their children
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

_PLUGINS = ["tests.servers.postgres", "tests.servers.mlflow", "tests.servers.prometheus",
            "tests.servers.store", "tests.servers.alertmanager", "tests.servers.cluster",
            "tests.servers.browser"]


def _present(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


pytest_plugins = [module for module in _PLUGINS if _present(module)]

LONG = ("tests/story/test_chaos", "tests/story/test_loop", "tests/story/", "tests/retrain/",
        "tests/contracts/", "tests/docs/", "tests/laws/")
"""Where the tests are that take longest, longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files begin first: those that begin last decide when the last worker ends."""
    items.sort(key=lambda item: next(
        (rank for rank, start in enumerate(LONG) if item.nodeid.startswith(start)), len(LONG)))


@pytest.fixture(autouse=True)
def _own_secrets() -> Iterator[None]:
    """What a test makes a secret is masked until its end: others may show the same words. So it
    is with names that stay."""
    from monitor import secrets

    before, names = set(secrets._known), set(secrets._told)
    yield
    secrets._known.intersection_update(before)
    secrets._told.intersection_update(names)
