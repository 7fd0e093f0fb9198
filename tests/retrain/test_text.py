"""Texts: the graph splits them into the words that training saw, and answers as torch does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import HoldfastError
from retrain.contract import Contract, default
from retrain.export import tokens
from retrain.finetune import probabilities
from retrain.graph import ELEMENTS, IR_VERSION, OPSETS, TOKENIZER, Graph
from retrain.runtime import columns, session
from retrain.text import Text
from retrain.vocabulary import UNKNOWN, Words, split
from tests.retrain.real import SENTENCES, text_champion, texts
from tests.retrain.test_finetune import accuracy, same_weights

WORDS = Words(("title", "body"), ("the", "of", "x2", "é", "naïve", "日本"), 6)


def contract(frame: pd.DataFrame) -> Contract:
    return default(frame, "multiclass", classes=text_champion().classes)


def tokenizer(encoder: Words) -> onnxruntime.InferenceSession:
    """The graph's part that splits texts, alone."""
    graph = Graph(encoder.inputs)
    answer = tokens(graph, encoder)
    output = onnx.helper.make_tensor_value_info(answer, ELEMENTS["long"], ["N", encoder.length])
    model = graph.model([output])
    return onnxruntime.InferenceSession(model.SerializeToString(),
                                        providers=["CPUExecutionProvider"])


SPLITTER = tokenizer(WORDS)

WORDLIKE = st.lists(st.sampled_from(["the", "THE", "Of", "x2", "É", "é", "naïve", "日本", "-", "\n",
                                     "\u00a0", "_", "0", "𝒳"]), max_size=12).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(*[st.one_of(st.text(), WORDLIKE)] * 2), min_size=1, max_size=4))
def test_the_graph_splits_as_python_does(rows: list[tuple[str, str]]) -> None:
    frame = pd.DataFrame(rows, columns=["title", "body"], dtype=object)
    [asked] = WORDS.transform(frame)
    [got] = SPLITTER.run(None, {name: frame[name].to_numpy(object) for name in WORDS.names})
    np.testing.assert_array_equal(got, asked)


def test_words_are_small_ascii_runs_and_all_beyond_ascii() -> None:
    assert split("The Étale x2-site, 日本!") == ["the", "Étale", "x2", "site", "日本"]
    [codes] = WORDS.transform(pd.DataFrame({"title": ["THE new", None], "body": ["of", np.nan]}))
    assert codes.tolist() == [[2, UNKNOWN, 3, 0, 0, 0], [0] * 6]


def test_it_is_in_the_league_of_a_bag_of_words() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    data = texts()
    bag = make_pipeline(TfidfVectorizer(max_features=8000), LogisticRegression(max_iter=200))
    said = [part["title"] + " " + part["abstract_snippet"] for part in (data.train, data.holdout)]
    bag.fit(said[0], data.train["_label"])
    assert accuracy(text_champion(), data.holdout) > bag.score(
        said[1], data.holdout["_label"]) - 0.05


def test_the_artifact_takes_raw_text_and_answers_as_torch_does(tmp_path: Path) -> None:
    rows = texts().holdout.head(80).copy()
    rows.loc[3, "title"] = None
    rows.loc[4, ["title", "abstract_snippet"]] = ["", np.nan]
    expected = probabilities(text_champion(), rows)
    path = Text().export(text_champion(), contract(texts().train), tmp_path / "m.onnx")
    got = columns(session(path), rows)
    shares = np.stack([got[f"probability_{name}"] for name in text_champion().classes], axis=1)
    np.testing.assert_allclose(shares, expected, atol=1e-5)
    assert path.read_bytes() == Text().export(
        text_champion(), contract(texts().train), tmp_path / "again.onnx").read_bytes()


def test_words_lose_dimensions_and_become_bytes(tmp_path: Path) -> None:
    data, whole = texts(), text_champion()
    small = Text().pruned(whole, 0.5, data, options=SENTENCES)
    assert small.spec.size < whole.spec.size
    assert accuracy(small, data.holdout) > accuracy(whole, data.holdout) - 0.03
    source = Text().export(small, contract(data.train), tmp_path / "fp32.onnx")
    target = Text().quantized(source, tmp_path / "int8.onnx", calibration=data.train)
    exact, close = (columns(session(path), data.holdout) for path in (source, target))
    assert np.mean(exact["prediction"] != close["prediction"]) < 0.03
    tables = [item for item in onnx.load(target).graph.initializer
              if list(item.dims) == [small.spec.words, small.spec.size]]
    assert [item.data_type for item in tables] == [onnx.TensorProto.INT8]
    assert target.read_bytes() == Text().quantized(
        source, tmp_path / "again.onnx", calibration=data.train).read_bytes()


def test_tuning_learns_words_that_were_rare_before(tmp_path: Path) -> None:
    path = Text().save(text_champion(), tmp_path / "weights.safetensors")
    loaded, data = Text().load(path), texts()
    assert same_weights(loaded, text_champion())
    later = replace(data, train=data.train.head(800).assign(
        title=data.train["title"].head(800) + " graphenomics"))
    tuned = Text().tuned(loaded, later, replace(SENTENCES, epochs=1))
    assert "graphenomics" in tuned.encoder.vocabulary
    assert tuned.spec.words == tuned.encoder.rows
    assert "graphenomics" not in loaded.encoder.vocabulary


def test_numbers_are_no_text_and_settings_are_known() -> None:
    with pytest.raises(HoldfastError, match=r"columns: \["):
        Text().fresh(texts(), replace(SENTENCES, settings={"columns": ["num_authors"]}))
    with pytest.raises(HoldfastError, match="tokens"):
        Text().fresh(texts(), replace(SENTENCES, settings={"tokens": 3}))


def test_the_tokenizer_is_named_only_where_it_is_used(tmp_path: Path) -> None:
    path = Text().export(text_champion(), contract(texts().train), tmp_path / "m.onnx")
    model = onnx.load(path)
    assert {item.domain for item in model.opset_import} == {*OPSETS, TOKENIZER}
    assert model.ir_version == IR_VERSION
