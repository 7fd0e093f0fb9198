"""What tests of one surface share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.store import Store
from tests.monitor.stored import fill


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store in the middle of a story; tests get copies."""
    path = tmp_path_factory.mktemp("filled") / "store.db"
    with Store.open(f"sqlite:///{path}") as opened:
        fill(opened)
    return path


@pytest.fixture
def store(tmp_path: Path, filled: Path) -> Iterator[Store]:
    """A store in the middle of a story."""
    with Store.open(f"sqlite:///{shutil.copy(filled, tmp_path / 'store.db')}") as opened:
        yield opened
