"""Promotion must not break serving: with a real MLflow server, as those who serve see it."""

from __future__ import annotations

import random
import time
from pathlib import Path
from textwrap import dedent
from uuid import uuid4

import mlflow
import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

from monitor.config import load
from monitor.registry import Registry
from monitor.request import Request
from tests.retrain.shop import INPUTS, raw_rows, request, shop, start, work
from tests.retrain.test_job import said, until

# what MLflow says about signatures and pickles is not what is tested here
pytestmark = pytest.mark.filterwarnings("ignore")

TYPES = {"distance_km": "double", "items": "long", "temperature_c": "double", "rain_mm": "double",
         "traffic": "double", "courier_days": "double", "vehicle": "string", "zone": "string",
         "prepaid": "boolean"}

PYFUNC = """
    import mlflow
    import pandas as pd

    class Always(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            n = len(model_input)
            return pd.DataFrame({"verdict": ["no"] * n, "chance": [0.25] * n})

    mlflow.models.set_model(Always())
"""


@pytest.fixture
def tracking(mlflow_server: str) -> str:
    mlflow.set_tracking_uri(mlflow_server)
    mlflow.set_registry_uri(mlflow_server)
    return mlflow_server


@pytest.fixture
def name() -> str:
    return f"shop-{uuid4().hex[:8]}"


def foreign_pyfunc(folder: Path, name: str) -> None:
    """A champion that somebody registered, whose outputs have names of their own."""
    (folder / "always.py").write_text(dedent(PYFUNC))
    outputs = Schema([ColSpec("string", "verdict"), ColSpec("double", "chance")])
    signature = ModelSignature(Schema([ColSpec(TYPES[each], each) for each in INPUTS]), outputs)
    with mlflow.start_run():
        mlflow.pyfunc.log_model(name="model", python_model=str(folder / "always.py"),
                                signature=signature, registered_model_name=name,
                                pip_requirements=["mlflow"])
    MlflowClient().set_registered_model_alias(name, "champion", "1")


def foreign_sklearn(name: str) -> None:
    """A champion of scikit-learn, which answers with a bare array."""
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    rows = raw_rows(200)[["distance_km", "traffic"]].fillna(0.0)
    classifier = LogisticRegression().fit(rows, np.arange(200) % 2)
    with mlflow.start_run():
        mlflow.sklearn.log_model(classifier, name="model", registered_model_name=name,
                                 signature=infer_signature(rows, classifier.predict(rows)),
                                 pip_requirements=["scikit-learn"])
    MlflowClient().set_registered_model_alias(name, "champion", "1")


def test_a_promoted_version_answers_raw_rows(tracking: str, name: str, tmp_path: Path) -> None:
    path = shop(tmp_path, tracking, name=name)
    outcome = work(request(path, "bootstrap", options={"report": False}), tmp_path)
    assert outcome.status == "registered"
    served = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    rows = raw_rows(20)
    assert rows.isna().any().any(), "missing values are part of raw rows"
    answers = served.predict(rows)
    assert list(answers.columns) == ["prediction", "probability"]
    assert set(answers["prediction"]) <= {"yes", "no"}
    assert answers["probability"].between(0, 1).all()
    champion = Registry(load(path).config.mlflow).champion(name)
    assert champion is not None
    assert champion.inputs == TYPES


def test_a_person_promotes_with_any_client(tracking: str, name: str, tmp_path: Path) -> None:
    foreign_pyfunc(tmp_path, name)
    registry = Registry(load(shop(tmp_path, tracking, name=name)).config.mlflow)
    champion = registry.champion(name)
    assert champion is not None
    assert not champion.trained
    MlflowClient().delete_registered_model_alias(name, "champion")
    assert registry.champion(name) is None


