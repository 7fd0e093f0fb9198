"""The scoreboard: when it is due, what is kept of it, and that it decides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from monitor import shadow
from monitor.config import Config, Model
from monitor.deps import Deps
from monitor.registry import Outcome, Registry
from monitor.request import Request
from monitor.state import ModelState
from monitor.store import Store
from monitor.window import isoformat
from tests.monitor.stored import HOUR, at, configuration, part


@dataclass
class Tags:
    """A registry that only takes tags."""

    kept: dict[str, dict[str, str]] = field(default_factory=dict)

    def tag_version(self, registered: str, version: str, tags: dict[str, str]) -> None:
        self.kept.setdefault(version, {}).update(tags)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configuration(tmp_path, "m")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A model whose challenger, made of rows up to day 10, waits since day 20."""
    waiting = ModelState(phase="awaiting_promotion", champion="3", challenger="4", since=at(20))
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        opened.request(Request("m-train-1", "train", "m", "c.yaml", at(20)))
        opened.conclude("m-train-1", "registered", {"version": "4", "result": {
            "window": [isoformat(at(0)), isoformat(at(10))]}})
        opened.advance("m", 0, waiting, folded_to=at(20) + HOUR, at=at(20), cause="it passed")
        yield opened


def model(config: Config, **shadow: Any) -> Model:
    [plain] = config.models
    rule = plain.policy.shadow.model_copy(update=shadow)
    return plain.model_copy(update={"policy": plain.policy.model_copy(update={"shadow": rule})})


def test_the_rows_since_those_of_the_challenger_are_scored(store: Store, config: Config) -> None:
    asked = shadow.due(model(config), store)
    assert asked is not None
    assert asked.known_at == at(20) + HOUR
    assert asked.options == {"challenger": "4", "rows": 5000, "since": isoformat(at(10)),
                             "until": isoformat(at(20))}


def test_it_is_due_again_after_a_while(store: Store, config: Config) -> None:
    told = {"purpose": "shadow", "challenger": "4"}
    store.request(Request("m-shadow-1", "score", "m", "c.yaml", at(20) + HOUR, options=told))
    assert shadow.due(model(config), store) is None
    recorded = store.recorded("m")
    store.advance("m", recorded.number, recorded.state, folded_to=at(21) + HOUR, at=at(21),
                  cause="")
    assert shadow.due(model(config), store) is not None
    assert shadow.due(model(config, rows=0), store) is None
    other = replace(recorded.state, challenger="5")
    store.advance("m", store.recorded("m").number, other, at=at(21), cause="another one")
    assert shadow.due(model(config), store) is not None


def test_nobody_waits_and_nothing_is_due(store: Store, config: Config) -> None:
    recorded = store.recorded("m")
    store.advance("m", recorded.number, replace(recorded.state, phase="stable", challenger=None),
                  at=at(21), cause="expired")
    assert shadow.due(model(config), store) is None
    assert shadow.newest(store, "m") is None


def result(known: float) -> dict[str, Any]:
    """What a process found of days 10 and 11, of which the first is mature."""
    both = {"metric": "accuracy", "n": 300, "differing": 0.1,
            "estimated": {"champion": {}, "challenger": {"accuracy": part(0.8)}}}
    realized = {"champion": {"accuracy": part(0.7)}, "challenger": {"accuracy": part(known)}}
    gain = {"metric": "accuracy", "difference": known - 0.7, "low": -0.1, "high": 0.3, "n": 150}
    lines = [both | {"start": isoformat(at(10)), "end": isoformat(at(11)), "labelled": 150,
                     "realized": realized, "gain": gain}]
    return both | {"champion": "3", "challenger": "4", "labelled": 150, "realized": realized,
                   "gain": gain, "since": isoformat(at(10)), "until": isoformat(at(12)),
                   "windows": lines}


def test_what_was_found_is_kept_tagged_and_renewed(store: Store, config: Config) -> None:
    tags, asked = Tags(), Request("m-shadow-1", "score", "m", "c.yaml", at(20), champion="3")
    deps = Deps(config, "c.yaml", store, cast(Registry, tags), None, None)
    before = store.recorded("m")
    for day, value in ((20, 0.8), (21, 0.85)):
        request = replace(asked, known_at=at(day))
        outcome = Outcome("m-shadow-1", "done", None, "Version 4 is better", "r", result(value))
        shadow.keep(model(config), deps, request, outcome)
        shadow.keep(model(config), deps, request, outcome)
    assert store.recorded("m") == before, "nothing is decided by it"
    kept = shadow.newest(store, "m")
    assert kept is not None
    assert (kept["words"], kept["known_at"]) == ("Version 4 is better", isoformat(at(21)))
    [line] = store.scores("m", "shadow_window", ("4", "3"))
    assert line.line["realized"]["challenger"]["accuracy"]["value"] == 0.85
    assert tags.kept["4"]["holdfast.shadow.realized_challenger"] == "0.85"
    assert tags.kept["4"]["holdfast.shadow.gain_low"] == "-0.1"
    assert "holdfast.shadow.estimated_champion" not in tags.kept["4"]


def test_a_scoring_that_found_nothing_leaves_nothing(store: Store, config: Config) -> None:
    tags, asked = Tags(), Request("m-shadow-1", "score", "m", "c.yaml", at(20), champion="3")
    deps = Deps(config, "c.yaml", store, cast(Registry, tags), None, None)
    shadow.keep(model(config), deps, asked, Outcome("m-shadow-1", "refused", None, "no row", "r"))
    assert shadow.newest(store, "m") is None
    assert tags.kept == {}
