"""A deployment against a real MLflow server, whose log a test writes day by day."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import uuid4

import pytest

from monitor.assembly import opened
from monitor.config import load
from monitor.daemon import tick
from monitor.deps import Deps
from monitor.simulate import START, deliveries
from monitor.store import RequestRow
from monitor.window import Window
from tests.story.life import DAY, NAME, PLAN, settle_in, write_labels, write_log

INPUTS = {"distance_km": "double", "items": "long", "temperature_c": "double",
          "rain_mm": "double", "traffic": "double", "courier_days": "double",
          "vehicle": "string", "zone": "string", "prepaid": "boolean"}
ALWAYS = """
    import mlflow
    import pandas as pd

    class Always(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return pd.DataFrame({"verdict": ["no"] * len(model_input),
                                 "chance": [0.25] * len(model_input)})

    mlflow.models.set_model(Always())
"""
FRAME = deliveries(PLAN)
HOUR = DAY / 24


@dataclass(frozen=True)
class Town:
    """A deployment whose log a test writes day by day, and the client that people use."""

    folder: Path
    deps: Deps
    client: Any
    registered: str

    def day(self, number: int, version: str, right: float) -> None:
        """Log the day as answered by ``version``, right so often, and the labels that came."""
        span = Window(START + number * DAY, START + (number + 1) * DAY)
        write_log(self.folder, FRAME, span, version, right=(right, right))
        write_labels(self.folder, FRAME, span)

    def tick(self, day: float) -> datetime:
        """Tick an hour after the start of the day."""
        now = START + day * DAY + HOUR
        tick(self.deps.config.models[0], self.deps, now)
        return now

    def promote(self, version: str) -> None:
        """What a person does in the MLflow UI."""
        self.client.set_registered_model_alias(self.registered, "champion", version)

    def champion(self) -> str:
        return str(self.client.get_model_version_by_alias(self.registered, "champion").version)

    @property
    def state(self) -> Any:
        return self.deps.store.recorded(NAME).state

    def lines(self, version: str) -> list[dict[str, Any]]:
        """Verdict lines on all rows about this version."""
        return [row.line for row in self.deps.store.verdicts(NAME, segment="")
                if row.line["version"] == version]

    def ended(self, day: float) -> RequestRow:
        """The open request once its process ended and a tick on that day has folded it."""
        row = self.deps.store.open_request(NAME)
        assert row is not None
        assert self.deps.launcher is not None
        request = row.request.request_id
        deadline = time.monotonic() + 150
        while self.deps.launcher.running(request):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.tick(day)
        (row,) = [row for row in self.deps.store.requests(NAME)
                  if row.request.request_id == request]
        return row


@contextmanager
def town(folder: Path, server: str, registered: str, **model: Any) -> Iterator[Town]:
    from mlflow import MlflowClient

    settle_in(folder, tracking=server, registered_model=registered, **model)
    with opened(load(folder / "holdfast.yaml")) as deps:
        yield Town(folder, replace(deps, reporter=None), MlflowClient(server, server), registered)


@pytest.fixture(scope="module")
def thumb(tmp_path_factory: pytest.TempPathFactory, mlflow_server: str) -> str:
    """A version that somebody else made: a pyfunc with a signature of its own."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    folder, registered = tmp_path_factory.mktemp("thumb"), f"loop-{uuid4().hex[:6]}"
    mlflow.set_tracking_uri(mlflow_server)
    mlflow.set_registry_uri(mlflow_server)
    (folder / "always.py").write_text(dedent(ALWAYS))
    signature = ModelSignature(Schema([ColSpec(kind, name) for name, kind in INPUTS.items()]),
                               Schema([ColSpec("string", "verdict"), ColSpec("double", "chance")]))
    with mlflow.start_run():
        mlflow.pyfunc.log_model(name="model", python_model=str(folder / "always.py"),
                                signature=signature, registered_model_name=registered,
                                pip_requirements=["mlflow"])
    return f"models:/{registered}/1"
