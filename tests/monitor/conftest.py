"""What tests of one surface share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.store import Store
from tests.monitor.stored import fill


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store in the middle of a story."""
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        fill(opened)
        yield opened
