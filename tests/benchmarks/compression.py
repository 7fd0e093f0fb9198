"""How small and fast a network gets within one point of accuracy, beside torch's eager fp32.

Three networks on real streams: a multilayer perceptron (66-512-512-256-6, ``insects_gradual``), a
convolutional one (``pneumonia_mnist``) and one over texts (``arxiv_physics_text``). Each is trained
from scratch, pruned by sensitivity, recovered by distillation and quantized by the very trainers
that a retrain uses; which point is taken is decided on validation, accuracy is told of later rows.

``size``: bytes of the torch weights over bytes of the whole artifact. ``batch1``, ``batch256``: CPU
time of the eager module over that of the same network in ONNX Runtime, both from tensors, one
thread, in turn. ``from_raw``: the same against the artifact with its preprocessing, from raw
columns, while torch still gets tensors.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import torch

from retrain.checks import Rules
from retrain.contract import default
from retrain.evaluate import Scores, answer, compare, latency, score, session
from retrain.export import NETWORK
from retrain.finetune import Network, best, target, tensors, untrained
from retrain.gate import choose
from retrain.image import Image
from retrain.neural import Neural
from retrain.preprocess import Encoder
from retrain.spec import Spec
from retrain.tabular import Tabular
from retrain.text import Text
from retrain.trainer import Options, Split
from tests.data import stream

Told = dict[str, Any]

SHARES = (0.875, 0.8, 0.7, 0.5)
"""Shares of units to remove, largest first, until accuracy is within the budget."""

BUDGET = 0.01


@dataclass(frozen=True, slots=True)
class Case:
    """One network: its trainer, its rows and how it is trained."""

    trainer: Neural
    data: Split
    options: Options
    fresh: Callable[[Split, Options], Network]


def measure(quick: bool) -> Told:
    """{"compression": {network: what it gained}}; each is told as it ends, they take minutes."""
    torch.set_num_threads(1)
    found: dict[str, Told] = {}
    for name, make in CASES.items():
        found[name] = compressed(make(quick))
        print(f"{name}: {json.dumps(found[name])}", file=sys.stderr, flush=True)
    return {"compression": found}


def compressed(case: Case) -> Told:
    """The chosen point of one network, its ratios to torch and what it cost in accuracy."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = case.fresh(case.data, case.options)
        found = _points(case, whole, folder)
        choice = choose([item for item, _ in found.values()], reference=found["fp32"][0],
                        rules=Rules("accuracy"), budget=BUDGET).scores.name
        path = found[choice][1]
        weights = case.trainer.save(whole, folder / case.trainer.file).stat().st_size
        return {**_faster(case, whole, path, folder), "size": weights / path.stat().st_size,
                "accuracy_change": _accuracy(case, whole, path) - _accuracy(
                    case, whole, found["fp32"][1]),
                "accuracy": _accuracy(case, whole, path), "point": choice,
                "bytes": path.stat().st_size, "torch_bytes": weights}


def _points(case: Case, whole: Network, folder: Path) -> dict[str, tuple[Scores, Path]]:
    """Every size that was tried, with its scores on validation."""
    found: dict[str, tuple[Scores, Path]] = {}

    def add(name: str, path: Path) -> Scores:
        scores = _scores(name, case, whole, path)
        found[name] = scores, path
        return scores

    def both(name: str, fitted: Network) -> float:
        contract = _contract(case, fitted)
        path = case.trainer.export(fitted, contract, folder / f"{name}.onnx")
        small = case.trainer.quantized(path, folder / f"{name}-int8.onnx",
                                       calibration=case.data.train.tail(4096))
        both = [add(name, path), add(f"{name}-int8", small)]
        return max(compare(one, found["fp32"][0], "accuracy").high for one in both)

    both("fp32", whole)
    for share in SHARES:
        student = case.trainer.pruned(whole, share, case.data, options=case.options)
        if both(f"pruned-{share * 100:.0f}", student) <= BUDGET:
            break
    times = latency({name: session(path) for name, (_, path) in found.items()},
                    case.data.validation, seconds=0.1)
    return {name: (replace(scores, size_bytes=path.stat().st_size, latency=times[name]), path)
            for name, (scores, path) in found.items()}


def _contract(case: Case, fitted: Network) -> Any:
    return default(case.data.train, case.options.task, classes=fitted.classes)


def _scores(name: str, case: Case, fitted: Network, path: Path) -> Scores:
    contract, rows = _contract(case, fitted), case.data.validation
    return score(name, answer(session(path), rows, contract), rows, contract=contract,
                 metrics=("accuracy",))


