"""Two versions made of real streams, each from its own season: the market and the bicycles."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from monitor.config import load
from monitor.registry import CHAMPION, Registry, Version
from monitor.request import Request
from monitor.window import parse_time
from tests.data import stream
from tests.retrain.shop import request, work
from tests.servers.mlflow import founded

SPANS = {"elec2": ("1996-07-01", "1996-09-01", "1996-11-01", "1996-11-22"),
         "bike_sharing": ("2011-03-01", "2011-06-01", "2011-09-01", "2011-09-22")}
"""First version's rows, second version's rows, newer rows that are scored."""
DELAY = timedelta(days=7)


@dataclass(frozen=True)
class Market:
    """A registry with two versions, and the log that both are asked about."""

    name: str
    folder: Path
    path: Path
    registry: Registry

    @property
    def span(self) -> tuple[str, str]:
        return SPANS[self.name][2:]

    def version(self, number: str) -> Version:
        found = self.registry.version(self.name, number)
        assert found is not None
        return found

    def ask(self, purpose: str, **options: Any) -> Request:
        """A request to score, known an hour after the newest row."""
        known = parse_time(self.span[1]) + timedelta(hours=1)
        return request(self.path, "score", champion="1", known_at=known,
                       options={"purpose": purpose, **options})


def market(folder: Path, name: str, **training: Any) -> Market:
    """The deployment; ``training`` changes how both versions are made."""
    frame = _rows(name)
    frame.to_parquet(folder / "log.parquet", index=False)
    first, second, newer, _ = SPANS[name]
    paths = [_config(folder, name, file, span, training) for file, span in (
        ("holdfast.yaml", (first, second)), ("other.yaml", (second, newer)))]
    for path in paths:
        made = work(request(path, "bootstrap", options={"report": False}), folder)
        assert made.status == "registered", made.reason
    registry = Registry(load(paths[0]).config.mlflow)
    registry.client.copy_model_version(f"models:/{name}-other/1", name)
    assert registry.aliases(name) == {CHAMPION: "1"}
    return Market(name, folder, paths[0], registry)


def _rows(name: str) -> pd.DataFrame:
    """The stream with logged answers: those of yesterday's same hour."""
    frame = stream(name)
    first, *_, last = SPANS[name]
    frame = frame[(frame["timestamp"] >= first) & (frame["timestamp"] < last)]
    if name == "bike_sharing":
        frame = frame.drop(columns=["casual", "registered", "yr"])
        return frame.assign(truth=frame["cnt"].astype(float), version="1",
                            answer=frame["cnt"].shift(24).fillna(100.0).astype(float)
                            ).drop(columns="cnt").reset_index(drop=True)
    truth = frame["class"].astype(str).to_numpy(object)
    answer = np.concatenate([truth[:48], truth[:-48]])
    return frame.drop(columns=["class", "date"]).assign(
        truth=truth, answer=answer, version="1",
        chance=np.where(answer == "UP", 0.8, 0.2)).reset_index(drop=True)


def _config(folder: Path, name: str, file: str, span: tuple[str, str],
            training: dict[str, Any]) -> Path:
    task = "regression" if name == "bike_sharing" else "binary"
    log: dict[str, Any] = {"source": "log.parquet", "timestamp": "timestamp",
                           "model_version": "version", "prediction": "answer", "label": "truth",
                           "segments": ["workingday"] if task == "regression" else ["day"]}
    if task == "binary":
        log |= {"score": "chance", "positive_label": "UP"}
    path = folder / file
    path.write_text(yaml.safe_dump({
        "mlflow": {"tracking_uri": founded(f"sqlite:///{folder / 'mlflow.db'}")},
        "models": [{
            "name": name, "task": task, "log": log, "maturity": {"delay": "7d"},
            "registered_model": name + ("-other" if file == "other.yaml" else ""),
            "reference": {"from": span[0], "to": span[1]},
            "training": {"kind": "torch", "epochs": 8, "widths": [64], "prune": [],
                         **training}}]}))
    return path
