"""A small deployment for stories: a simulated log on disk, an embedded MLflow, a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import yaml

from monitor.config import Loaded, load
from monitor.deps import Deps
from monitor.registry import Registry
from monitor.simulate import START, Plan, deliveries
from monitor.store import Store
from monitor.window import isoformat
from tests.servers.mlflow import founded

DAY = timedelta(days=1)
PLAN = Plan(days=40, rows_per_day=150, slow_from=30, abrupt_at=30)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A folder with a configuration file, a log and labels; ``store`` may be any number of them."""

    folder: Path
    loaded: Loaded

    @contextmanager
    def deps(self, store: str = "holdfast.db") -> Iterator[Deps]:
        """The daemon's parts over one of the stores; nothing is launched or reported."""
        url = store if "://" in store else f"sqlite:///{self.folder / store}"
        with Store.open(url) as opened:
            yield Deps(self.loaded.config, str(self.loaded.path), opened,
                       Registry(self.loaded.config.mlflow), None, None)


def deploy(folder: Path, mlflow_uri: str, *, plan: Plan = PLAN, reports: bool = False,
           **model: Any) -> Deployment:
    """A deployment whose champion is a rule of thumb that somebody registered by hand."""
    for name, content in _files(plan).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    register(mlflow_uri, "deliveries")
    settings = {
        "mlflow": {"tracking_uri": mlflow_uri}, "reports": reports,
        "models": [{
            "name": "deliveries",
            "log": {"source": "log/*.parquet", "timestamp": "timestamp",
                    "ingested_at": "received_at", "id": "request_id",
                    "model_version": "model_version", "prediction": "prediction",
                    "score": "score", "positive_label": "yes",
                    "labels": {"source": "labels/*.parquet", "id": "request_id", "value": "late",
                               "timestamp": "label_at"},
                    "segments": ["vehicle"]},
            "maturity": {"ratio": 0.9, "delay": "4d"},
            "reference": {"from": isoformat(START), "to": isoformat(START + 25 * DAY)},
            "window": {"length": "12h", "lateness": "1h"},
            "policy": {"performance": {"rows": 200}, "retrain": {"minimum_rows": 100}},
            **model,
        }],
    }
    path = folder / "holdfast.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return Deployment(folder, load(path))


@cache
def _files(plan: Plan) -> dict[str, bytes]:
    """What ``write`` writes of a plan, by its name in the folder."""
    with TemporaryDirectory() as folder:
        write(Path(folder), deliveries(plan))
        return {str(path.relative_to(folder)): path.read_bytes()
                for path in Path(folder).rglob("*.parquet")}


def write(folder: Path, frame: pd.DataFrame) -> None:
    """The log by day of arrival, late rows among them, and the labels by day of theirs."""
    likely = 1 / (1 + (-(frame["distance_km"] - 2.7 + 2 * (frame["traffic"] - 1.5))).map(_exp))
    rows = frame.assign(score=likely, prediction=likely.gt(0.5).map({True: "yes", False: "no"}),
                        model_version="1")
    for place, column, kept in (
            ("log", "received_at", [name for name in rows if name not in {"late", "label_at"}]),
            ("labels", "label_at", ["request_id", "late", "label_at"])):
        (folder / place).mkdir(parents=True, exist_ok=True)
        for day, part in rows.groupby(rows[column].dt.date):
            part[kept].to_parquet(folder / place / f"{day}.parquet", index=False)


def register(mlflow_uri: str, name: str) -> None:
    """A champion that holdfast did not train, with its alias; a server asks for a run of it."""
    from mlflow import MlflowClient

    client = MlflowClient(founded(mlflow_uri), mlflow_uri)
    client.create_registered_model(name)
    run = client.create_run("0").info if mlflow_uri.startswith("http") else None
    if run is not None:
        client.log_text(run.run_id, "flavors: {}\n", "model/MLmodel")
    version = client.create_model_version(
        name, source=f"{run.artifact_uri}/model" if run else "file:///nowhere",
        run_id=run.run_id if run else None)
    client.set_registered_model_alias(name, "champion", version.version)


def hours(start: datetime, end: datetime, step: timedelta) -> Iterator[datetime]:
    """Instants from ``start`` to ``end``, both included."""
    while start < end:
        yield start
        start += step
    yield end


def _exp(value: float) -> float:
    return float(2.718281828459045**value)
