"""What is kept of a model until something is written about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.memo import memo
from monitor.status import overview, published
from monitor.store import Store
from tests.monitor.stored import at, configuration, fill


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield opened


def test_only_what_was_written_about_is_read_again(store: Store) -> None:
    read: list[str] = []

    def look(model: str) -> int:
        return memo(store).get("x", {model: lambda _: read.append(model) or len(read)})[0]

    assert [look("a"), look("b"), look("a")] == [1, 2, 1]
    store.ticked("a", at(0), 0.1, True)
    assert [look("b"), look("a")] == [2, 3]
    store.claim(1, "somebody")
    assert [look("b"), look("a")] == [4, 5]


def test_the_overview_is_as_new_as_the_store(store: Store, tmp_path: Path) -> None:
    fill(store)
    config = configuration(tmp_path)
    before = overview(config, store)
    assert json.loads(published(config, store)) == before | {"store": None}
    store.trouble("quiet", at(20), "here", "it broke")
    after = {model["model"]: model for model in overview(config, store)["models"]}
    assert after["quiet"]["trouble"] == "it broke"
    assert json.loads(published(config, store))["models"] == list(after.values())
    assert [model for model in before["models"] if model["model"] != "quiet"] == [
        model for name, model in after.items() if name != "quiet"]
