"""What a search finds beside the default options, on rows that neither has seen.

Run as `python -m tests.benchmarks.retrain --only search`. Two streams, two trainers; the study
chooses on validation rows, quality is told of the newest ones. `worse` is paired (accuracy, or R2
for bikes), a mean over seeds: positive is worse than the default; `smaller` and `faster` (batch 1)
are ratios to it.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from retrain.checkpoints import Checkpoints
from retrain.contract import default
from retrain.evaluate import Scores, answer, compare, latency, score, session
from retrain.proof import TOLERANCE
from retrain.quest import Quest, Spending
from retrain.scikit import Scikit
from retrain.search import Found, search
from retrain.tabular import Tabular
from retrain.trainer import Fitted, Options, Split, Trainer, taught
from tests.benchmarks.tables import table
from tests.data import stream

Told = dict[str, Any]

TRAINERS: dict[str, Trainer] = {"torch": Tabular(), "sklearn": Scikit()}

FITS = 5
"""Seeds that the default options and the chosen ones are fitted from for the table."""

NOISE = 0.98
"""How much two measurements of one artifact's latency differ."""

METRICS = {"elec2": "accuracy", "bike_sharing": "r2"}


def measure(quick: bool = False) -> Told:
    """{stream: {trainer: what was chosen, against the default on the newest rows}}."""
    spending = Spending(trials=8 if quick else 24, minutes=8)
    return {name: {kind: _searched(name, kind, spending) for kind in TRAINERS}
            for name in METRICS}


def rows(name: str) -> tuple[Split, Options]:
    """The stream in three parts by time, and the default options for it."""
    frame = stream(name).rename(columns={"timestamp": "_timestamp"})
    if name == "elec2":
        frame = frame.drop(columns="date").rename(columns={"class": "_label"}).head(12000)
        frame["_label"] = frame["_label"].astype(object)
        options = Options("binary", categorical=("day",), classes=("DOWN", "UP"))
    else:
        frame = frame.drop(columns=["casual", "registered"]).rename(columns={"cnt": "_label"})
        frame = frame.head(12000)
        options = Options("regression", categorical=("hr", "weekday", "weathersit"))
    cuts = [0, 7200, 9600, 12000]
    return Split(*(frame[a:b].reset_index(drop=True) for a, b in pairwise(cuts))), options


def _searched(name: str, kind: str, spending: Spending) -> Told:
    data, options = rows(name)
    contract = default(data.train, options.task, classes=options.classes)
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        quest = Quest(TRAINERS[kind], options, contract, data, METRICS[name], Path(folder))
        found = search(quest, spending)
        before = Path(folder) / "default.onnx"
        gaps = _gaps(quest, found)
        taken = latency({"default": session(before), "chosen": session(found.artifact)},
                        data.holdout.tail(500), batches=(1, 256), seconds=0.5)
        smaller = before.stat().st_size / found.artifact.stat().st_size
    faster = {batch: taken["default"][batch] / taken["chosen"][batch] for batch in (1, 256)}
    worse = statistics.fmean(gap for _, gap in gaps)
    error = statistics.stdev(gap for _, gap in gaps) / math.sqrt(FITS)
    return {"chosen": found.reason, "trials": len(found.tried),
            "pruned": sum(item.state == "pruned" for item in found.tried),
            "default": statistics.fmean(value for value, _ in gaps), "worse": worse,
            "error": error, "by_fit": [gap for _, gap in gaps],
            "smaller": smaller, "faster": faster[1],
            "faster_256": faster[256], "kept_its_word": _kept(worse, smaller, faster[1])}


def _gaps(quest: Quest, found: Found) -> list[tuple[float, float]]:
    """Fit by fit the default options' quality on the newest rows, and how much worse the chosen
    ones are from the same seed; where the search taught, taught by that default and the next."""
    defaults = [_fitted(quest, "default", quest.options, seed) for seed in range(FITS)]
    gaps = []
    for seed, default_fit in enumerate(defaults):
        teachers = [defaults[(seed + more) % FITS] for more in range(len(found.teachers))]
        chosen = (default_fit if found.number is None else
                  _fitted(quest, "chosen", found.options, seed, teachers))
        before, after = (_scored(quest, fit, seed) for fit in (default_fit, chosen))
        gaps.append((before.quality[quest.metric].value,
                     compare(after, before, quest.metric).difference))
    return gaps


def _fitted(quest: Quest, name: str, options: Options, seed: int, teachers: Sequence[Fitted] = ()
            ) -> Fitted:
    return taught(quest.trainer, teachers, quest.data, replace(options, seed=options.seed + seed),
                  checkpoints=Checkpoints(quest.folder / "fits" / f"{name}-{seed}"))


def _scored(quest: Quest, fitted: Fitted, seed: int) -> Scores:
    rows, path = quest.data.holdout, quest.folder / "fits" / "model.onnx"
    path.parent.mkdir(exist_ok=True)
    artifact = quest.trainer.export(fitted, quest.contract, path)
    return score(str(seed), answer(session(artifact), rows, quest.contract), rows,
                 contract=quest.contract, metrics=(quest.metric,))


def _kept(worse: float, smaller: float, faster: float) -> bool:
    """No worse and smaller and faster, or better at no more size and latency (but for the noise of
    measuring)."""
    cheaper = smaller > 1 and faster > 1
    return (worse <= TOLERANCE and cheaper) or (worse < 0 and smaller >= 1 and faster >= NOISE)


def shown(told: Told) -> str:
    """The results as a table."""
    frame = pd.DataFrame([
        {"stream": name, "trainer": kind, "default": f"{it['default']:.4f}",
         "chosen": f"{it['default'] - it['worse']:.4f}",
         "worse": f"{it['worse']:+.4f} +- {it['error']:.4f}",
         "by fit": ", ".join(f"{gap:+.3f}" for gap in it["by_fit"]),
         "smaller": f"{it['smaller']:.1f}", "faster": f"{it['faster']:.2f}",
         "faster at 256": f"{it['faster_256']:.2f}",
         "trials": f"{it['trials']} ({it['pruned']} ended early)"}
        for name, kinds in told.items() for kind, it in kinds.items()])
    return "\n".join(table(list(frame.columns), frame.to_numpy().tolist()))
