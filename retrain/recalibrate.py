"""Recalibration: the champion's answers bent to the newest labels, its weights left as they are.

Classes: temperature and bias, ``softmax(a log p + b)``, which for two classes is Platt's scaling
(Platt 1999; Guo et al. 2017 for more); with ``a`` = 1 it is the correction for a moved class mix
(Saerens et al. 2002). Values: a straight line ``a + b y`` by Huber's regression. The curve is
appended to the ONNX graph, so that any ONNX champion can be recalibrated, int8 ones too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from monitor.errors import ContractError, HoldfastError
from retrain.contract import Contract, class_text
from retrain.evaluate import Scores
from retrain.graph import Graph, write

LEAST = 100
"""Fewer labelled rows do not tell a curve."""

FLOOR = 1e-7
"""Probabilities are held above this before their logarithm is taken."""

PRIOR = 1.0
"""Weight of the belief that nothing has to change, against one for each row."""


@dataclass(frozen=True, slots=True)
class Curve:
    """``softmax(slope x log p + bias)`` per class, or ``slope x y + bias[0]``."""

    slope: float
    bias: tuple[float, ...]

    def words(self, contract: Contract) -> str:
        """The curve as a person reads it."""
        if contract.task == "regression":
            return f"value x {self.slope:.3g} {self.bias[0]:+.3g}"
        moved = ", ".join(f"{class_text(value)} {bias:+.2f}"
                          for value, bias in zip(contract.classes, self.bias, strict=True))
        return f"log-probabilities x {self.slope:.3g}, {moved}"


def curve(scores: Scores, weight: NDArray[np.float64] | None = None) -> Curve:
    """The curve that fits the labels of these rows best.

    ``HoldfastError`` where the answers hold no probabilities or the rows are too few.
    """
    judged = scores.judged
    if len(scores) < LEAST:
        raise HoldfastError(f"{len(scores)} labelled rows are too few for a curve, {LEAST} are "
                            "needed")
    weight = np.ones(len(scores)) if weight is None else weight
    if not scores.answers.classes:
        return _line(judged.answer, judged.label, weight)
    if judged.share is None:
        raise HoldfastError("the champion gives no probability of every class")
    known = judged.label >= 0
    return _classes(np.log(np.maximum(judged.share[known], FLOOR)),
                    judged.label[known].astype(int), weight[known])


def _line(answer: NDArray[Any], label: NDArray[Any], weight: NDArray[np.float64]) -> Curve:
    from sklearn.linear_model import HuberRegressor

    center, scale = float(np.mean(answer)), float(np.std(answer)) or 1.0
    spread = float(np.std(label)) or 1.0
    fitted = HuberRegressor(alpha=1e-4, max_iter=1000).fit(
        ((answer - center) / scale)[:, None], label / spread, sample_weight=weight)
    slope = float(fitted.coef_[0]) * spread / scale
    if slope <= 0:
        raise HoldfastError("the champion's values no longer rise with the labels")
    return Curve(slope, (float(fitted.intercept_) * spread - slope * center,))


def _classes(logs: NDArray[np.float64], label: NDArray[np.int64],
             weight: NDArray[np.float64]) -> Curve:
    """Weighted maximum likelihood with a weak prior at slope 1 and no bias; convex."""
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    n, classes = logs.shape
    hit = np.eye(classes)[label]

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope, bias = values[0], values[1:]
        said = log_softmax(slope * logs + bias, axis=1)
        wrong = weight[:, None] * (np.exp(said) - hit)
        value = -float(weight @ said[np.arange(n), label])
        penalty = PRIOR / 2 * ((slope - 1) ** 2 + float(bias @ bias))
        slopes = np.concatenate([[float((wrong * logs).sum()) + PRIOR * (slope - 1)],
                                 wrong.sum(axis=0) + PRIOR * bias])
        return (value + penalty) / n, slopes / n

    found = minimize(loss, np.concatenate([[1.0], np.zeros(classes)]), jac=True, method="L-BFGS-B",
                     options={"ftol": 1e-13, "gtol": 1e-9, "maxiter": 1000},
                     bounds=[(0.05, 5.0), *[(-10.0, 10.0)] * classes])
    bias = found.x[1:] - found.x[1:].mean()
    return Curve(float(found.x[0]), tuple(float(item) for item in bias))


def bent(source: Path, found: Curve, contract: Contract, target: Path) -> Path:
    """Write the artifact with the curve behind its answers, and give its path."""
    model = onnx.load(str(source))
    before = {node.name.partition("/")[0] for node in model.graph.node
              if node.name.startswith("node:curve")}
    prefix = f"curve{len(before)}/"
    graph = Graph(contract.inputs, prefix)
    inner = {name: f"{prefix}{name}" for name in contract.outputs}
    if missing := set(inner) - {item.name for item in model.graph.output}:
        raise ContractError(f"the champion's artifact has no output {sorted(missing)}")
    renamed(model.graph, inner)
    answer = (values_of if contract.task == "regression" else logits_of)(graph, contract, inner)
    scaled = graph.add("Mul", [answer, graph.constant(found.slope, np.float64)])
    moved = graph.add("Add", [scaled, graph.constant(list(found.bias), np.float64)])
    outputs = graph.answers(contract.classes, contract, moved)
    del model.graph.output[:]
    model.graph.node.extend(graph.nodes)
    model.graph.initializer.extend(graph.constants)
    model.graph.output.extend(outputs)
    onnx.checker.check_model(model)
    return write(model, target)


def values_of(graph: Graph, contract: Contract, inner: dict[str, str], *,
              floor: float = FLOOR) -> str:
    """The artifact's values ``[N, 1]`` as doubles."""
    [name] = contract.outputs
    return graph.column(inner[name])


def logits_of(graph: Graph, contract: Contract, inner: dict[str, str], *,
              floor: float = FLOOR) -> str:
    """Logarithms of the artifact's probabilities ``[N, classes]``, held above ``floor``."""
    given = {class_text(value): graph.column(inner[name])
             for name, value in contract.probabilities.items()}
    texts = [class_text(value) for value in contract.classes]
    if len(given) == 1 and len(texts) == 2:
        [(known, share)] = given.items()
        rest = graph.add("Sub", [graph.constant(1.0, np.float64), share])
        given[next(text for text in texts if text != known)] = rest
    if missing := [text for text in texts if text not in given]:
        raise ContractError(f"the champion gives no probability of {', '.join(missing)}")
    shares = graph.add("Concat", [given[text] for text in texts], axis=1)
    return graph.add("Log", [graph.add("Max", [shares, graph.constant(floor, np.float64)])])


def renamed(graph: Any, names: dict[str, str]) -> None:
    """Give tensors of a graph other names, wherever they are made or used."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
