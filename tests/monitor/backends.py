"""A store on SQLite and on PostgreSQL, and steps of the fold to write into it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.drift import DriftResult
from monitor.judge import Verdict
from monitor.performance import Performance
from monitor.state import Decision
from monitor.store import Folded, Store
from monitor.window import Window

DAY = timedelta(days=1)
START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return str(request.getfixturevalue("postgres")).replace("://", "+psycopg://")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url, clock=lambda: START) as opened:
        yield opened


def folded(day: int, phase: str, episode: str | None = None, *, revision: int = 0,
           segment: str = "", action: str = "none", reason: str = "so it is") -> Folded:
    window = Window(START + day * DAY, START + (day + 1) * DAY)
    known = window.end + revision * DAY
    verdict = Verdict(
        model="m", version="3", segment=segment, window=window, revision=revision,
        known_at=known, watermark=known, arrival="logged", n=10, label_maturity=0.5,
        kind="drifted" if episode else "stable", inputs="drifted" if episode else "stable",
        quality="unknown", reason=reason,
        features=(DriftResult("price", segment, "psi", 0.4, 0.2, 0.0, 10, bool(episode)),),
        performance=(Performance("accuracy", 0.9, 0.8, float("nan"), 40, span="7d"),))
    return verdict, phase, episode, Decision(action, reason, {"n": 10})  # type: ignore[arg-type]


def at(day: int) -> datetime:
    return START + day * DAY
