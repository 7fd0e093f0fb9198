"""Kill one retrain at every step, again and again, and compare what it leaves with a quiet one.

    python -m tests.story.kills [--kills 30] [--kind torch|sklearn] [--free] [--folder FOLDER]

A quiet retrain tells its moments: lines of its log, files that it writes, and what it asks MLflow
for. Then another one of the same request is killed with SIGKILL at moments that lie evenly over
that list, every time a little later, and started again until it ends. With fixed trials, one
thread and a clock that goes by bytes both leave the same bytes; with ``--free`` (the real clock,
two workers that a kill may leave behind) the same quality.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import yaml

from monitor.config import load
from monitor.registry import FOLDER, Registry
from monitor.request import Request
from monitor.simulate import START
from monitor.window import isoformat
from retrain.blocks import DAY
from tests.data import ROOT
from tests.retrain.child import forked as fork
from tests.retrain.shop import request, shop

LADDER = ["recall", "probabilities", "ranges", "tune", "refit", "search"]
KINDS: dict[str, dict[str, Any]] = {
    "torch": {"kind": "torch", "epochs": 6, "widths": [64], "prune": [0.5],
              "accuracy_budget": 0.15},
    "sklearn": {"kind": "sklearn", "settings": {"trees": 40}, "prune": [0.5]}}
SPANS = ((2, 20), (0, 18))
"""Days whose rows the versions from before the change learned; the last one serves, and has rows
enough to be made small, so that its ranges can be taken anew."""
TOLERANCE = 0.03
"""How far the quality of two free retrains may lie apart, in accuracy on 840 rows."""
LONGEST = 600
"""Seconds after which a process that does not end is wrong."""


@dataclass(slots=True)
class Toll:
    """Moments that were killed at, and what was wrong."""

    at: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Stage:
    """A deployment whose versions are from before the world changed; the last one serves."""

    folder: Path
    path: Path
    registry: Registry
    served: int
    free: bool = False
    forked: bool = False
    """Whether processes are forked from one that has read the libraries, as tests' jobs are."""

    def ask(self, **options: Any) -> Request:
        """The request for another version, after the change."""
        earlier = tuple(str(number) for number in range(self.served - 1, 0, -1))
        return request(self.path, "train", champion=str(self.served), predecessors=earlier,
                       options=options)


def main() -> int:
    """0: one version, and the same; 1: not so."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--kind", choices=sorted(KINDS), action="append")
    parser.add_argument("--free", action="store_true", help="the real clock and two workers")
    parser.add_argument("--folder", type=Path, help="keep everything here (default: nowhere)")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        return _live(json.loads(given.child.read_text("utf-8")))
    wrong = 0
    for kind in given.kind or sorted(KINDS):
        with tempfile.TemporaryDirectory(prefix="holdfast-kills-") as scratch:
            folder = (given.folder or Path(scratch)) / kind
            wrong += _soak(set_up(folder, kind, free=given.free), given.kills)
    return 1 if wrong else 0


def _soak(stage: Stage, kills: int) -> int:
    began, kind = time.monotonic(), stage.folder.name
    quiet, noisy = (stage.ask() for _ in range(2))
    moments = undisturbed(stage, quiet)
    expected = told(stage, quiet)
    print(f"{kind}: undisturbed {time.monotonic() - began:.0f} s, {len(moments)} moments, "
          f"{expected['outcome']}", file=sys.stderr, flush=True)
    toll = killed(stage, noisy, moments, spread(moments, kills))
    found = told(stage, noisy)
    toll.wrong += differences(expected, found, free=stage.free)
    print(f"{kind}: {len(toll.at)} kills, {time.monotonic() - began:.0f} s, "
          f"{found['versions']} version, " + ("equal in quality" if stage.free
                                              else f"model {found['model'][:12]}"))
    for step, count in Counter(_step(item) for item in toll.at).items():
        print(f"  {count:3} x {step}")
    for line in toll.wrong:
        print(f"WRONG {line}")
    return len(toll.wrong)


def set_up(folder: Path, kind: str, *, free: bool = False, forked: bool = False,
           spans: Sequence[tuple[int, int]] = SPANS, **training: Any) -> Stage:
    """The deployment of a kind, with versions of these days, before the change on day 21."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = KINDS[kind] | {
        "ladder": LADDER, "enough": 1.0, "minimum_gain": 0.0, "windows": ["all"],
        "search": {"trials": 3, "workers": 2 if free else 1, "minutes": 60}} | training
    path = shop(folder, f"sqlite:///{folder / 'mlflow.db'}", reports=True, **asked)
    stage = Stage(folder, path, Registry(load(path).config.mlflow), len(spans), free, forked)
    for number, (start, end) in enumerate(spans, start=1):
        other = path.with_name(f"first-{number}.yaml")
        config = yaml.safe_load(path.read_text("utf-8"))
        config["models"][0] |= {"registered_model": f"shop-{number}", "reference": {
            "from": isoformat(START + start * DAY), "to": isoformat(START + end * DAY)}}
        other.write_text(yaml.safe_dump(config), "utf-8")
        first = request(other, "bootstrap", options={"report": False})
        _run(stage, first)
        outcome = stage.registry.outcome(first.request_id)
        if outcome is None or outcome.status != "registered":
            raise SystemExit(f"no first version: {outcome}")
        stage.registry.client.copy_model_version(f"models:/shop-{number}/1", "shop")
    assert stage.registry.move_alias("shop", "champion", to=str(len(spans)),
                                     expected=None)
    return stage


