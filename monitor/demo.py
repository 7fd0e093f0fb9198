"""Demo: the whole loop on one machine, on a simulated stream or on a real log."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pandas as pd
import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from monitor import showcase
from monitor.config import load
from monitor.deps import Deps
from monitor.errors import ConfigError
from monitor.launch import LocalProcess
from monitor.playback import ARRIVAL, ID, LABEL_ARRIVAL, Stage, log_mapping
from monitor.registry import Registry
from monitor.report import Reporter
from monitor.results import Results, results
from monitor.simulate import START, Plan, deliveries
from monitor.store import Store
from monitor.window import Window, format_duration, isoformat

OURS = ".holdfast-demo"
"""Marks a folder that a demo made, and that the next one may throw away."""
HOLDOUT_ROWS = 1400
"""Labelled rows that a gate should see; the holdout is as many days as that takes."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What is played: the rows, the settings of the model, and the two periods."""

    name: str
    frame: pd.DataFrame
    model: dict[str, Any]
    reference: Window
    live: Window
    label: str
    drift: datetime | None = None


def demo(*, folder: Path, log_file: Path | None, wait_for_me: bool, serve: bool, as_json: bool,
         **options: Any) -> None:
    """Play the scene and print what it brought."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    console = Console(stderr=True, highlight=False, markup=False,
                      soft_wrap=not sys.stderr.isatty())
    scene = logged(log_file, **options) if log_file else simulated()
    folder = _fresh(folder.resolve(), console)
    console.print(f"{scene.name}: {len(scene.frame):,} rows, reference "
                  f"{scene.reference.start:%Y-%m-%d} to {scene.reference.end:%Y-%m-%d}, live until "
                  f"{scene.live.end:%Y-%m-%d}. Everything is written to {folder}")
    console.print("starting an MLflow server")
    mlflow = showcase.start_mlflow(folder, free_port())
    servers = {"mlflow": mlflow}
    try:
        summary = play(scene, folder, mlflow.address, console, by_hand=wait_for_me)
        if serve:
            servers["status"] = showcase.start_status(folder, free_port())
            showcase.keep(folder, servers)
    finally:
        if not serve or "status" not in servers:
            for server in servers.values():
                server.stop()
    if as_json:
        click.echo(json.dumps(summary.to_dict()))
    else:
        click.echo(summary.table())
    if serve:
        status = servers["status"].address
        place = folder.name if folder.parent == Path.cwd() else folder
        click.echo(f"\nstatus page  {status}/\nmetrics      {status}/metrics\n"
                   f"MLflow UI    {mlflow.address}/#/models/{scene.name}\n"
                   + (f"drift report {status}/reports/{summary.report}\n" if summary.report else "")
                   + f"They stay up for an hour; `holdfast demo --stop --folder {place}` "
                     "ends them sooner.")


def play(scene: Scene, folder: Path, mlflow: str, console: Console, *, by_hand: bool) -> Results:
    """Prepare the stage, live through the period, and sum up."""
    path = folder / "holdfast.yaml"
    path.write_text(yaml.safe_dump(settings(scene, mlflow, by_hand=by_hand), sort_keys=False))
    config = load(path).config
    model = config.models[0]
    registry = Registry(config.mlflow)
    launcher = LocalProcess(Path(config.folder) / "requests")
    with ExitStack() as stack:
        stack.callback(launcher.stop)
        store = stack.enter_context(Store.open(config.store))
        bar = stack.enter_context(_bar(console))
        deps = Deps(config, str(path), store, registry, launcher, None)
        stage = Stage(model, deps, folder, scene.frame, scene.label,
                      lambda text: bar.console.print(f"  {text}"),
                      Reporter(registry, str(path)))
        task = bar.add_task("train the first champion", total=None)
        stage.prepare(scene.reference)
        days = -(-scene.live.length // model.calendar.pane)
        bar.update(task, total=days, completed=0, description="live")
        for day, now in enumerate(stage.play(scene.live)):
            state = store.recorded(model.name).state
            bar.update(task, advance=1, description=f"{now:%Y-%m-%d} {state.phase}")
            if not console.is_terminal and day % 28 == 0:
                console.print(f"  {now:%Y-%m-%d} {state.phase}, version {state.champion} serves")
            if by_hand and state.phase == "awaiting_promotion":
                bar.console.print(f"  waiting for you: set alias champion on version "
                                  f"{state.challenger} at {mlflow}/#/models/{scene.name}")
                stage.wait_for_promotion(now)
        return results(stage, scene.live, scene.drift)


def simulated() -> Scene:
    """Deliveries that come late: a slow drift, then an abrupt one."""
    plan = Plan()
    frame = deliveries(plan)
    reference = Window(START, START + timedelta(days=plan.slow_from))
    live = Window(reference.end, START + timedelta(days=plan.days))
    return Scene("deliveries", frame, {
        "task": "binary",
        "log": log_mapping("late", "timestamp") | {"positive_label": "yes"},
        "maturity": {"ratio": 0.9, "delay": "4d"},
    }, reference, live, "late", plan.abrupt)


def logged(file: Path, *, timestamp: str, label: str | None, exclude: tuple[str, ...],
           categorical: tuple[str, ...], task: str, positive: str | None, delay: timedelta,
           reference: float, **_: Any) -> Scene:
    """A real log: its oldest share is the reference, labels come ``delay`` after their rows."""
    frame = _read(file)
    for option, column in (("--timestamp", timestamp), ("--label", label),
                           *(("--exclude", name) for name in exclude),
                           *(("--categorical", name) for name in categorical)):
        if column not in frame.columns:
            raise ConfigError([f"{option}: {column!r} is not a column of {file}; it has "
                               + ", ".join(frame.columns)])
    assert label is not None
    frame = frame.drop(columns=list(exclude)).dropna(subset=[label])
    frame = frame.sort_values(timestamp, kind="stable").reset_index(drop=True)
    times = _times(frame[timestamp])
    frame[timestamp], frame[ARRIVAL] = times, times
    frame[LABEL_ARRIVAL] = times + delay
    frame[ID] = [f"r{row:08d}" for row in range(len(frame))]
    if isinstance(frame[label].dtype, pd.CategoricalDtype):
        frame[label] = frame[label].astype(str)
    start, last = times.iloc[0].to_pydatetime(), times.iloc[-1].to_pydatetime()
    split = (start + reference * (last - start)).replace(hour=0, minute=0, second=0, microsecond=0)
    if split <= start:
        raise ConfigError([f"--log: {file} has labelled rows of {start:%Y-%m-%d %H:%M} to "
                           f"{last:%Y-%m-%d %H:%M}; right would be some weeks of them"])
    model: dict[str, Any] = {
        "task": task,
        "log": log_mapping(label, timestamp, categorical=list(categorical)),
        "maturity": {"ratio": 0.9, "delay": format_duration(delay)},
    }
    if task == "binary":
        model["log"]["positive_label"] = _positive(positive, frame[label])
    return Scene(file.stem, frame, model, Window(start, split),
                 Window(split, last + timedelta(seconds=1)), label)


def _read(file: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise ConfigError([f"--log: {file} cannot be read as Parquet: {error}"]) from error


def _times(column: pd.Series) -> pd.Series:
    """Instants in UTC. Numbers are refused: seconds, milliseconds and years all look alike."""
    try:
        if pd.api.types.is_numeric_dtype(column):
            raise ValueError("it holds numbers")
        return pd.to_datetime(column, utc=True).astype("datetime64[us, UTC]")
    except (TypeError, ValueError) as error:
        raise ConfigError([f"--timestamp: {column.name!r} holds no times ({error}); right would be "
                           "the column of the rows' event time"]) from error


def _positive(asked: str | None, label: pd.Series) -> str:
    classes = sorted(label.astype(str).unique())
    if asked is not None and asked not in classes:
        raise ConfigError([f"--positive: {asked!r} is none of the classes "
                           + ", ".join(classes[:9])])
    return asked or classes[-1]


def settings(scene: Scene, mlflow: str, *, by_hand: bool) -> dict[str, Any]:
    """The configuration that the scene is played under, as it would stand in the file."""
    return {
        "mlflow": {"tracking_uri": mlflow},
        "store": "sqlite:///holdfast.db",
        "models": [{
            "name": scene.name, **scene.model,
            "reference": {"from": isoformat(scene.reference.start),
                          "to": isoformat(scene.reference.end)},
            "window": {"length": "1d", "lateness": "1h"},
            "policy": {"alarm_budget": "1 per 90d",
                       "retrain": {"on": ["degraded"], "cooldown": "14d", "minimum_rows": 1000},
                       "promotion": "manual" if by_hand else "automatic",
                       "rollback": "automatic",
                       "compression": {"every": "14d"}},
            "training": training(scene),
        }],
    }


def training(scene: Scene) -> dict[str, Any]:
    """How candidates are made: enough days for a gate that can tell, and four times as many.

    Without blends, which are not made small: people come to see that too.
    """
    rows = len(scene.frame) / max((scene.live.end - scene.reference.start) / timedelta(days=1), 1)
    holdout = min(max(round(HOLDOUT_ROWS / rows), 5), 28)
    return {"kind": "torch", "window": f"{4 * holdout}d", "holdout": f"{holdout}d",
            "ladder": ["recall", "probabilities", "ranges", "tune", "refit"]}


def free_port() -> int:
    """A TCP port on loopback that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _fresh(folder: Path, console: Console) -> Path:
    """An empty folder; an earlier demo in it is stopped and removed, anything else refused."""
    try:
        if folder.exists() and any(folder.iterdir()):
            if not (folder / OURS).exists():
                raise ConfigError([f"--folder: {folder} holds something that no demo wrote; right "
                                   "would be a new folder"])
            showcase.stop(folder)
            console.print(f"removing the earlier demo in {folder}")
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / OURS).write_text("made by `holdfast demo`; the next one removes this folder\n")
    except OSError as error:
        raise ConfigError([f"--folder: {folder} cannot be written to: {error.strerror}"]) from error
    return folder


def _bar(console: Console) -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
                    console=console)
