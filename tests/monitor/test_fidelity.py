"""A compressed champion: when it is looked at, and what follows from what is found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from monitor import fidelity
from monitor.act import act
from monitor.config import Config
from monitor.deps import Deps
from monitor.registry import Outcome, Registry, Version
from monitor.request import Request
from monitor.state import Decision, ModelState
from monitor.store import Store
from monitor.window import isoformat
from tests.monitor.stored import HOUR, at, compressed, configuration


@dataclass
class Tagged:
    """A registry whose one version carries these tags."""

    tags: dict[str, str] = field(default_factory=lambda: {
        "holdfast.request_id": "r", "holdfast.compression": "pruned-70-int8"})

    def version(self, registered: str, version: str) -> Version:
        return Version(registered, version, "run", self.tags, at(0))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configuration(tmp_path, "m")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        opened.adopt("m", "3", at(0), key="k")
        opened.advance("m", 0, ModelState(phase="stable", champion="3", inputs="stable"),
                       folded_to=at(20) + HOUR, at=at(20), cause="adopted")
        yield opened


def due(config: Config, store: Store, **tags: str) -> fidelity.Asked | None:
    registry = Tagged(Tagged().tags | tags) if tags else Tagged()
    return fidelity.due(config.models[0], store, cast(Registry, registry))


def test_the_newest_week_of_a_compressed_champion_is_looked_at(store: Store, config: Config
                                                               ) -> None:
    asked = due(config, store)
    assert asked is not None
    assert asked.options == {"rows": 2000, "since": isoformat(at(13)), "until": isoformat(at(20))}
    assert due(config, store, **{"holdfast.compression": "fp32"}) is None
    assert due(config, store, **{"holdfast.compression": "pruned-70"}) == asked
    assert due(config, store, **{"holdfast.rung": "blend", "holdfast.compression": ""}) is None
    assert fidelity.due(config.models[0], store, cast(Registry, Tagged({}))) is None


def test_what_was_asked_today_and_what_never_can_be_is_not_asked(store: Store, config: Config
                                                                 ) -> None:
    told = {"purpose": "compression"}
    store.request(Request("m-compression-1", "score", "m", "c", at(20), champion="3",
                          options=told))
    assert due(config, store) is None
    store.conclude("m-compression-1", "done", {"result": {}})
    recorded = store.recorded("m")
    store.advance("m", recorded.number, recorded.state, folded_to=at(22), at=at(22), cause="")
    assert due(config, store) is not None
    store.request(Request("m-compression-2", "score", "m", "c", at(20), champion="3",
                          options=told))
    store.conclude("m-compression-2", "refused", {"result": {"again": False}})
    assert due(config, store) is None


def found(store: Store, config: Config, **change: object) -> None:
    deps = Deps(config, "c.yaml", store, cast(Registry, Tagged()), None, None)
    line = {key: value for key, value in compressed(**change).items() if key != "words"}
    fidelity.keep(config.models[0], deps, Request("r", "score", "m", "c", at(20)),
                  Outcome("r", "done", None, "Version 3 answers otherwise", "run", line))


def test_a_crossing_is_evidence(store: Store, config: Config) -> None:
    assert fidelity.newest(store, "m") is None
    found(store, config)
    told = fidelity.evidence(fidelity.newest(store, "m"))
    assert told is not None
    assert told["reason"] == "Version 3 answers otherwise"
    assert told["disagreement"]["value"] == 0.04
    assert [item["segment"] for item in told["segments"]] == ["weekday=6"]


def test_within_the_limits_it_is_none(store: Store, config: Config) -> None:
    calm = {"value": 0.01, "low": 0.0, "high": 0.02, "n": 2000, "limit": 0.01, "crossed": False}
    found(store, config, disagreement=calm, segments=[])
    assert fidelity.newest(store, "m") is not None
    assert fidelity.evidence(fidelity.newest(store, "m")) is None


def test_a_retrain_is_told_of_it_so_that_new_ranges_come_first(store: Store, config: Config
                                                               ) -> None:
    found(store, config)
    recorded = store.recorded("m")
    store.advance("m", recorded.number, recorded.state, at=at(20), cause="degraded",
                  decision=Decision("retrain", "accuracy fell", {"n": 10}))
    act(config.models[0], Deps(config, "c.yaml", store, cast(Registry, Tagged()), None, None),
        at(20))
    row = store.open_request("m")
    assert row is not None
    assert (row.request.kind, row.request.options["evidence"]) == ("train", "compression")
    assert row.request.evidence["compression"]["version"] == "3"
    assert row.request.evidence["n"] == 10


def test_a_retrain_waits_for_a_scoring_that_is_under_way(store: Store, config: Config) -> None:
    store.request(Request("m-compression-1", "score", "m", "c", at(20), champion="3",
                          options={"purpose": "compression"}))
    recorded = store.recorded("m")
    store.advance("m", recorded.number, recorded.state, at=at(20), cause="degraded",
                  decision=Decision("retrain", "accuracy fell", {}))
    deps = Deps(config, "c.yaml", store, cast(Registry, Tagged()), None, None)
    act(config.models[0], deps, at(20))
    assert store.pending("m") is not None
    assert store.recorded("m").state.request is None
    store.conclude("m-compression-1", "done", {})
    act(config.models[0], deps, at(20))
    row = store.open_request("m")
    assert row is not None
    assert row.request.kind == "train"