def undisturbed(stage: Stage, asked: Request) -> list[str]:
    """The moments of a quiet life, each named once, in the order in which they first came."""
    _run(stage, asked, moments=(path := stage.folder / "moments"))
    return list(dict.fromkeys(path.read_text("utf-8").splitlines()))


def killed(stage: Stage, asked: Request, moments: list[str], at: list[int], *,
           luck: random.Random | None = None, late: float = 0.3) -> Toll:
    """Start the request and kill it at the moments of these places; in the end let it be.

    Half of the kills come up to ``late`` seconds later; a request that ended meanwhile has ended,
    and one that such a kill found beyond the next place goes on to its end.
    """
    luck, toll, before = luck or random.Random(0), Toll(), 0.0
    order = stage.folder / "order.json"
    order.write_text(json.dumps(moments), "utf-8")
    for place in at:
        delay = luck.choice([0.0, luck.uniform(0, late)])
        status = _run(stage, asked, order=str(order), place=place, alone=luck.random() < 0.5,
                      delay=delay)
        if status == 0 and (delay or before):
            return toll
        if status == 0:
            toll.wrong.append(f"it ended before {moments[place]!r}")
            return toll
        if status != -signal.SIGKILL:
            toll.wrong.append(f"exit {status} on the way to {moments[place]!r}")
        toll.at.append(moments[place])
        before = delay
        print(f"  kill {len(toll.at)} at {moments[place]}", file=sys.stderr, flush=True)
    if (status := _run(stage, asked)) != 0:
        toll.wrong.append(f"exit {status} in the end")
    return toll


def spread(moments: list[str], kills: int) -> list[int]:
    """Places evenly over the list, and one in each step that they would leave out."""
    even = {round((index + 0.5) * len(moments) / kills) for index in range(kills)}
    places = sorted(min(place, len(moments) - 1) for place in even)
    steps = [_step(item) for item in moments]
    left_out = [steps.index(step) for step in dict.fromkeys(steps)
                if step not in {steps[place] for place in places}]
    return sorted([*places, *left_out])


def _step(moment: str) -> str:
    """The step that a moment belongs to: its folder, or what is asked of MLflow."""
    kind, _, what = moment.partition(" ")
    if kind == "file":
        return "files of " + (what.partition("/")[0] if "/" in what else "the job")
    return {"line": "lines of the log", "artifact": "artifacts of MLflow"}.get(
        kind, "questions to MLflow")


