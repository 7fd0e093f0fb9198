"""Export: a torch network with its preprocessing as one ONNX graph."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from retrain.contract import Contract
from retrain.finetune import Network
from retrain.graph import OPSETS, TOKENIZER, Graph, finished
from retrain.pieces import Pieces
from retrain.pixels import Pixels
from retrain.preprocess import Encoder
from retrain.vocabulary import FIRST as FIRST_WORD
from retrain.vocabulary import NOTHING, PATTERN, Words
from retrain.vocabulary import UNKNOWN as UNKNOWN_WORD

NETWORK = "network/"
"""Prefix of the nodes and tensors of the trained network; quantization touches only these."""


def to_onnx(fitted: Network, contract: Contract, path: Path) -> Path:
    """Write the artifact and give its path; the same weights give the same bytes.

    ``ContractError`` where the network's inputs or classes are not those of the contract.
    """
    graph = Graph.of(fitted, contract, {
        name: fitted.encoder.size for name, kind in contract.inputs.items()
        if kind == "binary" and name in fitted.inputs})
    answer = graph.grafted(exported(fitted).graph, NETWORK, _read(graph, fitted.encoder))
    return finished(graph, fitted, answer, contract=contract, path=path)


def _read(graph: Graph, encoder: Any) -> dict[str, str]:
    """Tensor of the network -> what the graph computes it as."""
    if isinstance(encoder, Encoder):
        found = {"numeric": graph.numbers(encoder), "categorical": graph.categories(encoder)}
        return {name: value for name, value in found.items() if value is not None}
    if isinstance(encoder, Pixels):
        return {"pixels": encoder.name}
    drawn = pieces if isinstance(encoder, Pieces) else tokens
    return {"tokens": drawn(graph, encoder)}


def tokens(graph: Graph, encoder: Words) -> str:
    """Indices of words ``[N, length]``: the texts side by side, split, looked up, cut or filled."""
    return _looked_up(graph, _small(graph, _text(graph, encoder.names)), PATTERN,
                      encoder.vocabulary, encoder.length)


def pieces(graph: Graph, encoder: Pieces) -> str:
    """Codes of pieces ``[N, length]``: those of each word, moved together between the two ends."""
    text = _text(graph, encoder.names)
    places = _looked_up(graph, _small(graph, text) if encoder.lower else text, encoder.pattern,
                        encoder.words, encoder.length)
    table = encoder.table
    slots = encoder.length * table.shape[1]
    codes = graph.add("Reshape", [
        graph.add("Gather", [graph.constant(table, np.int64), places]),
        graph.constant([-1, slots], np.int64)])
    held = graph.add("Greater", [codes, graph.constant(NOTHING, np.int64)])
    rank = graph.add("CumSum", [graph.add("Cast", [held], to=TensorProto.INT64),
                                graph.constant(1, np.int64)])
    fits = graph.add("LessOrEqual", [rank, graph.constant(encoder.length - 2, np.int64)])
    taken = graph.add("And", [held, fits])
    order = graph.add("Where", [taken, graph.constant(np.arange(slots), np.int64),
                                graph.constant(slots + 1 + np.arange(slots), np.int64)])
    left = graph.add("Where", [taken, codes, graph.constant(NOTHING, np.int64)])
    begin, end = encoder.ends
    last = graph.constant([0, 0, 0, 1], np.int64)
    order = graph.add("Pad", [order, last, graph.constant(slots, np.int64)])
    left = graph.add("Pad", [left, last, graph.constant(end, np.int64)])
    moved = graph.add("GatherElements", [left, graph.places(order, encoder.length - 1)], axis=1)
    return graph.add("Pad", [moved, graph.constant([0, 1, 0, 0], np.int64),
                             graph.constant(begin, np.int64)])


def _text(graph: Graph, names: tuple[str, ...]) -> str:
    """The columns of each row as one text ``[N]``."""
    text = graph.flat(names[0])
    space = graph.constant([" "], object) if len(names) > 1 else ""
    for name in names[1:]:
        text = graph.add("StringConcat", [graph.add("StringConcat", [text, space]), name])
    return text


def _small(graph: Graph, text: str) -> str:
    return graph.add("StringNormalizer", [text], case_change_action="LOWER", is_case_sensitive=1,
                     locale="C")


def _looked_up(graph: Graph, text: str, pattern: str, vocabulary: tuple[str, ...], length: int
               ) -> str:
    """Places of words ``[N, length]``: the texts split, looked up, cut or filled."""
    words = graph.add("Tokenizer", [text], domain=TOKENIZER, mark=0, mincharnum=1, pad_value="",
                      tokenexp=pattern)
    graph.told.append(helper.make_tensor_value_info(words, TensorProto.STRING, ["N", "words"]))
    codes = graph.add("LabelEncoder", [words], domain="ai.onnx.ml", default_int64=UNKNOWN_WORD,
                      keys_strings=["", *vocabulary],
                      values_int64s=[NOTHING, *range(FIRST_WORD, FIRST_WORD + len(vocabulary))])
    filled = graph.add("Pad", [codes, graph.constant([0, 0, 0, length], np.int64)])
    return graph.add("Slice", [filled, *(graph.constant([value], np.int64)
                                         for value in (0, length, 1))])


def exported(fitted: Network) -> Any:
    """The torch module alone as an ONNX model with the inputs that its spec names."""
    import torch

    given: Any = fitted.spec.tensors
    module = getattr(fitted.module, "served", fitted.module).eval()
    example = tuple(torch.zeros(2, width, dtype=getattr(torch, kind)) for _, width, kind in given)
    batch = torch.export.Dim("N", min=1, max=2**31)
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, example, input_names=[name for name, _, _ in given], output_names=["answer"],
            dynamic_shapes=tuple({0: batch} for _ in given), dynamo=True, external_data=False,
            opset_version=OPSETS[""], verbose=False)
    assert program is not None
    return program.model_proto


class _quiet:
    """Silences the exporter's log lines while it works."""

    def __enter__(self) -> None:
        self.level = logging.getLogger("torch.onnx").level
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("torch.onnx").setLevel(self.level)
