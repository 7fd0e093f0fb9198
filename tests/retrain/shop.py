"""A small deployment for tests of whole jobs: deliveries, their log, and a configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import yaml

from monitor.config import load
from monitor.registry import Outcome, Registry
from monitor.request import Kind, Request
from monitor.simulate import START, Plan, deliveries
from monitor.window import isoformat
from tests.retrain.child import worked
from tests.servers.mlflow import founded

PLAN = Plan(days=42, rows_per_day=120, slow_from=400, abrupt_at=21, seed=3)
KNOWN_AT = START + timedelta(days=42, hours=1)
SALT = "a-secret-that-nobody-may-see"
INPUTS = ("distance_km", "items", "temperature_c", "rain_mm", "traffic", "courier_days", "vehicle",
          "zone", "prepaid")


def shop(folder: Path, uri: str, *, name: str = "shop", right: float = 0.7,
         reports: bool = False, **training: Any) -> Path:
    """The configuration file of a shop whose log lies beside it.

    The answers in the log are those of version 1, a share of ``right`` of them true; labels lie
    in the same table.
    """
    frame = deliveries(PLAN)
    rng = np.random.default_rng(1)
    other = frame["late"].map({"yes": "no", "no": "yes"})
    frame["answer"] = frame["late"].where(rng.random(len(frame)) < right, other)
    frame["version"] = "1"
    frame.drop(columns="received_at").to_parquet(folder / "log.parquet", index=False)
    small = {"kind": "torch", "window": "21d", "holdout": "7d", "epochs": 10, "widths": [16],
             "prune": [0.5], "accuracy_budget": 0.05, "ladder": ["recall", "tune", "refit"]}
    config = {
        "mlflow": {"tracking_uri": founded(uri)}, "reports": reports,
        "models": [{
            "name": name,
            "log": {"source": "log.parquet", "timestamp": "timestamp", "id": "request_id",
                    "model_version": "version", "prediction": "answer", "label": "late",
                    "positive_label": "yes", "features": {"exclude": ["label_at"]}},
            "maturity": {"delay": "1d"},
            "privacy": {"hash": ["request_id"], "salt": "${file:salt}"},
            "reference": {"from": isoformat(START), "to": isoformat(START + timedelta(days=21))},
            "training": small | training}]}
    (folder / "salt").write_text(SALT)
    path = folder / "holdfast.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def request(path: Path, kind: Kind, **values: Any) -> Request:
    """A request of this kind about the shop, with an id of its own."""
    [model] = load(path).config.models
    known_at: datetime = values.pop("known_at", KNOWN_AT)
    return Request(f"{model.name}-{kind}-{uuid4().hex[:8]}", kind, model.name, str(path), known_at,
                   reason="the test asks", **values)


def start(asked: Request, folder: Path) -> subprocess.Popen[bytes]:
    """The process that works on the request, as the launcher starts it."""
    place = _placed(asked, folder)
    with (place / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "retrain", str(place / "request.json")], stdout=log, stderr=log,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(
                [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])})


def work(asked: Request, folder: Path) -> Outcome:
    """The outcome of the request, worked on by a process of its own."""
    place = _placed(asked, folder)
    worked(place / "request.json", place / "log.txt", within=240)
    said = (place / "log.txt").read_text()
    outcome = Registry(load(asked.config).config.mlflow).outcome(asked.request_id)
    assert outcome is not None, said
    assert outcome.status != "failed", said
    return outcome


def _placed(asked: Request, folder: Path) -> Path:
    place = folder / asked.request_id
    place.mkdir(exist_ok=True)
    (place / "request.json").write_text(asked.to_json())
    return place


def raw_rows(count: int) -> pd.DataFrame:
    """Rows as a service would hand them to the model."""
    return deliveries(PLAN)[list(INPUTS)].head(count)
