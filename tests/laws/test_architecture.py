"""docs/architecture.md names every room."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOLD = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs" / "architecture.md").read_text("utf-8")))


@pytest.mark.parametrize("package", ["monitor", "retrain"])
def test_every_module_has_its_place_on_the_map(package: str) -> None:
    modules = {path.stem for path in (ROOT / package).glob("*.py")}
    assert modules - TOLD - {"__init__", "__main__"} == set()
