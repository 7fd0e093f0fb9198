"""Mixture: one answer of several models, each weighed by how it does on the newest labels.

Classes: ``softmax(sum_k a_k log p_k + b)`` with ``a_k >= 0``, a logarithmic opinion pool whose
weights are fitted by likelihood (Genest and Zidek 1986; Heskes 1998). Values: ``sum_k a_k y_k``
with ``a_k >= 0`` (Breiman 1996, stacked regressions). Both are held towards the plain mean, and a
row counts half as much as one that is ``HALF_LIFE`` newer. The models stay what they are: their
ONNX graphs are put side by side in one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from monitor.errors import HoldfastError
from retrain.contract import Contract
from retrain.evaluate import Answers, Scores
from retrain.graph import OPSETS, Graph, write
from retrain.recalibrate import logits_of, renamed, values_of

LEAST = 40
"""Fewer labelled rows do not tell weights."""

FLOOR = 1e-3
"""Probabilities are held above this, so that no model that is sure and wrong outvotes all."""

PRIOR = 15.0
"""Weight of the belief in equal parts, against one for the newest row."""

HALF_LIFE = timedelta(days=7)
"""Event time in which a row comes to count half: which model is right changes faster than what
one model is."""

TRACE = 1e-3
"""Weights below this are none."""

Floats = NDArray[np.float64]
Places = slice | NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Mixture:
    """``weights`` of the models in their order, 0 for those left out; ``bias`` a class, or none."""

    weights: tuple[float, ...]
    bias: tuple[float, ...] = ()

    @property
    def taken(self) -> list[int]:
        """The places of the models that count."""
        return [place for place, weight in enumerate(self.weights) if weight > 0]


def mixture(parts: Sequence[Scores], most: int, rows: Places = slice(None)) -> Mixture:
    """The mixture of at most ``most`` models that fits the labels of these rows best.

    ``HoldfastError`` where the rows are too few or a model gives no probabilities.
    """
    said, label = _said(parts, rows), parts[0].judged.label[rows]
    known = np.isfinite(label) if said.ndim == 2 else label >= 0
    said, label = said[:, known], label[known]
    if len(label) < LEAST:
        raise HoldfastError(f"{len(label)} labelled rows are too few to weigh models by, {LEAST} "
                            "are needed")
    times = parts[0].timestamps.iloc[rows][known]
    counts = np.exp2(((times - times.max()) / HALF_LIFE).to_numpy(np.float64))
    solve = partial(_of_values if said.ndim == 2 else _of_classes, label=label, counts=counts)
    weights, bias = solve(said)
    taken = np.flatnonzero(weights > TRACE)
    if len(taken) > most:
        spread = said.std(axis=1) if said.ndim == 2 else said.std(axis=(1, 2))
        taken = np.sort(taken[np.argsort(-(weights * spread)[taken], kind="stable")[:most]])
        kept, bias = solve(said[taken])
        weights = np.zeros(len(parts))
        weights[taken] = kept
    weights[weights <= TRACE] = 0.0
    if not weights.any():
        raise HoldfastError("no model's answers go with the labels")
    return Mixture(tuple(map(float, weights)), tuple(map(float, bias)))


def answered(found: Mixture, parts: Sequence[Scores], contract: Contract,
             rows: Places = slice(None)) -> Answers:
    """What the mixture says about these rows, by what its models say."""
    said = _said(parts, rows)
    total = np.tensordot(np.asarray(found.weights), said, 1)
    if said.ndim == 2:
        return Answers(total, None, ())
    from scipy.special import softmax

    share = softmax(total + np.asarray(found.bias), axis=1)
    classes: NDArray[Any] = np.asarray(contract.classes, dtype=object)
    return Answers(classes[share.argmax(axis=1)], share, contract.classes)


def _said(parts: Sequence[Scores], rows: Places) -> Floats:
    """Values ``[models, rows]``, or centred log-probabilities ``[models, rows, classes]``."""
    if not parts[0].answers.classes:
        return np.stack([item.judged.answer[rows].astype(np.float64) for item in parts])
    if missing := [item.name for item in parts if item.judged.share is None]:
        raise HoldfastError(f"{', '.join(missing)} give no probability of every class")
    logs = np.log(np.maximum(np.stack([item.judged.share[rows] for item in parts
                                       if item.judged.share is not None]), FLOOR))
    return np.asarray(logs - logs.mean(axis=2, keepdims=True))


def _of_values(said: Floats, label: NDArray[Any], counts: Floats) -> tuple[Floats, Floats]:
    """Non-negative least squares in standard deviations of the label, ridged to the mean."""
    from scipy.optimize import nnls

    models, scale = len(said), np.sqrt(counts) / (float(np.std(label)) or 1.0)
    left = np.vstack([said.T * scale[:, None], np.eye(models) * np.sqrt(PRIOR)])
    right = np.concatenate([label * scale, np.full(models, np.sqrt(PRIOR) / models)])
    return nnls(left, right)[0], np.empty(0)


def _of_classes(said: Floats, label: NDArray[Any], counts: Floats) -> tuple[Floats, Floats]:
    """Penalized maximum likelihood; convex."""
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    models, rows, classes = said.shape
    hit, place = np.eye(classes)[label.astype(int)], np.arange(rows)
    prior = np.concatenate([np.full(models, 1 / models), np.zeros(classes)])

    def loss(values: Floats) -> tuple[float, Floats]:
        logs = log_softmax(np.tensordot(values[:models], said, 1) + values[models:], axis=1)
        wrong, off = (np.exp(logs) - hit) * counts[:, None], values - prior
        value = -float(logs[place, label.astype(int)] @ counts) + PRIOR / 2 * float(off @ off)
        slopes = np.concatenate([np.tensordot(said, wrong, 2), wrong.sum(axis=0)]) + PRIOR * off
        return value / rows, slopes / rows

    found = minimize(loss, prior, jac=True, method="L-BFGS-B",
                     bounds=[(0.0, 5.0)] * models + [(-5.0, 5.0)] * classes,
                     options={"ftol": 1e-12, "gtol": 1e-8, "maxiter": 500})
    return found.x[:models], found.x[models:] - found.x[models:].mean()


def joined(sources: Sequence[Path], found: Mixture, contract: Contract, target: Path) -> Path:
    """Write the models that count as one artifact with the mixture's answers; its path.

    ``HoldfastError`` where a model's graph cannot stand beside others.
    """
    graph = Graph(contract.inputs, "mixture/")
    read = values_of if contract.task == "regression" else logits_of
    weighed: list[str] = []
    for place in found.taken:
        source = sources[place]
        body = _part(source, f"part{place}/")
        if not weighed:
            graph.inputs = list(body.input)
        graph.nodes.extend(body.node)
        graph.constants.extend(body.initializer)
        inner = {name: f"part{place}/{name}" for name in contract.outputs}
        said = read(graph, contract, inner, floor=FLOOR)
        weighed.append(graph.add("Mul", [said, graph.constant(found.weights[place], np.float64)]))
    total = reduce(lambda one, other: graph.add("Add", [one, other]), weighed)
    if found.bias:
        total = graph.add("Add", [total, graph.constant(list(found.bias), np.float64)])
    model = graph.model(graph.answers(contract.classes, contract, total))
    onnx.checker.check_model(model)
    return write(model, target)


def _part(source: Path, prefix: str) -> Any:
    """A model's graph with every name of its own after ``prefix``."""
    model = onnx.load(str(source))
    used = {node.domain for node in model.graph.node}
    other = {item.domain: item.version for item in model.opset_import
             if item.domain in used and OPSETS.get(item.domain, item.version) != item.version}
    within = any(item.type in {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS}
                 for node in model.graph.node for item in node.attribute)
    if other or within or model.functions:
        raise HoldfastError(f"{source.name} cannot stand beside other models: " + (
            f"it is written in operator sets {other}, not {OPSETS}" if other
            else "it holds graphs within its graph"))
    own = [item.name for item in model.graph.initializer]
    own += [name for node in model.graph.node for name in node.output if name]
    renamed(model.graph, {name: prefix + name for name in own})
    for tensor in model.graph.initializer:
        tensor.name = prefix + tensor.name
    for index, node in enumerate(model.graph.node):
        node.name = f"node:{prefix}{index}"
    return model.graph
