"""Room: a store that takes no writes, as SQLite tells it, refuses in words and loses nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from monitor.daemon import attend
from monitor.deps import Deps
from monitor.errors import HoldfastError
from monitor.exporter import Snapshot
from monitor.status import overview, words
from monitor.store import Store
from tests.story.deployment import Deployment, deploy

TIMES = 5


@pytest.fixture
def deployment(tmp_path: Path, mlflow_uri: str) -> Deployment:
    return deploy(tmp_path, mlflow_uri)


def instants(deployment: Deployment) -> list[datetime]:
    end = deployment.loaded.config.models[0].reference.to
    assert end is not None
    return [end + timedelta(hours=14) + place * timedelta(hours=12) for place in range(TIMES)]


def verdicts(store: Store) -> list[str]:
    return [json.dumps(row.line, sort_keys=True) for row in store.verdicts("deliveries")]


def undisturbed(deployment: Deployment) -> list[str]:
    with deployment.deps("undisturbed.db") as deps:
        for at in instants(deployment):
            assert attend(deps.config.models[0], deps, at)
        return verdicts(deps.store)


def test_a_store_without_room_refuses_in_words_and_goes_on_once_there_is_some(
        deployment: Deployment) -> None:
    """A full disk, as SQLite sees one: no page may be added to the file."""
    expected, times = undisturbed(deployment), instants(deployment)
    with deployment.deps() as deps:
        model = deps.config.models[0]
        assert attend(model, deps, times[0])
        limited(deps, "PRAGMA max_page_count = 1")
        assert not attend(model, deps, times[1])
        with pytest.raises(HoldfastError, match="full"):
            deps.store.save_baseline("deliveries", "9", "k", "x" * 1_000_000)
        assert "right would be a volume that has room" in deps.store.refusal
        assert b"holdfast_store_up 0.0" in Snapshot(deps.store, deps.config).render()[0]
        limited(deps, "PRAGMA max_page_count = 1000000")
        caught_up(deps, times[2:], expected)


def caught_up(deps: Deps, times: Sequence[datetime], expected: list[str]) -> None:
    """Ticks go on, and what is kept is what an undisturbed life keeps."""
    for at in times:
        assert attend(deps.config.models[0], deps, at)
    assert not deps.store.refusal
    assert verdicts(deps.store) == expected


def limited(deps: Deps, pragma: str) -> None:
    """The pragma on every connection from here on."""
    from sqlalchemy import event

    deps.store._engine.dispose()
    event.listen(deps.store._engine, "connect",
                 lambda connection, _: connection.execute(pragma).close())


def test_a_store_that_may_only_be_read_still_tells_what_is_known(deployment: Deployment) -> None:
    expected, times = undisturbed(deployment), instants(deployment)
    with deployment.deps() as deps:
        model = deps.config.models[0]
        assert attend(model, deps, times[0])
        limited(deps, "PRAGMA query_only = ON")
        assert not attend(model, deps, times[1])
        deps.store.ready()
        assert "right would be a volume that has room" in deps.store.refusal
        assert "deliveries: " in words(overview(deps.config, deps.store))
        limited(deps, "PRAGMA query_only = OFF")
        caught_up(deps, times[2:], expected)