def test_a_champion_with_named_outputs_gets_a_challenger_that_answers_like_it(
        tracking: str, name: str, tmp_path: Path) -> None:
    foreign_pyfunc(tmp_path, name)
    path = shop(tmp_path, tracking, name=name, right=0.5)
    outcome = work(request(path, "train", champion="1", options={"report": False}), tmp_path)
    assert outcome.status == "registered", outcome.reason
    old, new = (mlflow.pyfunc.load_model(f"models:/{name}/{number}") for number in ("1", "2"))
    rows = raw_rows(20)[list(INPUTS)]
    before, after = old.predict(rows), new.predict(rows)
    assert list(after.columns) == list(before.columns) == ["verdict", "chance"]
    assert after.dtypes.to_dict() == before.dtypes.to_dict()
    assert new.metadata.signature == old.metadata.signature


def test_a_champion_that_logs_no_score_is_met_by_accuracy(
        tracking: str, name: str, tmp_path: Path) -> None:
    """The deciding metric needs scores: monitoring may have some that the version itself has not.
    """
    foreign_pyfunc(tmp_path, name)
    path = shop(tmp_path, tracking, name=name, right=0.5)
    config = yaml.safe_load(path.read_text())
    config["models"][0]["policy"] = {"performance": {"metric": "roc_auc"}}
    path.write_text(yaml.safe_dump(config))
    outcome = work(request(path, "train", champion="1", options={"report": False}), tmp_path)
    assert outcome.status == "registered", outcome.reason
    assert "accuracy (roc_auc needs scores that are not logged)" in outcome.reason


def test_a_champion_that_answers_a_bare_array_is_kept(
        tracking: str, name: str, tmp_path: Path) -> None:
    foreign_sklearn(name)
    path = shop(tmp_path, tracking, name=name, right=0.5)
    registry = Registry(load(path).config.mlflow)
    champion = registry.champion(name)
    assert champion is not None
    assert registry.baseline(champion) is None
    outcome = work(request(path, "train", champion="1", options={"report": False}), tmp_path)
    assert outcome.status == "refused"
    assert "bare array" in outcome.reason
    assert len(registry.versions(name)) == 1


def test_a_candidate_worse_than_the_logged_champion_is_refused(
        tracking: str, name: str, tmp_path: Path) -> None:
    foreign_pyfunc(tmp_path, name)
    path = shop(tmp_path, tracking, name=name, right=1.0)
    outcome = work(request(path, "train", champion="1", options={"report": False}), tmp_path)
    assert outcome.status == "refused"
    assert "version 1" in outcome.reason
    assert outcome.result["holdout"]["version 1"]["value"] == 1.0
    registry = Registry(load(path).config.mlflow)
    assert registry.aliases(name) == {"champion": "1"}
    assert len(registry.versions(name)) == 1


def test_killed_at_any_moment_it_registers_once(tracking: str, name: str, tmp_path: Path) -> None:
    path = shop(tmp_path, tracking, name=name)
    asked = request(path, "bootstrap", options={"report": False})
    registry = Registry(load(path).config.mlflow)
    chance = random.Random(5)
    for moment in ("[2/5]", "pruned-", "[4/5]", "[5/5]", "the version is there"):
        kill_at(moment, asked, folder=tmp_path, registry=registry, delay=chance.uniform(0, 0.3))
    outcome = work(asked, tmp_path)
    assert (outcome.status, outcome.version) == ("registered", "1")
    assert len(registry.versions(name)) == 1
    assert registry.aliases(name) == {"champion": "1"}
    runs = registry.client.search_runs([registry.experiment(name)],
                                       f"tags.`holdfast.request_id` = '{asked.request_id}'")
    assert len(runs) == 1


def kill_at(moment: str, asked: Request, *, folder: Path, registry: Registry,
            delay: float) -> None:
    """Work on the request until its log says so (or its version is there), and kill it."""
    log = folder / asked.request_id / "log.txt"
    log.unlink(missing_ok=True)
    process = start(asked, folder)
    try:
        if moment != "the version is there":
            until(lambda: moment in said(asked, folder) or process.poll() is not None)
            time.sleep(delay)
        else:
            until(lambda: registry.requested(asked.model, asked.request_id) is not None
                  or process.poll() is not None)
    finally:
        process.kill()
        process.wait()
