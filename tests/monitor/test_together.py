"""What pages ask of many models: as few statements as of few, and the same answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from monitor.exporter import Snapshot
from monitor.store import Store
from monitor.together import MOST, together
from monitor.web import create_app
from monitor.window import Window
from tests.monitor.stored import NAMES, at, configuration, counted, fill, tell

READINGS: dict[str, Callable[[Store, str], Any]] = {
    "recorded": lambda store, name: store.recorded(name),
    "verdicts": lambda store, name: store.verdicts(name),
    "newest": lambda store, name: store.verdicts(name, segment="", newest=2),
    "last words": lambda store, name: store.verdicts(
        name, span=Window(at(2), at(13)), latest_revision=True),
    "measured": lambda store, name: store.measured(name, "3"),
    "overdue": lambda store, name: store.overdue(name, "3", at(4)),
    "briefs": lambda store, name: store.briefs(name, 3),
    "strip": lambda store, name: store.strip(name, 4),
    "episodes": lambda store, name: store.episodes(name, 1),
    "transitions": lambda store, name: store.transitions(name),
    "pending": lambda store, name: store.pending(name),
    "open_request": lambda store, name: store.open_request(name),
    "requests": lambda store, name: (store.scorings(name, "audit", newest=3),
                                     store.retrained(name), store.reports(name, 2)),
    "scores": lambda store, name: store.scores(name, "shadow_window", ("4", "3")),
    "said": lambda store, name: store.acknowledgements(name),
    "champions": lambda store, name: store.adoptions(name),
    "counts": lambda store, name: (store.counted(name, "k"), store.arrivals(name, "k", at(0))),
    "snoozes": lambda store, name: store.snoozes().get(name),
}
"""What is asked of one model, also by way of another answer."""


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = (f"sqlite:///{tmp_path / 'store.db'}" if request.param == "sqlite"
           else request.getfixturevalue("postgres"))
    with Store.open(url) as opened:
        fill(opened)
        counted(opened)
        yield opened


def test_what_is_asked_together_is_answered_as_alone(store: Store) -> None:
    for what, read in READINGS.items():
        alone = [read(store, name) for name in NAMES]
        assert together(store, [partial(read, name=name) for name in NAMES]) == alone, what
        assert any(alone) or what in {"pending", "open_request", "said", "snoozes"}


def test_work_may_fail_and_may_ask_nothing(store: Store) -> None:
    assert together(store, []) == []
    assert together(store, [lambda _: 1, lambda _: 2]) == [1, 2]
    with pytest.raises(ZeroDivisionError):
        together(store, [lambda store: store.recorded("quiet"), lambda _: 1 / 0])


def asked(store: Store, work: Callable[[], object]) -> int:
    """Statements that the store is asked by ``work``."""
    heard: list[str] = []

    def hear(*args: Any) -> None:
        if args[2] != "BEGIN":
            heard.append(args[2])

    event.listen(store._engine, "before_cursor_execute", hear)
    try:
        work()
    finally:
        event.remove(store._engine, "before_cursor_execute", hear)
    return len(heard)


def surfaces(folder: Path, times: int) -> dict[str, int]:
    """Statements of what is told of all models, cold; ``times`` models in every phase."""
    folder.mkdir()
    with Store.open(f"sqlite:///{folder / 'store.db'}") as store:
        for place in range(times):
            tell(store, str(place))
        config = configuration(folder, *store.models())
        client = TestClient(create_app(store, config, Snapshot(store, config)))
        pages = {path: asked(store, partial(client.get, path))
                 for path in ("/", "/api/status", "/api/models")}
        return pages | {"metrics": asked(store, partial(Snapshot, store, config))}


def test_statements_do_not_grow_with_the_number_of_models(tmp_path: Path) -> None:
    """18 models ask as many as 6, and so do all up to ``MOST``; beyond, each ``MOST`` ask so
    many."""
    few, many = surfaces(tmp_path / "few", 2), surfaces(tmp_path / "many", 6)
    assert few == many
    assert max(many.values()) < 60, many
    assert MOST >= 18