def _accuracy(case: Case, fitted: Network, path: Path) -> float:
    rows = case.data.holdout
    said = answer(session(path), rows, _contract(case, fitted)).predictions
    return float(np.mean(said == rows["_label"].to_numpy()))


def _faster(case: Case, whole: Network, path: Path, folder: Path) -> Told:
    """Eager CPU time over the runtime's, for one row and for 256."""
    plain = folder / path.name.replace("-int8", "")
    alone = network(path, plain, folder / "alone.onnx")
    times = latency({"eager": _eager(whole), "alone": _fed(alone, whole), "raw": session(path)},
                    case.data.holdout, seconds=0.6)
    ratios = {name: {batch: times["eager"][batch] / times[name][batch] for batch in (1, 256)}
              for name in ("alone", "raw")}
    return {"batch1": ratios["alone"][1], "batch256": ratios["alone"][256],
            "from_raw": {"batch1": ratios["raw"][1], "batch256": ratios["raw"][256]},
            "eager_ms": {str(batch): times["eager"][batch] * 1e3 for batch in (1, 256)}}


def network(artifact: Path, plain: Path, target: Path) -> Path:
    """The artifact's network alone, from its tensors to its logits; ``plain`` is its fp32 form,
    which says where the network begins and ends."""
    graph = onnx.load(plain).graph
    inner = [node for node in graph.node if node.name.startswith(NETWORK)]
    known = {name for node in inner for name in node.output} | {
        item.name for item in graph.initializer}
    given = dict.fromkeys(name for node in inner for name in node.input
                          if name and name not in known)
    onnx.utils.extract_model(str(artifact), str(target), list(given), [inner[-1].output[0]],
                             check_model=False)
    return target


def _fed(path: Path, fitted: Network) -> Callable[[pd.DataFrame], Callable[[], object]]:
    """The network in the runtime as ``latency`` measures it, on the tensors that torch gets."""
    artifact = session(path)

    def prepared(rows: pd.DataFrame) -> Callable[[], object]:
        given = [item.numpy() for item in tensors(fitted, rows)]
        given = [item for item in given if item.shape[1]]
        fed = {item.name: value for item, value in zip(artifact.get_inputs(), given, strict=True)}
        return lambda: artifact.run(None, fed)

    return prepared


def _eager(fitted: Network) -> Callable[[pd.DataFrame], Callable[[], object]]:
    def prepared(rows: pd.DataFrame) -> Callable[[], object]:
        given = tensors(fitted, rows)

        def call() -> object:
            with torch.inference_mode():
                return fitted.module(*given)

        return call

    return prepared


def _table(quick: bool) -> Case:
    frame = stream("insects_gradual").rename(columns={"timestamp": "_timestamp", "class": "_label"})
    data = _split(frame, (0, 6000, 8000, 11_000))
    return Case(Tabular(), data, Options("multiclass", epochs=8 if quick else 20), _perceptron)


def _perceptron(data: Split, options: Options) -> Network:
    names = [str(name) for name in data.train.columns if not str(name).startswith("_")]
    encoder = Encoder.fit(data.train, names, ())
    spec = Spec(options.task, n_numeric=2 * len(names), cardinalities=(), layers=(512, 512, 256),
                **target(data.train, options))
    return best([untrained(spec, encoder, options)], data, options)


def _image(quick: bool) -> Case:
    frame = stream("pneumonia_mnist").drop(columns="split").rename(
        columns={"timestamp": "_timestamp", "label": "_label"})
    data = _split(frame, (0, 1500, 2500, 3881))
    return Case(Image(), data, Options("binary", epochs=5 if quick else 10,
                                         settings={"kernels": [32, 64, 64], "hidden": 64}),
                Image().fresh)


def _text(quick: bool) -> Case:
    frame = stream("arxiv_physics_text")[["timestamp", "title", "abstract_snippet", "primary_cat"]]
    frame = frame.rename(columns={"timestamp": "_timestamp", "primary_cat": "_label"})
    frame["_label"] = frame["_label"].astype(object)
    data = _split(frame, (0, 8000, 11_000, 15_000) if quick else (0, 16_000, 24_000, 32_000))
    return Case(Text(), data, Options("multiclass", widths=(128,), epochs=5 if quick else 12,
                                        recovery_rate=5e-3),
                Text().fresh)


def _split(frame: pd.DataFrame, cuts: tuple[int, ...]) -> Split:
    return Split(*(frame[start:end].reset_index(drop=True) for start, end in pairwise(cuts)))


CASES = {"tabular": _table, "image": _image, "text": _text}
"""Network -> what it is measured on."""
