"""People who move an alias, and a retrain that dies, against a real MLflow server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from monitor.launch import LocalProcess
from monitor.simulate import START
from tests.story.life import DAY, NAME
from tests.story.town import Town, thumb, town

# what MLflow says about signatures is not what is tested here
pytestmark = pytest.mark.filterwarnings("ignore")
__all__ = ["thumb"]


@pytest.fixture
def bare(tmp_path: Path, mlflow_server: str, thumb: str) -> Iterator[Town]:
    """Three versions that somebody made, the first of them champion, watched until day 30."""
    registered = f"loop-{uuid4().hex[:6]}"
    with town(tmp_path / "town", mlflow_server, registered) as place:
        for _ in range(3):
            place.client.copy_model_version(thumb, registered)
        place.promote("1")
        for day in range(28, 30):
            place.day(day, "1", 0.85)
        place.tick(30)
        yield place


def test_a_person_who_moves_the_alias_in_between_wins_over_an_intent(bare: Town) -> None:
    store = bare.deps.store
    store.intend(NAME, "champion", "2", "1", START, "the move that did not happen yet")
    bare.promote("3")
    bare.tick(30)
    assert bare.champion() == "3"
    (intent,) = store.intents(NAME, open_only=False)
    assert intent.result == "somebody else moved it first"
    assert (bare.state.champion, bare.state.phase) == ("3", "probation")


def test_a_person_who_moves_the_alias_wins_over_a_pending_promotion(bare: Town) -> None:
    from monitor.state import Decision

    store, recorded = bare.deps.store, bare.deps.store.recorded(NAME)
    store.advance(NAME, recorded.number, recorded.state, at=START, cause="the gate passed it",
                  decision=Decision("promote", "it passed", {"to": "2", "from": "1"}))
    bare.promote("3")
    bare.tick(30)
    assert (bare.champion(), bare.state.champion) == ("3", "3")
    (settled,) = store.decisions(NAME)
    assert (settled.status, settled.note) == ("refused", "version 3 was promoted meanwhile")


def test_an_intent_that_was_written_down_is_carried_out(bare: Town) -> None:
    bare.deps.store.intend(NAME, "champion", "2", "1", START, "a promotion")
    bare.tick(30)
    assert bare.champion() == "2"
    bare.tick(30)
    assert (bare.state.champion, bare.state.phase) == ("2", "probation")


def test_a_deleted_alias_is_unknown_until_it_is_back(bare: Town) -> None:
    assert bare.state.phase == "stable"
    bare.client.delete_registered_model_alias(bare.registered, "champion")
    bare.day(30, "1", 0.85)
    bare.tick(31)
    assert (bare.state.phase, bare.state.champion) == ("unknown", None)
    before = len(bare.lines("1"))
    bare.day(31, "1", 0.85)
    bare.tick(32)
    assert not [line for line in bare.lines("1")[before:] if line["revision"] == 0]
    bare.promote("1")
    bare.tick(32)
    bare.day(32, "1", 0.85)
    bare.tick(33)
    assert bare.state.champion == "1"
    assert bare.lines("1")[-1]["revision"] == 0


def test_a_request_whose_process_dies_is_given_up_after_three_attempts(bare: Town) -> None:
    from monitor.byhand import ask

    dies = (sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
    deps = replace(bare.deps, launcher=LocalProcess(bare.folder / "requests", dies))
    place = replace(bare, deps=deps)
    ask(deps.config.models[0], deps, reason="to see it die", bootstrap=False,
        now=START + 30 * DAY, wait=False)
    assert place.state.phase == "retraining"
    assert place.ended(30).status == "open"
    assert place.ended(30).status == "open"
    row = place.ended(30)
    assert (row.status, row.attempts) == ("failed", 3)
    assert "ended 3 times" in (row.outcome or {})["reason"]
    assert place.state.phase == "stable"
    assert place.state.cooldown_until is not None
