"""Two deployments that share one MLflow and a model's name: neither takes what is the other's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from monitor.act import request_for
from monitor.config import load
from monitor.deps import Deps
from monitor.registry import Registry
from monitor.request import Request
from monitor.store import Store
from retrain.record import Record
from tests.retrain.shop import KNOWN_AT, request, shop, work


@contextmanager
def team(folder: Path, mlflow: str, name: str) -> Iterator[Deps]:
    """A deployment in a folder of its own."""
    folder.mkdir()
    path = shop(folder, mlflow, name=name)
    settings = yaml.safe_load(path.read_text())
    settings["models"][0]["registered_model"] = f"{name}-{folder.name}"
    path.write_text(yaml.safe_dump(settings))
    loaded = load(path)
    with Store.open(f"sqlite:///{folder / 'holdfast.db'}") as store:
        yield Deps(loaded.config, str(loaded.path), store, Registry(loaded.config.mlflow), None,
                   None)


@pytest.fixture
def teams(tmp_path: Path, mlflow_server: str) -> Iterator[list[Deps]]:
    name = f"shop{uuid4().hex[:6]}"
    with ExitStack() as stack:
        yield [stack.enter_context(team(tmp_path / folder, mlflow_server, name))
               for folder in ("north", "south")]


def asked(deps: Deps) -> Request:
    """What both teams ask for at the same instant."""
    [model] = deps.config.models
    made = request_for("bootstrap", model, deps, KNOWN_AT, reason="a first")
    return replace(made, options=made.options | {"report": False})


def test_the_same_request_of_two_deployments_is_two_runs_and_two_versions(
        teams: list[Deps], tmp_path: Path) -> None:
    north, south = (asked(deps) for deps in teams)
    made = work(north, tmp_path)
    assert (made.status, made.version) == ("registered", "1")
    registry = teams[1].registry
    assert registry.outcome(south.request_id) is None
    assert registry.requested(south.model, south.request_id) is None
    other = work(south, tmp_path)
    assert (other.status, other.version) == ("registered", "1")
    assert [item.run_id for deps in teams for item in registry.versions(
        deps.config.models[0].registered)] == [made.run_id, other.run_id]
    assert other.run_id != made.run_id
    assert asked(teams[0]) == north  # asked again, it is the same one
    assert teams[0].registry.outcome(north.request_id) == made


def test_what_a_training_kept_is_for_its_own_deployment(teams: list[Deps]) -> None:
    registry, found = teams[0].registry, {}
    for place, deps in enumerate(teams):
        found[place] = Record.open(registry, asked(deps))
        found[place].tag("holdfast.kept", "2")
    [model] = teams[0].config.models
    earlier = Record.open(registry, request(Path(teams[0].path), "bootstrap"))
    earlier.tag("holdfast.kept", "1")  # of before runs told whose they are
    runs = registry.runs(model.name, tag="holdfast.kept", most=9,
                         deployment=teams[0].store.deployment())
    assert {run.info.run_id for run in runs} == {earlier.run_id, found[0].run_id}


def test_reports_of_the_same_window_stand_side_by_side(teams: list[Deps], tmp_path: Path) -> None:
    registry, [model], uris = teams[0].registry, teams[0].config.models, []
    for deps in teams:
        (tmp_path / "window.html").write_text(deps.store.deployment())
        uris.append(registry.log_report(model.name, tmp_path / "window.html", version="1",
                                        deployment=deps.store.deployment()))
    for deps, uri in zip(teams, uris, strict=True):
        run_id, _, path = uri.removeprefix("runs:/").partition("/")
        assert registry.artifact(run_id, path) == deps.store.deployment()


def test_requests_of_before_deployments_had_names_are_still_found(
        teams: list[Deps], tmp_path: Path) -> None:
    """A daemon that is upgraded while a request is open follows it under the id that it has."""
    deps = teams[0]
    [model] = deps.config.models
    old = replace(asked(deps), request_id=f"{model.name}-bootstrap-{KNOWN_AT:%Y%m%dT%H%M%S}",
                  options={})
    assert old.deployment == ""
    assert deps.store.request(old)
    record = Record.open(deps.registry, old)
    record.conclude("refused", "no better")
    row = deps.store.open_request(model.name)
    assert row is not None
    told = deps.registry.outcome(row.request.request_id)
    assert told is not None
    assert (told.status, told.run_id) == ("refused", record.run_id)
