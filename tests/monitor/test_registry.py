"""The registry against a real MLflow: a server, and an embedded one."""

from __future__ import annotations

import pickle
import socket
import threading
import time
from pathlib import Path
from uuid import uuid4

import pytest
from mlflow import MlflowClient

from monitor.config import MLflow
from monitor.errors import RegistryError
from monitor.registry import Registry
from monitor.request import Request
from monitor.window import parse_time

MLMODEL = """\
model_size_bytes: 4711
flavors: {python_function: {loader_module: mlflow.sklearn, model_path: model.pkl}}
signature:
  inputs: '[{"type": "double", "name": "price", "required": true},
            {"type": "string", "name": "day", "required": true}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]'
"""


class Bomb:
    """Unpickling it would fail the test."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("an artifact was unpickled",)


@pytest.fixture(params=["server", "embedded"])
def registry(request: pytest.FixtureRequest) -> Registry:
    name = {"server": "mlflow_server", "embedded": "mlflow_uri"}[request.param]
    return Registry(MLflow(tracking_uri=request.getfixturevalue(name)))


@pytest.fixture
def foreign(registry: Registry, tmp_path: Path) -> str:
    """A registered model with two versions that somebody else trained."""
    name, client = f"model-{uuid4().hex[:8]}", registry.client
    run = client.create_run(registry.experiment(name)).info
    (tmp_path / "MLmodel").write_text(MLMODEL)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Bomb()))
    for file in ("MLmodel", "model.pkl"):
        client.log_artifact(run.run_id, str(tmp_path / file), "model")
    client.create_registered_model(name)
    for _ in range(2):
        client.create_model_version(name, f"{run.artifact_uri}/model", run.run_id)
    return name


def test_the_champion_is_the_version_that_the_alias_names(registry: Registry, foreign: str) -> None:
    assert registry.champion(foreign) is None
    registry.client.set_registered_model_alias(foreign, "champion", "2")
    champion = registry.champion(foreign)
    assert champion is not None
    assert champion.version == "2"
    assert champion.inputs == {"price": "double", "day": "string"}
    assert champion.outputs == {"": "tensor(int64)"}
    assert champion.size == 4711
    registry.client.delete_registered_model_alias(foreign, "champion")
    assert registry.champion(foreign) is None


def test_a_model_that_does_not_exist_has_no_champion(registry: Registry) -> None:
    assert registry.champion("nobody") is None
    assert registry.version("nobody", "1") is None
    assert registry.versions("nobody") == []
    assert registry.outcome("nothing") is None


def test_a_foreign_champion_has_no_baseline_and_no_holdfast_tags(
        registry: Registry, foreign: str) -> None:
    version = registry.version(foreign, "1")
    assert version is not None
    assert not version.trained
    assert registry.baseline(version) is None
    assert [item.version for item in registry.versions(foreign)] == ["1", "2"]


def test_an_alias_moves_only_from_where_it_was_expected(registry: Registry, foreign: str) -> None:
    assert registry.move_alias(foreign, "champion", to="1", expected=None)
    assert not registry.move_alias(foreign, "champion", to="2", expected=None)
    assert registry.move_alias(foreign, "champion", to="2", expected="1")
    assert registry.move_alias(foreign, "champion", to="2", expected="1"), "already there"
    assert registry.aliases(foreign) == {"champion": "2"}


def test_tags_are_read_back(registry: Registry, foreign: str) -> None:
    registry.tag_version(foreign, "1", {"holdfast.request_id": "r'1"})
    found = registry.requested(foreign, "r'1")
    assert found is not None
    assert found.version == "1"
    assert found.trained
    assert registry.requested(foreign, "r2") is None


def test_an_outcome_is_what_the_run_says(registry: Registry, tmp_path: Path) -> None:
    request_id, client = uuid4().hex, registry.client
    run_id = client.create_run(registry.experiment("electricity"),
                               tags={"holdfast.request_id": request_id}).info.run_id
    running = registry.outcome(request_id)
    assert running is not None
    assert running.status == "running"
    (tmp_path / "result.json").write_text('{"rows": 7}')
    client.log_artifact(run_id, str(tmp_path / "result.json"), "holdfast")
    client.set_tag(run_id, "holdfast.reason", "too few rows")
    client.set_tag(run_id, "holdfast.outcome", "refused")
    ended = registry.outcome(request_id)
    assert ended is not None
    assert (ended.status, ended.reason, ended.result) == ("refused", "too few rows", {"rows": 7})


def test_a_cancelled_run_has_failed(registry: Registry) -> None:
    request_id = uuid4().hex
    run = registry.client.create_run(registry.experiment("electricity"),
                                     tags={"holdfast.request_id": request_id})
    registry.cancel(run.info.run_id)
    outcome = registry.outcome(request_id)
    assert outcome is not None
    assert (outcome.status, outcome.reason) == ("failed", "cancelled")


def test_reports_of_a_version_are_collected_in_one_run(registry: Registry, tmp_path: Path) -> None:
    model = f"m{uuid4().hex[:6]}"
    uris = []
    for name in ("a.html", "b.html"):
        (tmp_path / name).write_text("<html>")
        uris.append(registry.log_report(model, tmp_path / name, version="3"))
    run_id, _, path = uris[0].removeprefix("runs:/").partition("/")
    assert uris[1].endswith("/holdfast/reports/b.html")
    assert registry.artifact(run_id, path) == "<html>"
    assert registry.artifact(run_id, "holdfast/reports/b.html") == "<html>"
    link = registry.link(uris[0])
    assert link is None or link.startswith(registry.tracking_uri)


def test_an_embedded_mlflow_keeps_its_artifacts_beside_its_file(
        mlflow_uri: str, tmp_path: Path) -> None:
    registry = Registry(MLflow(tracking_uri=mlflow_uri))
    run = MlflowClient(mlflow_uri).create_run(registry.experiment("electricity"))
    assert run.info.artifact_uri.startswith(tmp_path.as_uri())


def test_an_unreachable_server_is_an_error_in_words_without_the_password() -> None:
    registry = Registry(MLflow(tracking_uri="http://me:hunter22@127.0.0.1:9"))
    words = r"aliases of 'electricity': no answer \(connection refused\)"
    with pytest.raises(RegistryError, match=words) as caught:
        registry.champion("electricity")
    assert "hunter22" not in str(caught.value)


def test_a_server_that_hangs_is_given_up_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        threading.Thread(target=_hold, args=(silent,), daemon=True).start()
        began = time.monotonic()
        registry = Registry(MLflow(tracking_uri=f"http://127.0.0.1:{silent.getsockname()[1]}"))
        with pytest.raises(RegistryError):
            registry.champion("electricity")
    assert time.monotonic() - began < 30


def _hold(silent: socket.socket) -> None:
    held = []
    try:
        while True:
            held.append(silent.accept())
    except OSError:
        return


def test_a_request_survives_its_json() -> None:
    request = Request("r1", "train", "electricity", "holdfast.yaml", parse_time("1997-06-01"),
                      reason="accuracy fell", champion="2", predecessors=("1",),
                      evidence={"n": 3}, options={"rows": 10})
    assert Request.from_json(request.to_json()) == request