def _run(stage: Stage, asked: Request, **orders: Any) -> int:
    """The exit status of a process that works on the request; negative where it was killed."""
    place = stage.folder / asked.request_id
    place.mkdir(exist_ok=True)
    (place / "request.json").write_text(asked.to_json(), "utf-8")
    order = place / "child.json"
    order.write_text(json.dumps({"request": str(place / "request.json"), "free": stage.free,
                                 **{key: str(value) if isinstance(value, Path) else value
                                    for key, value in orders.items()}}), "utf-8")
    if stage.forked:
        status = fork(_forked, str(order), log=place / "log.txt", within=LONGEST)
        assert status is not None, f"it did not end within {LONGEST} s"
        return status
    with (place / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.story.kills", "--child", str(order)],
            stdout=log, stderr=log, cwd=ROOT, start_new_session=True,
            env=os.environ | {"DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"})
    return process.wait(LONGEST)


def _forked(order: str) -> int:
    """The same life in a process group of its own, as a kill of all its helpers wants it."""
    os.setsid()
    warnings.simplefilter("ignore")
    return _live(json.loads(Path(order).read_text("utf-8")))


def _live(order: Mapping[str, Any]) -> int:
    """Work on a request, tell every moment, and die at the one that is ordered."""
    if not order["free"]:
        _by_bytes()  # before anybody imports the clock by name
    _the_long_way()
    folder = Path(order["request"]).parent / "work"
    if "moments" in order:
        told = Path(order["moments"]).open("a", buffering=1, encoding="utf-8")  # noqa: SIM115
        _watched(folder, lambda moment: told.write(moment + "\n"))
    elif "place" in order:
        known = {moment: place for place, moment
                 in enumerate(json.loads(Path(order["order"]).read_text("utf-8")))}
        _watched(folder, lambda moment: _die(order) if known.get(moment, -1) >= order["place"]
                 else None)
    from retrain.cli import main as work

    return work([order["request"]])


def _die(order: Mapping[str, Any]) -> None:
    """Kill this process, alone or with its helpers, at once or a moment later."""
    def kill() -> None:
        if order["alone"]:
            os.kill(os.getpid(), signal.SIGKILL)
        os.killpg(os.getpgid(0), signal.SIGKILL)

    if order["delay"]:
        threading.Timer(order["delay"], kill).start()
    else:
        kill()


def _by_bytes() -> None:
    """Latency by the size of an artifact: a clock that no load and no kill disturbs."""
    from retrain import evaluate

    def latency(artifacts: Mapping[str, Any], frame: Any, *, batches: tuple[int, ...] = (1, 256),
                seconds: float = 0.04) -> dict[str, dict[int, float]]:
        return {name: {batch: Path(artifact._model_path).stat().st_size * batch * 1e-9
                       for batch in batches} for name, artifact in artifacts.items()}

    evaluate.latency = latency


def _the_long_way() -> None:
    """No rung gains enough, the search finds something, and the dearest that passed is taken."""
    from retrain import ascent, proof, train

    ascent._lost = lambda ground, promised: 1.0
    proof.nowhere_dearer = lambda item, default: True
    proof.worth = lambda item, default, gap: 1.0
    proof.proven = lambda gaps: True
    train.best = lambda attempts, borne: next(
        (item for item in reversed(attempts)
         if item.result == "passed" and item.rung != "reblend"), None)


