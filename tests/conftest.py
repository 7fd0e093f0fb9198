"""Fixtures shared by all tests."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Generator, Iterator

import pytest

os.environ["DO_NOT_TRACK"] = "1"
# hundreds of processes start here, and none should compile what another one did
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
atexit.register(gc.unfreeze)  # libraries that tell of leaks at the end look for what is held
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
        "tests/contracts/", "tests/docs/", "tests/laws/", "tests/monitor/test_secrets",
        "tests/monitor/test_replay", "tests/monitor/test_report", "tests/monitor/test_objects")
"""Where the tests are that take longest, longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files begin first: those that begin last decide when the last worker ends."""
    items.sort(key=lambda item: next(
        (rank for rank, start in enumerate(LONG) if item.nodeid.startswith(start)), len(LONG)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
        item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """After each file garbage goes, and what stays is looked through no more: it is mostly
    libraries, which stay anyway, and a library that collects garbage itself took seconds a time."""
    result = yield
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()
    return result


@pytest.fixture(autouse=True)
def _own_secrets() -> Iterator[None]:
    """What a test makes a secret is masked until its end: others may show the same words. So it
    is with names that stay."""
    from monitor import secrets

    before, names = set(secrets._known), set(secrets._told)
    yield
    secrets._known.intersection_update(before)
    secrets._told.intersection_update(names)
