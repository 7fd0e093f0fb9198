"""Rehearsal: `replay --act`, history relived with trainings and promotions.

The rows of the log are read once (bounded, after the privacy rules), then played back in a
scratch folder with a store and an MLflow of its own. The configured ones are never written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from monitor.config import Loaded, Model, load
from monitor.deps import Deps
from monitor.errors import ConfigError, HoldfastError
from monitor.launch import LocalProcess
from monitor.playback import ARRIVAL, ID, LABEL_ARRIVAL, Stage, log_mapping
from monitor.reference import reference_span
from monitor.registry import Registry
from monitor.sampling import SEGMENT
from monitor.source import Source
from monitor.store import Store
from monitor.window import Window, isoformat

MOST_ROWS = 2_000_000
"""Rows that a rehearsal reads at most; a longer log is hash-sampled."""

HANDOVER = timedelta(seconds=5)
"""How long a training may take to end when its rehearsal is broken off."""

LEFT_OUT = "a rehearsal leaves out "
"""How the line begins that says what has no part in one."""

COPIED = ("task", "maturity", "window", "policy", "training")


def rehearse(model: Model, loaded: Loaded, folder: Path, start: datetime, end: datetime
             ) -> Iterator[dict[str, Any]]:
    """Verdict lines of ``[start, end]`` as they would have been, had holdfast acted."""
    if model.training.kind == "none":
        raise ConfigError([f"models.{model.name}.training.kind: none, and --act trains; right "
                           "would be torch"])
    with Source(model, loaded.config.limits) as source:
        reference = reference_span(model, source)
        if reference is None:
            raise HoldfastError(f"{model.name}: the log does not hold a whole reference yet")
        live = Window(max(start, reference.end), end)
        frame = rows_of(model, source, Window(reference.start, end))
    folder.mkdir(parents=True)
    (folder / "holdfast.yaml").write_text(
        yaml.safe_dump(settings(model, frame, reference), sort_keys=False))
    scratch = load(folder / "holdfast.yaml")
    config, registry = scratch.config, Registry(scratch.config.mlflow)
    launcher = LocalProcess(Path(config.folder) / "requests")
    with ExitStack() as stack:
        stack.callback(launcher.stop, HANDOVER)
        store = stack.enter_context(Store.open(config.store))
        deps = Deps(config, str(scratch.path), store, registry, launcher, None)
        stage = Stage(config.models[0], deps, folder, frame, "_label", lambda text: None)
        stage.prepare(reference)
        printed: set[int] = set()
        for _ in stage.play(live):
            for row in store.verdicts(model.name):
                if row.id not in printed:
                    printed.add(row.id)
                    yield row.line


def rows_of(model: Model, source: Source, span: Window) -> pd.DataFrame:
    """Labelled rows of the log as a stage takes them, sorted by time."""
    known_by = span.end + model.maturity.delay + model.calendar.horizon
    rows = source.sample(span, known_by=known_by, limit=MOST_ROWS, labelled=True)
    rows = rows.sort_values("_timestamp", kind="stable").reset_index(drop=True)
    ids = rows["_id"] if "_id" in rows else pd.Series([f"r{row:08d}" for row in range(len(rows))])
    times = rows["_timestamp"].astype("datetime64[us, UTC]")
    dropped = [name for name in ("_prediction", "_score", "_version", "_id") if name in rows]
    rows = rows.drop(columns=dropped).rename(columns=lambda name: str(name).removeprefix(SEGMENT))
    rows["_timestamp"], rows[ARRIVAL], rows[ID] = times, times, ids.astype(str)
    rows[LABEL_ARRIVAL] = times + model.maturity.delay
    return rows


def left_out(model: Model) -> str:
    """What is configured and has no part in a rehearsal, in words; '' where that is nothing."""
    parts = []
    if model.benchmarks:
        names = ", ".join(item.name for item in model.benchmarks)
        parts.append(f"golden sets and their audits ({names}), which may refuse what passes here")
    if "compression" in model.policy.retrain.on:
        parts.append("retrains because of compression, as nothing is scored beside its "
                     "uncompressed form")
    return LEFT_OUT + "; ".join(parts) if parts else ""


def settings(model: Model, frame: pd.DataFrame, reference: Window) -> dict[str, Any]:
    """The scratch configuration: the model's own rules over the stage's log.

    Groups whose column did not leave the log are judged by nobody there.
    """
    plain = model.model_dump(mode="json", by_alias=True)
    features, groups = model.log.features, [name for name in model.log.segments if name in frame]
    log = log_mapping("_label", "_timestamp", categorical=features.categorical, exclude=[
        name for name in groups
        if name in features.exclude or name not in (features.include or groups)])
    log["segments"] = groups
    gate = plain["training"]["gate"]
    gate["fairness"] = [rule for rule in gate["fairness"] if rule["column"] in groups]
    if model.log.positive_label is not None:
        log["positive_label"] = model.log.positive_label
    policy = plain["policy"] | {"promotion": "automatic", "shadow": {"rows": 0},
                                "compression": {"rows": 0}}
    return {"mlflow": {"tracking_uri": "sqlite:///mlflow.db"}, "store": "sqlite:///holdfast.db",
            "reports": False,  # which nobody could read afterwards
            "models": [{"name": model.name, "log": log,
                        "reference": plain["reference"] | {
                            "from": isoformat(reference.start), "to": isoformat(reference.end),
                            "source": None},
                        **{key: plain[key] for key in COPIED}, "policy": policy}]}