def _watched(folder: Path, came: Callable[[str], object]) -> None:
    """Tell of each file that is written in the folder, each line, and each question to MLflow."""
    from retrain.steps import Steps

    def audit(event: str, given: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(given[0], str | Path) and _writes(given):
            path = Path(given[0])
            if path.is_relative_to(folder):
                came(f"file {path.relative_to(folder)}")
            elif "mlartifacts" in path.parts:
                name = str(path).partition("/artifacts/")[2]
                came(f"artifact {re.sub(r'uploading[.].*', 'uploading', name)}")
        elif event == "os.rename" and Path(given[1]).is_relative_to(folder):
            came(f"file {Path(given[1]).relative_to(folder)}")

    asked, said = Registry.words, Steps._say

    @contextmanager
    def words(registry: Registry, what: str) -> Iterator[None]:
        plain = re.sub(r"shop-train-[\w-]+|\b[0-9a-f]{32}\b|m-[0-9a-f]+", "ID", what)
        came(f"before {plain}")
        with asked(registry, what):
            yield
        came(f"after {plain}")

    def say(steps: Steps, head: str, line: str) -> None:
        said(steps, head, line)
        came(f"line {head.strip()} {line[:40]}")

    sys.addaudithook(audit)
    Registry.words, Steps._say = words, say  # type: ignore[method-assign]


def _writes(given: tuple[Any, ...]) -> bool:
    _, mode, flags = given
    return any(letter in (mode or "") for letter in "wax+") or bool(
        mode is None and flags & (os.O_WRONLY | os.O_RDWR))


def told(stage: Stage, asked: Request) -> dict[str, Any]:
    """What a request left behind: its version as bytes, its runs, and what it said."""
    registry, client = stage.registry, stage.registry.client
    outcome = registry.outcome(asked.request_id)
    runs = client.search_runs([registry.experiment("shop")],
                              f"tags.`holdfast.request_id` = '{asked.request_id}'")
    children = [child for run in runs for child in client.search_runs(
        [run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")]
    versions = [item for item in registry.versions("shop")
                if item.tags.get("holdfast.request_id") == asked.request_id]
    models = [item for item in client.search_logged_models([registry.experiment("shop")])
              if item.tags.get("holdfast.request_id") == asked.request_id]
    found = {"outcome": outcome and f"{outcome.status}: {outcome.reason}",
             "runs": len(runs), "versions": len(versions), "models": len(models),
             "nested": sorted(_nested(registry, child) for child in children),
             "alias": registry.aliases("shop").get("challenger") in {
                 item.version for item in versions},
             "quality": outcome and outcome.result.get("holdout", {}).get("candidate"),
             "model": ""}
    if versions:
        uri = client.get_model_version_download_uri("shop", versions[0].version)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(mlflow.artifacts.download_artifacts(
                f"{uri}/model.onnx", dst_path=scratch, tracking_uri=registry.tracking_uri))
            found["model"] = hashlib.sha256(folder.read_bytes()).hexdigest()
    return found | _artifacts(registry, runs[0].info.run_id)


def _nested(registry: Registry, child: Any) -> tuple[str, str, str, tuple[int, ...]]:
    """A nested run: its name, its status, its parameters, and how often each metric was told."""
    told = [len(registry.client.get_metric_history(child.info.run_id, key))
            for key in sorted(child.data.metrics)]
    return (child.info.run_name, child.info.status, json.dumps(child.data.params, sort_keys=True),
            tuple(told))


def _artifacts(registry: Registry, run_id: str) -> dict[str, Any]:
    """Weights, other forms, the baseline and limits of a run, each as a hash."""
    found: dict[str, Any] = {}
    for name in ("weights.safetensors", "parent.onnx", "uncompressed.onnx",
                 "baseline.json", "calibration.json"):
        content = registry.artifact_bytes(run_id, f"{FOLDER}/{name}")
        if content is not None and name == "baseline.json":
            plain = json.loads(content)
            content = json.dumps(plain | {"version": ""}, sort_keys=True).encode()
        found[name] = content and hashlib.sha256(content).hexdigest()[:12]
    return found


def differences(expected: Mapping[str, Any], found: Mapping[str, Any], *, free: bool) -> list[str]:
    """What is not as it should be, in words."""
    wrong = [f"{what}: {found[what]}, not 1" for what in ("runs", "versions", "models")
             if found[what] != 1]
    names = [item[0] for item in found["nested"]]
    wrong += [f"nested run {name} is there {count} times"
              for name, count in Counter(names).items() if count > 1]
    if not found["alias"]:
        wrong.append("no alias points at it")
    if not free:
        return wrong + [f"{what}: {expected[what]} and {found[what]}" for what in expected
                        if expected[what] != found[what]]
    apart = abs(expected["quality"]["value"] - found["quality"]["value"])
    return wrong + ([f"quality differs by {apart:.4f}"] if apart > TOLERANCE else [])


if __name__ == "__main__":
    sys.exit(main())
